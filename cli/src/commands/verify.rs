//! `verify`: proves that snapshots restore, or names what is damaged. Damage is a failure, exit code 1.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use proto::task::TaskSpec;
use repository::ops::snapshots::Snapshot;
use repository::ops::verify::{Examined, Level, Proven, examine, record as record_verified};

use super::maintenance;
use crate::app::{App, Where};
use crate::args::Detach;
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::output::{List, counted, size};
use crate::records::{self, DamagedRecord, VerifyRecord};
use crate::run::report_damaged;
use crate::source::Source;

/// What to verify.
#[derive(Debug)]
pub(super) struct What {
    /// One snapshot; `None` for all.
    pub(super) snapshot: Option<String>,
    /// Narrows the choice.
    pub(super) volume: Option<String>,
    /// How deeply.
    pub(super) level: Level,
    /// Damage is only told.
    pub(super) no_quarantine: bool,
}

/// What a run has found so far.
#[derive(Debug, Default)]
struct Found {
    proven: Vec<Proven>,
    examined: Examined,
}

/// The level that the flags ask for.
pub(super) fn level(quick: bool, against: Option<PathBuf>) -> Level {
    match (quick, against) {
        (_, Some(folder)) => Level::Against(folder),
        (true, None) => Level::Quick,
        (false, None) => Level::Full,
    }
}

pub(super) async fn verify(app: &App, what: &What, detach: Detach) -> Result<Exit> {
    if detach.detach {
        return begin(app, what, detach).await;
    }
    let source = app.source().await?;
    let volume = what.volume.as_deref();
    let mut exit = Exit::Done;
    let chosen = match &what.snapshot {
        Some(spec) => vec![app.snapshot(&source, spec, volume).await?],
        None => {
            let (all, damaged) = app.or_cancel(source.snapshots(volume)).await??;
            exit = report_damaged(damaged);
            all
        }
    };
    let mut list = List::new(app.format());
    let mut found = Found::default();
    let mut done = Ok(exit);
    for snapshot in chosen {
        let one = one(app, &source, &snapshot, what, (&mut list, &mut found)).await;
        done = done.and_then(|exit| Ok(exit.worse(one?)));
        if done.is_err() {
            break;
        }
    }
    // Also of a run that was stopped. A coordinator records what it verifies itself.
    if let Source::Repo(repo) = &source {
        let damaged = found.examined.damaged();
        record_verified(repo, &what.level, &found.proven, damaged, "holdfast verify").await?;
    }
    list.finish()?;
    done
}

/// As a task of the coordinator.
async fn begin(app: &App, what: &What, detach: Detach) -> Result<Exit> {
    let Where::Coordinator(url) = app.place()? else {
        return maintenance::refuse_detach(detach).map(|()| Exit::Done);
    };
    if what.snapshot.is_some() || matches!(what.level, Level::Against(_)) {
        return Err(usage("--detach verifies all snapshots, or those of --volume: give no SNAPSHOT"));
    }
    let spec = TaskSpec::Verify { volume: what.volume.clone(), quick: what.level == Level::Quick };
    maintenance::start(app, &app.remote(url)?, &spec, detach).await
}

async fn one(
    app: &App,
    source: &Source,
    snapshot: &Snapshot,
    what: &What,
    (list, found): (&mut List, &mut Found),
) -> Result<Exit> {
    let (volume, level) = (&snapshot.manifest.volume, &what.level);
    let task = app.task();
    let shown = app.show(format!("verify {volume}"), &task);
    let done = app.or_cancel(source.verify(snapshot, level, &task)).await;
    let seconds = shown.finish().await;
    let done = done.and_then(|d| Ok(d?)).with_context(|| format!("verify {volume} ({})", snapshot.id))?;
    found.proven.push(Proven::of(snapshot.id, level, &done));
    let damaged = match source {
        Source::Repo(repo) => {
            let examined = examine(repo, &done, &mut found.examined, what.no_quarantine, &task);
            app.or_cancel(examined).await??
        }
        Source::Coordinator(_) => Vec::new(),
    };
    let record = VerifyRecord {
        id: snapshot.id.to_string(),
        volume: volume.clone(),
        level: level.word(),
        ok: done.problems.is_empty(),
        entries: done.figures.entries,
        bytes: done.figures.bytes_done,
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
        damaged: damaged.iter().map(DamagedRecord::from).collect(),
        seconds,
    };
    list.push(&record, text)?;
    for problem in done.problems.kept() {
        tracing::error!("{}: {}", escape(&problem.path), problem.what);
    }
    Ok(if record.ok { Exit::Done } else { Exit::Failed })
}

fn text(r: &VerifyRecord) -> String {
    let verdict = if r.ok { "ok".to_owned() } else { format!("FAILED: {} problems", r.problems) };
    let (id, bytes) = (&r.id[..8], size(r.bytes));
    format!(
        "{id}  {}  {}, {}, {bytes} in {:.1} s: {verdict}",
        tame(&r.volume),
        r.level,
        counted(r.entries, "entry"),
        r.seconds
    )
}
