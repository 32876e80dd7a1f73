//! A store that locks objects and refuses to delete locked ones, for tests: what stores without versions do.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::locks::{Extended, LockNew, Locks, Protection, SharedLocks};
use super::{Key, Listed, Op, Put, Store, StoreError, StoreErrorKind, StoreResult};
use crate::env::{Env, Timestamp};

/// What the store and its locks share.
#[derive(Debug)]
struct Shared {
    inner: Arc<dyn Store>,
    env: Env,
    default_seconds: Option<u64>,
    until: Mutex<HashMap<Key, Timestamp>>,
    asked: AtomicU64,
    refused: AtomicU64,
}

/// A store with locks.
#[derive(Clone, Debug)]
pub struct LockingStore(Arc<Shared>);

impl LockingStore {
    /// Wraps a store. With `default_seconds`, every new object that is worth it is locked so long.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, env: Env, default_seconds: Option<u64>) -> Self {
        Self(Arc::new(Shared {
            inner,
            env,
            default_seconds,
            until: Mutex::default(),
            asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Requests about locks so far.
    #[must_use]
    pub fn lock_requests(&self) -> u64 {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Deletions that were refused so far.
    #[must_use]
    pub fn deletes_refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Until when an object is locked.
    #[must_use]
    pub fn locked_until(&self, key: &Key) -> Option<Timestamp> {
        self.0.until().get(key).copied()
    }
}

impl Shared {
    fn until(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, key: &Key, until: Timestamp) -> Extended {
        let mut all = self.until();
        let known = all.entry(key.clone()).or_insert(until);
        if *known > until {
            return Extended::Longer(*known);
        }
        *known = until;
        Extended::Done
    }
}

#[async_trait]
impl Locks for Shared {
    async fn protection(&self) -> StoreResult<Protection> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Protection { versioning: false, lock: true, default_seconds: self.default_seconds })
    }

    async fn put_new_locked(&self, key: &Key, bytes: Bytes, until: Timestamp) -> StoreResult<Put> {
        let put = self.inner.put_new(key, bytes).await?;
        if put == Put::Created {
            self.lock(key, until);
        }
        Ok(put)
    }

    async fn find_lock(&self, key: &Key) -> StoreResult<Option<Timestamp>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.until().get(key).copied())
    }

    async fn extend_lock(&self, key: &Key, until: Timestamp) -> StoreResult<Extended> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.inner.find_size(key).await? {
            Some(_) => Ok(self.lock(key, until)),
            None => Ok(Extended::Gone),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for LockingStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        match self.0.default_seconds.filter(|_| LockNew::covers(key)) {
            Some(seconds) => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                self.0.put_new_locked(key, bytes, self.0.env.now().plus_seconds(seconds)).await
            }
            None => self.0.inner.put_new(key, bytes).await,
        }
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.0.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.0.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.0.inner.get_tail(key, bytes_max).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.0.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        self.0.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let until = self.0.until().get(key).copied();
        if until.is_some_and(|until| until > self.0.env.now()) {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::new(StoreErrorKind::Denied, Op::Delete, key, "the object is locked"));
        }
        self.0.inner.delete(key).await
    }

    fn locks(&self) -> Option<SharedLocks> {
        Some(Arc::clone(&self.0) as SharedLocks)
    }
}
