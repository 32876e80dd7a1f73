//! Restores a snapshot, or a part of it, into a folder.

use std::path::PathBuf;
use std::sync::Arc;

use crate::monitor::Figures;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task};
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
    let _ = (repo, request, task);
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
