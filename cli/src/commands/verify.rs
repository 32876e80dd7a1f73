//! `verify`: proves that snapshots restore, or names what is damaged. Damage is a failure, exit code 1.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use repository::ops::Repository;
use repository::ops::snapshots::{self, Snapshot};
use repository::ops::verify::{Level, verify as run};

use crate::app::App;
use crate::escape::{escape, tame};
use crate::exit::Exit;
use crate::output::{List, size};
use crate::records::{self, VerifyRecord};
use crate::run::report;

/// What to verify.
#[derive(Debug)]
pub(super) struct What {
    /// One snapshot; `None` for all.
    pub(super) snapshot: Option<String>,
    /// Narrows the choice.
    pub(super) volume: Option<String>,
    /// How deeply.
    pub(super) level: Level,
}

/// The level that the flags ask for.
pub(super) fn level(quick: bool, against: Option<PathBuf>) -> Level {
    match (quick, against) {
        (_, Some(folder)) => Level::Against(folder),
        (true, None) => Level::Quick,
        (false, None) => Level::Full,
    }
}

pub(super) async fn verify(app: &App, what: &What) -> Result<Exit> {
    let repo = app.repository("verify").await?;
    let volume = what.volume.as_deref();
    let mut exit = Exit::Done;
    let chosen = match &what.snapshot {
        Some(spec) => vec![app.snapshot(&repo, spec, volume).await?],
        None => {
            let (mut all, damaged) = app.or_cancel(snapshots::list(&repo)).await??;
            for error in damaged {
                exit = Exit::Failed;
                report(&anyhow::Error::from(error));
            }
            all.retain(|s| volume.is_none_or(|v| s.manifest.volume == v));
            all
        }
    };
    let mut list = List::new(app.format());
    for snapshot in chosen {
        exit = exit.worse(one(app, &repo, &snapshot, &what.level, &mut list).await?);
    }
    list.finish()?;
    Ok(exit)
}

async fn one(
    app: &App,
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    level: &Level,
    list: &mut List,
) -> Result<Exit> {
    let volume = &snapshot.manifest.volume;
    let task = app.task();
    let shown = app.show(format!("verify {volume}"), &task);
    let done = run(repo, snapshot, level, &task).await;
    let seconds = shown.finish().await;
    let done = done.with_context(|| format!("verify {volume} ({})", snapshot.id))?;
    let record = VerifyRecord {
        id: snapshot.id.to_string(),
        volume: volume.clone(),
        level: match level {
            Level::Quick => "quick",
            Level::Full => "full",
            Level::Against(_) => "against",
        },
        ok: done.problems.is_empty(),
        entries: done.figures.entries,
        bytes: done.figures.bytes_done,
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
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
        "{id}  {}  {}, {} entries, {bytes} in {:.1} s: {verdict}",
        tame(&r.volume),
        r.level,
        r.entries,
        r.seconds
    )
}
