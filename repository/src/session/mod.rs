//! Sessions: how a writer or reader takes part in a repository without locks (rules W1 to W7 and WR of
//! docs/protocol.md).
//!
//! A session registers, learns what it must not refer to, puts packs and deltas, and ends with one outcome. Many
//! sessions and collectors run at once; none waits for another. The order of the steps is what makes this safe:
//! nothing here may be moved, cached or skipped without the model that says so.

mod commit;
mod existence;
mod follow;
pub(crate) mod forbidden;
pub mod history;
pub(crate) mod parts;
pub(crate) mod register;
mod relocations;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub use commit::Commit;
pub use history::{Found, History, SnapshotName};
pub use relocations::Relocations;

use crate::ids::{Generation, PackId, PackRef, Place, Sid};
use crate::index::objects::Objects;
use crate::manifest::Manifest;
use crate::manifest::record::SessionKind;
use crate::store::{StoreError, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

use existence::Existence;
use forbidden::Forbidden;
use register::Registered;

/// Who begins a session, and what for.
#[derive(Clone, Debug)]
pub struct Who {
    /// What the session is for.
    pub kind: SessionKind,
    /// The machine.
    pub node: String,
    /// The volume that is backed up; empty for others.
    pub volume: String,
    /// The snapshot that is read, which is kept while the session is open.
    pub snapshot: Option<Sid>,
}

impl Who {
    /// A writer of this volume.
    #[must_use]
    pub fn writer(node: &str, volume: &str) -> Self {
        Self { kind: SessionKind::Write, node: node.to_owned(), volume: volume.to_owned(), snapshot: None }
    }

    /// A reader of this snapshot.
    #[must_use]
    pub fn reader(node: &str, snapshot: Option<Sid>) -> Self {
        Self { kind: SessionKind::Read, node: node.to_owned(), volume: String::new(), snapshot }
    }
}

/// What holds since the last registration; a rebase (WR) replaces it as a whole.
#[derive(Debug)]
struct Current {
    registered: Registered,
    /// Everything condemned in any generation since the session began: what it saw to exist, it may have seen then.
    forbidden: Forbidden,
    relocations: Arc<Relocations>,
}

/// A registered session.
#[derive(Debug)]
pub struct Session {
    objects: Objects,
    who: Who,
    current: RwLock<Current>,
    following: tokio::sync::Mutex<()>,
    existence: Existence,
    deltas: AtomicU32,
    ended: AtomicBool,
}

impl Session {
    /// Registers and reads all that the session has to respect: W1 to W4.
    pub async fn open(objects: Objects, who: &Who) -> Result<Self> {
        // What a session writes is sealed under the newest epoch that there is when it begins.
        objects.refresh_keys().await?;
        let registered = register::register(&objects, who, None).await?;
        // W4: only what is read after W3 counts.
        let (forbidden, relocations) = forbidden::load(&objects, registered.generation, who.kind).await?;
        let current = Current { registered, forbidden, relocations: Arc::new(relocations) };
        Ok(Self {
            existence: Existence::new(objects.clone()),
            objects,
            who: who.clone(),
            current: RwLock::new(current),
            following: tokio::sync::Mutex::default(),
            deltas: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        })
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a reader, so that its snapshot counts as not forgotten until it closes. `None` where the credentials
    /// may only read, or the store is full: what is stored must come back all the same.
    pub async fn open_reader(objects: Objects, node: &str, snapshot: Option<Sid>) -> Result<Option<Self>> {
        match Self::open(objects, &Who::reader(node, snapshot)).await {
            Ok(session) => Ok(Some(session)),
            Err(e) if has_no_place(&e) => {
                tracing::debug!(error = %e.chain(), "reading without a registration");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Its name; of a writer that commits, the snapshot's id. A rebase changes it.
    #[must_use]
    pub fn sid(&self) -> Sid {
        self.current().registered.sid
    }

    /// The generation that it is registered in.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.current().registered.generation
    }

    /// Earlier sids of this work, closed because the generation moved.
    #[must_use]
    pub fn carries(&self) -> Vec<Sid> {
        self.current().registered.carries.clone()
    }

    /// The relocations that were read in W4, or by the last rebase.
    #[must_use]
    pub fn relocations(&self) -> Arc<Relocations> {
        Arc::clone(&self.current().relocations)
    }

    /// Where a blob is now: relocations followed.
    #[must_use]
    pub fn resolve(&self, place: Place) -> Place {
        self.current().relocations.resolve(place)
    }

    /// Whether anything was relocated at all.
    #[must_use]
    pub fn has_relocations(&self) -> bool {
        !self.current().relocations.is_empty()
    }

    /// Whether no place is ruled out by W5: the usual case.
    #[must_use]
    pub fn forbids_nothing(&self) -> bool {
        self.current().forbidden.is_empty()
    }

    /// W5: whether a blob at this (resolved) place may be referenced. A question about a pack that was not seen yet
    /// costs one request; equal questions are joined.
    pub async fn may_use(&self, place: Place) -> Result<bool> {
        if self.is_forbidden(place) {
            return Ok(false);
        }
        Ok(self.existence.find_size(place.pack).await?.is_some())
    }

    /// Whether W5 rules out this place without asking the store: its pack is condemned or the blob quarantined.
    #[must_use]
    pub fn is_forbidden(&self, place: Place) -> bool {
        self.current().forbidden.forbids(place)
    }

    /// Whether W5 rules out any blob of this pack without asking the store.
    #[must_use]
    pub fn forbids_of(&self, pack: PackId) -> bool {
        self.current().forbidden.forbids_of(pack)
    }

    /// Rules out blobs that this session found damaged itself (no ordinals: all of the pack), as long as it lasts: as if they
    /// had been in quarantine since W4.
    pub fn forbid(&self, pack: PackId, ordinals: &[u32]) {
        self.current.write().unwrap_or_else(PoisonError::into_inner).forbidden.meet(pack, ordinals);
    }

    /// Packs that are known to exist because the summary of the parent, read by [`Session::find_parent`], needs them.
    /// Nothing else may be passed: not the index, not a delta, not a cache (W5). Packs that were relocated are gone,
    /// though the summary names them: they are left out, and the copies asked for when they are needed.
    pub fn note_exists(&self, packs: impl IntoIterator<Item = PackRef>) {
        let relocations = self.relocations();
        self.existence.note(packs.into_iter().filter(|p| !relocations.moves(p.id)));
    }

    /// Sees all packs by one listing, instead of one request each. For sessions that are about to use many.
    pub async fn note_all_packs(&self) -> Result<()> {
        self.existence.note_listed().await
    }

    /// The size of a pack that was seen or put; asks the store for others. `None` where there is none.
    pub async fn pack_bytes(&self, pack: PackId) -> Result<Option<u64>> {
        self.existence.find_size(pack).await
    }

    /// The size of a pack that was seen or put, without asking the store.
    #[must_use]
    pub fn known_pack_bytes(&self, pack: PackId) -> Option<u64> {
        self.existence.known_size(pack)
    }

    /// W4: the newest snapshot of a volume that is committed, not void and not forgotten, by what the store says now.
    /// `cache_dir` keeps the names of snapshots, so that the next session reads new outcomes only.
    pub async fn find_parent(
        &self,
        volume: &str,
        cache_dir: Option<&Path>,
    ) -> Result<Option<(Sid, Manifest)>> {
        let history = History::load(&self.objects, cache_dir).await?;
        for name in history.newest_first(Some(volume)) {
            // The cache said which; only the store says what, and whether it still counts.
            let manifest = match history::read(&self.objects, name.generation, name.sid).await {
                Ok(Found::Committed(manifest)) if manifest.volume == volume => manifest,
                Ok(_) => continue,
                // `snapshots` and `verify` name it; an older parent costs time only.
                Err(e) if e.kind() == ErrorKind::Damaged => continue,
                Err(e) => return Err(e),
            };
            if !history::is_forgotten(&self.objects, name.generation, name.sid).await? {
                return Ok(Some((name.sid, *manifest)));
            }
        }
        Ok(None)
    }
}

fn has_no_place(e: &Error) -> bool {
    matches!(store_kind(e), Some(StoreErrorKind::Denied | StoreErrorKind::Full))
}

/// What the store said, if it is to blame.
pub(crate) fn store_kind(e: &Error) -> Option<StoreErrorKind> {
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return Some(store.kind);
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests;
