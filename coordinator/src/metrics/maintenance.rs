//! How maintenance goes, and what it found.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use proto::task::{TaskKind, TaskResult};

use crate::maintenance::Record;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    kind: &'static str,
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    kind: &'static str,
    result: &'static str,
}

/// How a figure of a report becomes a metric.
#[derive(Clone, Copy, Debug)]
enum Into {
    /// Adds up.
    Counter,
    /// As of the last run.
    Gauge,
}

/// Kind of task, its figure's name, the metric, and what it means.
const FIGURES: &[(TaskKind, &str, Into, &str, &str)] = &[
    (TaskKind::Forget, "forgotten", Into::Counter, "snapshots_forgotten", "Snapshots that retention forgot"),
    (
        TaskKind::Forget,
        "tripped",
        Into::Gauge,
        "retention_breakers_tripped",
        "Retention rules that would have forgotten too much and were stopped, in the last run",
    ),
    (TaskKind::Gc, "packs", Into::Gauge, "repository_packs", "Packs in the store as the last GC began"),
    (
        TaskKind::Gc,
        "bytes",
        Into::Gauge,
        "repository_bytes",
        "Bytes of packs in the store as the last GC began",
    ),
    (TaskKind::Gc, "condemned", Into::Gauge, "gc_condemned_packs", "Packs that the last GC condemned"),
    (
        TaskKind::Gc,
        "condemned_bytes",
        Into::Gauge,
        "gc_condemned_bytes",
        "Bytes of packs that the last GC condemned",
    ),
    (TaskKind::Gc, "deleted", Into::Counter, "gc_deleted_packs", "Packs that GC deleted"),
    (TaskKind::Gc, "deleted_bytes", Into::Counter, "gc_deleted_bytes", "Bytes of packs that GC deleted"),
    (
        TaskKind::Gc,
        "copied_bytes",
        Into::Counter,
        "gc_copied_bytes",
        "Bytes that GC copied out of thin packs so that these could go",
    ),
    (
        TaskKind::Gc,
        "freed_bytes",
        Into::Counter,
        "gc_freed_bytes",
        "Bytes that GC gave back: of packs that it deleted, less those of copies",
    ),
    (
        TaskKind::Gc,
        "damaged",
        Into::Gauge,
        "gc_damaged_packs",
        "Packs that are damaged, and nothing else has what they lost, as of the last GC",
    ),
    (
        TaskKind::Gc,
        "repaired",
        Into::Counter,
        "gc_repaired_packs",
        "Damaged packs of which GC led snapshots to good copies",
    ),
    (
        TaskKind::Gc,
        "leftovers",
        Into::Gauge,
        "gc_leftover_packs",
        "Packs that nobody needs and the store did not let the last GC delete",
    ),
    (TaskKind::Gc, "fenced", Into::Counter, "gc_fenced_sessions", "Sessions that GC took for dead"),
    (
        TaskKind::Gc,
        "waiting_for",
        Into::Gauge,
        "gc_waiting_sessions",
        "Sessions at work that the last GC was still waiting for at its end",
    ),
    (TaskKind::Scrub, "packs", Into::Counter, "scrub_packs", "Packs that scrubs read"),
    (TaskKind::Scrub, "bytes", Into::Counter, "scrub_bytes", "Bytes of packs that scrubs read"),
    (
        TaskKind::Scrub,
        "never_verified",
        Into::Gauge,
        "scrub_unverified_packs",
        "Packs that were never read by any scrub, after the last one",
    ),
    (
        TaskKind::Scrub,
        "oldest_verification_unix_seconds",
        Into::Gauge,
        "scrub_oldest_timestamp_seconds",
        "When the least recently verified pack was read; 0 while some never was",
    ),
    (
        TaskKind::Scrub,
        "damaged",
        Into::Gauge,
        "scrub_damaged_packs",
        "Packs that the last scrub found damaged",
    ),
    (
        TaskKind::Scrub,
        "quarantined",
        Into::Counter,
        "scrub_quarantined_packs",
        "Packs of which scrubs put damage into quarantine",
    ),
    (
        TaskKind::RestoreTest,
        "volumes",
        Into::Counter,
        "restore_tests",
        "Volumes that were restored for a test and compared",
    ),
    (
        TaskKind::RestoreTest,
        "failed_volumes",
        Into::Counter,
        "restore_tests_failed",
        "Restore tests of a volume that found something wrong",
    ),
    (
        TaskKind::Copy,
        "copied",
        Into::Counter,
        "copy_snapshots",
        "Snapshots that were copied to a destination",
    ),
    (
        TaskKind::Copy,
        "failed",
        Into::Counter,
        "copy_failed_snapshots",
        "Snapshots that are damaged and could not be copied to a destination",
    ),
    (
        TaskKind::Copy,
        "bytes_stored",
        Into::Counter,
        "copy_stored_bytes",
        "Bytes that copies put into stores of destinations",
    ),
    (TaskKind::Mirror, "copied", Into::Counter, "mirror_objects", "Objects that were copied to a mirror"),
    (TaskKind::Mirror, "bytes_copied", Into::Counter, "mirror_bytes", "Bytes that were copied to a mirror"),
    (
        TaskKind::Mirror,
        "deleted",
        Into::Counter,
        "mirror_deleted_objects",
        "Objects that were deleted in a mirror after the source had lost them",
    ),
    (
        TaskKind::Mirror,
        "different",
        Into::Gauge,
        "mirror_different_objects",
        "Objects that differ between mirror and source, as of the last mirror task",
    ),
    (TaskKind::Lock, "extended", Into::Counter, "lock_extended_objects", "Locks that were extended"),
];

