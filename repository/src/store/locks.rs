//! What a store does against deletion: versions, and locks on objects until a date.
//!
//! A lock is a promise of the store that not even its owner's credentials end early. Some stores refuse to delete a locked
//! object; others (S3, where versions are kept) hide it behind a delete marker, and keep the version. Nothing in the engine
//! depends on locks for safety.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Key, Put, StoreResult};
use crate::env::Timestamp;

/// What protects the objects of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// What is deleted or replaced stays as a version.
    pub versioning: bool,
    /// Objects can be locked.
    pub lock: bool,
    /// Every new object is locked this long by the bucket itself, seconds.
    pub default_seconds: Option<u64>,
}

/// What came of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// The object is locked until the date asked for.
    Done,
    /// It is locked until this later date already.
    Longer(Timestamp),
    /// There is no such object.
    Gone,
}

/// The strictness of locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockMode {
    /// Special permissions may end a lock.
    #[default]
    Governance,
    /// Nobody may, not even the owner of the account.
    Compliance,
}

impl LockMode {
    /// As S3 names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// How new objects are locked by whoever creates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockNew {
    /// From their creation on, seconds.
    pub seconds: u64,
    /// How strictly.
    pub mode: LockMode,
}

impl LockNew {
    /// Whether such an object is worth a lock: what a snapshot can't be restored without, and the audit record. Registrations,
    /// deltas, markers and quarantine are not: others make up for their loss, or they are to go.
    #[must_use]
    pub fn covers(key: &Key) -> bool {
        key.as_str() == "repo.json" || matches!(super::letter_of(key), 'p' | 'm' | 'k' | 'g' | 'a')
    }
}

/// A store whose objects can be locked.
#[async_trait]
pub trait Locks: Send + Sync + std::fmt::Debug {
    /// What the bucket does. `Denied` where the credentials may not ask.
    async fn protection(&self) -> StoreResult<Protection>;

    /// Creates an object that is locked from the beginning, unless the key is taken.
    async fn put_new_locked(&self, key: &Key, bytes: Bytes, until: Timestamp) -> StoreResult<Put>;

    /// Until when an object is locked; `None` if it is not. The bucket's own default may not show here. `NotFound` where
    /// there is no object.
    async fn find_lock(&self, key: &Key) -> StoreResult<Option<Timestamp>>;

    /// Locks an object until this date, or longer if it is already. Never shortens a lock.
    async fn extend_lock(&self, key: &Key, until: Timestamp) -> StoreResult<Extended>;
}

/// Locks of a store that is shared.
pub type SharedLocks = Arc<dyn Locks>;
