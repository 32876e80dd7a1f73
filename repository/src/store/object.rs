//! Object storage over the network (S3, GCS, Azure), and in memory: an adapter over the `object_store` crate.
//!
//! It tries nothing again itself (`RetryStore` does), gives every request a deadline that grows with its bytes, and
//! never takes an answer on trust: a listing out of order, a short range or a huge object is an error.

mod answer;
mod s3;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    Error as RawError, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutPayload,
};
use tokio::time::timeout;

use super::{
    Key, Listed, Op, Put, Store, StoreError, StoreErrorKind, StoreResult, beyond_end, check_prefix,
    check_range,
};
use crate::env::{Env, Timestamp};
use crate::error::one_line;
use crate::limits::PACK_BYTES_MAX;
use crate::store::locks::{LockNew, Locks as _, SharedLocks};

pub use s3::S3Locks;
use s3::SharedS3Locks;
pub(super) use s3::connection_of;

/// A request may take this long, whatever its size ...
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// ... and longer for its bytes: a line slower than this can't be used.
const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// What a 409 means as the answer to a conditional put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The object exists (Azure, and everything that has no 409).
    Exists,
    /// Another request for the same key is under way, and may yet fail (S3): the object may or may not exist.
    Undecided,
}

/// A bucket or container, below a prefix.
pub struct RemoteStore {
    inner: Arc<dyn ObjectStore>,
    /// Empty, or ends in `/`.
    base: String,
    conflict: Conflict,
    locks: Option<SharedS3Locks>,
    lock_new: Option<(LockNew, Env)>,
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.inner, self.base)
    }
}

impl RemoteStore {
    /// All objects below `prefix` (a key's text, or empty for the whole bucket).
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str, conflict: Conflict) -> Self {
        let prefix = prefix.trim_matches('/');
        let base = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { inner, base, conflict, locks: None, lock_new: None }
    }

    /// The same with locks; with `lock_new`, new objects that are worth it are locked from the beginning.
    #[must_use]
    pub fn with_locks(mut self, locks: S3Locks, lock_new: Option<LockNew>, env: &Env) -> Self {
        self.locks = Some(Arc::new(locks));
        self.lock_new = lock_new.map(|new| (new, env.clone()));
        self
    }

    /// Until when a new object is to be locked.
    fn lock_of(&self, key: &Key) -> Option<(&S3Locks, Timestamp)> {
        let (new, env) = self.lock_new.as_ref().filter(|_| LockNew::covers(key))?;
        let seconds = i64::try_from(new.seconds).unwrap_or(i64::MAX);
        Some((self.locks.as_deref()?, env.now().plus_seconds(seconds)))
    }

    /// An empty store in memory, gone with its last reference.
    #[must_use]
    pub fn memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), "", Conflict::Exists)
    }

    fn path(&self, op: Op, key: &str) -> StoreResult<Path> {
        Path::parse(format!("{}{key}", self.base)).map_err(|e| {
            StoreError::new(StoreErrorKind::Fatal, op, key, "the store can't have this key").caused_by(e)
        })
    }

    async fn open(&self, key: &Key, range: Option<GetRange>) -> StoreResult<GetResult> {
        let path = self.path(Op::Get, key.as_str())?;
        let options = GetOptions { range, ..GetOptions::default() };
        let result = within(0, self.inner.get_opts(&path, options)).await;
        result.map_err(|late| late.into_error(Op::Get, key.as_str()))
    }

    async fn receive(&self, key: &Key, result: GetResult) -> StoreResult<Bytes> {
        let expected = result.range.end.saturating_sub(result.range.start);
        if expected > PACK_BYTES_MAX {
            let what = format!("has {expected} bytes, more than any object of a repository");
            return Err(StoreError::new(StoreErrorKind::Fatal, Op::Get, key, what));
        }
        let received = within(expected, result.bytes()).await;
        let bytes = received.map_err(|late| late.into_error(Op::Get, key.as_str()))?;
        if bytes.len() as u64 != expected {
            let what = format!("got {} of {expected} bytes", bytes.len());
            return Err(StoreError::new(StoreErrorKind::Transient, Op::Get, key, what));
        }
        Ok(bytes)
    }

    /// The tail in two requests; `refused` is why one did not do.
    async fn get_tail_by_size(
        &self,
        key: &Key,
        bytes_max: u64,
        refused: StoreError,
    ) -> StoreResult<(Bytes, u64)> {
        match self.find_size(key).await? {
            Some(0) => Ok((Bytes::new(), 0)),
            Some(size) => Ok((self.get_range(key, size.saturating_sub(bytes_max)..size).await?, size)),
            None => Err(refused),
        }
    }

    /// A 409 leaves open whether the object exists: looks.
    async fn settle_conflict(&self, key: &Key, error: RawError) -> StoreResult<Put> {
        match self.find_size(key).await? {
            Some(_) => Ok(Put::AlreadyExists),
            None => {
                let what = "another request for this key is under way";
                Err(StoreError::new(StoreErrorKind::Transient, Op::Put, key, what).caused_by(error))
            }
        }
    }
}

