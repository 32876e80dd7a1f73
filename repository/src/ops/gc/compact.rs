//! The part of G1 that copies: live blobs of thin, old or damaged packs go into new ones, which only the `open` record of
//! this run names.
//!
//! 1. The copies belong to a name that never registered: nobody waits for it, and copies that no record names are garbage for
//!    the next run. A run that loses the race at G2 loses its copies only.
//! 2. A pack is condemned only if all that is live of it is stored elsewhere. If a session takes up more of it meanwhile,
//!    G4 spares it.
//! 3. What goes wrong here (a full store, a damaged pack) leaves packs where they are, and the run goes on without. Damage goes into
//!    quarantine.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, stream};

use super::Run;
use super::choose::{Budget, Looked};
use super::copy::{Copier, Source};
use super::live::Live;
use super::request::Compaction;
use super::sessions::Sessions;
use crate::ids::{Generation, PackId, Sid};
use crate::limits::RECORD_FETCHES;
use crate::manifest::catalogue::PackFacts;
use crate::manifest::gc::Relocation;
use crate::manifest::relocation;
use crate::manifest::summary::OrdinalSet;
use crate::ops::quarantine;
use crate::ops::reader::is_damage;
use crate::pack::Described;
use crate::session::{forbidden, register, store_kind};
use crate::store::StoreErrorKind;
use crate::{Error, Result};

/// What was copied: packs to condemn, and where their blobs went.
#[derive(Debug, Default)]
pub(super) struct Compacted {
    pub packs: Vec<PackId>,
    pub relocations: Vec<Relocation>,
}

/// What a pack's footer and the live bits say together.
pub(super) fn measure(pack: PackId, bytes: u64, is: &Described, live: &OrdinalSet) -> Looked {
    let (mut live_bytes, mut live_plain) = (0, 0);
    let mut blobs = live.iter().peekable();
    for group in &is.footer.groups {
        let (mut plain, end) = (0, group.first_ordinal + group.blobs);
        while let Some(ordinal) = blobs.next_if(|&o| o < end) {
            plain += is.footer.blobs.get(ordinal as usize).map_or(0, |b| u64::from(b.bytes));
        }
        live_plain += plain;
        live_bytes += (u64::from(group.stored) * plain).div_ceil(u64::from(group.plain.max(1)));
    }
    let (kind, epoch, body_bytes) = (is.kind, is.epoch, is.footer.body_len());
    Looked { pack, bytes, kind, epoch, body_bytes, live_bytes, live_plain }
}

/// What an earlier look says, if that is enough: nothing changed, or so little that the pack can't be thin now. Blobs differ in
/// size, so that a tenth of the pack is left as a margin.
fn known(
    facts: Option<PackFacts>,
    pack: PackId,
    bytes: u64,
    live: &OrdinalSet,
    percent: u8,
) -> Option<Looked> {
    let PackFacts { kind, epoch, body_bytes, live_blobs, live_bytes, live_plain } = facts?;
    let count = live.len();
    let scaled = |n: u64| u64::try_from(u128::from(n) * u128::from(count) / u128::from(live_blobs.max(1)));
    let (live_bytes, live_plain) = (scaled(live_bytes).ok()?.min(body_bytes), scaled(live_plain).ok()?);
    let looked = Looked { pack, bytes, kind, epoch, body_bytes, live_bytes, live_plain };
    (count == live_blobs || !looked.is_thin(percent.saturating_add(10))).then_some(looked)
}

