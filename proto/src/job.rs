//! Jobs as plain values: what the coordinator asks of an agent, and what came of it.

use repository::ids::Sid;
use repository::manifest::Origin;
use repository::monitor::Figures;
use repository::ops::Problems;
use repository::ops::restore::Existing;
use repository::ops::snapshots::Snapshot;
use repository::{Error, ErrorKind};

use crate::name::random_name;

random_name!(
    /// The name of one job, and of the run that it belongs to. Random.
    JobId, "run"
);

/// One piece of work for one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What to do.
    pub spec: JobSpec,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSpec {
    /// Back a volume up.
    Backup(BackupSpec),
    /// Restore a snapshot.
    Restore(RestoreSpec),
}

/// A backup of one of the agent's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BackupSpec {
    /// The volume's name.
    pub volume: String,
    /// Read everything, whatever the parent says.
    pub read_all: bool,
    /// Free labels kept in the manifest.
    pub tags: Vec<String>,
    /// What the volume is to its cluster, kept in the manifest.
    pub origin: Option<Origin>,
}

/// A restore below one of the agent's restore roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreSpec {
    /// From which snapshot.
    pub snapshot: Sid,
    /// Only this path; empty for all.
    pub path: Vec<u8>,
    /// Only entries matching one of these; empty for all.
    pub patterns: Vec<String>,
    /// The folder to fill, absolute.
    pub target: Vec<u8>,
    /// What to do with what is there.
    pub existing: Existing,
}

impl JobSpec {
    /// All that [`JobSpec::kind`] gives.
    pub const KINDS: [&'static str; 2] = ["backup", "restore"];

    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
        }
    }

    /// The volume that a backup reads.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::Backup(b) => Some(&b.volume),
            Self::Restore(_) => None,
        }
    }
}

/// How a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// The whole chain, for a person.
    pub what: String,
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        Self { kind: e.kind(), what: e.chain() }
    }
}

/// How a job ended. Without a failure it is done, perhaps with problems (then it is partial).
#[derive(Clone, Debug, Default)]
pub struct JobResult {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Final counters.
    pub figures: Figures,
    /// What went wrong with single entries.
    pub problems: Problems,
    /// The snapshot of a backup that committed.
    pub snapshot: Option<Snapshot>,
    /// Files that a restore kept.
    pub skipped: u64,
}

impl JobResult {
    /// A failed job's result.
    #[must_use]
    pub fn failed(error: &Error, figures: Figures) -> Self {
        Self { failure: Some(error.into()), figures, ..Self::default() }
    }

    /// All that [`JobResult::outcome`] gives.
    pub const OUTCOMES: [&'static str; 4] = ["done", "partial", "failed", "cancelled"];

    /// The word for how it ended.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.failure {
            Some(_) if self.is_cancelled() => "cancelled",
            Some(_) => "failed",
            None if self.problems.is_empty() => "done",
            None => "partial",
        }
    }

    /// True when somebody's wish ended it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.failure.as_ref().is_some_and(|f| f.kind == ErrorKind::Cancelled)
    }
}
