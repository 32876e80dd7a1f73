//! Keeps small immutable things in a local folder, so that they are fetched once.
//!
//! A [`Cache`] keeps what it is given under the name that it is given, sealed as the caller has it; a [`CachedStore`] keeps
//! a store's small objects in one. Only answers to `get` come from it. Whether an object exists, and which exist, is always asked of the store: a
//! cached copy is no proof. Every file carries a hash of its key and bytes; one that is cut short or changed is a miss.
//! Everything in the folder may be deleted at any time, and no error of the local disk ever reaches the caller.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tracing::{debug, warn};

use super::{Key, Listed, Put, SharedLocks, Store, StoreResult, letter_of};
use crate::env::Env;

/// Larger objects are not kept: packs are read by ranges, and have caches of their own.
const OBJECT_BYTES_MAX: usize = 4 << 20;
const HASH_BYTES: usize = 32;
/// A used file's time is set anew after this long, so that it is not the next to go.
const TOUCH_AFTER: Duration = Duration::from_secs(3600);

/// A store with a cache folder.
#[derive(Debug)]
pub struct CachedStore {
    inner: Arc<dyn Store>,
    cache: Arc<Cache>,
}

/// A bounded folder of checked files.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// Bytes in the folder, roughly: other processes share it. Counted by the first insertion, and anew when it is
    /// exceeded.
    bytes: AtomicU64,
    counted: AtomicBool,
    /// A folder that can't be written is told of once.
    warned: AtomicBool,
    evicting: Mutex<()>,
    env: Env,
}

impl CachedStore {
    /// Wraps the store of one repository; `folder` must be this repository's alone. Keeps up to `bytes_max` in it.
    #[must_use]
    pub fn open(inner: Arc<dyn Store>, folder: &Path, bytes_max: u64, env: &Env) -> Self {
        Self::with(inner, Cache::open(folder, bytes_max, env))
    }

    /// Keeps the store's small objects in `cache`.
    #[must_use]
    pub fn with(inner: Arc<dyn Store>, cache: Arc<Cache>) -> Self {
        Self { inner, cache }
    }

    async fn keep(&self, key: &Key, bytes: &Bytes) {
        if is_kept(key) {
            self.cache.keep(key, bytes).await;
        }
    }
}

/// Kinds of objects that never change under their name. Key wraps are left out: one that was removed must be gone.
fn is_kept(key: &Key) -> bool {
    matches!(letter_of(key), 'm' | 'i' | 's' | 'g' | 'x' | 'q' | 'p')
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn hash(key: &Key, bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.as_str().len() as u64).to_le_bytes()).update(key.as_str().as_bytes()).update(bytes);
    *hasher.finalize().as_bytes()
}

impl Cache {
    /// Keeps up to `bytes_max` in `folder`, which must be one repository's alone. Nothing is read or made yet.
    #[must_use]
    pub fn open(folder: &Path, bytes_max: u64, env: &Env) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            bytes_max,
            bytes: AtomicU64::new(0),
            counted: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            evicting: Mutex::default(),
            env: env.clone(),
        })
    }

    /// What is kept under this name.
    pub async fn get(self: &Arc<Self>, key: &Key) -> Option<Bytes> {
        let (cache, key) = (Arc::clone(self), key.clone());
        blocking(move || cache.find(&key)).await.flatten()
    }

    /// Keeps `bytes` under this name, unless they are many. A failure is told of once, and harms nobody.
    pub async fn keep(self: &Arc<Self>, key: &Key, bytes: &Bytes) {
        if bytes.len() <= OBJECT_BYTES_MAX {
            let (cache, key, bytes) = (Arc::clone(self), key.clone(), bytes.clone());
            blocking(move || cache.insert(&key, &bytes)).await;
        }
    }

    /// Drops what proved wrong, so that it is fetched again.
    pub async fn forget(self: &Arc<Self>, key: &Key) {
        let (cache, key) = (Arc::clone(self), key.clone());
        blocking(move || drop(std::fs::remove_file(cache.path(&key)))).await;
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = blake3::hash(key.as_str().as_bytes()).to_hex();
        self.folder.join(&name[..2]).join(&name[2..42])
    }

    fn find(&self, key: &Key) -> Option<Bytes> {
        let path = self.path(key);
        let mut file = std::fs::read(&path).ok()?;
        let size = file.len().checked_sub(HASH_BYTES);
        if size.is_none_or(|n| hash(key, &file[..n]) != file[n..]) {
            debug!(%key, "cache: a damaged copy is dropped");
            drop(std::fs::remove_file(&path));
            return None;
        }
        file.truncate(size?);
        self.touch(&path);
        Some(file.into())
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.env.now().0).unwrap_or(0))
    }

    fn touch(&self, path: &Path) {
        let now = self.now();
        let used = path.metadata().and_then(|data| data.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > TOUCH_AFTER)) {
            drop(std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now)));
        }
    }

    fn insert(&self, key: &Key, bytes: &[u8]) {
        match self.write(key, bytes) {
            Ok(()) => {
                let added = (bytes.len() + HASH_BYTES) as u64;
                let first = !self.counted.swap(true, Ordering::Relaxed);
                if first || self.bytes.fetch_add(added, Ordering::Relaxed) + added > self.bytes_max {
                    self.evict();
                }
            }
            Err(e) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    warn!(error = %e, folder = %self.folder.display(), "the cache folder can't be written");
                }
            }
        }
    }

    fn write(&self, key: &Key, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.write_all(&hash(key, bytes))?;
        file.as_file().set_modified(self.now())?;
        file.persist(&path)?;
        Ok(())
    }

    /// Counts the folder, and deletes what was used longest ago if it is too large, down to three quarters.
    fn evict(&self) {
        let _one = match self.evicting.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(e)) => PoisonError::into_inner(e),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut files = Vec::new();
        for shard in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(shard.path()).into_iter().flatten().flatten() {
                let Ok(data) = file.metadata() else { continue };
                if data.is_file() {
                    files.push((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len(), file.path()));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        if bytes > self.bytes_max {
            files.sort();
            for (_, size, path) in files {
                if bytes <= self.bytes_max / 4 * 3 {
                    break;
                }
                if std::fs::remove_file(path).is_ok() {
                    bytes -= size;
                }
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for CachedStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        let put = self.inner.put_new(key, bytes.clone()).await?;
        match put {
            Put::Created => self.keep(key, &bytes).await,
            // The caller reads it back now, and must see what the store has.
            Put::AlreadyExists => self.cache.forget(key).await,
        }
        Ok(put)
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        if !is_kept(key) {
            return self.inner.get(key).await;
        }
        if let Some(bytes) = self.cache.get(key).await {
            return Ok(bytes);
        }
        let bytes = self.inner.get(key).await?;
        self.keep(key, &bytes).await;
        Ok(bytes)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.inner.get_tail(key, bytes_max).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        self.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.cache.forget(key).await;
        self.inner.delete(key).await
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.inner.locks()
    }
}

#[cfg(test)]
mod tests;
