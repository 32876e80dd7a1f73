//! Heals quarantined packs: what is still good of them is copied, and what is damaged is led to another copy that a later
//! backup stored.
//!
//! A blob counts as good if it decodes and has its id, whatever the quarantine says. The other copy is found through the
//! index, is in no pack that this run condemns, and is read and checked before anything is led to it.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, stream};

use super::Run;
use super::choose::Budget;
use super::copy::Source;
use super::live::Live;
use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef, PackId, Place};
use crate::index::{LocalIndex, LocalOptions, delta};
use crate::layout::ObjectKind;
use crate::limits::INDEX_FETCHES;
use crate::manifest::gc::Relocation;
use crate::manifest::summary::OrdinalSet;
use crate::ops::reader::is_damage;
use crate::session::forbidden::Quarantined;
use crate::{ErrorKind, Result};

/// Packs that can be healed.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// What is to be copied of them.
    pub sources: Vec<Source>,
    /// Where the rest of what is live in them is.
    pub relocations: Vec<Relocation>,
}

/// What is known of a damaged pack.
struct Patient {
    source: Source,
    /// Live blobs that can't be read.
    lost: BTreeMap<u32, BlobId>,
}

impl Run<'_> {
    /// Looks at each damaged pack that is needed.
    pub(super) async fn repairs(
        &mut self,
        damaged: &[PackId],
        live: &Live,
        quarantined: &Quarantined,
        condemned: &[PackId],
        budget: &mut Budget,
    ) -> Result<Repairs> {
        let mut repairs = Repairs::default();
        if damaged.is_empty() {
            return Ok(repairs);
        }
        let cache_dir = self.repo.cache_dir.as_ref().map(|dir| dir.join("index"));
        let index = LocalIndex::open(self.objects.clone(), LocalOptions { cache_dir, refresh_seconds: 0 });
        index.refresh().await?;
        let condemned: HashSet<PackId> = condemned.iter().copied().collect();
        for &pack in damaged {
            self.task.check()?;
            let Some(needed) = live.of(pack) else { continue };
            let Some(patient) = self.examine(pack, needed, &index).await? else {
                self.report.damaged.push(pack);
                continue;
            };
            // Another damaged pack may be condemned by this record too.
            let sound = |p: &PackId| !condemned.contains(p) && !damaged.contains(p);
            let may_hold = |p: PackId| self.packs.contains_key(&p) && sound(&p);
            let mut led = Vec::new();
            for (&ordinal, id) in &patient.lost {
                if let Some(to) = self.find_good(&index, *id, &may_hold, quarantined).await? {
                    led.push(Relocation::one(Place { pack, ordinal }, to));
                }
            }
            if led.len() < patient.lost.len() {
                self.report.damaged.push(pack);
                continue;
            }
            budget.bytes = budget.bytes.saturating_sub(patient.source.plain);
            repairs.sources.push(patient.source);
            repairs.relocations.extend(led);
        }
        Ok(repairs)
    }

    /// Reads every group that is needed. `None` if it is not even known which blobs were in the pack.
    async fn examine(
        &self,
        pack: PackId,
        needed: &OrdinalSet,
        index: &LocalIndex,
    ) -> Result<Option<Patient>> {
        let reader = self.repo.reader();
        let is = match reader.describe(pack).await {
            Ok(is) => is,
            Err(e) if is_damage(&e) => {
                return match self.examine_by_delta(pack, needed).await? {
                    Some(patient) => Ok(Some(patient)),
                    None => self.examine_by_index(pack, needed, index).await,
                };
            }
            Err(e) => return Err(e),
        };
        let (mut healthy, mut lost, mut plain) = (OrdinalSet::default(), BTreeMap::new(), 0);
        for (number, group) in (0..).zip(&is.footer.groups) {
            let ordinals = group.first_ordinal..group.first_ordinal + group.blobs;
            let wanted: Vec<u32> = ordinals.filter(|o| needed.contains(*o)).collect();
            if wanted.is_empty() {
                continue;
            }
            match reader.read_groups(pack, &[number]).await {
                Ok(_) => {
                    plain +=
                        wanted.iter().map(|&o| u64::from(is.footer.blobs[o as usize].bytes)).sum::<u64>();
                    wanted.into_iter().for_each(|o| healthy.insert(o));
                }
                Err(e) if is_damage(&e) => {
                    lost.extend(wanted.into_iter().map(|o| (o, is.footer.blobs[o as usize].id)));
                }
                Err(e) => return Err(e),
            }
        }
        // A summary that needs more than there is can't be healed.
        let known = healthy.len() + lost.len() as u64 == needed.len();
        let source = Source { pack, kind: is.kind, plain, blobs: healthy };
        Ok(known.then_some(Patient { source, lost }))
    }

    /// A pack whose footer is lost: the delta of its session still tells what was in it.
    async fn examine_by_delta(&self, pack: PackId, needed: &OrdinalSet) -> Result<Option<Patient>> {
        let objects = &self.objects;
        let keys = objects.list(&objects.layout.folder(ObjectKind::Delta), None).await?;
        let own = keys
            .into_iter()
            .filter(|k| objects.layout.parse_delta(k).is_some_and(|(_, sid, _)| sid == pack.sid));
        let mut reads = stream::iter(own.map(|key| async move {
            let Some(plain) = objects.find(ObjectKind::Delta, &key).await? else { return Ok(Vec::new()) };
            delta::decode(&plain).context(ErrorKind::Damaged, || format!("read {key}"))
        }))
        .buffered(INDEX_FETCHES);
        while let Some(read) = reads.next().await {
            let packs = match read {
                Ok(packs) => packs,
                Err(e) if is_damage(&e) => continue,
                Err(e) => return Err(e),
            };
            let Some(found) = packs.into_iter().find(|p| p.pack.id == pack) else { continue };
            let lost: BTreeMap<u32, BlobId> =
                needed.iter().filter_map(|o| Some((o, *found.blobs.get(o as usize)?))).collect();
            let known = lost.len() as u64 == needed.len();
            let source = Source { pack, kind: found.kind, plain: 0, blobs: OrdinalSet::default() };
            return Ok(known.then_some(Patient { source, lost }));
        }
        Ok(None)
    }

    /// A pack whose footer is lost and whose delta went into a root of the index, which keeps the first halves of ids: the
    /// whole ones are in the footers of other packs that have the blobs.
    async fn examine_by_index(
        &self,
        pack: PackId,
        needed: &OrdinalSet,
        index: &LocalIndex,
    ) -> Result<Option<Patient>> {
        let (known, reader) = (index.blobs_of(pack), self.repo.reader());
        let (mut lost, mut kind) = (BTreeMap::new(), None);
        for ordinal in needed.iter() {
            let Some(prefix) = known.get(&ordinal) else { return Ok(None) };
            let elsewhere = |p| p != pack && self.packs.contains_key(&p);
            let Some(place) = index.find_prefix(*prefix, elsewhere) else { return Ok(None) };
            let is = match reader.describe(place.pack).await {
                Err(e) if is_damage(&e) => return Ok(None),
                is => is?,
            };
            let Some(blob) = is.footer.blobs.get(place.ordinal as usize) else { return Ok(None) };
            if crate::index::prefix(&blob.id) != *prefix {
                return Ok(None);
            }
            lost.insert(ordinal, blob.id);
            kind = Some(is.kind);
        }
        let source = |kind| Source { pack, kind, plain: 0, blobs: OrdinalSet::default() };
        Ok(kind.map(|kind| Patient { source: source(kind), lost }))
    }

    /// Another place of a blob, from which it was read just now.
    async fn find_good(
        &self,
        index: &LocalIndex,
        id: BlobId,
        may_hold: &(dyn Fn(PackId) -> bool + Sync),
        quarantined: &Quarantined,
    ) -> Result<Option<Place>> {
        let mut tried = HashSet::new();
        loop {
            let found = index.find_where(&[id], |p| may_hold(p) && !tried.contains(&p));
            let Some(place) = found.into_iter().next().flatten() else { return Ok(None) };
            tried.insert(place.pack);
            let damaged = quarantined.get(&place.pack);
            if damaged.is_some_and(|d| d.as_ref().is_none_or(|o| o.contains(&place.ordinal))) {
                continue;
            }
            match self.repo.reader().get(BlobRef { id, place }).await {
                Ok(_) => return Ok(Some(place)),
                Err(e) if is_damage(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }
}