/// A request that failed, or did not end in time.
enum Late {
    Failed(RawError),
    TimedOut(Duration),
}

fn time_for(bytes: u64) -> Duration {
    REQUEST_TIME + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

async fn within<T>(bytes: u64, request: impl Future<Output = Result<T, RawError>>) -> Result<T, Late> {
    let time = time_for(bytes);
    match timeout(time, request).await {
        Ok(result) => result.map_err(Late::Failed),
        Err(_) => Err(Late::TimedOut(time)),
    }
}

impl Late {
    fn into_error(self, op: Op, key: &str) -> StoreError {
        match self {
            Self::Failed(e) => map_error(op, key, &e),
            Self::TimedOut(time) => StoreError::new(
                StoreErrorKind::Transient,
                op,
                key,
                format!("no answer within {} s", time.as_secs()),
            ),
        }
    }
}

fn map_error(op: Op, key: &str, error: &RawError) -> StoreError {
    use StoreErrorKind as Kind;
    let text = one_line(error);
    let code = answer::code(&text);
    let no_bucket = ["NoSuchBucket", "ContainerNotFound", "specified bucket does not exist"];
    let (kind, what) = match error {
        // A gateway may say 404 of the one who asks: that must not pass for an object that is gone.
        RawError::NotFound { .. } if code.is_some_and(|c| !answer::MISSING.contains(&c)) => {
            (Kind::Fatal, "refused by the store")
        }
        RawError::NotFound { .. } => (Kind::NotFound, "not found"),
        RawError::PermissionDenied { .. } => (Kind::Denied, "the credentials do not allow it"),
        RawError::Unauthenticated { .. } => (Kind::Denied, "the credentials were not accepted"),
        RawError::JoinError { .. } => (Kind::Transient, "interrupted"),
        RawError::NotSupported { .. } | RawError::NotImplemented { .. } => {
            (Kind::Fatal, "the store can't do this")
        }
        RawError::Generic { .. } => classify(&text, has_http_error(error)),
        _ => (Kind::Fatal, "refused by the store"),
    };
    // An object that is put or listed can't be missing, so what is missing is what should hold it.
    let wrong_op = kind == Kind::NotFound && matches!(op, Op::Put | Op::List);
    let (kind, what) = if wrong_op || no_bucket.iter().any(|t| text.contains(t)) {
        (Kind::Fatal, "the bucket or container does not exist")
    } else {
        (kind, what)
    };
    StoreError::new(kind, op, key, what).caused_by(answer::short(&text))
}

/// What an error means that `object_store` has no name for. Its type with the status is private, its text is not.
fn classify(text: &str, http: bool) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    let status =
        text.split("status code: ").nth(1).and_then(|t| t.get(..3)).and_then(|t| t.parse::<u16>().ok());
    match status {
        Some(401) => (Kind::Denied, "the credentials were not accepted"),
        Some(403) => (Kind::Denied, "the credentials do not allow it"),
        Some(404) => (Kind::NotFound, "not found"),
        Some(507) => (Kind::Full, "the store is full"),
        Some(501) => (Kind::Fatal, "the store can't do this"),
        Some(408 | 425 | 429) => (Kind::Transient, "the store asks to slow down"),
        Some(500..) => (Kind::Transient, "the store failed"),
        Some(416) => (Kind::Fatal, "the range reaches beyond the object's end"),
        Some(_) => (Kind::Fatal, "refused by the store"),
        None if text.contains("error response") => (Kind::Transient, "the store failed"),
        None if http => (Kind::Transient, "can't reach the store"),
        None => (Kind::Fatal, "failed"),
    }
}

fn has_http_error(error: &RawError) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(e) = next {
        if e.is::<object_store::client::HttpError>() {
            return true;
        }
        next = e.source();
    }
    false
}

/// A listing under way: checks the order, cuts the base off, skips what is no object of ours.
struct Listing {
    raw: BoxStream<'static, Result<ObjectMeta, RawError>>,
    prefix: String,
    base: String,
    last: Option<Key>,
}

