//! Scrub: reads whole packs, the least recently verified first, within a budget, and names what is damaged.
//!
//! Whether a snapshot needs a pack does not matter here: what is stored must be what was stored. What was read is recorded
//! every few hundred packs, so that a run that is stopped is not read again. Memory: one pack's footer and a few MiB of
//! it for each of the packs that are read at once.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::PackId;
use crate::layout::ObjectKind;
use crate::limits::{PROOF_PACKS_EVERY, SCRUB_PACKS_AT_ONCE};
use crate::manifest::audit::{Damaged, Event, Verified};
use crate::manifest::proof::{PackProof, Proofs};
use crate::ops::quarantine::{self, Found};
use crate::ops::{Problems, Repository, Task, proofs};
use crate::session::forbidden;
use crate::{ErrorKind, Result};

/// How much to read.
#[derive(Clone, Debug, Default)]
pub struct ScrubRequest {
    /// At most about so many bytes of packs; `None` for all. One pack is read at least.
    pub bytes_max: Option<u64>,
    /// At most this share of all packs' bytes, percent; the smaller of the two counts.
    pub share_percent: Option<u8>,
    /// Only packs that were not verified since this moment.
    pub not_since: Option<Timestamp>,
    /// Only tell what is damaged.
    pub no_quarantine: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct ScrubReport {
    /// Packs that there are.
    pub packs_total: u64,
    /// Bytes of all packs.
    pub bytes_total: u64,
    /// Packs that were read.
    pub packs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blobs that were decoded and compared with their ids.
    pub blobs: u64,
    /// Packs that are damaged.
    pub damaged: Vec<Damaged>,
    /// Damage, by pack.
    pub problems: Problems,
    /// Packs of which damage was newly put into quarantine.
    pub quarantined: u64,
    /// Packs that were never verified, after this run.
    pub never: u64,
    /// When the least recently verified pack was verified, after this run; `None` if some never was, or there are none.
    pub oldest: Option<Timestamp>,
}

impl ScrubReport {
    /// The run as the audit keeps it.
    #[must_use]
    pub fn for_audit(&self) -> Event {
        Event::Verified(Verified {
            level: "scrub".to_owned(),
            snapshot: None,
            packs: self.packs,
            bytes: self.bytes,
            problems: self.problems.count(),
            damaged: self.damaged.clone(),
        })
    }
}

/// Reads the least recently verified packs. Damage is in the report; only what keeps the work from being done fails it.
pub async fn scrub(repo: &Repository, request: &ScrubRequest, task: &Task) -> Result<ScrubReport> {
    let sizes = list_packs(repo).await?;
    let proofs = proofs::load(repo).await?;
    let mut report = ScrubReport { packs_total: sizes.len() as u64, ..ScrubReport::default() };
    report.bytes_total = sizes.values().sum();
    let chosen = choose(&sizes, &proofs, request);
    task.monitor.bytes_total.add(chosen.iter().map(|p| sizes[p]).sum());
    let mut run = Run { repo, request, task, report, new: Proofs::default(), all: proofs, sizes: &sizes };
    let done = run.read(chosen).await;
    // Also what was read before it was stopped counts.
    run.record().await?;
    done?;
    let all = std::mem::take(&mut run.all);
    let there: HashSet<PackId> = sizes.keys().copied().collect();
    if let Err(e) = proofs::fold(repo, &there).await
        && !quarantine::has_no_place(&e)
    {
        return Err(e);
    }
    let mut report = run.report;
    report.never = there.iter().filter(|p| !all.packs.contains_key(p)).count() as u64;
    let oldest = there.iter().filter_map(|p| Some(all.packs.get(p)?.at)).min();
    report.oldest = oldest.filter(|_| report.never == 0);
    Ok(report)
}

/// The share of packs that were never verified and the age of the oldest verification: for metrics, without reading a pack.
pub async fn coverage(repo: &Repository) -> Result<ScrubReport> {
    let sizes = list_packs(repo).await?;
    let proofs = proofs::load(repo).await?;
    let mut report = ScrubReport { packs_total: sizes.len() as u64, ..ScrubReport::default() };
    report.bytes_total = sizes.values().sum();
    report.never = sizes.keys().filter(|p| !proofs.packs.contains_key(p)).count() as u64;
    let oldest = sizes.keys().filter_map(|p| Some(proofs.packs.get(p)?.at)).min();
    report.oldest = oldest.filter(|_| report.never == 0);
    let damaged = sizes.keys().filter_map(|p| Some((*p, proofs.packs.get(p)?.damaged)));
    report.damaged = damaged.filter(|(_, n)| *n > 0).map(|(pack, n)| damaged_pack(pack, n)).collect();
    Ok(report)
}

fn damaged_pack(pack: PackId, damaged: u32) -> Damaged {
    Damaged { pack, blobs: if damaged == PackProof::WHOLE { 0 } else { damaged } }
}

pub(crate) async fn list_packs(repo: &Repository) -> Result<HashMap<PackId, u64>> {
    let folder = repo.layout.folder(ObjectKind::Pack);
    let mut listed = repo.store.list(&folder, None);
    let mut packs = HashMap::new();
    while let Some(object) = listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))? {
        if let Some(id) = repo.layout.parse_pack(&object.key) {
            packs.insert(id, object.bytes);
        }
    }
    Ok(packs)
}

