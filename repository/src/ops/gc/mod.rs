//! Garbage collection: packs that no snapshot needs are deleted while backups and restores go on.
//!
//! The steps G0 to G8 of docs/protocol.md, in the words of the model in `tests/protocol`. Any number of collectors may run,
//! and each may stop for ever anywhere: every decision is an object that only one of them can create, and whoever comes
//! next goes on from there. What can't be read (a damaged outcome or summary) stops a run before it condemns or deletes
//! anything: it might need anything.

mod alive;
pub(crate) mod catalogue;
mod choose;
mod compact;
mod copy;
mod delete;
mod index;
mod live;
mod mark;
mod plan;
mod records;
mod repair;
mod request;
mod sessions;
mod unlocked;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::TryStreamExt as _;

pub use alive::Alive;
pub use request::{Compaction, GcReport, GcRequest};
use sessions::{OpenSession, Sessions};

use crate::error::Context as _;
use crate::ids::{Generation, PackId};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::{CATALOGUE_OUTCOMES_MAX, CLOSED_SESSIONS_MAX};
use crate::manifest::catalogue::Catalogue;
use crate::manifest::gc::{GcDone, GcOpen, PartName};
use crate::ops::{Repository, Task};
use crate::session::history::Name;
use crate::session::{Relocations, forbidden, register};
use crate::{Error, ErrorKind, Result};

/// One run, on what was read at its beginning.
struct Run<'a> {
    repo: &'a Repository,
    objects: Objects,
    task: &'a Task,
    request: GcRequest,
    /// Packs and their sizes.
    packs: BTreeMap<PackId, u64>,
    /// What snapshots need, as far as it was read.
    catalogue: Catalogue,
    /// Outcomes that were read and are no snapshots.
    ended: HashSet<Name>,
    outcomes_read: usize,
    /// Packs in which damage was met.
    met: BTreeSet<PackId>,
    report: GcReport,
}

/// Finishes the run that is open, or else makes one.
pub async fn collect(repo: &Repository, request: GcRequest, task: &Task) -> Result<GcReport> {
    let objects = repo.objects();
    let newest = register::newest_generation(&objects, None).await?;
    let done = forbidden::find_newest_done(&objects).await?;
    // The list of packs comes before all that says who needs them.
    let packs = list_packs(&objects).await?;
    let mut run = Run::new(repo, request, task, packs);
    let last = done.as_ref().map_or(Generation::default(), |(g, _)| *g);
    // G0
    let generation = if newest > last { newest } else { Generation(newest.0 + 1) };
    run.report.generation = generation;
    let done = done.map(|(_, record)| record);
    let before = done.clone().unwrap_or_default();
    run.catalogue = catalogue::load(&run.objects, last, &before).await?;
    task.monitor.entries.add(run.catalogue.len() as u64);
    if !run.request.dry_run {
        run.close_dead_readers().await?;
    }
    let open = match records::find_open(&run.objects, generation).await? {
        Some(open) => {
            run.report.condemned = open.condemned.len() as u64;
            run.report.condemned_bytes = run.bytes_of(&open.condemned);
            open
        }
        None => match run.open(generation, done.as_ref()).await? {
            Some(open) => open,
            None => return Ok(run.report),
        },
    };
    run.finish(generation, &open, &before).await?;
    Ok(run.report)
}

/// All packs and their sizes.
pub(crate) async fn list_packs(objects: &Objects) -> Result<BTreeMap<PackId, u64>> {
    let folder = objects.layout.folder(ObjectKind::Pack);
    let mut listed = objects.store.list(&folder, None);
    let mut packs = BTreeMap::new();
    while let Some(object) = listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))? {
        if let Some(id) = objects.layout.parse_pack(&object.key) {
            packs.insert(id, object.bytes);
        }
    }
    Ok(packs)
}

impl<'a> Run<'a> {
    fn new(repo: &'a Repository, request: GcRequest, task: &'a Task, packs: BTreeMap<PackId, u64>) -> Self {
        let bytes = packs.values().sum();
        let report = GcReport { packs: packs.len() as u64, bytes, ..GcReport::default() };
        let (catalogue, ended) = (Catalogue::default(), HashSet::new());
        let objects = repo.objects();
        let met = BTreeSet::new();
        Self { repo, objects, task, request, packs, catalogue, ended, outcomes_read: 0, met, report }
    }
}

