//! Stores blobs, each once: looks in this session, then in the index, and only then packs.
//!
//! Two parts of a backup that meet the same new blob agree through *claims*: the first stores it, the others wait for
//! its place. A claim that is dropped (its part failed) is given back, so that nobody waits for ever.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::packing::Packing;
use super::reuse::Trusted;
use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef, PackRef, Place};
use crate::index::{Index, Lookup};
use crate::limits::PLACES_TRIED;
use crate::monitor::Monitor;
use crate::ops::Repository;
use crate::ops::kept::Kept;
use crate::pack::{Footer, PackKind, group};
use crate::session::Session;
use crate::{Error, ErrorKind, Result};

/// What this session has stored or is storing.
#[derive(Debug)]
pub(super) struct Known {
    /// Blobs of packs that are still being filled; `None` while somebody stores them.
    open: HashMap<BlobId, Option<Place>>,
    /// Blobs of finished packs; spills to temporary files beyond its table.
    finished: Index,
}

/// The session's table of blobs. Shared by all parts of one backup.
#[derive(Debug)]
pub(super) struct Table {
    known: Mutex<Known>,
    changed: Notify,
}

impl Table {
    pub(super) fn new() -> Self {
        let known = Known { open: HashMap::new(), finished: Index::temporary() };
        Self { known: Mutex::new(known), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blobs got their places in a pack that is being filled.
    pub(super) fn placed(&self, blobs: impl Iterator<Item = (BlobId, Place)>) {
        self.lock().open.extend(blobs.map(|(id, place)| (id, Some(place))));
        self.changed.notify_waiters();
    }

    /// A pack is finished: its blobs move to the table that may spill.
    pub(super) fn finished(&self, pack: PackRef, footer: &Footer) -> Result<()> {
        let ids: Vec<BlobId> = footer.blobs.iter().map(|b| b.id).collect();
        let mut known = self.lock();
        let insert = known.finished.insert_pack(pack, &ids).and_then(|()| known.finished.flush_if_full());
        for id in &ids {
            if known.open.get(id).is_some_and(|p| p.is_some_and(|p| p.pack == pack.id)) {
                known.open.remove(id);
            }
        }
        insert.context(ErrorKind::Internal, || {
            "keep the table of new blobs (is the temporary folder full?)".to_owned()
        })
    }
}

/// Blobs that this part of the backup has promised to place.
struct Claim<'t> {
    table: &'t Table,
    ids: Vec<BlobId>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut known = self.table.lock();
        for id in &self.ids {
            if known.open.get(id).is_some_and(Option::is_none) {
                known.open.remove(id);
            }
        }
        drop(known);
        self.table.changed.notify_waiters();
    }
}

/// Stores blobs for one backup.
#[derive(Debug)]
pub(super) struct BlobWriter {
    pub(super) repo: Arc<Repository>,
    pub(super) session: Arc<Session>,
    pub(super) table: Arc<Table>,
    pub(super) packing: Arc<Packing>,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) zstd_level: i32,
    /// Where metadata is kept for the next backup, beside the store.
    pub(super) kept: Option<Kept>,
    /// What of others it may refer to.
    pub(super) trusted: Trusted,
}

impl BlobWriter {
    /// Stores blobs of file content that belong together; their references in order. Known ones cost nothing.
    pub(super) async fn store(&self, blobs: &[(BlobId, Bytes)]) -> Result<Vec<BlobRef>> {
        self.place(blobs, PackKind::Data).await
    }

    /// Stores one metadata blob, or finds it.
    pub(super) async fn store_meta(&self, plain: Vec<u8>) -> Result<BlobRef> {
        let blob = [(self.repo.keys.blob_id(&plain), Bytes::from(plain))];
        let placed = self.place(&blob, PackKind::Meta).await?.pop();
        placed.ok_or_else(|| Error::new(ErrorKind::Internal, "a metadata blob has no place"))
    }

    async fn place(&self, blobs: &[(BlobId, Bytes)], kind: PackKind) -> Result<Vec<BlobRef>> {
        let mut places = vec![None; blobs.len()];
        loop {
            let mut changed = pin!(self.table.changed.notified());
            changed.as_mut().enable();
            let claimed = self.claim(blobs, &mut places);
            if !claimed.is_empty() {
                self.settle(blobs, &claimed, &mut places, kind).await?;
                continue;
            }
            if let Some(refs) = complete(blobs, &places) {
                return Ok(refs);
            }
            tokio::select! {
                () = changed => {}
                e = self.packing.failed() => return Err(e),
            }
        }
    }