/// How maintenance goes. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Maintained {
    /// 1 while this coordinator runs maintenance.
    pub leader: Gauge,
    finished: Family<EndLabels, Counter>,
    succeeded: Family<KindLabel, Gauge>,
    seconds: Family<KindLabel, Gauge>,
    destinations: Family<DestinationLabels, Gauge>,
    counters: Vec<Counter>,
    gauges: Vec<Gauge>,
}

impl Maintained {
    /// With one metric for each figure.
    #[must_use]
    pub fn new() -> Self {
        let counters = FIGURES.iter().map(|_| Counter::default()).collect();
        let gauges = FIGURES.iter().map(|_| Gauge::default()).collect();
        Self { counters, gauges, ..Self::default() }
    }

    /// Registers all of them, with all their labels.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("leader", "1 while this coordinator runs maintenance", self.leader.clone());
        let text = "Maintenance tasks that ended; partial means with problems, or that more is to be done";
        r.register("maintenance_finished", text, self.finished.clone());
        let text = "When a task of the kind last came to its end without failing; 0 if none has";
        r.register("maintenance_success_timestamp_seconds", text, self.succeeded.clone());
        let text = "How long the last task of the kind took, queueing not counted";
        r.register("maintenance_seconds", text, self.seconds.clone());
        let text =
            "When a copy or mirror to the destination last came to its end without failing; 0 if none has";
        r.register("destination_success_timestamp_seconds", text, self.destinations.clone());
        for kind in TaskKind::ALL.map(TaskKind::name) {
            drop(self.succeeded.get_or_create(&KindLabel { kind }));
            drop(self.seconds.get_or_create(&KindLabel { kind }));
            for result in TaskResult::OUTCOMES {
                drop(self.finished.get_or_create(&EndLabels { kind, result }));
            }
        }
        for (i, (_, _, into, name, help)) in FIGURES.iter().enumerate() {
            match into {
                Into::Counter => r.register(*name, *help, self.counters[i].clone()),
                Into::Gauge => r.register(*name, *help, self.gauges[i].clone()),
            }
        }
    }

    /// A destination that is configured: 0 unless anything came there.
    pub fn know_destination(&self, kind: TaskKind, name: &str) {
        let labels = DestinationLabels { kind: kind.name(), destination: name.to_owned() };
        drop(self.destinations.get_or_create(&labels));
    }

    /// A task ended.
    pub fn count(&self, record: &Record) {
        let Some(result) = &record.result else { return };
        let (kind, outcome) = (record.spec.kind(), result.outcome());
        self.finished.get_or_create(&EndLabels { kind: kind.name(), result: outcome }).inc();
        if record.spec.is_dry_run() {
            return;
        }
        self.recall(record);
        for (i, _) in of(kind).filter(|(_, figure)| matches!(figure.2, Into::Counter)) {
            self.counters[i].inc_by(value(result, FIGURES[i].1));
        }
    }

    /// How the last task of a kind ended, before this process began.
    pub fn recall(&self, record: &Record) {
        let Some(result) = &record.result else { return };
        let label = KindLabel { kind: record.spec.kind().name() };
        if let (Some(started), Some(finished)) = (record.started, record.finished) {
            self.seconds.get_or_create(&label).set(finished.seconds() - started.seconds());
            if result.failure.is_none() && result.complete {
                self.succeeded.get_or_create(&label).set(finished.seconds());
                if let Some(to) = record.spec.destination().filter(|_| !record.spec.is_beside_schedule()) {
                    let labels = DestinationLabels { kind: label.kind, destination: to.to_owned() };
                    self.destinations.get_or_create(&labels).set(finished.seconds());
                }
            }
        }
        // A task that failed early knows nothing of the repository.
        for (i, _) in of(record.spec.kind()).filter(|(_, figure)| matches!(figure.2, Into::Gauge)) {
            if !result.counts.is_empty() {
                self.gauges[i].set(i64::try_from(value(result, FIGURES[i].1)).unwrap_or(i64::MAX));
            }
        }
    }
}

type Figure = (TaskKind, &'static str, Into, &'static str, &'static str);

fn of(kind: TaskKind) -> impl Iterator<Item = (usize, &'static Figure)> {
    FIGURES.iter().enumerate().filter(move |(_, figure)| figure.0 == kind)
}

fn value(result: &TaskResult, name: &str) -> u64 {
    let listed = || result.lists.get(name).map_or(0, |l| l.len() as u64);
    result.counts.get(name).copied().unwrap_or_else(listed)
}
