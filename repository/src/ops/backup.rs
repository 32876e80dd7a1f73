//! Backs one directory tree up into the repository.

use std::path::PathBuf;
use std::sync::Arc;

use crate::index::Lookup;
use crate::monitor::Figures;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task};
use crate::source::Rules;
use crate::{Error, ErrorKind, Result};

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// The folder to read.
    pub root: PathBuf,
    /// The volume's name: `host:/path` unless given.
    pub volume: String,
    /// The machine that reads it.
    pub host: String,
    /// What to leave out.
    pub rules: Rules,
    /// Free labels kept in the manifest.
    pub tags: Vec<String>,
    /// Read everything, whatever the parent says.
    pub read_all: bool,
    /// zstd level, 1 to 19.
    pub zstd_level: i32,
    /// Bound on the memory of this backup, bytes.
    pub memory_bytes_max: usize,
    /// Large-file and batch work done at once; 0 derives it from the pool.
    pub readers: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The committed snapshot.
    pub snapshot: Snapshot,
    /// What could not be backed up: then the snapshot is partial.
    pub problems: Problems,
    /// Final counters.
    pub figures: Figures,
}

/// Backs `request.root` up and commits the snapshot. `lookup` answers which blobs exist (a coordinator); without it
/// the repository's own index is used.
pub async fn backup(
    repo: &Arc<Repository>,
    request: BackupRequest,
    lookup: Option<Arc<dyn Lookup>>,
    task: &Task,
) -> Result<BackupReport> {
    let _ = (repo, request, lookup, task);
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
