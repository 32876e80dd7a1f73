//! The coordinator's metrics. `docs/metrics.md` lists them; a test compares.
//!
//! Labels come from closed sets, never from ids, names or paths; with two bounded exceptions, the names of volumes and of
//! configured domains.

mod maintenance;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use repository::store::Counts;
use service::job_metrics::Finished;
use service::reload::Reloads;

use crate::jobs::{Record, State};
use crate::limits::VOLUMES_LABELLED_MAX;

pub use maintenance::Maintained;
pub use volumes::Volumes;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

const VOLUME_STATES: [&str; 3] = ["on_time", "late", "unscheduled"];
const JOB_STATES: [State; 3] = [State::Queued, State::Offered, State::Running];

/// All metrics. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests to the store.
    pub store: Arc<Counts>,
    /// Agents connected now.
    pub agents_connected: Gauge,
    /// Snapshots in the repository.
    pub snapshots: Gauge,
    /// Outcomes that could not be read.
    pub snapshots_damaged: Gauge,
    /// Failed attempts to read the snapshots again.
    pub refresh_failures: Counter,
    /// Start of the newest snapshot of the scheduled volume that is furthest behind.
    pub furthest_behind: Gauge,
    /// Jobs that ended.
    pub finished: Finished,
    /// Changed certificate, key and token files.
    pub reloads: Reloads,
    /// How maintenance goes.
    pub maintenance: Maintained,
    /// What each volume has.
    pub by_volume: Volumes,
    /// 1 while the domain is open.
    pub domain_open: Gauge,
    volumes: Family<StateLabel, Gauge>,
    jobs: Family<StateLabel, Gauge>,
    lookup_ids: Family<ResultLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            store: Arc::default(),
            agents_connected: Gauge::default(),
            snapshots: Gauge::default(),
            snapshots_damaged: Gauge::default(),
            refresh_failures: Counter::default(),
            furthest_behind: Gauge::default(),
            finished: Finished::default(),
            reloads: Reloads::default(),
            maintenance: Maintained::new(),
            by_volume: Volumes::new(VOLUMES_LABELLED_MAX),
            domain_open: Gauge::default(),
            volumes: Family::default(),
            jobs: Family::default(),
            lookup_ids: Family::default(),
        }
    }
}

/// What the names of all metrics begin with.
pub(crate) const PREFIX: &str = "holdfast_coordinator";

impl Metrics {
    /// Of one of so many domains: the names of volumes are bounded for all together.
    #[must_use]
    pub fn one_of(domains: usize) -> Self {
        let by_volume = Volumes::new((VOLUMES_LABELLED_MAX / domains.max(1)).max(1));
        Self { by_volume, ..Self::default() }
    }

    /// Registers all of them, with all their labels.
    pub fn register(&self, registry: &mut Registry) {
        self.reloads.register(registry.sub_registry_with_prefix(PREFIX));
        self.register_domain(registry);
    }

    /// Registers those that each domain has of its own.
    pub(crate) fn register_domain(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix(PREFIX);
        service::store_metrics::register(r, self.store.clone());
        r.register("agents_connected", "Agents connected now", self.agents_connected.clone());
        r.register("snapshots", "Committed snapshots in the repository", self.snapshots.clone());
        r.register(
            "snapshots_damaged",
            "Outcomes of sessions that can't be read",
            self.snapshots_damaged.clone(),
        );
        let text = "Attempts to read the snapshots or the index from the store that failed";
        r.register("refresh_failures", text, self.refresh_failures.clone());
        let text =
            "Start of the newest snapshot of the scheduled volume that is furthest behind; 0 if one has none";
        r.register("furthest_behind_timestamp_seconds", text, self.furthest_behind.clone());
        r.register("volumes", "Known volumes by how they stand against their schedule", self.volumes.clone());
        r.register("jobs", "Jobs that have not ended, by state", self.jobs.clone());
        self.finished.register(r);
        let text = "1 while the domain is open; 0 while it can't be opened and is tried again";
        r.register("domain_open", text, self.domain_open.clone());
        self.maintenance.register(r);
        self.by_volume.register(r);
        r.register("lookup_ids", "Blob ids that agents asked for", self.lookup_ids.clone());
        for state in VOLUME_STATES {
            drop(self.volumes.get_or_create(&StateLabel { state }));
        }
        for state in JOB_STATES {
            drop(self.jobs.get_or_create(&StateLabel { state: state.name() }));
        }
        for result in ["found", "unknown"] {
            drop(self.lookup_ids.get_or_create(&ResultLabel { result }));
        }
    }

    /// Volumes on time, late, and without a schedule.
    pub fn set_volumes(&self, counts: [i64; 3]) {
        for (state, count) in VOLUME_STATES.into_iter().zip(counts) {
            self.volumes.get_or_create(&StateLabel { state }).set(count);
        }
    }

    /// Jobs that have not ended.
    pub fn set_jobs(&self, active: &[Record]) {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for record in active {
            *counts.entry(record.state.name()).or_default() += 1;
        }
        for state in JOB_STATES {
            let count = counts.get(state.name()).copied().unwrap_or(0);
            self.jobs.get_or_create(&StateLabel { state: state.name() }).set(count);
        }
    }

    /// A batch of ids was answered.
    pub fn count_lookup(&self, found: u64, unknown: u64) {
        self.lookup_ids.get_or_create(&ResultLabel { result: "found" }).inc_by(found);
        self.lookup_ids.get_or_create(&ResultLabel { result: "unknown" }).inc_by(unknown);
    }
}

#[cfg(test)]
mod tests;
