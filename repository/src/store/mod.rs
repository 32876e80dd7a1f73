//! The store: one narrow trait over all kinds of object storage, and what wraps it.
//!
//! Objects are created once and never overwritten. A store must list what it has just stored and must refuse to
//! create what exists; `probe` checks both. Every implementation and wrapper passes `conformance`.
//!
//! Nothing here knows what the objects mean: that is `layout`'s and the upper modules' business.

mod bandwidth;
mod cache;
pub mod conformance;
mod count;
mod fault;
mod file;
mod limit;
mod locking;
pub mod locks;
mod object;
mod probe;
mod retry;
pub mod url;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::env::Timestamp;
use crate::limits::{OBJECT_BYTES_MAX, PACK_BYTES_MAX};

pub use self::bandwidth::{Bandwidth, BandwidthStore};
pub use self::cache::{Cache, CachedStore};
pub use self::count::{CountedStore, Counts, Figures as CountFigures};
pub use self::fault::{Crash, Effect, Fault, FaultStore, Plan as FaultPlan};
pub use self::file::FileStore;
pub use self::limit::LimitedStore;
pub use self::locking::LockingStore;
pub use self::locks::{Extended, LockMode, LockNew, Locks, Protection, SharedLocks};
pub use self::object::{Conflict, RemoteStore, S3Locks};
pub use self::probe::{ProbeError, probe};
pub use self::retry::{RetryPolicy, RetryStore};
pub use self::url::{StoreOptions, is_local, open};

/// The key of an object below the repository's prefix: `/`-separated segments of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that can't be a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a valid object key")]
pub struct InvalidKey(pub String);

impl Key {
    /// Checks that every segment is non-empty, of the allowed characters, and neither `.` nor `..`.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let good = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if text.len() <= 512 && text.split('/').all(good) { Ok(Self(text)) } else { Err(InvalidKey(text)) }
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `put_new` found. Losing the race is an answer, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is there now, and it is ours.
    Created,
    /// The key was taken: by another writer, or by an own earlier try whose reply was lost. Read it back.
    AlreadyExists,
}

/// The letter of what is stored under a key: the second segment where it is one letter (`default/m/…`), else `-`.
fn letter_of(key: &Key) -> char {
    let mut second = key.as_str().split('/').nth(1).unwrap_or("").chars();
    match (second.next(), second.next()) {
        (Some(c), None) if c.is_ascii_lowercase() => c,
        _ => '-',
    }
}

/// Whether a text can be the prefix of a listing: empty, or a key followed by `/`.
fn check_prefix(prefix: &str) -> StoreResult<()> {
    let good = prefix.is_empty() || prefix.strip_suffix('/').is_some_and(|p| Key::new(p).is_ok());
    if good {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Fatal,
        Op::List,
        prefix,
        "a listing's prefix is empty or a folder ending in '/'",
    ))
}

/// Whether a range is one; `Some` is the answer or the error for those that need no request.
fn check_range(key: &Key, range: &Range<u64>) -> Option<StoreResult<Bytes>> {
    if range.start == range.end {
        return Some(Ok(Bytes::new()));
    }
    let what = if range.start > range.end {
        "the range ends before it begins"
    } else if range.end - range.start > PACK_BYTES_MAX {
        "the range is larger than any object"
    } else {
        return None;
    };
    Some(Err(StoreError::new(StoreErrorKind::Fatal, Op::Get, key, what)))
}

/// Whether an object of this size may be read whole: packs are read by ranges, everything else is small.
fn check_whole(key: &Key, bytes: u64) -> StoreResult<()> {
    if bytes <= OBJECT_BYTES_MAX as u64 {
        return Ok(());
    }
    let what = format!("has {bytes} bytes, more than any object that is read whole ({OBJECT_BYTES_MAX})");
    Err(StoreError::new(StoreErrorKind::Fatal, Op::Get, key, what))
}

/// The error for a range that an object does not have.
fn beyond_end(key: &Key, range: &Range<u64>) -> StoreError {
    let what = format!("bytes {}..{} reach beyond the object's end", range.start, range.end);
    StoreError::new(StoreErrorKind::Fatal, Op::Get, key, what)
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// When the store recorded it, by the store's clock: the one time that no writer can choose.
    pub recorded: Timestamp,
}

/// The five operations, as named in errors, metrics and fault plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `put_new`
    Put,
    /// `get` and `get_range`
    Get,
    /// `head`
    Head,
    /// `list`
    List,
    /// `delete`
    Delete,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// What the caller can do about a store's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The object does not exist.
    NotFound,
    /// Trying again may help: time-outs, throttling, server errors. The operation may have been carried out.
    Transient,
    /// Credentials or permissions do not suffice.
    Denied,
    /// No space is left.
    Full,
    /// Nothing helps but another configuration.
    Fatal,
}

/// A failed operation on the store.
#[derive(Debug, Error)]
#[error("{} {key}: {}", .op.name(), .what)]
pub struct StoreError {
    /// What the caller can do.
    pub kind: StoreErrorKind,
    /// Which operation.
    pub op: Op,
    /// On which key or prefix.
    pub key: String,
    /// What happened, in words for a person.
    pub what: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a deeper cause.
    pub fn new(kind: StoreErrorKind, op: Op, key: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { kind, op, key: key.to_string(), what: what.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Shorthand.
pub type StoreResult<T> = Result<T, StoreError>;

/// Object storage, as narrow as Holdfast needs it.
///
/// Guarantees that every implementation gives: `put_new` is atomic (the object is there whole or not at all), durable
/// when it returns `Created`, and never replaces anything; `list`, `get` and `head` see every object whose `put_new`
/// returned before they were called.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Creates an object unless the key is taken.
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put>;

    /// The whole object; `NotFound` where there is none.
    async fn get(&self, key: &Key) -> StoreResult<Bytes>;

    /// The bytes of `range`, all of them: a range beyond the object's end is an error (`Fatal`), never a short answer.
    /// An empty range gives no bytes.
    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes>;

    /// The last `bytes_max` bytes of the object (all of a smaller one), and its size: one request where the store
    /// knows ranges from the end, two elsewhere.
    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)>;

    /// The object's size, or `None` where there is none.
    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>>;

    /// All objects whose key starts with `prefix` (a folder such as `default/m/`, ending in `/`, or empty for all),
    /// in ascending order of keys; those up to and including `after` left out where it is given.
    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>>;

    /// Deletes an object; one that does not exist is deleted already.
    async fn delete(&self, key: &Key) -> StoreResult<()>;

    /// Locks on objects, where the store has them.
    fn locks(&self) -> Option<SharedLocks> {
        None
    }
}
