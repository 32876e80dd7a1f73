//! `scrub`, `restore-test` and `repair` (of the quarantine: `quarantine.rs`): what is stored is proven, and healed where it can be.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use coordinator::maintenance::settings::{TEST_BYTES_MAX, TEST_VOLUMES_MAX};
use proto::task::TaskSpec;
use repository::ops::forget::Because;
use repository::ops::repair::index::{self, IndexRequest};
use repository::ops::repair::snapshots::{self as mend, SnapshotReport, SnapshotRequest};
use repository::ops::restore_test::{self, TestRequest};
use repository::ops::scrub::ScrubRequest;
use repository::ops::snapshots::Snapshot;
use repository::ops::{Problems, Repository, noted, snapshots};
use serde::Serialize;

use super::life::open;
use super::{maintenance, quarantine};
use crate::app::{App, Where};
use crate::args::{RepairCommand, RestoreTestArgs, ScrubArgs};
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::output::{self, List, counted, size};
use crate::records::{self, DamagedRecord, ProblemRecord, time};
use crate::run::report_damaged;

/// Bound on the memory of a restore test.
const TEST_MEMORY_BYTES: usize = 256 << 20;

/// What `scrub` found.
#[derive(Debug, Serialize)]
struct ScrubRecord {
    packs_total: u64,
    bytes_total: u64,
    packs: u64,
    bytes: u64,
    blobs: u64,
    ok: bool,
    damaged: Vec<DamagedRecord>,
    quarantined: u64,
    never_verified: u64,
    oldest_verification: Option<String>,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
    seconds: f64,
}

pub(super) async fn scrub(app: &App, args: &ScrubArgs) -> Result<Exit> {
    if let Where::Coordinator(url) = app.place()? {
        let spec = TaskSpec::Scrub(args.spec());
        return maintenance::start(app, &app.remote(url)?, &spec, args.detach).await;
    }
    maintenance::refuse_detach(args.detach)?;
    let repo = open(app).await?;
    let before = |s: u64| app.env.now().plus_seconds(-i64::try_from(s).unwrap_or(i64::MAX));
    let request = ScrubRequest {
        bytes_max: args.budget.map(|b| b.0),
        share_percent: args.share,
        not_since: args.older_than.map(before),
        no_quarantine: args.no_quarantine,
    };
    let task = app.task();
    let shown = app.show("scrub".to_owned(), &task);
    let because = Because { by: "holdfast scrub".to_owned(), why: String::new() };
    let done = noted::scrub(&repo, &request, &because, &task).await;
    let seconds = shown.finish().await;
    let done = done?;
    let record = ScrubRecord {
        packs_total: done.packs_total,
        bytes_total: done.bytes_total,
        packs: done.packs,
        bytes: done.bytes,
        blobs: done.blobs,
        ok: done.problems.is_empty(),
        damaged: done.damaged.iter().map(DamagedRecord::from).collect(),
        quarantined: done.quarantined,
        never_verified: done.never,
        oldest_verification: done.oldest.map(time),
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
        seconds,
    };
    output::print(app.format(), &record, text)?;
    told(&done.problems);
    Ok(if record.ok { Exit::Done } else { Exit::Failed })
}

fn text(r: &ScrubRecord) -> String {
    let mut out = format!(
        "{} of {}, {} of {}, {} in {:.1} s: {}\n",
        r.packs,
        counted(r.packs_total, "pack"),
        size(r.bytes),
        size(r.bytes_total),
        counted(r.blobs, "blob"),
        r.seconds,
        if r.ok { "ok".to_owned() } else { format!("FAILED: {} packs damaged", r.problems) },
    );
    if r.never_verified > 0 {
        out += &format!("never verified: {}\n", counted(r.never_verified, "pack"));
    }
    if r.quarantined > 0 {
        out += "what is damaged is in quarantine: the next backups that have it store it again, and `holdfast gc` leads old snapshots there\n";
    }
    out
}

fn told(problems: &Problems) {
    for problem in problems.kept() {
        tracing::error!("{}: {}", escape(&problem.path), problem.what);
    }
}

