//! `copy` and `mirror`: a second repository.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use coordinator::maintenance::destination::{SHARE_PERCENT_MAX, ZSTD_LEVEL};
use proto::task::TaskSpec;
use repository::ops::copy::{CopiedSnapshot, CopyReport, CopyRequest, Fate, copy as run_copy};
use repository::ops::mirror::{MirrorReport, MirrorRequest, mirror as run_mirror};
use repository::ops::{Repository, snapshots};
use serde::Serialize;

use super::maintenance;
use crate::app::{App, Where, missing};
use crate::args::{CopyArgs, MirrorArgs};
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::key::KeySource;
use crate::output::{self, size};
use crate::records::{self, ProblemRecord, local_time, time};
use crate::run::report_damaged;

/// Flags that name what only a coordinator's configuration may.
fn configured_there(flags: &[&str]) -> anyhow::Error {
    usage(format!("{}: the coordinator's configuration says that of each destination", flags.join(", ")))
}

#[derive(Debug, Serialize)]
struct CopyRecord {
    source: String,
    volume: String,
    started: String,
    /// `copied`, `already` or `failed`
    state: &'static str,
    id: Option<String>,
    bytes_read: u64,
    bytes_new: u64,
    bytes_stored: u64,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
    error: Option<String>,
}

impl From<&CopiedSnapshot> for CopyRecord {
    fn from(s: &CopiedSnapshot) -> Self {
        let (state, id, problems, problem_list, error) = match &s.fate {
            Fate::Copied { id, lost } => ("copied", Some(*id), lost.count(), records::problems(lost), None),
            Fate::Already { id, lost } => ("already", Some(*id), *lost, Vec::new(), None),
            Fate::Failed(e) => ("failed", None, 0, Vec::new(), Some(e.chain())),
        };
        Self {
            source: s.source.to_string(),
            volume: s.volume.clone(),
            started: time(s.started),
            state,
            id: id.map(|id| id.to_string()),
            bytes_read: s.figures.bytes_read,
            bytes_new: s.figures.bytes_new,
            bytes_stored: s.figures.bytes_stored,
            problems,
            problem_list,
            error,
        }
    }
}

pub(super) async fn copy(app: &App, args: CopyArgs) -> Result<Exit> {
    let url = match app.place()? {
        Where::Repo(url) => url,
        Where::Coordinator(url) => {
            let spec = TaskSpec::Copy(args.spec().map_err(|flags| configured_there(&flags))?);
            return maintenance::start(app, &app.remote(url)?, &spec, args.to.detach).await;
        }
    };
    maintenance::refuse_detach(args.to.detach)?;
    let source = app.open(url, 0, None).await?;
    let target = open_target(app, &args).await?;
    let mut ids = Vec::new();
    for spec in &args.snapshots {
        ids.push(app.or_cancel(snapshots::get(&source, spec, args.volume.as_deref())).await??.id);
    }
    let request = CopyRequest {
        snapshots: ids,
        volume: args.volume.clone(),
        newest: args.newest,
        retry_partial: args.retry_partial,
        zstd_level: args.zstd_level.unwrap_or(ZSTD_LEVEL),
        memory_bytes_max: args.to.memory_bytes(),
    };
    let task = app.task();
    let shown = app.show(format!("copy to {}", args.to.to), &task);
    let done = app.or_cancel(run_copy(&source, &target, &request, &task)).await;
    shown.finish().await;
    let CopyReport { snapshots, damaged } = done?.with_context(|| format!("copy to {}", args.to.to))?;
    let records: Vec<CopyRecord> = snapshots.iter().map(CopyRecord::from).collect();
    let rows = snapshots.iter().zip(&records).map(|(s, r)| {
        let id = r.id.as_ref().map_or_else(String::new, |id| id[..8].to_owned());
        let state = if r.problems > 0 {
            format!("{} (partial: {})", r.state, r.problems)
        } else {
            r.state.to_owned()
        };
        vec![r.source[..8].to_owned(), id, local_time(s.started), tame(&r.volume), size(r.bytes_new), state]
    });
    let head = ["SOURCE", "COPY", "STARTED", "VOLUME", "NEW", "STATE"];
    output::print(app.format(), &records, |_| output::table(&head, rows))?;
    let mut exit = if records.iter().any(|r| r.problems > 0) { Exit::Partial } else { Exit::Done };
    for s in &snapshots {
        match &s.fate {
            Fate::Copied { lost, .. } => {
                for problem in lost.kept() {
                    tracing::warn!("{}: {}", escape(&problem.path), problem.what);
                }
            }
            Fate::Failed(e) => {
                tracing::error!("{}", e.chain());
                exit = Exit::Failed;
            }
            Fate::Already { .. } => {}
        }
    }
    Ok(exit.worse(report_damaged(damaged)))
}

