//! Until when objects are locked, as far as this machine knows. A cache: losing it costs requests.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use crate::codec::{Malformed, Reader, put_bytes, put_signed};
use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::PackId;
use crate::ops::Repository;
use crate::store::{Key, Protection, SharedLocks, StoreErrorKind};
use crate::{ErrorKind, Result};

const MAGIC: &[u8; 8] = b"HFLOCKS1";
const CACHE_BYTES_MAX: u64 = 1 << 30;
const KEY_BYTES_MAX: usize = 512;

/// Dates by key.
#[derive(Debug, Default)]
pub(super) struct KnownLocks(HashMap<Key, Timestamp>);

impl KnownLocks {
    pub(super) fn load(cache_dir: Option<&Path>) -> Self {
        cache_dir.and_then(|dir| read(&dir.join("locks"))).unwrap_or_default()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Timestamp> {
        self.0.get(key).copied()
    }

    pub(super) fn note(&mut self, key: Key, until: Timestamp) {
        self.0.insert(key, until);
    }

    /// Locks that have ended are of no use.
    pub(super) fn forget_past(&mut self, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
    }

    pub(super) fn save(&self, cache_dir: Option<&Path>) {
        let Some(dir) = cache_dir else { return };
        let mut out = MAGIC.to_vec();
        for (key, until) in &self.0 {
            put_bytes(&mut out, key.as_str().as_bytes());
            put_signed(&mut out, until.0);
        }
        let sum = blake3::hash(&out);
        out.extend_from_slice(sum.as_bytes());
        let write = || {
            std::fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(&out)?;
            file.persist(dir.join("locks"))?;
            Ok::<_, std::io::Error>(())
        };
        if let Err(e) = write() {
            tracing::warn!(error = %e, "the dates of locks could not be kept: the next run asks for them again");
        }
    }
}

fn read(path: &Path) -> Option<KnownLocks> {
    if std::fs::metadata(path).ok()?.len() > CACHE_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    (blake3::hash(body) == *sum).then(|| decode(body).ok())?
}

fn decode(bytes: &[u8]) -> Result<KnownLocks, Malformed> {
    let mut r = Reader::new(bytes);
    if r.array::<8>("magic")? != *MAGIC {
        return Err(r.malformed("magic"));
    }
    let mut known = KnownLocks::default();
    while !r.is_empty() {
        let key = std::str::from_utf8(r.bytes(KEY_BYTES_MAX, "key")?).ok().and_then(|k| Key::new(k).ok());
        let key = key.ok_or_else(|| r.malformed("key"))?;
        known.note(key, Timestamp(r.signed("date")?));
    }
    Ok(known)
}

/// Packs that are locked, as far as it is known: GC need not try to delete them yet, nor copy them forward.
#[derive(Debug)]
pub(crate) struct LockedPacks<'r> {
    repo: &'r Repository,
    locks: SharedLocks,
    known: KnownLocks,
    now: Timestamp,
    changed: bool,
}

impl<'r> LockedPacks<'r> {
    /// Those that the store refuses to delete; `None` where it refuses nothing, as far as can be asked. Where versions are kept, a
    /// deletion hides the pack, and the store deletes it when its time has come.
    pub(crate) async fn load(repo: &'r Repository) -> Option<Self> {
        Self::load_where(repo, |protection| protection.lock && !protection.versioning).await
    }

    /// Those of which the space comes back later only, whatever the store does; `None` where nothing is locked.
    pub(crate) async fn load_all(repo: &'r Repository) -> Option<Self> {
        Self::load_where(repo, |protection| protection.lock).await
    }

    async fn load_where(repo: &'r Repository, counts: impl Fn(Protection) -> bool) -> Option<Self> {
        let locks = repo.store.locks()?;
        if !counts(locks.protection().await.ok()?) {
            return None;
        }
        let (known, now) = (KnownLocks::load(repo.cache_dir.as_deref()), repo.env.now());
        Some(Self { repo, locks, known, now, changed: false })
    }

    /// True if it is known to be locked.
    pub(crate) fn is_locked(&self, pack: PackId) -> bool {
        self.known.get(&self.repo.layout.pack(pack)).is_some_and(|until| until > self.now)
    }

    /// Until when a pack is locked, by what the store says now. Credentials that may not ask know of no lock.
    pub(crate) async fn ask(&self, pack: PackId) -> Result<Option<Timestamp>> {
        let key = self.repo.layout.pack(pack);
        match self.locks.find_lock(&key).await {
            Ok(until) => Ok(until),
            Err(e) if matches!(e.kind, StoreErrorKind::Denied | StoreErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e).context(ErrorKind::Store, || format!("ask for the lock of {key}")),
        }
    }

    /// Remembers answers.
    pub(crate) fn note(&mut self, answers: impl IntoIterator<Item = (PackId, Option<Timestamp>)>) {
        for (pack, until) in answers {
            if let Some(until) = until {
                self.known.note(self.repo.layout.pack(pack), until);
                self.changed = true;
            }
        }
    }

    /// The store refused: asks until when, so that the next runs don't try.
    pub(crate) async fn note_refused(&mut self, pack: PackId) {
        if let Ok(until) = self.ask(pack).await {
            self.note([(pack, until)]);
        }
    }

    /// Keeps what was learnt.
    pub(crate) fn save(self) {
        if self.changed {
            self.known.save(self.repo.cache_dir.as_deref());
        }
    }
}
