//! Brings blobs over: read pack by pack in the source, checked against their ids there, and stored under the ids that
//! they have in the target.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::ids::{BlobId, BlobRef, PackId, Place};
use crate::limits::{COPY_BATCH_BYTES, COPY_KNOWN_MAX};
use crate::ops::Task;
use crate::ops::backup::writing::Writing;
use crate::ops::reader::{Reader, is_damage};
use crate::{Error, Result};

/// What became of each blob: where it is in the target, or why it is lost.
pub(super) type Brought = HashMap<BlobId, std::result::Result<BlobRef, String>>;

/// Takes a blob's plain bytes while they are at hand.
pub(super) type Visit<'v> = &'v mut (dyn FnMut(BlobId, &Bytes) + Send);

/// Blobs of the source, and where they are in the target: for all snapshots of one run, so that a blob is read once.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownBlobs(Arc<Mutex<HashMap<BlobId, BlobRef>>>);

impl KnownBlobs {
    fn find(&self, id: &BlobId) -> Option<BlobRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn note(&self, id: BlobId, target: BlobRef) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= COPY_KNOWN_MAX {
            known.clear();
        }
        known.insert(id, target);
    }
}

/// Between one reader and one writer.
pub(super) struct Bridge {
    pub(super) source: Arc<Reader>,
    pub(super) target: Arc<Writing>,
    pub(super) known: KnownBlobs,
    pub(super) task: Task,
}

/// A blob that is wanted, at its resolved place.
#[derive(Clone, Copy)]
struct Wanted {
    blob: BlobRef,
    now: Place,
}

impl Bridge {
    /// Whether a place in the target may be referenced (W5).
    pub(super) async fn may_use(&self, place: Place) -> Result<bool> {
        self.target.session().may_use(place).await
    }

    /// Brings all of these over. With `visit`, all of them are read, also those that are known.
    pub(super) async fn bring(
        &self,
        blobs: impl IntoIterator<Item = BlobRef>,
        mut visit: Option<Visit<'_>>,
    ) -> Result<Brought> {
        let mut brought = Brought::new();
        let mut packs: BTreeMap<PackId, BTreeMap<u32, Wanted>> = BTreeMap::new();
        for blob in blobs {
            if visit.is_none()
                && let Some(known) = self.known.find(&blob.id)
                && self.may_use(known.place).await?
            {
                brought.insert(blob.id, Ok(known));
                continue;
            }
            let now = self.source.resolve(blob.place);
            packs.entry(now.pack).or_default().insert(now.ordinal, Wanted { blob, now });
        }
        for (pack, wanted) in packs {
            self.task.check()?;
            self.pack(pack, wanted.into_values().collect(), &mut brought, &mut visit).await?;
        }
        Ok(brought)
    }

    async fn pack(
        &self,
        pack: PackId,
        wanted: Vec<Wanted>,
        brought: &mut Brought,
        visit: &mut Option<Visit<'_>>,
    ) -> Result<()> {
        let footer = match self.source.footer(pack).await {
            Ok(footer) => footer,
            Err(e) if is_damage(&e) => return self.one_by_one(&wanted, brought, visit).await,
            Err(e) => return Err(e),
        };
        let group_of = |w: &Wanted| {
            let info = footer.blobs.get(w.now.ordinal as usize).filter(|b| b.id == w.blob.id)?;
            Some((info.group, u64::from(footer.groups.get(info.group as usize)?.plain)))
        };
        let (mut batch, mut bytes, mut last) = (Vec::new(), 0, None);
        for w in wanted {
            let Some((group, plain)) = group_of(&w) else {
                self.one_by_one(&[w], brought, visit).await?;
                continue;
            };
            if last != Some(group) {
                if bytes + plain > COPY_BATCH_BYTES && !batch.is_empty() {
                    self.batch(pack, std::mem::take(&mut batch), brought, visit).await?;
                    bytes = 0;
                }
                bytes += plain;
                last = Some(group);
            }
            batch.push((group, w));
        }
        self.batch(pack, batch, brought, visit).await
    }

    async fn batch(
        &self,
        pack: PackId,
        batch: Vec<(u32, Wanted)>,
        brought: &mut Brought,
        visit: &mut Option<Visit<'_>>,
    ) -> Result<()> {
        let groups: Vec<u32> = batch.iter().map(|(group, _)| *group).collect();
        let wanted: Vec<Wanted> = batch.into_iter().map(|(_, w)| w).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let read = match self.source.read_groups(pack, &groups).await {
            Ok(read) => read,
            Err(e) if is_damage(&e) => return self.one_by_one(&wanted, brought, visit).await,
            Err(e) => return Err(e),
        };
        let mut plain = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for w in wanted {
            let at = read.partition_point(|g| g.first_ordinal <= w.now.ordinal).checked_sub(1);
            let group = at.and_then(|at| read.get(at));
            let found = group.and_then(|g| g.blobs.get((w.now.ordinal - g.first_ordinal) as usize));
            match found.filter(|(id, _)| *id == w.blob.id) {
                Some((_, bytes)) => plain.push((w.blob.id, bytes.clone())),
                None => missing.push(w),
            }
        }
        self.store(plain, brought, visit).await?;
        self.one_by_one(&missing, brought, visit).await
    }

    /// Something is damaged, or was moved by GC: finds out for each blob.
    async fn one_by_one(
        &self,
        wanted: &[Wanted],
        brought: &mut Brought,
        visit: &mut Option<Visit<'_>>,
    ) -> Result<()> {
        for w in wanted {
            self.task.check()?;
            match self.source.read(w.blob).await {
                Ok(bytes) => self.store(vec![(w.blob.id, bytes)], brought, visit).await?,
                Err(e) if is_damage(&e) => drop(brought.insert(w.blob.id, Err(e.chain()))),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn store(
        &self,
        plain: Vec<(BlobId, Bytes)>,
        brought: &mut Brought,
        visit: &mut Option<Visit<'_>>,
    ) -> Result<()> {
        if plain.is_empty() {
            return Ok(());
        }
        let keys = Arc::clone(&self.target.repo().keys);
        let ids: Vec<BlobId> = plain.iter().map(|(id, _)| *id).collect();
        if let Some(visit) = visit {
            plain.iter().for_each(|(id, bytes)| visit(*id, bytes));
        }
        self.task.monitor.bytes_read.add(plain.iter().map(|(_, b)| b.len() as u64).sum());
        let rename =
            move || plain.into_iter().map(|(_, bytes)| (keys.blob_id(&bytes), bytes)).collect::<Vec<_>>();
        let blobs = self.target.repo().pool.run(rename).await;
        let stored = self.target.store(&blobs).await?;
        if stored.len() != ids.len() {
            return Err(Error::new(crate::ErrorKind::Internal, "a blob has no place"));
        }
        for (id, blob) in ids.into_iter().zip(stored) {
            self.known.note(id, blob);
            brought.insert(id, Ok(blob));
        }
        Ok(())
    }
}
