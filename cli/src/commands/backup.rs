//! `backup`: one snapshot for each PATH.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use proto::v1::RunBackupRequest;
use repository::ops::backup::{BackupReport, BackupRequest, backup as run};
use repository::ops::{Repository, Task};
use repository::source::Rules;
use repository::{Error, ErrorKind};

use crate::app::{App, Where};
use crate::args::{BackupArgs, Tuning};
use crate::escape::{escape, tame};
use crate::exit::{Exit, is_broken_pipe, usage};
use crate::output::{self, counted, size};
use crate::records::{self, BackupRecord};
use crate::remote::Remote;
use crate::run::report;

pub(super) async fn backup(app: &App, args: BackupArgs) -> Result<Exit> {
    if args.volume.is_some() && args.paths.len() > 1 {
        return Err(usage("--volume names one volume, and there is more than one PATH"));
    }
    match app.place()? {
        Where::Repo(url) => {
            let requests = requests(&args, &host())?;
            let repo = app.open(url, args.tuning.threads(), args.tuning.limit_upload).await?;
            all(app, &By::Us(repo, url.clone()), requests).await
        }
        Where::Coordinator(url) => {
            refuse(&args.tuning.given())?;
            let requests = requests(&args, &host())?;
            all(app, &By::Agent(app.remote(url)?, url.clone()), requests).await
        }
    }
}

/// Who reads the volume.
#[derive(Debug)]
pub(super) enum By {
    /// This process, into the store at this URL.
    Us(Arc<Repository>, String),
    /// The agent that has the volume, told by the coordinator at this URL.
    Agent(Remote, String),
}

impl fmt::Display for By {
    /// What a failure begins with: where the backup was to go, or who was asked for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Us(_, url) => write!(f, "backup to {url}"),
            Self::Agent(_, url) => write!(f, "backup through {url}"),
        }
    }
}

/// An agent works as its own configuration says; flags that would silently do nothing are refused.
pub(super) fn refuse(given: &[&str]) -> Result<()> {
    if given.is_empty() {
        return Ok(());
    }
    let flags = given.join(", ");
    Err(usage(format!("{flags}: set in the agent's configuration, not by a flag beside --coordinator")))
}

/// Backs all of them up, one after the other. One that fails does not keep the others from being backed up.
pub(super) async fn all(app: &App, by: &By, requests: Vec<Result<BackupRequest>>) -> Result<Exit> {
    let mut exit = Exit::Done;
    let mut list = output::List::new(app.format());
    for request in requests {
        let done = match request {
            Ok(request) => one(app, by, request, &mut list).await.with_context(|| by.to_string()),
            Err(e) => Err(e.context("backup")),
        };
        exit = exit.worse(done.unwrap_or_else(|e| {
            report(&e);
            Exit::of_error(&e)
        }));
        if app.cancel.is_cancelled() {
            break;
        }
    }
    unless_closed(list.finish().map(drop))?;
    Ok(exit)
}

/// A reader of our output that went away is no reason to leave the remaining volumes without a backup.
fn unless_closed(printed: Result<()>) -> Result<()> {
    match printed {
        Err(e) if is_broken_pipe(&e) => Ok(()),
        other => other,
    }
}

async fn one(app: &App, by: &By, request: BackupRequest, list: &mut output::List) -> Result<Exit> {
    let task = app.task();
    let shown = app.show(format!("backup {}", request.volume), &task);
    let done = match by {
        By::Us(repo, _) => run(repo, request, None, &task).await,
        By::Agent(remote, _) => by_agent(remote, request, &task).await,
    };
    let seconds = shown.finish().await;
    let done = done?;
    unless_closed(list.push(&record(&done, seconds), text))?;
    for problem in done.problems.kept() {
        tracing::warn!("{}: {}", escape(&problem.path), problem.what);
    }
    Ok(if done.problems.is_empty() { Exit::Done } else { Exit::Partial })
}

