//! Tries again what may succeed later: exponential backoff with jitter, bounded in tries and in time.
//!
//! Only `Transient` errors are tried again. A `put_new` whose first reply was lost finds its own object and reports
//! `AlreadyExists`; it is passed on, because only the caller can tell an own object from another writer's.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::locks::{Extended, Locks, Protection, SharedLocks};
use super::{Key, Listed, Put, Store, StoreError, StoreErrorKind, StoreResult};
use crate::env::{Random, Timestamp};

/// How often and how long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Requests for one operation, the first included.
    pub tries_max: u32,
    /// No new try begins after this time.
    pub time_max: Duration,
    /// Wait before the second try, on average three quarters of this; doubled each time.
    pub delay_first: Duration,
    /// The wait never grows beyond this.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    /// Outlasts a failover of half a minute, and tells a person within a minute that the store is gone.
    fn default() -> Self {
        Self {
            tries_max: 8,
            time_max: Duration::from_secs(120),
            delay_first: Duration::from_millis(200),
            delay_max: Duration::from_secs(15),
        }
    }
}

impl RetryPolicy {
    /// No second try.
    #[must_use]
    pub fn none() -> Self {
        Self { tries_max: 1, ..Self::default() }
    }

    /// The wait after the `failed`th failed try (1, 2, ...): between half and all of the doubled delay.
    fn delay(&self, failed: u32, jitter: u32) -> Duration {
        let doubled =
            self.delay_first.saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = doubled.min(self.delay_max);
        full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    }
}

/// A store that tries again.
#[derive(Clone, Debug)]
pub struct RetryStore {
    inner: Arc<dyn Store>,
    policy: RetryPolicy,
    random: Arc<dyn Random>,
}

/// The tries of one operation.
struct Tries {
    policy: RetryPolicy,
    random: Arc<dyn Random>,
    begun: Instant,
    failed: u32,
}

impl Tries {
    /// Waits if the operation may be tried again, else gives the error back.
    async fn wait_after(&mut self, error: StoreError) -> StoreResult<()> {
        self.failed += 1;
        let mut jitter = [0; 4];
        self.random.fill(&mut jitter);
        let delay = self.policy.delay(self.failed, u32::from_le_bytes(jitter));
        let tired =
            self.failed >= self.policy.tries_max || self.begun.elapsed() + delay > self.policy.time_max;
        if error.kind != StoreErrorKind::Transient || tired {
            return Err(error);
        }
        warn!(op = error.op.name(), key = %error.key, tries = self.failed, ?delay, what = %error.what, "store: trying again");
        sleep(delay).await;
        Ok(())
    }
}

impl RetryStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, policy: RetryPolicy, random: Arc<dyn Random>) -> Self {
        Self { inner, policy, random }
    }

    fn tries(&self) -> Tries {
        Tries { policy: self.policy, random: self.random.clone(), begun: Instant::now(), failed: 0 }
    }

    async fn run<T, F: Future<Output = StoreResult<T>> + Send>(
        &self,
        op: impl Fn() -> F + Send,
    ) -> StoreResult<T> {
        let mut tries = self.tries();
        loop {
            match op().await {
                Ok(done) => return Ok(done),
                Err(error) => tries.wait_after(error).await?,
            }
        }
    }
}

/// A listing that is taken up again after the last key that it gave.
struct Resumed {
    store: RetryStore,
    prefix: String,
    after: Option<Key>,
    tries: Tries,
    listing: Option<BoxStream<'static, StoreResult<Listed>>>,
}

impl Resumed {
    async fn next(&mut self) -> Option<StoreResult<Listed>> {
        loop {
            let inner = &self.store.inner;
            let listing = self.listing.get_or_insert_with(|| inner.list(&self.prefix, self.after.as_ref()));
            match listing.next().await? {
                Ok(listed) => {
                    self.after = Some(listed.key.clone());
                    self.tries = self.store.tries();
                    return Some(Ok(listed));
                }
                Err(error) => {
                    self.listing = None;
                    if let Err(error) = self.tries.wait_after(error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for RetryStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.run(|| self.inner.put_new(key, bytes.clone())).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.run(|| self.inner.get(key)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.run(|| self.inner.get_range(key, range.clone())).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.run(|| self.inner.get_tail(key, bytes_max)).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.run(|| self.inner.find_size(key)).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let tries = self.tries();
        let resumed = Resumed {
            store: self.clone(),
            prefix: prefix.to_owned(),
            after: after.cloned(),
            tries,
            listing: None,
        };
        stream::unfold(Some(resumed), |state| async move {
            let mut state = state?;
            let item = state.next().await?;
            let next = item.is_ok().then_some(state);
            Some((item, next))
        })
        .boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.run(|| self.inner.delete(key)).await
    }

    fn locks(&self) -> Option<SharedLocks> {
        let inner = self.inner.locks()?;
        Some(Arc::new(RetryLocks { inner, store: self.clone() }))
    }
}

/// Locks that are tried again.
#[derive(Debug)]
struct RetryLocks {
    inner: SharedLocks,
    store: RetryStore,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Locks for RetryLocks {
    async fn protection(&self) -> StoreResult<Protection> {
        self.store.run(|| self.inner.protection()).await
    }

    async fn put_new_locked(&self, key: &Key, bytes: Bytes, until: Timestamp) -> StoreResult<Put> {
        self.store.run(|| self.inner.put_new_locked(key, bytes.clone(), until)).await
    }

    async fn find_lock(&self, key: &Key) -> StoreResult<Option<Timestamp>> {
        self.store.run(|| self.inner.find_lock(key)).await
    }

    async fn extend_lock(&self, key: &Key, until: Timestamp) -> StoreResult<Extended> {
        self.store.run(|| self.inner.extend_lock(key, until)).await
    }
}

#[cfg(test)]
mod tests;
