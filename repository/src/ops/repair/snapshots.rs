//! Repairs snapshots: commits a copy without what is lost for good, and names it.
//!
//! The copy is made by a writer's session under the rules of a backup (W5, W7), so that it never refers to what is damaged or about
//! to go. What other copies of a blob are known is led to them. The original stays until somebody forgets it. A repair that
//! is stopped leaves packs that nobody needs; one that was done is not done again.

use std::collections::{BTreeSet, HashSet};

use super::mend::Mender;
use super::rewrite::write;
use crate::ids::{PackId, Place, Sid};
use crate::items::Tree;
use crate::limits::REPAIR_TRIES_MAX;
use crate::manifest::audit::{Event, Forgot, Repaired};
use crate::manifest::{Manifest, RepairMark, summary};
use crate::ops::forget::{self, Because};
use crate::ops::reader::{Reader, is_damage};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task, audit, proofs, quarantine};
use crate::session::{Session, Who};
use crate::{Error, ErrorKind, Result};

/// How to repair.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// Only tell what is lost.
    pub dry_run: bool,
    /// Forget the original once the copy is there.
    pub forget: bool,
    /// Who repairs, for the audit and the marker.
    pub by: String,
}

/// What became of one snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotReport {
    /// The snapshot.
    pub snapshot: Sid,
    /// Its volume.
    pub volume: String,
    /// The copy that was committed; `None` if nothing had to be repaired, or it was only told.
    pub copy: Option<Sid>,
    /// Nothing of it refers to what is damaged or gone.
    pub sound: bool,
    /// What is lost, by path; a range of paths stands under the first of them.
    pub lost: Problems,
    /// The original was forgotten.
    pub forgotten: bool,
}

/// Those of `all` that refer to what is damaged or gone and were not repaired yet.
pub async fn find_damaged(repo: &Repository, all: &[Snapshot]) -> Result<Vec<Snapshot>> {
    let done: HashSet<Sid> = all.iter().filter_map(|s| s.manifest.repaired.map(|r| r.of)).collect();
    let health = proofs::health(repo, all).await?;
    let packs = crate::ops::scrub::list_packs(repo).await?;
    let relocations = crate::session::Relocations::load_newest(&repo.objects()).await?;
    let reader = Reader::unregistered(repo);
    let mut damaged = Vec::new();
    for snapshot in all.iter().filter(|s| !done.contains(&s.id)) {
        let known = health.get(&snapshot.id).is_some_and(|h| h.damaged || h.problems > 0);
        let needs = match summary::load(&snapshot.manifest.summary, &*reader).await {
            Ok(needs) => needs,
            Err(e) if is_damage(&e) => {
                damaged.push(snapshot.clone());
                continue;
            }
            Err(e) => return Err(e),
        };
        let is_gone = |pack: PackId, ordinal: u32| {
            !packs.contains_key(&relocations.resolve(Place { pack, ordinal }).pack)
        };
        let gone = needs.iter().any(|n| {
            let pack = n.pack.id;
            !packs.contains_key(&pack) && n.ordinals.iter().any(|o| is_gone(pack, o))
        });
        if known || gone {
            damaged.push(snapshot.clone());
        }
    }
    Ok(damaged)
}

/// Repairs one snapshot. `all` are the repository's snapshots, of which the neighbours are taken. Damage is in the report;
/// only what keeps the work from being done fails it.
pub async fn repair(
    repo: &Repository,
    snapshot: &Snapshot,
    all: &[Snapshot],
    request: &SnapshotRequest,
    task: &Task,
) -> Result<SnapshotReport> {
    let mut tried = 1;
    let done = loop {
        match once(repo, snapshot, all, request, task).await {
            Err(e) if e.kind() == ErrorKind::Fenced && tried < REPAIR_TRIES_MAX => tried += 1,
            other => break other,
        }
    };
    let mut report = done.map_err(|e| e.context(format!("repair snapshot {}", snapshot.id)))?;
    if let Some(copy) = report.copy {
        let lost = report.lost.kept().iter().map(|p| p.path.clone()).collect();
        let repaired = Repaired {
            what: "snapshot".to_owned(),
            snapshot: Some(snapshot.id),
            copy: Some(copy),
            problems: report.lost.count(),
            lost,
            ..Repaired::default()
        };
        audit::note(repo, &request.by, Event::Repaired(repaired)).await;
        if request.forget {
            let why = format!("repaired as {copy}");
            let because = Because { by: request.by.clone(), why: why.clone() };
            forget::forget(repo, snapshot.id, &because).await?;
            let volume = report.volume.clone();
            let forgot = Forgot { snapshot: snapshot.id, volume, why };
            audit::note(repo, &request.by, Event::Forgot(vec![forgot])).await;
            report.forgotten = true;
        }
    }
    Ok(report)
}

