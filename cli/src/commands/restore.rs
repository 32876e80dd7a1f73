//! `restore`: a snapshot, or a part of it, into a folder.

use anyhow::{Context as _, Result};
use repository::ops::restore::{RestoreRequest, restore as run};

use super::backup::refuse;
use crate::app::{App, Where};
use crate::args::RestoreArgs;
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::output::{self, counted, size};
use crate::place;
use crate::records::{self, RestoreRecord};
use crate::source::Source;

pub(super) async fn restore(app: &App, args: RestoreArgs) -> Result<Exit> {
    match app.place()? {
        Where::Coordinator(_) if args.memory.is_some() => refuse(&["--memory"])?,
        Where::Repo(_) if args.agent.is_some() => {
            return Err(usage("--agent says who restores for a coordinator: pass --coordinator URL"));
        }
        _ => {}
    }
    if let (Where::Repo(_), Some(_)) = (app.place()?, &args.agent) {
        return Err(usage("--agent says who restores for a coordinator: pass --coordinator URL"));
    }
    let place = place::parse(&args.snapshot, None)?;
    let source = app.source().await?;
    let snapshot = app.snapshot(&source, &place.snapshot, args.volume.as_deref()).await?;
    let target = match &source {
        Source::Repo(_) => std::path::absolute(&args.target).context("find the target")?,
        Source::Coordinator(_) if args.target.is_absolute() => args.target.clone(),
        Source::Coordinator(_) => {
            return Err(usage("TARGET lies on the agent's machine: give an absolute path"));
        }
    };
    let (id, volume) = (snapshot.id, snapshot.manifest.volume.clone());
    let memory_bytes_max = args.memory_bytes();
    let request = RestoreRequest {
        snapshot,
        path: place.path,
        patterns: args.include,
        target: target.clone(),
        existing: args.existing.into(),
        memory_bytes_max,
    };
    let task = app.task();
    let shown = app.show(format!("restore {volume}"), &task);
    let done = match &source {
        Source::Repo(repo) => run(repo, request, &task).await,
        Source::Coordinator(remote) => remote.restore(request, args.agent, &task).await,
    };
    let seconds = shown.finish().await;
    let done = done.with_context(|| format!("restore {volume} ({id}) into {}", target.display()))?;
    let record = RestoreRecord {
        id: id.to_string(),
        volume,
        target: escape(target.as_os_str().as_encoded_bytes()),
        entries: done.figures.entries,
        files: done.figures.files,
        bytes: done.figures.bytes_done,
        skipped: done.skipped,
        problems: done.problems.count(),
        problem_list: records::problems(&done.problems),
        seconds,
    };
    output::print(app.format(), &record, text)?;
    for problem in done.problems.kept() {
        tracing::warn!("{}: {}", escape(&problem.path), problem.what);
    }
    Ok(if done.problems.is_empty() { Exit::Done } else { Exit::Partial })
}

fn text(r: &RestoreRecord) -> String {
    let mut out = format!(
        "restored {} of {} into {}\n  {}, {}, {} in {:.1} s",
        &r.id[..8],
        tame(&r.volume),
        r.target,
        counted(r.entries, "entry"),
        counted(r.files, "file"),
        size(r.bytes),
        r.seconds
    );
    if r.skipped > 0 {
        out += &format!("; {} existing kept", r.skipped);
    }
    if r.problems > 0 {
        out += &format!("\n  PARTIAL: {} problems", r.problems);
    }
    out + "\n"
}