impl Run<'_> {
    /// Copies what is worth it, within the budget of the request. `condemned` are those of this run so far.
    pub(super) async fn compact(
        &mut self,
        generation: Generation,
        live: &Live,
        sessions: &Sessions,
        condemned: &[PackId],
    ) -> Result<Compacted> {
        let how = self.request.compaction.clone();
        if how.is_none() {
            return Ok(Compacted::default());
        }
        self.repo.need_data("compaction")?;
        let at_work = sessions.at_work();
        let quarantined = forbidden::load_quarantine(&self.objects).await?;
        let mut left = self.packs.clone();
        left.retain(|p, _| {
            condemned.binary_search(p).is_err() && live.needs(*p) && !at_work.contains(&p.sid)
        });
        let damaged: Vec<_> = quarantined.keys().copied().filter(|p| left.remove(p).is_some()).collect();
        let mut budget = Budget { bytes: how.bytes_max, requests: how.requests_max };
        let repairs = self.repairs(&damaged, live, &quarantined, condemned, &mut budget).await?;
        // What a repair leads to must not be condemned by the same record.
        let led_to: HashSet<PackId> = repairs.relocations.iter().map(|r| r.to.pack).collect();
        left.retain(|p, _| !led_to.contains(p));
        let looked = self.look(left, live, &how, &mut budget).await?;
        let (chosen, waiting) = self.choose_unlocked(looked, &how, &mut budget).await?;
        self.report.compaction_waiting = waiting;
        if self.request.dry_run {
            self.report.compacted = (chosen.len() + repairs.sources.len()) as u64;
            self.report.copied_bytes = chosen.iter().map(|l| l.live_bytes).sum();
            return Ok(Compacted::default());
        }
        let mut sources = repairs.sources;
        let repaired: Vec<PackId> = sources.iter().map(|s| s.pack).collect();
        sources.extend(chosen.iter().filter_map(|l| {
            Some(Source { pack: l.pack, kind: l.kind, plain: l.live_plain, blobs: live.of(l.pack)?.clone() })
        }));
        let mut compacted = self.copy(generation, sources).await?;
        self.name_damage(generation).await?;
        let done = |p: &PackId| compacted.packs.binary_search(p).is_ok();
        self.report.repaired = repaired.iter().filter(|p| done(p)).count() as u64;
        compacted.relocations.extend(repairs.relocations.into_iter().filter(|r| done(&r.pack)));
        compacted.relocations = relocation::joined(compacted.relocations);
        Ok(compacted)
    }

    /// Reads the footers of packs that may be worth copying, the most promising first, with at most half of the budget.
    async fn look(
        &mut self,
        packs: BTreeMap<PackId, u64>,
        live: &Live,
        how: &Compaction,
        budget: &mut Budget,
    ) -> Result<Vec<Looked>> {
        if how.live_percent_below == 0 && how.reencrypt_below_epoch.is_none() {
            return Ok(Vec::new());
        }
        let (mut looked, mut order) = (Vec::new(), Vec::new());
        for (pack, bytes) in packs {
            let Some(needed) = live.of(pack) else { continue };
            match known(self.catalogue.facts(pack), pack, bytes, needed, how.live_percent_below) {
                Some(known) => looked.push(known),
                None => order.push((live.waste_of(pack, bytes), pack, bytes)),
            }
        }
        order.sort_unstable_by(|a, b| b.cmp(a));
        let most = usize::try_from(budget.requests / 2).unwrap_or(usize::MAX);
        order.truncate(most);
        budget.requests -= order.len() as u64;
        let reader = self.repo.reader();
        let mut reads = stream::iter(order.into_iter().map(|(_, pack, bytes)| {
            let reader = &reader;
            async move { (pack, bytes, reader.describe(pack).await) }
        }))
        .buffered(RECORD_FETCHES);
        while let Some((pack, bytes, described)) = reads.next().await {
            self.task.check()?;
            match (described, live.of(pack)) {
                (Ok(is), Some(live)) => {
                    let one = measure(pack, bytes, &is, live);
                    self.catalogue.set_facts(pack, one.facts(live.len()));
                    looked.push(one);
                }
                (Err(e), _) if !is_damage(&e) => return Err(e),
                (Err(e), _) => {
                    self.met.insert(pack);
                    tracing::warn!(error = %e.chain(), "a pack that can't be read is not compacted");
                }
                (Ok(_), None) => {}
            }
        }
        Ok(looked)
    }

    /// Names the damage that was met, unless another collector was faster: what it has deleted is no damage.
    async fn name_damage(&mut self, generation: Generation) -> Result<()> {
        let met = std::mem::take(&mut self.met);
        if !met.is_empty() && register::newest_generation(&self.objects, None).await? < generation {
            quarantine::name_met(self.repo, met, self.task).await;
        }
        Ok(())
    }

    /// Copies the sources; those of which all is stored then are to be condemned.
    async fn copy(&mut self, generation: Generation, mut sources: Vec<Source>) -> Result<Compacted> {
        if sources.is_empty() {
            return Ok(Compacted::default());
        }
        // Packs of one session stay together, and kinds apart.
        sources.sort_by_key(|s| (s.kind, s.pack));
        let expected: BTreeMap<PackId, u64> = sources.iter().map(|s| (s.pack, s.blobs.len())).collect();
        self.task.monitor.bytes_total.add(sources.iter().map(|s| s.plain).sum());
        let mut copier = Copier::new(self.repo, self.task, Sid::new(&self.objects.env));
        sources.retain(|s| !s.blobs.is_empty());
        let copied = copier.copy(sources).await;
        let copied = match copied {
            Ok(()) => copier.publish(&self.objects, generation).await,
            Err(e) => Err(e),
        };
        if let Err(e) = copied {
            // What was stored until then counts all the same.
            if !is_full(&e) {
                return Err(e);
            }
            tracing::warn!(error = %e.chain(), "the store is full: nothing more is compacted");
            self.report.compaction_stopped = Some(e.chain());
        }
        self.met.append(&mut copier.damaged);
        let mut moved: BTreeMap<PackId, u64> = BTreeMap::new();
        copier.moved.iter().for_each(|r| *moved.entry(r.pack).or_default() += u64::from(r.count));
        let whole = |p: &PackId| moved.get(p).copied().unwrap_or(0) == expected[p];
        let packs: Vec<PackId> = expected.keys().copied().filter(whole).collect();
        let relocations = copier.moved.iter().copied().filter(|r| packs.binary_search(&r.pack).is_ok());
        let compacted = Compacted { relocations: relocations.collect(), packs };
        for pack in &copier.stored {
            self.packs.insert(pack.id, pack.bytes);
        }
        self.report.compacted = compacted.packs.len() as u64;
        self.report.copied_bytes = copier.bytes;
        self.report.copies = copier.stored.len() as u64;
        self.report.copies_bytes = copier.stored.iter().map(|p| p.bytes).sum();
        Ok(compacted)
    }
}

/// True if the store has no room.
pub(super) fn is_full(e: &Error) -> bool {
    store_kind(e) == Some(StoreErrorKind::Full)
}
