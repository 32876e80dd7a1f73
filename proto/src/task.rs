//! Maintenance as plain values: what a coordinator is asked to do to the repository, and what came of it.

use std::collections::BTreeMap;

use repository::monitor::Figures;
use repository::ops::Problems;
use repository::{Error, ErrorKind};

use crate::job::Failure;
use crate::name::random_name;

random_name!(
    /// The name of one task. Random.
    TaskId, "task"
);

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Forgets what no configured rule keeps.
    Forget,
    /// Deletes what no snapshot needs.
    Gc,
    /// Reads the packs that were not read for longest.
    Scrub,
    /// Restores volumes into a scratch folder and compares.
    RestoreTest,
    /// Proves that snapshots restore.
    Verify,
    /// Makes good what can be made good.
    Repair,
    /// Copies snapshots to a repository with other keys.
    Copy,
    /// Mirrors the whole repository to another store.
    Mirror,
    /// Keeps what snapshots need locked against deletion.
    Lock,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Forget,
        Self::Gc,
        Self::Lock,
        Self::Scrub,
        Self::RestoreTest,
        Self::Verify,
        Self::Repair,
        Self::Copy,
        Self::Mirror,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forget => "forget",
            Self::Gc => "gc",
            Self::Scrub => "scrub",
            Self::RestoreTest => "restore-test",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Copy => "copy",
            Self::Mirror => "mirror",
            Self::Lock => "lock",
        }
    }
}

/// What to do. What is `None` is as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskSpec {
    /// Forget what no configured rule keeps.
    Forget,
    /// Collect garbage.
    Gc(GcSpec),
    /// Read packs.
    Scrub(ScrubSpec),
    /// Restore and compare.
    RestoreTest(RestoreTestSpec),
    /// Prove that all snapshots restore.
    Verify {
        /// Only of this volume.
        volume: Option<String>,
        /// Only check that all needed objects exist.
        quick: bool,
    },
    /// Repair.
    Repair(RepairSpec),
    /// Copy snapshots.
    Copy(CopySpec),
    /// Mirror the repository.
    Mirror(MirrorSpec),
    /// Extend locks.
    Lock(LockSpec),
}

/// A GC run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcSpec {
    /// Only tell.
    pub dry_run: bool,
    /// When a session of which nothing is known counts as dead.
    pub fence_after_seconds: Option<u64>,
    /// Bytes to copy at the most.
    pub bytes_max: Option<u64>,
    /// Requests to spend on copying at the most.
    pub requests_max: Option<u64>,
    /// Packs of which less is still needed are copied, percent.
    pub live_percent_below: Option<u8>,
    /// Packs that are sealed under an older epoch than this are copied.
    pub reencrypt_below_epoch: Option<u32>,
}

/// A scrub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubSpec {
    /// Bytes to read at the most.
    pub bytes_max: Option<u64>,
    /// Share of all packs to read at the most, percent.
    pub share_percent: Option<u8>,
    /// Only packs that were not verified within this time.
    pub older_than_seconds: Option<u64>,
    /// Put nothing into quarantine.
    pub no_quarantine: bool,
}

/// A restore test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreTestSpec {
    /// These volumes; else those whose last test is longest ago.
    pub volumes: Vec<String>,
    /// How many volumes.
    pub volumes_max: Option<u32>,
    /// Bytes of each to restore at the most.
    pub bytes_max: Option<u64>,
}

/// What to repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairSpec {
    /// The index, from what packs say of themselves.
    Index {
        /// All packs, not only those that no index object names.
        all: bool,
        /// Only tell.
        dry_run: bool,
    },
    /// The quarantine: packs that are whole again leave it.
    Quarantine {
        /// Only tell.
        dry_run: bool,
    },
    /// Damaged snapshots: commit what is left of them, and name what is lost.
    Snapshots {
        /// These, by id or prefix; none: all that are known to be damaged.
        snapshots: Vec<String>,
        /// Only of this volume.
        volume: Option<String>,
        /// Forget the originals.
        forget: bool,
        /// Only tell.
        dry_run: bool,
    },
}