/// The least recently verified packs, within the budget.
fn choose(sizes: &HashMap<PackId, u64>, proofs: &Proofs, request: &ScrubRequest) -> Vec<PackId> {
    let last = |p: &PackId| proofs.packs.get(p).map(|p| p.at);
    let due = |p: &PackId| request.not_since.is_none_or(|since| last(p).is_none_or(|at| at < since));
    let mut order: Vec<PackId> = sizes.keys().copied().filter(due).collect();
    order.sort_unstable_by_key(|p| (last(p), *p));
    let total: u64 = sizes.values().sum();
    let share = request.share_percent.map(|percent| (total / 100).saturating_mul(percent.into()));
    let most = request.bytes_max.into_iter().chain(share).min().unwrap_or(u64::MAX);
    let mut bytes = 0u64;
    let fits = |p: &PackId| {
        let fits = bytes == 0 || bytes.saturating_add(sizes[p]) <= most;
        bytes = bytes.saturating_add(sizes[p]);
        fits
    };
    order.into_iter().take_while(fits).collect()
}

struct Run<'a> {
    repo: &'a Repository,
    request: &'a ScrubRequest,
    task: &'a Task,
    report: ScrubReport,
    /// What is not recorded yet.
    new: Proofs,
    all: Proofs,
    sizes: &'a HashMap<PackId, u64>,
}

impl Run<'_> {
    async fn read(&mut self, chosen: Vec<PackId>) -> Result<()> {
        let reader = &quarantine::fresh_reader(self.repo);
        let known = forbidden::load_quarantine(&self.repo.objects()).await?;
        let task = self.task;
        let mut reads = stream::iter(chosen)
            .map(|pack| async move { (pack, quarantine::examine(reader, pack, task).await) })
            .buffer_unordered(SCRUB_PACKS_AT_ONCE);
        while let Some((pack, found)) = reads.next().await {
            self.task.check()?;
            let (ordinals, what, whole) = match found? {
                // GC has deleted it meanwhile. One that was lost was not listed: `verify` tells.
                Found::Gone => continue,
                Found::Sound { blobs } => {
                    self.report.blobs += blobs;
                    self.note(pack, 0);
                    self.record_if_due().await?;
                    continue;
                }
                Found::Damaged { ordinals, what } => (ordinals, what, false),
                Found::Lost { what } => (Vec::new(), what, true),
            };
            let blobs = u32::try_from(ordinals.len()).unwrap_or(PackProof::WHOLE - 1);
            self.note(pack, if whole { PackProof::WHOLE } else { blobs });
            self.task.monitor.entries_failed.add(1);
            self.report.problems.push(self.repo.layout.pack(pack).as_str().as_bytes(), what);
            // Where no blob is hit, nothing is lost: it is told, no more.
            if whole || blobs > 0 {
                self.report.damaged.push(Damaged { pack, blobs });
                if !self.request.no_quarantine {
                    let named = quarantine::name(self.repo, &known, pack, &ordinals).await?;
                    self.report.quarantined += u64::from(named);
                }
            }
            self.record_if_due().await?;
        }
        Ok(())
    }

    fn note(&mut self, pack: PackId, damaged: u32) {
        let bytes = self.sizes.get(&pack).copied().unwrap_or(0);
        self.report.packs += 1;
        self.report.bytes += bytes;
        self.task.monitor.packs.add(1);
        self.task.monitor.bytes_done.add(bytes);
        let proof = PackProof { at: self.repo.env.now(), damaged };
        self.new.packs.insert(pack, proof);
        self.all.packs.insert(pack, proof);
    }

    async fn record_if_due(&mut self) -> Result<()> {
        if self.new.packs.len() >= PROOF_PACKS_EVERY { self.record().await } else { Ok(()) }
    }

    async fn record(&mut self) -> Result<()> {
        proofs::note(self.repo, &std::mem::take(&mut self.new)).await
    }
}