    /// Fills in the places of known blobs; claims those that nobody has or stores.
    fn claim(&self, blobs: &[(BlobId, Bytes)], places: &mut [Option<Place>]) -> Vec<usize> {
        let mut claimed = Vec::new();
        let mut known = self.table.lock();
        for (i, (id, bytes)) in blobs.iter().enumerate() {
            if places[i].is_some() {
                continue;
            }
            // What a fenced session stored may have been condemned before it went on.
            let open = known.open.get(id).filter(|p| p.is_none_or(|p| !self.session.is_forbidden(p)));
            match open {
                Some(Some(place)) => places[i] = Some(*place),
                Some(None) => continue,
                None => match known.finished.find_where(id, |p| !self.session.forbids_of(p.id)) {
                    Some(place) => places[i] = Some(place),
                    None => {
                        known.open.insert(*id, None);
                        claimed.push(i);
                        continue;
                    }
                },
            }
            self.count_found(bytes.len());
        }
        claimed
    }

    async fn settle(
        &self,
        blobs: &[(BlobId, Bytes)],
        claimed: &[usize],
        places: &mut [Option<Place>],
        kind: PackKind,
    ) -> Result<()> {
        let ids: Vec<BlobId> = claimed.iter().map(|&i| blobs[i].0).collect();
        let claim = Claim { table: &self.table, ids };
        let mut new = Vec::with_capacity(claimed.len());
        for (&i, hit) in claimed.iter().zip(self.find_usable(&claim.ids).await?) {
            match hit {
                Some(place) => {
                    places[i] = Some(place);
                    self.count_found(blobs[i].1.len());
                }
                None => new.push(blobs[i].clone()),
            }
        }
        if !new.is_empty() {
            match kind {
                PackKind::Data => self.pack(new).await?,
                PackKind::Meta => self.pack_meta(new).await?,
            }
            let known = self.table.lock();
            for &i in claimed {
                let id = &blobs[i].0;
                places[i] = places[i]
                    .or_else(|| known.open.get(id).copied().flatten().or_else(|| known.finished.find(id)));
            }
        }
        Ok(())
    }

    /// What the index says, as far as rule W5 lets it be used.
    pub(super) async fn find_usable(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        let mut hits = self.lookup.find(ids).await?;
        hits.resize(ids.len(), None);
        for (id, hit) in ids.iter().zip(&mut hits) {
            let mut refused = HashSet::new();
            while let Some(place) = *hit {
                let now = self.session.resolve(place);
                if self.session.may_use(now).await? && self.trusted.allows(*id, now).await? {
                    *hit = Some(now);
                    break;
                }
                refused.insert(place.pack);
                let further = refused.len() < PLACES_TRIED;
                *hit = if further { self.lookup.find_besides(id, &refused) } else { None };
            }
        }
        Ok(hits)
    }

    async fn pack(&self, new: Vec<(BlobId, Bytes)>) -> Result<()> {
        let bytes: usize = new.iter().map(|(_, b)| b.len()).sum();
        self.monitor.bytes_new.add(bytes as u64);
        self.monitor.blobs_new.add(new.len() as u64);
        let level = self.zstd_level;
        let build = move || {
            let sizes: Vec<usize> = new.iter().map(|(_, b)| b.len()).collect();
            let plan = group::plan(&sizes);
            let pick = |g: Vec<usize>| g.into_iter().map(|i| new[i].clone()).collect::<Vec<_>>();
            plan.into_iter().map(|g| group::build(&pick(g), level)).collect::<Vec<_>>()
        };
        let groups = self.repo.pool.run(build).await;
        self.packing.append_data(groups).await
    }

    async fn pack_meta(&self, new: Vec<(BlobId, Bytes)>) -> Result<()> {
        for (id, bytes) in new {
            if let Some(kept) = &self.kept {
                kept.keep(id, &bytes).await;
            }
            self.packing.append_meta(id, bytes).await?;
        }
        Ok(())
    }

    pub(super) fn count_found(&self, bytes: usize) {
        self.monitor.bytes_found.add(bytes as u64);
        self.monitor.blobs_found.add(1);
    }
}

fn complete(blobs: &[(BlobId, Bytes)], places: &[Option<Place>]) -> Option<Vec<BlobRef>> {
    blobs.iter().zip(places).map(|((id, _), place)| Some(BlobRef { id: *id, place: (*place)? })).collect()
}
