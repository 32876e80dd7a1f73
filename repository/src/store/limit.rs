//! Bounds how many requests are under way at once.
//!
//! Listings are not counted: one runs for as long as its reader takes, and a reader that gets objects while it lists
//! would wait for itself. There are never more than a few.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Key, Listed, Put, SharedLocks, Store, StoreResult};

/// A store with a bound on concurrent requests.
#[derive(Debug)]
pub struct LimitedStore {
    inner: Arc<dyn Store>,
    permits: Semaphore,
}

impl LimitedStore {
    /// At most `requests_max` at once; 0 counts as 1.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, requests_max: usize) -> Self {
        Self { inner, permits: Semaphore::new(requests_max.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for LimitedStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        let _permit = self.permit().await;
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let _permit = self.permit().await;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        let _permit = self.permit().await;
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        let _permit = self.permit().await;
        self.inner.get_tail(key, bytes_max).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        let _permit = self.permit().await;
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        self.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let _permit = self.permit().await;
        self.inner.delete(key).await
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.inner.locks()
    }
}

#[cfg(test)]
mod tests;