impl Listing {
    async fn next(&mut self) -> Option<StoreResult<Listed>> {
        loop {
            let meta = match within(0, async { self.raw.next().await.transpose() }).await {
                Ok(meta) => meta?,
                Err(late) => return Some(Err(late.into_error(Op::List, &self.prefix))),
            };
            let text = meta.location.as_ref().strip_prefix(&self.base).unwrap_or("");
            let Ok(key) = Key::new(text) else { continue };
            if !text.starts_with(&self.prefix) {
                continue;
            }
            if self.last.as_ref().is_some_and(|last| *last >= key) {
                let what = format!("the store lists out of order: {key} too late");
                return Some(Err(StoreError::new(StoreErrorKind::Fatal, Op::List, &self.prefix, what)));
            }
            self.last = Some(key.clone());
            let at = meta.last_modified;
            let recorded = Timestamp::from_parts(at.timestamp(), at.timestamp_subsec_nanos());
            return Some(Ok(Listed { key, bytes: meta.size, recorded }));
        }
    }
}

#[async_trait]
impl Store for RemoteStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        if let Some((locks, until)) = self.lock_of(key) {
            return locks.put_new_locked(key, bytes, until).await;
        }
        let path = self.path(Op::Put, key.as_str())?;
        let size = bytes.len() as u64;
        let put = self.inner.put_opts(&path, PutPayload::from(bytes), PutMode::Create.into());
        match within(size, put).await {
            Ok(_) => Ok(Put::Created),
            Err(Late::Failed(RawError::AlreadyExists { path, source })) => {
                // A failed precondition (412) is wrapped as `object_store`'s own error, a 409 is not.
                let sure = self.conflict == Conflict::Exists || source.is::<RawError>();
                if sure {
                    return Ok(Put::AlreadyExists);
                }
                self.settle_conflict(key, RawError::AlreadyExists { path, source }).await
            }
            Err(late) => Err(late.into_error(Op::Put, key.as_str())),
        }
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let result = self.open(key, None).await?;
        super::check_whole(key, result.meta.size)?;
        self.receive(key, result).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        if let Some(answer) = check_range(key, &range) {
            return answer;
        }
        let result = match self.open(key, Some(GetRange::Bounded(range.clone()))).await {
            Ok(result) => result,
            // Stores differ in how they refuse a range; the object's size tells.
            Err(e) if e.kind == StoreErrorKind::Fatal => match self.find_size(key).await {
                Ok(Some(size)) if size < range.end => return Err(beyond_end(key, &range)),
                _ => return Err(e),
            },
            Err(e) => return Err(e),
        };
        if result.range != range {
            return Err(beyond_end(key, &range));
        }
        self.receive(key, result).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        // No request can ask for the last 0 bytes; one of them more than is wanted does no harm.
        let result = match self.open(key, Some(GetRange::Suffix(bytes_max.max(1)))).await {
            Ok(result) => result,
            // Azure has no ranges from the end, and an empty object has none at all.
            Err(e) if e.kind == StoreErrorKind::Fatal => {
                return self.get_tail_by_size(key, bytes_max, e).await;
            }
            Err(e) => return Err(e),
        };
        let size = result.meta.size;
        if result.range != (size.saturating_sub(bytes_max.max(1))..size) {
            let what = format!("bytes {:?} came instead of the last {bytes_max} of {size}", result.range);
            return Err(StoreError::new(StoreErrorKind::Fatal, Op::Get, key, what));
        }
        let mut bytes = self.receive(key, result).await?;
        if bytes_max == 0 {
            bytes.clear();
        }
        Ok((bytes, size))
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        let path = self.path(Op::Head, key.as_str())?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match within(0, self.inner.get_opts(&path, options)).await {
            Ok(result) => Ok(Some(result.meta.size)),
            Err(late) => match late.into_error(Op::Head, key.as_str()) {
                e if e.kind == StoreErrorKind::NotFound => Ok(None),
                e => Err(e),
            },
        }
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let paths = check_prefix(prefix).and_then(|()| {
            let folder = self.path(Op::List, prefix.trim_end_matches('/'))?;
            let after = after.map(|key| self.path(Op::List, key.as_str())).transpose()?;
            Ok((folder, after))
        });
        let raw = match paths {
            Ok((folder, Some(after))) => self.inner.list_with_offset(Some(&folder), &after),
            Ok((folder, None)) => self.inner.list(Some(&folder)),
            Err(e) => return stream::iter([Err(e)]).boxed(),
        };
        let listing = Listing { raw, prefix: prefix.to_owned(), base: self.base.clone(), last: None };
        stream::unfold(Some(listing), |state| async move {
            let mut state = state?;
            let item = state.next().await?;
            let next = item.is_ok().then_some(state);
            Some((item, next))
        })
        .boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let path = self.path(Op::Delete, key.as_str())?;
        let request = async {
            match self.inner.delete(&path).await {
                Ok(()) | Err(RawError::NotFound { .. }) => Ok(()),
                Err(e) => Err(e),
            }
        };
        within(0, request).await.map_err(|late| late.into_error(Op::Delete, key.as_str()))
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.locks.clone().map(|locks| locks as SharedLocks)
    }
}

#[cfg(test)]
mod tests;
