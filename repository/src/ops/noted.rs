//! Operations that change what a repository keeps, each with its audit record: what the command line and servers call.

use std::collections::BTreeMap;

use crate::ids::Sid;
use crate::limits::AUDIT_EVENT_ITEMS_MAX;
use crate::manifest::audit::{Collected, Event, Forgot};
use crate::ops::forget::{self, Because, Forgetter};
use crate::ops::gc::{self, GcReport, GcRequest};
use crate::ops::scrub::{self, ScrubReport, ScrubRequest};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task, audit, pins};
use crate::retention::Plan;
use crate::{ErrorKind, Result};

/// Who did it and why, in one line: what an audit record says of its author.
#[must_use]
pub fn author(because: &Because) -> String {
    match &*because.why {
        "" => because.by.clone(),
        why => format!("{} ({why})", because.by),
    }
}

/// Forgets what the plan does not keep. Gives how many were forgotten, also if it failed then: those are recorded.
pub async fn forget(repo: &Repository, plan: &Plan, because: &Because, task: &Task) -> (u64, Result<()>) {
    let mut forgot = Vec::new();
    let ended = forget_all(repo, plan, because, (task, &mut forgot)).await;
    // A record's lists have an end: all are named, in as many records as that takes.
    for some in forgot.chunks(AUDIT_EVENT_ITEMS_MAX) {
        audit::note(repo, &because.by, Event::Forgot(some.to_vec())).await;
    }
    (forgot.len() as u64, ended)
}

async fn forget_all(
    repo: &Repository,
    plan: &Plan,
    because: &Because,
    (task, forgot): (&Task, &mut Vec<Forgot>),
) -> Result<()> {
    let mut forgetter = Forgetter::new(repo, because).await?;
    for snapshot in plan.forgotten() {
        task.check()?;
        match forgetter.forget(snapshot.id).await {
            // Somebody else was faster.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other?,
        }
        let (volume, why) = (snapshot.volume.clone(), because.why.clone());
        forgot.push(Forgot { snapshot: snapshot.id, volume, why });
    }
    forgetter.finish(repo).await
}

/// Keeps a snapshot, whatever the rules say.
pub async fn pin(repo: &Repository, snapshot: &Snapshot, because: &Because) -> Result<()> {
    pins::pin(repo, snapshot.id, because).await?;
    note_pin(repo, "pinned", snapshot, because).await;
    Ok(())
}

/// Leaves it to the rules again.
pub async fn unpin(repo: &Repository, snapshot: &Snapshot, because: &Because) -> Result<()> {
    pins::unpin(repo, snapshot.id).await?;
    note_pin(repo, "unpinned", snapshot, because).await;
    Ok(())
}

async fn note_pin(repo: &Repository, kind: &str, snapshot: &Snapshot, because: &Because) {
    let text = format!("{} of {}", snapshot.id, snapshot.manifest.volume);
    audit::note(repo, &author(because), Event::Other { kind: kind.to_owned(), text }).await;
}

/// Brings a forgotten snapshot back, by the beginning of its id. Gives which it was, and its new id.
pub async fn unforget(repo: &Repository, prefix: &str, because: &Because, task: &Task) -> Result<(Sid, Sid)> {
    let snapshot = forget::find_forgotten(repo, prefix).await?;
    let copy = forget::unforget(repo, snapshot, &because.by, task).await?;
    audit::note(repo, &author(because), Event::Unforgot { snapshot, copy }).await;
    Ok((snapshot, copy))
}

/// One GC run. A dry run, and one that found nothing to do, leaves no record.
pub async fn collect(
    repo: &Repository,
    request: GcRequest,
    because: &Because,
    task: &Task,
) -> Result<GcReport> {
    let dry_run = request.dry_run;
    let report = gc::collect(repo, request, task).await?;
    if !dry_run && did_something(&report) {
        audit::note(repo, &author(because), Event::Collected((&report).into())).await;
    }
    Ok(report)
}

fn did_something(r: &GcReport) -> bool {
    r.deleted + r.tidied + r.leftovers + r.copies + r.repaired > 0 || !r.fenced.is_empty()
}

/// Reads packs, and records what was found.
pub async fn scrub(
    repo: &Repository,
    request: &ScrubRequest,
    because: &Because,
    task: &Task,
) -> Result<ScrubReport> {
    let report = scrub::scrub(repo, request, task).await?;
    audit::note(repo, &author(because), report.for_audit()).await;
    Ok(report)
}

/// The figures of a run, by the names of the report.
#[must_use]
pub fn gc_figures(r: &GcReport) -> BTreeMap<String, u64> {
    let figures = [
        ("snapshots", r.snapshots),
        ("packs", r.packs),
        ("bytes", r.bytes),
        ("condemned", r.condemned),
        ("condemned_bytes", r.condemned_bytes),
        ("deleted", r.deleted),
        ("deleted_bytes", r.deleted_bytes),
        ("freed_bytes", r.freed_bytes()),
        ("bytes_after", r.bytes_after()),
        ("compacted", r.compacted),
        ("copied_bytes", r.copied_bytes),
        ("copies", r.copies),
        ("copies_bytes", r.copies_bytes),
        ("compaction_waiting", r.compaction_waiting),
        ("compaction_locked", r.compaction_locked),
        ("compaction_locked_bytes", r.compaction_locked_bytes),
        ("repaired", r.repaired),
        ("damaged", r.damaged.len() as u64),
        ("leftovers", r.leftovers),
        ("tidied", r.tidied),
        ("indexed", r.indexed),
        ("waiting_for", r.waiting_for.len() as u64),
    ];
    figures.map(|(name, n)| (name.to_owned(), n)).into()
}

impl From<&GcReport> for Collected {
    fn from(r: &GcReport) -> Self {
        let figures = gc_figures(r);
        Self { generation: r.generation, figures, fenced: r.fenced.clone(), done: r.done }
    }
}
