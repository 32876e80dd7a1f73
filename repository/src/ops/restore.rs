//! Restores a snapshot, or a part of it, into a folder.
//!
//! 1. The item stream is read once: directories, links, devices and files without packs are made at once; what the
//!    other files want is gathered and read pack by pack, in windows of bounded memory.
//! 2. The stream is read again and directories get their metadata, each after all that lies below it.
//! 3. The target's file system is synced.
//!
//! A file that can't be restored whole is removed and named; the rest goes on, and when all is written the packs in which damage was
//! met are read again and put into quarantine. Directories are merged into those that
//! are there and get the snapshot's metadata. Nothing is ever written outside the target (`target` sees to it).

mod entries;
pub(crate) mod fetch;
mod finish;
pub(crate) mod pass;
pub(crate) mod plan;
mod select;
mod state;

#[cfg(test)]
pub(crate) mod sample;

use std::path::PathBuf;
use std::sync::Arc;

use pass::Pass;
use select::Selection;
use state::State;

use crate::error::Context as _;
use crate::monitor::Figures;
use crate::ops::reader::Reader;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task, browse, quarantine};
use crate::target::{Target, TargetOptions};
use crate::{Error, ErrorKind, Result};

/// What to do with what is already in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse a target that is not empty.
    #[default]
    Fail,
    /// Keep existing files as they are.
    Skip,
    /// Replace existing files.
    Overwrite,
    /// Replace files whose size or mtime differs.
    IfChanged,
}

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// From which snapshot.
    pub snapshot: Snapshot,
    /// Only this path (a directory's content, or one file, goes directly into the target); empty for all.
    pub path: Vec<u8>,
    /// Only entries matching one of these gitignore-like patterns, and the directories above them; empty for all.
    pub patterns: Vec<String>,
    /// The folder to fill; made if its parent exists.
    pub target: PathBuf,
    /// What to do with what is there.
    pub existing: Existing,
    /// Bound on the memory of this restore, bytes.
    pub memory_bytes_max: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// What could not be restored or set.
    pub problems: Problems,
    /// Files kept because of `existing`.
    pub skipped: u64,
    /// Final counters.
    pub figures: Figures,
}

/// Restores. Nothing is ever written outside the target.
pub async fn restore(repo: &Arc<Repository>, request: RestoreRequest, task: &Task) -> Result<RestoreReport> {
    repo.need_data("restore")?;
    let reader = Reader::register(repo, request.snapshot.id).await?;
    let done = restore_with(&reader, repo.env.random(), request, task).await;
    reader.close().await;
    let met = reader.take_suspects();
    // A store that is away proves nothing, and would only be waited for again.
    let away = done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Store);
    match reader.is_registered() {
        _ if away || met.is_empty() => {}
        true => quarantine::name_met(repo, met, task).await,
        false => {
            tracing::warn!(packs = met.len(), "damage was met, and these credentials can't record it");
        }
    }
    done
}

async fn restore_with(
    reader: &Arc<Reader>,
    nonce: [u8; 8],
    request: RestoreRequest,
    task: &Task,
) -> Result<RestoreReport> {
    let tree = browse::tree_of(reader, &request.snapshot);
    let selection = Selection::new(&tree, &request.path, &request.patterns).await?;
    let (path, existing) = (request.target.clone(), request.existing);
    let options =
        TargetOptions { replace: matches!(existing, Existing::Overwrite | Existing::IfChanged), nonce };
    let opened = pass::blocking(move || Target::open(&path, options)).await?;
    let target = opened.context(ErrorKind::Target, || {
        format!("open the folder {} to restore into", request.target.display())
    })?;
    if existing == Existing::Fail && !target.is_empty() {
        let what = format!(
            "{} is not empty: choose what happens to what is there (--existing skip, overwrite or if-changed)",
            request.target.display()
        );
        return Err(Error::new(ErrorKind::Refused, what));
    }
    if selection.is_all() {
        task.monitor.bytes_total.add(request.snapshot.manifest.bytes);
    }
    let state = Arc::new(State::new(target, existing, selection.has_patterns(), task.clone()));
    let pass = Pass {
        reader: Arc::clone(reader),
        state: Arc::clone(&state),
        selection: selection.clone(),
        window_bytes_max: request.memory_bytes_max / 4,
        at_once: fetch::batches_at_once(request.memory_bytes_max),
    };
    pass.run(&tree).await?;
    if selection.fills_target() {
        finish::run(&tree, &selection, &state).await?;
    }
    // One wait for all files: what was reported as restored is still there after a power cut.
    let synced = {
        let state = Arc::clone(&state);
        pass::blocking(move || state.target.sync()).await?
    };
    synced.context(ErrorKind::Target, || "finish the restore".to_owned())?;
    let (problems, skipped) = state.take_report();
    Ok(RestoreReport { problems, skipped, figures: task.monitor.figures() })
}

#[cfg(test)]
mod tests;
