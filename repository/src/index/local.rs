//! The repository's own index, kept by a process: the newest root of the store with its shards, the deltas that it does
//! not stand for, and a cache folder so that the next process reads only what is new.
//!
//! The cache may be deleted at any time. It never says that a pack exists (rule W5). A folder that can't be read or
//! written, or is full, costs time and a warning, never a backup.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};

use super::objects::Objects;
use super::stored::{DeltaName as Name, NAME_BYTES, decode_name, encode_name};
use super::{Index, Lookup, Prefix, delta};
use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{BlobId, Generation, PackId, Place, Sid};
use crate::layout::ObjectKind;
use crate::limits::{INDEX_FETCHES, INDEX_LOADS_MAX};
use crate::store::Key;
use crate::{Error, ErrorKind, Result};

/// How a [`LocalIndex`] is kept.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Folder of its shards, its own; `None` keeps nothing between processes.
    pub cache_dir: Option<PathBuf>,
    /// Lookups look for new deltas when the last look is this many seconds old.
    pub refresh_seconds: u64,
}

/// What a refresh brought.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Deltas read.
    pub deltas: u64,
    /// Packs in them.
    pub packs: u64,
    /// Shards of the stored index read.
    pub shards: u64,
    /// Deltas, roots and shards that could not be read: what they name is stored again, or found by other ways. Each is named once.
    pub damaged: Vec<Error>,
}

mod roots;

/// A note with this for a sid says that the root of a generation is in here.
const ROOT: Sid = Sid([0xff; 16]);
/// A note with this for a sid says that packs that were swept up to a generation are not in here.
const SWEPT: Sid = Sid([0xfe; 16]);
/// Deltas that are worth a shard of their own in the cache.
const SAVE_DELTAS: usize = 16;

#[derive(Debug)]
struct State {
    index: Index,
    /// Deltas that are in it, or can't be read.
    known: HashSet<Name>,
    damaged: HashSet<Name>,
    /// Generations whose roots are in it; and those whose roots are lost, in whole or in part.
    roots: HashSet<Generation>,
    lost_roots: HashSet<Generation>,
    /// Packs swept up to here are not in it.
    swept: Generation,
    unsaved: usize,
    refreshed: Option<Timestamp>,
    /// The next process finds it in the cache folder.
    kept: bool,
}

/// The index of one domain, loaded from its deltas.
#[derive(Debug)]
pub struct LocalIndex {
    objects: Objects,
    refresh_seconds: u64,
    state: RwLock<State>,
    refreshing: tokio::sync::Mutex<()>,
}

impl State {
    /// With what an index notes of itself.
    fn of(index: Index, kept: bool) -> Self {
        let mut state = Self {
            index: Index::temporary(),
            known: HashSet::new(),
            damaged: HashSet::new(),
            roots: HashSet::new(),
            lost_roots: HashSet::new(),
            swept: Generation::default(),
            unsaved: 0,
            refreshed: None,
            kept,
        };
        for name in index.notes().flat_map(|n| n.chunks_exact(NAME_BYTES)).filter_map(decode_name) {
            match name {
                (generation, ROOT, _) => {
                    state.roots.insert(generation);
                }
                (generation, SWEPT, _) => state.swept = state.swept.max(generation),
                _ => {
                    state.known.insert(name);
                }
            }
        }
        state.index = index;
        state
    }
}

