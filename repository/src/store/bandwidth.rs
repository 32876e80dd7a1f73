//! Bounds the bytes per second, up and down, over the time of a few objects.
//!
//! A bucket may go into debt: an object larger than what is left is let through, and the next one waits until the debt
//! is paid. So the average holds for objects of any size, and nothing waits for ever. Time is tokio's, so that tests
//! can stop it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::time::{Instant, sleep_until};

use super::{Key, Listed, Put, SharedLocks, Store, StoreResult};

/// Unused allowance is kept for this long.
const BURST: Duration = Duration::from_secs(1);

/// A token bucket. Cloning shares it, so that several stores can share one line.
#[derive(Clone, Debug)]
pub struct Bandwidth(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// When all that was let through so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// A bucket of this rate; 0 counts as 1.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self(Arc::new(Bucket { bytes_per_second: bytes_per_second.max(1), paid: Mutex::new(None) }))
    }

    /// Books the bytes and waits until those booked before are paid for.
    async fn take(&self, bytes: u64) {
        if bytes > 0 {
            sleep_until(self.book(Instant::now(), bytes)).await;
        }
    }

    /// Books the bytes; tells when they may pass.
    fn book(&self, now: Instant, bytes: u64) -> Instant {
        let mut paid = self.0.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        let begin = paid.map_or(oldest, |p| p.max(oldest));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.bytes_per_second);
        // A year is for ever; the bound keeps `Instant` from overflowing.
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            .min(Duration::from_secs(31_536_000));
        *paid = Some(begin + cost);
        begin.max(now)
    }
}

/// A store behind a narrow line.
#[derive(Debug)]
pub struct BandwidthStore {
    inner: Arc<dyn Store>,
    up: Option<Bandwidth>,
    down: Option<Bandwidth>,
}

impl BandwidthStore {
    /// Wraps a store; `None` is unlimited.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, up: Option<Bandwidth>, down: Option<Bandwidth>) -> Self {
        Self { inner, up, down }
    }
}

async fn take(bandwidth: Option<&Bandwidth>, bytes: u64) {
    if let Some(bandwidth) = bandwidth {
        bandwidth.take(bytes).await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for BandwidthStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        take(self.up.as_ref(), bytes.len() as u64).await;
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        // Its size is known afterwards only; the debt makes the next one wait.
        let bytes = self.inner.get(key).await?;
        take(self.down.as_ref(), bytes.len() as u64).await;
        Ok(bytes)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        take(self.down.as_ref(), range.end.saturating_sub(range.start)).await;
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        let (bytes, size) = self.inner.get_tail(key, bytes_max).await?;
        take(self.down.as_ref(), bytes.len() as u64).await;
        Ok((bytes, size))
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        self.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.inner.delete(key).await
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.inner.locks()
    }
}

#[cfg(test)]
mod tests;
