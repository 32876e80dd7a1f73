//! What runs by itself, when, and how much of it. The defaults are embedded here.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use proto::task::TaskKind;

use super::destination::Destination;
use super::plan::{Timing, When};
use super::retention::{RetentionRule, default_rules};
use super::slot::Slot;

/// Everything about maintenance that is configured.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// This coordinator runs it; `false` where another one does.
    pub leader: bool,
    /// What is kept.
    pub retention: Vec<RetentionRule>,
    /// When retention is applied.
    pub forget: Timing,
    /// Garbage collection.
    pub gc: GcSettings,
    /// Reading packs.
    pub scrub: ScrubSettings,
    /// Restoring and comparing.
    pub restore_test: RestoreTestSettings,
    /// Extending locks.
    pub lock: LockSettings,
    /// Where copies and mirrors go.
    pub destinations: Vec<Destination>,
}

/// Garbage collection.
#[derive(Clone, Debug)]
pub struct GcSettings {
    /// When.
    pub timing: Timing,
    /// A session of which nothing is heard is taken for dead after this, seconds.
    pub fence_after_seconds: u64,
    /// A run waits so long for writers that live, then goes on at its next time, seconds.
    pub wait_seconds: u64,
    /// Bytes that one run may copy to make space.
    pub bytes_max: u64,
    /// Requests that one run may spend on that, about.
    pub requests_max: u64,
}

/// Reading packs.
#[derive(Clone, Debug)]
pub struct ScrubSettings {
    /// When.
    pub timing: Timing,
    /// Bytes that one run reads at the most.
    pub bytes_max: u64,
}

/// Restoring and comparing.
#[derive(Clone, Debug)]
pub struct RestoreTestSettings {
    /// When.
    pub timing: Timing,
    /// Volumes in one run: those whose last test is longest ago.
    pub volumes_max: u32,
    /// Bytes of each volume that are restored at the most; of a larger one, a sample.
    pub bytes_max: u64,
    /// Folder to restore into; what a test leaves is deleted.
    pub scratch_dir: PathBuf,
}

/// Extending locks.
#[derive(Clone, Debug)]
pub struct LockSettings {
    /// When.
    pub timing: Timing,
    /// What snapshots need stays locked at least half so long from each run on; `None`: nothing is locked by itself.
    pub days: Option<u32>,
}

/// Retention is applied, and space given back, once a day.
pub const DAY_SECONDS: u64 = 24 * 3600;
/// Restores are tested once a week.
pub const WEEK_SECONDS: u64 = 7 * DAY_SECONDS;
/// Longer than any restore; a backup is known to live by its agent, or starts again and finds what it stored.
pub const FENCE_AFTER_SECONDS: u64 = 3 * DAY_SECONDS;
/// Long sessions notice a new generation within minutes.
pub const WAIT_SECONDS: u64 = 600;
/// A day's worth of copying, so that it does not take the store from the backups.
pub const GC_BYTES_MAX: u64 = 64 << 30;
/// About 0.25 currency units where requests cost most.
pub const GC_REQUESTS_MAX: u64 = 50_000;
/// Reads a repository of 300 GiB once a month.
pub const SCRUB_BYTES_MAX: u64 = 10 << 30;
/// One volume a week.
pub const TEST_VOLUMES_MAX: u32 = 1;
/// Fits on most disks.
pub const TEST_BYTES_MAX: u64 = 10 << 30;

impl Maintenance {
    /// What runs where nothing is configured; scratch folders lie below the folder for state.
    #[must_use]
    pub fn embedded(state_dir: &std::path::Path) -> Self {
        let every = |seconds| Timing { when: When::Every { seconds }, window: None, zone: TimeZone::UTC };
        Self {
            leader: true,
            retention: default_rules(),
            forget: every(DAY_SECONDS),
            gc: GcSettings {
                timing: every(DAY_SECONDS),
                fence_after_seconds: FENCE_AFTER_SECONDS,
                wait_seconds: WAIT_SECONDS,
                bytes_max: GC_BYTES_MAX,
                requests_max: GC_REQUESTS_MAX,
            },
            scrub: ScrubSettings { timing: every(DAY_SECONDS), bytes_max: SCRUB_BYTES_MAX },
            restore_test: RestoreTestSettings {
                timing: every(WEEK_SECONDS),
                volumes_max: TEST_VOLUMES_MAX,
                bytes_max: TEST_BYTES_MAX,
                scratch_dir: state_dir.join("restore-tests"),
            },
            lock: LockSettings { timing: Timing::never(), days: None },
            destinations: Vec::new(),
        }
    }

    /// All that may have a schedule: every kind; of copies and mirrors, one for each destination.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let alone = |kind: &TaskKind| !matches!(kind, TaskKind::Copy | TaskKind::Mirror);
        let kinds = TaskKind::ALL.into_iter().filter(alone).map(Slot::from);
        kinds.chain(self.destinations.iter().map(Destination::slot)).collect()
    }

    /// When such tasks run by themselves.
    #[must_use]
    pub fn timing(&self, slot: impl Into<Slot>) -> Timing {
        let slot = slot.into();
        match slot.kind {
            TaskKind::Forget => self.forget.clone(),
            TaskKind::Gc => self.gc.timing.clone(),
            TaskKind::Scrub => self.scrub.timing.clone(),
            TaskKind::RestoreTest => self.restore_test.timing.clone(),
            TaskKind::Lock => self.lock.timing.clone(),
            TaskKind::Copy | TaskKind::Mirror => {
                let own = self.destinations.iter().find(|d| d.slot() == slot);
                own.map_or_else(Timing::never, |d| d.timing.clone())
            }
            TaskKind::Verify | TaskKind::Repair => Timing::never(),
        }
    }
}