impl LocalIndex {
    /// Opens what the cache folder has, without asking the store yet.
    #[must_use]
    pub fn open(objects: Objects, options: LocalOptions) -> Self {
        let opened = options.cache_dir.and_then(|dir| {
            let warn = |error| tracing::warn!(%error, dir = %dir.display(), "the cache folder can't be used; going on without");
            Index::open(&dir).map_err(warn).ok()
        });
        let kept = opened.is_some();
        let state = RwLock::new(State::of(opened.unwrap_or_else(Index::temporary), kept));
        let refreshing = tokio::sync::Mutex::new(());
        Self { objects, refresh_seconds: options.refresh_seconds, state, refreshing }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all deltas that are new in the store.
    pub async fn refresh(&self) -> Result<Refreshed> {
        let _one_at_a_time = self.refreshing.lock().await;
        self.refresh_locked().await
    }

    async fn refresh_locked(&self) -> Result<Refreshed> {
        match self.read_new().await {
            Err(error) if error.kind() == ErrorKind::Refused && self.lose_cache() => {
                tracing::warn!(error = %error.chain(), "the cache folder can't be written; going on without");
                self.read_new().await
            }
            done => done,
        }
    }

    /// Forgets what it knows, of which a failed write may have lost a part. False where nothing was kept anyway.
    fn lose_cache(&self) -> bool {
        let mut state = self.write();
        let was_kept = state.kept;
        if was_kept {
            *state = State::of(Index::temporary(), false);
        }
        was_kept
    }

    async fn read_new(&self) -> Result<Refreshed> {
        let listed_at = self.objects.env.now();
        let mut done = Refreshed::default();
        for _ in 0..INDEX_LOADS_MAX {
            // A collector writes a root before it deletes what the root stands for.
            let whole = self.read_root(&mut done).await?;
            if self.read_deltas(&mut done).await? && whole {
                break;
            }
        }
        self.write().refreshed = Some(listed_at);
        if self.read().unsaved >= SAVE_DELTAS {
            self.save()?;
        }
        Ok(done)
    }

    /// False if one of those that were listed is gone.
    async fn read_deltas(&self, done: &mut Refreshed) -> Result<bool> {
        let keys = self.objects.list(&self.objects.layout.folder(ObjectKind::Delta), None).await?;
        let new: Vec<(Name, Key)> = {
            let state = self.read();
            let parsed = keys.into_iter().filter_map(|k| Some((self.objects.layout.parse_delta(&k)?, k)));
            parsed.filter(|(name, _)| !state.known.contains(name)).collect()
        };
        let mut fetched = stream::iter(new.into_iter().map(|(name, key)| {
            let objects = self.objects.clone();
            async move {
                let read = async {
                    let Some(plain) = objects.find(ObjectKind::Delta, &key).await? else { return Ok(None) };
                    delta::decode(&plain).map(Some).context(ErrorKind::Damaged, || format!("read {key}"))
                };
                (name, read.await)
            }
        }))
        .buffered(INDEX_FETCHES);
        let mut all_there = true;
        while let Some((name, read)) = fetched.next().await {
            match read {
                Ok(None) => all_there = false,
                Ok(Some(packs)) => {
                    done.deltas += 1;
                    done.packs += packs.len() as u64;
                    self.insert(name, &packs)?;
                }
                Err(e) if e.kind() == ErrorKind::Damaged => {
                    let mut state = self.write();
                    state.known.insert(name);
                    state.damaged.insert(name);
                    done.damaged.push(e);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(all_there)
    }

    fn insert(&self, name: Name, packs: &[delta::DeltaPack]) -> Result<()> {
        let insert = || {
            let mut state = self.write();
            for p in packs {
                state.index.insert_pack(p.pack, &p.blobs)?;
            }
            state.index.insert_note(&encode_name(name));
            state.known.insert(name);
            state.unsaved += 1;
            state.index.flush_if_full()
        };
        insert().context(ErrorKind::Refused, || "write the local index".to_owned())
    }

    /// Keeps all that was read in the cache folder, for the next process.
    pub fn save(&self) -> Result<()> {
        let mut state = self.write();
        if state.kept && state.unsaved > 0 {
            state.index.flush().context(ErrorKind::Refused, || "write the index cache".to_owned())?;
            state.unsaved = 0;
        }
        Ok(())
    }

    /// Forgets packs that a GC has deleted.
    pub fn remove_packs(&self, packs: impl IntoIterator<Item = PackId>) {
        self.write().index.remove_packs(packs);
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().index.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The places of `ids` in packs that `accept` takes, by what is known now.
    pub fn find_where(&self, ids: &[BlobId], mut accept: impl FnMut(PackId) -> bool) -> Vec<Option<Place>> {
        let state = self.read();
        ids.iter().map(|id| state.index.find_where(id, |p| accept(p.id))).collect()
    }

    /// The blobs of a pack, by the first halves of their ids, as far as is known. Looks at everything.
    pub(crate) fn blobs_of(&self, pack: PackId) -> BTreeMap<u32, Prefix> {
        self.read().index.blobs_of(pack)
    }

    /// A place of the blob whose id begins like this, in a pack that `accept` takes.
    pub(crate) fn find_prefix(
        &self,
        prefix: Prefix,
        mut accept: impl FnMut(PackId) -> bool,
    ) -> Option<Place> {
        self.read().index.find_prefix(prefix, |p| accept(p.id))
    }

    fn is_stale(&self) -> bool {
        let seconds = i64::try_from(self.refresh_seconds).unwrap_or(i64::MAX);
        // A clock that was set back makes it stale too, not fresh for hours.
        self.read().refreshed.is_none_or(|t| {
            let now = self.objects.env.now();
            now < t || now >= t.plus_seconds(seconds)
        })
    }
}

#[async_trait]
impl Lookup for LocalIndex {
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        if self.is_stale() {
            let _one_at_a_time = self.refreshing.lock().await;
            if self.is_stale() {
                for damaged in self.refresh_locked().await?.damaged {
                    tracing::warn!(error = %damaged.chain(), "an index delta is not readable");
                }
            }
        }
        Ok(self.find_where(ids, |_| true))
    }

    fn find_besides(&self, id: &BlobId, packs: &HashSet<PackId>) -> Option<Place> {
        self.read().index.find_where(id, |p| !packs.contains(&p.id))
    }
}

#[cfg(test)]
mod tests;