/// What a restore test found.
#[derive(Debug, Serialize)]
struct TestRecord {
    id: String,
    volume: String,
    ok: bool,
    files: u64,
    bytes: u64,
    sampled: bool,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
    seconds: f64,
}

pub(super) async fn restore_test(app: &App, args: RestoreTestArgs) -> Result<Exit> {
    if let Where::Coordinator(url) = app.place()? {
        if args.scratch.is_some() || args.against.is_some() {
            return Err(usage(
                "--scratch and --against: the test is made on the coordinator's machine, in the folder of its \
                              configuration",
            ));
        }
        let spec = TaskSpec::RestoreTest(args.spec());
        return maintenance::start(app, &app.remote(url)?, &spec, args.detach).await;
    }
    maintenance::refuse_detach(args.detach)?;
    if args.against.is_some() && args.volume.len() != 1 {
        return Err(usage("--against needs one --volume: a folder is compared with one volume"));
    }
    let repo = open(app).await?;
    let (all, damaged) = app.or_cancel(snapshots::list(&repo)).await??;
    let mut exit = report_damaged(damaged);
    let most = usize::try_from(args.volumes.unwrap_or(TEST_VOLUMES_MAX))?;
    let most = if args.volume.is_empty() { most } else { usize::MAX };
    let chosen = app.or_cancel(restore_test::choose(&repo, &all, &args.volume, most)).await??;
    let request = TestRequest {
        scratch: args.scratch.unwrap_or_else(std::env::temp_dir),
        bytes_max: args.budget.map_or(TEST_BYTES_MAX, |b| b.0),
        against: args.against,
        memory_bytes_max: TEST_MEMORY_BYTES,
        by: "holdfast restore-test".to_owned(),
    };
    let mut list = List::new(app.format());
    for snapshot in chosen {
        exit = exit.worse(test_one(app, &repo, &snapshot, &request, &mut list).await?);
    }
    list.finish()?;
    Ok(exit)
}

async fn test_one(
    app: &App,
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    request: &TestRequest,
    list: &mut List,
) -> Result<Exit> {
    let volume = &snapshot.manifest.volume;
    let task = app.task();
    let shown = app.show(format!("restore test of {volume}"), &task);
    // Not dropped by a signal: what it has made has to be deleted.
    let done = restore_test::test(repo, snapshot, request, &task).await;
    let seconds = shown.finish().await;
    let mut done = done.with_context(|| format!("restore test of {volume} ({})", snapshot.id))?;
    done.problems.merge(std::mem::take(&mut done.differences));
    let record = TestRecord {
        id: snapshot.id.to_string(),
        volume: volume.clone(),
        ok: done.problems.is_empty(),
        files: done.files,
        bytes: done.bytes,
        sampled: done.sampled,
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
        seconds,
    };
    list.push(&record, |r| {
        let verdict = if r.ok { "ok".to_owned() } else { format!("FAILED: {} problems", r.problems) };
        let what = if r.sampled { "a sample of " } else { "" };
        let (id, bytes) = (&r.id[..8], size(r.bytes));
        format!(
            "{id}  {}  {what}{}, {bytes} in {:.1} s: {verdict}",
            tame(&r.volume),
            counted(r.files, "file"),
            r.seconds
        )
    })?;
    told(&done.problems);
    Ok(if record.ok { Exit::Done } else { Exit::Failed })
}

/// What `repair index` did.
#[derive(Debug, Serialize)]
struct IndexRecord {
    packs_total: u64,
    packs: u64,
    blobs: u64,
    deltas: u64,
    dry_run: bool,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
}

/// What `repair snapshots` did with one.
#[derive(Debug, Serialize)]
struct RepairRecord {
    id: String,
    volume: String,
    sound: bool,
    copy: Option<String>,
    lost: u64,
    lost_list: Vec<ProblemRecord>,
    forgotten: bool,
}