async fn once(
    repo: &Repository,
    snapshot: &Snapshot,
    all: &[Snapshot],
    request: &SnapshotRequest,
    task: &Task,
) -> Result<SnapshotReport> {
    let volume = &snapshot.manifest.volume;
    let session = Session::open(repo.objects(), &Who::writer(&request.by, volume)).await?;
    let done = with_session(repo, &session, (snapshot, all), request, task).await;
    match &done {
        Ok(report) if report.copy.is_some() => {}
        Err(e) if e.kind() == ErrorKind::Fenced => {}
        // The error that counts is the first one; an open session is merely fenced later.
        _ => drop(session.abort("nothing to commit").await),
    }
    done
}

async fn with_session(
    repo: &Repository,
    session: &Session,
    (snapshot, all): (&Snapshot, &[Snapshot]),
    request: &SnapshotRequest,
    task: &Task,
) -> Result<SnapshotReport> {
    session.note_all_packs().await?;
    let mut report = SnapshotReport {
        snapshot: snapshot.id,
        volume: snapshot.manifest.volume.clone(),
        copy: None,
        sound: false,
        lost: Problems::default(),
        forgotten: false,
    };
    let neighbours = neighbours(snapshot, all);
    let mut mender = Mender::new(repo, session, request.dry_run).await?;
    let tree = write(repo, &mut mender, (snapshot, &neighbours), &mut report.lost, task).await?;
    let suspects: BTreeSet<PackId> = mender.reader.take_suspects();
    quarantine::examine_all(repo, &suspects, !request.dry_run, task).await?;
    report.sound = !mender.touched && report.lost.is_empty();
    if report.sound || request.dry_run {
        return Ok(report);
    }
    let manifest = describe(repo, &mut mender, snapshot, tree, report.lost.count()).await?;
    task.check()?;
    session.commit(manifest).await?.or_error()?;
    report.copy = Some(session.sid());
    Ok(report)
}

/// Other snapshots of the volume, the nearest in time first.
fn neighbours(snapshot: &Snapshot, all: &[Snapshot]) -> Vec<Snapshot> {
    let manifest = &snapshot.manifest;
    let same = |s: &&Snapshot| s.manifest.volume == manifest.volume && s.id != snapshot.id;
    let mut found: Vec<Snapshot> = all.iter().filter(same).cloned().collect();
    found.sort_by_key(|s| s.manifest.started.0.abs_diff(manifest.started.0));
    found
}

/// The copy's manifest; everything is stored then.
async fn describe(
    repo: &Repository,
    mender: &mut Mender<'_>,
    snapshot: &Snapshot,
    tree: Tree,
    lost: u64,
) -> Result<Manifest> {
    let old = &snapshot.manifest;
    let copy = mender.finish_copy(old, tree).await?;
    let before = old.repaired.map_or(0, |r| r.lost);
    Ok(Manifest {
        parent: Some(snapshot.id),
        finished: repo.env.now(),
        bytes_new: mender.packer.bytes_new,
        bytes_stored: mender.packer.bytes_stored,
        problems: old.problems.saturating_add(lost),
        repaired: Some(RepairMark { of: snapshot.id, lost: before.saturating_add(lost) }),
        ..copy
    })
}

/// A snapshot that may be named only if it is there.
pub fn require(all: &[Snapshot], id: Sid) -> Result<&Snapshot> {
    let found = all.iter().find(|s| s.id == id);
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")))
}