impl Run<'_> {
    /// G1 and G2. `None`: it was only to be told, or nothing is to be condemned.
    async fn open(&mut self, generation: Generation, last: Option<&GcDone>) -> Result<Option<GcOpen>> {
        let sessions = Sessions::list(&self.objects).await?;
        let relocations = Relocations::load_newest(&self.objects).await?;
        let mark = self.mark(&sessions, &relocations, None).await?;
        self.task.check()?;
        let leftovers = records::last_sweep(&self.objects, generation).await?;
        let mut condemned = plan::condemn(&self.packs, &mark.live, &sessions.at_work(), &leftovers);
        self.report.snapshots = mark.snapshots.len() as u64;
        let compacted = self.compact(generation, &mark.live, &sessions, &condemned).await?;
        condemned.extend(&compacted.packs);
        condemned.sort_unstable();
        self.report.condemned = condemned.len() as u64;
        self.report.condemned_bytes = self.bytes_of(&condemned);
        let useless = condemned.is_empty()
            && !sessions.has_left(|s| self.is_dead(s))
            && sessions.closed_count(&mark.snapshots) < CLOSED_SESSIONS_MAX
            && self.outcomes_read < CATALOGUE_OUTCOMES_MAX;
        if self.request.dry_run || useless && !self.index_is_due().await? {
            self.report.done = !self.request.dry_run;
            return Ok(None);
        }
        let open = GcOpen { condemned, relocations: compacted.relocations };
        let created = records::create_open(&self.objects, generation, &open).await;
        let (open, ours) = match (created, last) {
            // What the last run left to tidy needs no room.
            (Err(e), Some(last)) if compact::is_full(&e) => {
                self.tidy(Generation(generation.0 - 1), last).await?;
                records::create_open(&self.objects, generation, &open).await?
            }
            (created, _) => created?,
        };
        if !ours && self.report.compacted > 0 {
            self.report.compacted = 0;
            self.report.compaction_stopped = Some("another collector opened the generation first".to_owned());
        }
        Ok(Some(open))
    }

    /// G3 to G8.
    async fn finish(&mut self, generation: Generation, open: &GcOpen, last: &GcDone) -> Result<()> {
        if self.request.dry_run {
            return Ok(());
        }
        if !self.fence(generation).await? {
            return Ok(());
        }
        self.task.check()?;
        let frozen = Generation(generation.0 - 1);
        let sessions = Sessions::list(&self.objects).await?;
        let before = Relocations::merged(&last.relocations);
        let mark = self.mark(&sessions, &before, Some(frozen)).await?;
        self.report.snapshots = mark.snapshots.len() as u64;
        let own = plan::sweep(open, &mark.live);
        let swept = records::create_sweep(&self.objects, generation, own).await?;
        plan::check_sweep(&swept, open, &mark.live)?;
        self.task.check()?;
        self.write_index(generation, &swept).await?;
        self.delete_packs(&swept).await?;
        let catalogue = mark.catalogue(&Sessions::list(&self.objects).await?);
        let relocations = plan::merge(&last.relocations, open, &swept, &mark.named);
        let (parts, figures) = self.store_catalogue(generation, &catalogue).await?;
        let done = GcDone { frozen, catalogue, relocations, parts, figures };
        let done = records::create_done(&self.objects, generation, done).await?;
        self.tidy(generation, &done).await?;
        self.tidy_index(&done).await?;
        self.tidy_quarantine(&mark.live, &swept).await?;
        self.report.done = true;
        Ok(())
    }

    /// Keeps what these snapshots need for the next run.
    async fn store_catalogue(
        &mut self,
        generation: Generation,
        names: &[Name],
    ) -> Result<(Vec<PartName>, Vec<PartName>)> {
        self.catalogue.retain(|name| names.binary_search(name).is_ok());
        let packs = &self.packs;
        self.catalogue.forget_packs(|pack| packs.contains_key(&pack));
        catalogue::store(&self.objects, generation, &self.catalogue).await
    }

    /// G3: true when no writer with a base below `generation` is left.
    async fn fence(&mut self, generation: Generation) -> Result<bool> {
        let sessions = Sessions::list(&self.objects).await?;
        for writer in sessions.writers_below(generation) {
            if !self.is_dead(writer) {
                self.report.waiting_for.push(writer.sid);
                continue;
            }
            let reason = format!("fenced by the GC run of generation {generation}");
            // One that has ended just now was not fenced, and is not waited for.
            if register::abort(&self.objects, writer.generation, writer.sid, &reason).await? {
                self.report.fenced.push(writer.sid);
            }
        }
        Ok(self.report.waiting_for.is_empty())
    }

    /// For liveness only. A clock that runs far ahead counts like one that is far behind.
    fn is_dead(&self, session: &OpenSession) -> bool {
        if self.request.alive.knows(&session.registration) {
            return false;
        }
        let (now, started) = (self.objects.env.now(), session.registration.started);
        now.seconds().abs_diff(started.seconds()) >= self.request.fence_after_seconds
    }

    /// A reader that died would hold its snapshot for ever. One that lives loses its hold only.
    async fn close_dead_readers(&mut self) -> Result<()> {
        let sessions = Sessions::list(&self.objects).await?;
        for reader in sessions.readers() {
            if !self.is_dead(reader) {
                continue;
            }
            let reason = "taken for dead by GC";
            if register::abort(&self.objects, reader.generation, reader.sid, reason).await? {
                self.report.fenced.push(reader.sid);
            }
        }
        Ok(())
    }

    fn bytes_of(&self, packs: &[PackId]) -> u64 {
        packs.iter().filter_map(|p| self.packs.get(p)).sum()
    }
}

/// What must never happen: stops the run before anything is deleted.
fn alarm(what: String) -> Error {
    Error::new(ErrorKind::Internal, what)
}