/// A copy of snapshots to a configured destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopySpec {
    /// The destination's name.
    pub to: String,
    /// These, by `latest`, id or prefix; none: all.
    pub snapshots: Vec<String>,
    /// Only of this volume.
    pub volume: Option<String>,
    /// Only the newest so many of each volume.
    pub newest: Option<u32>,
    /// Copy again what is there in part only.
    pub retry_partial: Option<bool>,
    /// zstd level, 1 to 19.
    pub zstd_level: Option<i32>,
}

/// A mirror to a configured destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorSpec {
    /// The destination's name.
    pub to: String,
    /// Delete there what is here no more; only where that is configured.
    pub delete: Option<bool>,
    /// Refuse to delete a larger share of its packs, by bytes, or of a domain's outcomes, by count, percent; the configured
    /// one, if smaller.
    pub share_percent_max: Option<u8>,
    /// Compare the bytes of what is there already.
    pub compare_bytes: Option<bool>,
}

/// An extension of locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockSpec {
    /// What snapshots need stays locked at least half so long.
    pub days: Option<u32>,
    /// Only tell what is due.
    pub dry_run: bool,
}

impl TaskSpec {
    /// What it does.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Forget => TaskKind::Forget,
            Self::Gc(_) => TaskKind::Gc,
            Self::Scrub(_) => TaskKind::Scrub,
            Self::RestoreTest(_) => TaskKind::RestoreTest,
            Self::Verify { .. } => TaskKind::Verify,
            Self::Repair(_) => TaskKind::Repair,
            Self::Copy(_) => TaskKind::Copy,
            Self::Mirror(_) => TaskKind::Mirror,
            Self::Lock(_) => TaskKind::Lock,
        }
    }

    /// The name of the destination that it writes to, if it has one.
    #[must_use]
    pub fn destination(&self) -> Option<&str> {
        match self {
            Self::Copy(CopySpec { to, .. }) | Self::Mirror(MirrorSpec { to, .. }) => Some(to),
            _ => None,
        }
    }

    /// True if the schedule does not count it: it only told, or did less than the schedule would.
    #[must_use]
    pub fn is_beside_schedule(&self) -> bool {
        let of_some = |c: &CopySpec| !c.snapshots.is_empty() || c.volume.is_some() || c.newest.is_some();
        self.is_dry_run() || matches!(self, Self::Copy(c) if of_some(c))
    }

    /// True if it only tells what it would do.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        matches!(
            self,
            Self::Gc(GcSpec { dry_run: true, .. })
                | Self::Lock(LockSpec { dry_run: true, .. })
                | Self::Repair(
                    RepairSpec::Index { dry_run: true, .. }
                        | RepairSpec::Snapshots { dry_run: true, .. }
                        | RepairSpec::Quarantine { dry_run: true }
                )
        )
    }
}

/// The count of a repair's result that tells how many outcomes can't be read at all: what is worse than what stays lost.
pub const UNREADABLE: &str = "unreadable";

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskResult {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Final counters.
    pub figures: Figures,
    /// It came to its end; otherwise it goes on at its next time.
    pub complete: bool,
    /// What to know about it, in words.
    pub note: String,
    /// The figures of the operation's report, by name.
    pub counts: BTreeMap<String, u64>,
    /// Its lists, by name.
    pub lists: BTreeMap<String, Vec<String>>,
    /// What is damaged or went wrong.
    pub problems: Problems,
}

impl TaskResult {
    /// A failed task's result.
    #[must_use]
    pub fn failed(error: &Error, figures: Figures) -> Self {
        Self { failure: Some(error.into()), figures, ..Self::default() }
    }

    /// All that [`TaskResult::outcome`] gives.
    pub const OUTCOMES: [&'static str; 4] = ["done", "partial", "failed", "cancelled"];

    /// The word for how it ended.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.failure {
            Some(f) if f.kind == ErrorKind::Cancelled => "cancelled",
            Some(_) => "failed",
            None if self.complete && self.problems.is_empty() => "done",
            None => "partial",
        }
    }
}