async fn open_target(app: &App, args: &CopyArgs) -> Result<Arc<Repository>> {
    let key = match (&args.to_key_file, &args.to_passphrase_file) {
        (Some(path), _) => KeySource::KeyFile(path.clone()),
        (None, Some(path)) => KeySource::PassphraseFile(path.clone()),
        (None, None) => KeySource::Prompt,
    };
    let store = crate::store::open_to(&args.to.to, args.to.limit_upload, &app.env);
    let store = app.or_cancel(store).await?.map_err(|e| missing(e, &args.to.to))?;
    let domain = args.to_domain.clone().unwrap_or_else(repository::ids::DomainName::default_domain);
    app.open_with(store, &args.to.to, (domain, key), 0).await
}

#[derive(Debug, Serialize)]
struct MirrorRecord {
    objects: u64,
    bytes: u64,
    copied: u64,
    bytes_copied: u64,
    vanished: u64,
    deleted: u64,
    bytes_deleted: u64,
    leftovers: u64,
    rounds: u64,
    different: u64,
    different_list: Vec<ProblemRecord>,
}

impl From<&MirrorReport> for MirrorRecord {
    fn from(r: &MirrorReport) -> Self {
        Self {
            objects: r.objects,
            bytes: r.bytes,
            copied: r.copied,
            bytes_copied: r.bytes_copied,
            vanished: r.vanished,
            deleted: r.deleted,
            bytes_deleted: r.bytes_deleted,
            leftovers: r.leftovers,
            rounds: r.rounds,
            different: r.different.count(),
            different_list: records::problems(&r.different),
        }
    }
}

pub(super) async fn mirror(app: &App, args: MirrorArgs) -> Result<Exit> {
    let url = match app.place()? {
        Where::Repo(url) => url,
        Where::Coordinator(url) => {
            let spec = TaskSpec::Mirror(args.spec().map_err(|flags| configured_there(&flags))?);
            return maintenance::start(app, &app.remote(url)?, &spec, args.to.detach).await;
        }
    };
    maintenance::refuse_detach(args.to.detach)?;
    let source = app.store(url, None).await??;
    let target = crate::store::create_to(&args.to.to, args.to.limit_upload, &app.env);
    let target = app.or_cancel(target).await??;
    let request = MirrorRequest {
        delete: args.delete,
        delete_share_max: args.max_share.unwrap_or(SHARE_PERCENT_MAX),
        compare_bytes: args.compare_bytes,
        memory_bytes_max: args.to.memory_bytes(),
    };
    let task = app.task();
    let shown = app.show(format!("mirror to {}", args.to.to), &task);
    let done = app.or_cancel(run_mirror(&source, &target, &request, &task)).await;
    shown.finish().await;
    let done = done?.with_context(|| format!("mirror to {}", args.to.to))?;
    let record = MirrorRecord::from(&done);
    output::print(app.format(), &record, |r| {
        let mut out = format!(
            "{} objects with {}; {} copied with {}\n",
            r.objects,
            size(r.bytes),
            r.copied,
            size(r.bytes_copied)
        );
        if r.deleted > 0 {
            out += &format!("{} deleted with {}\n", r.deleted, size(r.bytes_deleted));
        }
        if r.leftovers > 0 {
            out += &format!("{} could not be deleted\n", r.leftovers);
        }
        if r.different > 0 {
            out += &format!("{} objects DIFFER\n", r.different);
        }
        out
    })?;
    for object in done.different.kept() {
        tracing::error!("{}: {}", escape(&object.path), object.what);
    }
    Ok(if done.different.is_empty() { Exit::Done } else { Exit::Failed })
}