async fn by_agent(remote: &Remote, request: BackupRequest, task: &Task) -> repository::Result<BackupReport> {
    // The volume's name decides what is read; a PATH that is another folder would silently do nothing.
    if let Some(v) = remote.find_volume(&request.volume).await?
        && v.path != request.root.as_os_str().as_encoded_bytes()
    {
        let (there, host, path) = (escape(&v.path), tame(&v.host), request.root.display());
        let what = format!("PATH is {path}, but volume {} is {there} on {host}", tame(&v.name));
        return Err(Error::new(ErrorKind::Input, what));
    }
    let (volume, read_all, tags) = (request.volume, request.read_all, request.tags);
    let done = remote.backup(RunBackupRequest { volume, read_all, tags }, task).await?;
    let unsaid = || Error::new(ErrorKind::Internal, "the agent reported no snapshot");
    let snapshot = done.snapshot.ok_or_else(unsaid)?;
    Ok(BackupReport { snapshot, problems: done.problems, figures: done.figures })
}

fn record(done: &BackupReport, seconds: f64) -> BackupRecord {
    BackupRecord {
        snapshot: (&done.snapshot).into(),
        problem_list: records::problems(&done.problems),
        figures: done.figures.into(),
        seconds,
    }
}

fn text(r: &BackupRecord) -> String {
    let s = &r.snapshot;
    let mut out = format!(
        "snapshot {} of {}\n  {}, {} in {:.1} s; {} new, {} stored; {} opened, {} unchanged",
        s.id,
        tame(&s.volume),
        counted(s.files, "file"),
        size(s.bytes),
        r.seconds,
        size(s.bytes_new),
        size(r.figures.bytes_uploaded),
        counted(r.figures.files_opened, "file"),
        r.figures.files_unchanged,
    );
    if s.changed_during_read > 0 {
        out += &format!(
            "\n  {} files changed while they were read and are stored as a mixture",
            s.changed_during_read
        );
    }
    if s.problems > 0 {
        out += &format!("\n  PARTIAL: {} entries could not be read", s.problems);
    }
    out
}

/// What the arguments ask for, one request for each PATH; a PATH that is none fails alone.
pub(super) fn requests(args: &BackupArgs, host: &str) -> Result<Vec<Result<BackupRequest>>> {
    let rules = rules(&args.tuning)?;
    Ok(args.paths.iter().map(|path| request(path, args, &rules, host)).collect())
}

fn request(path: &Path, args: &BackupArgs, rules: &Rules, host: &str) -> Result<BackupRequest> {
    let root = whole(path)?;
    if !root.is_dir() {
        let what = if root.exists() { "is not a directory" } else { "does not exist or can't be reached" };
        return Err(Error::new(ErrorKind::Source, format!("{}: {what}", path.display())).into());
    }
    let volume = match &args.volume {
        Some(name) if name.is_empty() => return Err(usage("--volume must not be empty")),
        Some(name) => name.clone(),
        None => format!("{host}:{}", escape(root.as_os_str().as_encoded_bytes())),
    };
    Ok(BackupRequest {
        root,
        volume,
        host: host.to_owned(),
        rules: rules.clone(),
        tags: args.tag.clone(),
        read_all: args.read_all,
        reread_days: args.tuning.reread_days(),
        zstd_level: args.tuning.zstd_level(),
        memory_bytes_max: args.tuning.memory_bytes(),
        readers: 0,
        reuse: args.tuning.reuse.unwrap_or_default(),
        origin: None,
        shown: None,
        guard: None,
    })
}

/// The absolute path. Symlinks stay (a path that is switched to another folder stays the same volume), unless `..`
/// makes following them the only right answer.
#[expect(clippy::disallowed_methods, reason = "the user's own argument, not a name found in a tree")]
fn whole(path: &Path) -> Result<PathBuf> {
    let what = || format!("find {}", path.display());
    if path.components().any(|c| c == Component::ParentDir) {
        return std::fs::canonicalize(path).with_context(what);
    }
    let absolute = std::path::absolute(path).with_context(what)?;
    // Without a trailing slash, so that `/data` and `/data/` are one volume.
    Ok(absolute.components().collect())
}

fn rules(tuning: &Tuning) -> Result<Rules> {
    let mut exclude = Vec::new();
    for file in &tuning.exclude_file {
        let text = std::fs::read_to_string(file).map_err(|e| {
            Error::with_source(ErrorKind::Input, format!("read exclude file {}", file.display()), e)
        })?;
        let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        exclude.extend(lines.map(str::to_owned));
    }
    exclude.extend(tuning.exclude.iter().cloned());
    Ok(Rules { exclude, exclude_caches: tuning.exclude_caches })
}

/// This machine's name.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