pub(super) async fn repair(app: &App, command: RepairCommand) -> Result<Exit> {
    let (spec, detach) = command.spec();
    if let Where::Coordinator(url) = app.place()? {
        return maintenance::start(app, &app.remote(url)?, &TaskSpec::Repair(spec), detach).await;
    }
    maintenance::refuse_detach(detach)?;
    match command {
        RepairCommand::Index { all, dry_run, .. } => repair_index(app, IndexRequest { all, dry_run }).await,
        RepairCommand::Quarantine { dry_run, .. } => quarantine::repair(app, dry_run).await,
        RepairCommand::Snapshots { snapshots, volume, forget, dry_run, .. } => {
            let by = "holdfast repair".to_owned();
            let request = SnapshotRequest { dry_run, forget, by };
            repair_snapshots(app, &snapshots, volume.as_deref(), &request).await
        }
    }
}

async fn repair_index(app: &App, request: IndexRequest) -> Result<Exit> {
    let repo = open(app).await?;
    let task = app.task();
    let shown = app.show("repair index".to_owned(), &task);
    let done = app.or_cancel(index::index(&repo, request, "holdfast repair", &task)).await;
    shown.finish().await;
    let done = done??;
    let record = IndexRecord {
        packs_total: done.packs_total,
        packs: done.packs,
        blobs: done.blobs,
        deltas: done.deltas,
        dry_run: request.dry_run,
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
    };
    output::print(app.format(), &record, |r| {
        let (word, deltas) = if r.dry_run { ("would be", "") } else { ("are", " again") };
        let (packs, blobs) = (counted(r.packs_total, "pack"), counted(r.blobs, "blob"));
        format!("{} of {packs} with {blobs} {word} named{deltas}\n", r.packs)
    })?;
    told(&done.problems);
    Ok(if done.problems.is_empty() { Exit::Done } else { Exit::Partial })
}

async fn repair_snapshots(
    app: &App,
    specs: &[String],
    volume: Option<&str>,
    request: &SnapshotRequest,
) -> Result<Exit> {
    let repo = open(app).await?;
    let (all, damaged) = app.or_cancel(snapshots::list(&repo)).await??;
    let mut exit = report_damaged(damaged);
    let mut chosen = Vec::new();
    if specs.is_empty() {
        let of = |s: &&Snapshot| volume.is_none_or(|v| s.manifest.volume == v);
        chosen = app.or_cancel(mend::find_damaged(&repo, &all)).await??;
        chosen.retain(|s| of(&s));
    }
    for spec in specs {
        chosen.push(app.or_cancel(snapshots::get(&repo, spec, volume)).await??);
    }
    let mut list = List::new(app.format());
    for snapshot in chosen {
        let task = app.task();
        let shown = app.show(format!("repair {}", snapshot.manifest.volume), &task);
        let done = app.or_cancel(mend::repair(&repo, &snapshot, &all, request, &task)).await;
        shown.finish().await;
        let done = done??;
        list.push(&repaired(&done), |r| line(r, request.dry_run))?;
        told(&done.lost);
        if !done.lost.is_empty() {
            exit = exit.worse(Exit::Partial);
        }
    }
    list.finish()?;
    Ok(exit)
}

fn repaired(r: &SnapshotReport) -> RepairRecord {
    RepairRecord {
        id: r.snapshot.to_string(),
        volume: r.volume.clone(),
        sound: r.sound,
        copy: r.copy.map(|c| c.to_string()),
        lost: r.lost.count(),
        lost_list: records::problems(&r.lost),
        forgotten: r.forgotten,
    }
}

fn line(r: &RepairRecord, dry_run: bool) -> String {
    let lost = match r.lost {
        0 => "nothing is lost".to_owned(),
        n => format!("{n} paths are lost"),
    };
    let what = match (&r.copy, r.sound) {
        (Some(copy), _) => format!("{lost}; repaired as {}", &copy[..8]),
        (None, true) => "sound".to_owned(),
        (None, false) if dry_run => format!("{lost}; would be repaired"),
        (None, false) => lost,
    };
    let forgotten = if r.forgotten { ", forgotten" } else { "" };
    format!("{}  {}  {what}{forgotten}", &r.id[..8], tame(&r.volume))
}
