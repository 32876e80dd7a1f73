//! The agent's metrics. `docs/metrics.md` lists them; a test compares.
//!
//! Labels come from closed sets, never from ids, names or paths; with one bounded exception, the names of configured domains.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use proto::job::JobSpec;
use repository::ids::DomainName;
use repository::monitor::Figures;
use repository::store::Counts;
use service::job_metrics::Finished;
use service::reload::Reloads;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeenLabel {
    seen: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabel {
    domain: String,
}

/// What there can be of a volume.
pub(crate) const SEEN: [&str; 4] = ["ready", "absent", "ambiguous", "refused"];

const KINDS: [&str; 2] = JobSpec::KINDS;

macro_rules! work {
    ($($name:ident as $metric:literal: $help:literal,)*) => {
        /// What jobs did, all together.
        #[derive(Clone, Debug, Default)]
        struct Work { $($name: Counter,)* }

        impl Work {
            fn register(&self, registry: &mut Registry) {
                $(registry.register($metric, $help, self.$name.clone());)*
            }

            fn count(&self, before: &Figures, now: &Figures) {
                $(self.$name.inc_by(now.$name.saturating_sub(before.$name));)*
            }
        }
    };
}

work! {
    entries as "entries": "Entries walked, or restored",
    entries_failed as "entries_failed": "Entries that could not be read or restored",
    files_opened as "files_opened": "Regular files that were opened and read",
    files_unchanged as "files_unchanged": "Regular files taken over from the parent unread",
    bytes_read as "read_bytes": "Bytes read from volumes, or from packs in a restore",
    bytes_new as "new_bytes": "Plain bytes of blobs that were not known before",
    bytes_found as "found_bytes": "Plain bytes of blobs that were known",
    bytes_stored as "stored_bytes": "Bytes put into the store",
    bytes_rewritten as "rewritten_bytes": "Plain bytes stored again because old blobs were of little use",
    packs as "packs": "Packs put into the store",
}

/// All metrics. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Requests to the store.
    pub store: Arc<Counts>,
    /// 1 while the coordinator has welcomed us, for every domain.
    pub connected: Gauge,
    /// Connections that broke or could not be opened.
    pub connection_failures: Counter,
    /// Results that the coordinator has not acknowledged yet.
    pub results_waiting: Gauge,
    /// Jobs given back because their volume had left.
    pub jobs_returned: Counter,
    /// Children started.
    pub children_started: Counter,
    /// Children killed to let go of a volume.
    pub children_killed: Counter,
    /// Children held back for a moment.
    pub children_held: Counter,
    /// Plans refused.
    pub plans_refused: Counter,
    /// 1 while children can be confined.
    pub confined: Gauge,
    /// Jobs that ended.
    pub finished: Finished,
    /// Changed certificate, key and token files.
    pub reloads: Reloads,
    jobs_running: Family<KindLabel, Gauge>,
    domain_connected: Family<DomainLabel, Gauge>,
    lookup_ids: Family<SourceLabel, Counter>,
    volumes: Family<SeenLabel, Gauge>,
    work: Work,
}

impl Metrics {
    /// Registers all of them, with all their labels.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("holdfast_agent");
        service::store_metrics::register(r, self.store.clone());
        r.register("connected", "1 while connected to the coordinator", self.connected.clone());
        let text = "1 while connected to the coordinator for the domain (label `domain`)";
        r.register("domain_connected", text, self.domain_connected.clone());
        let text = "Connections to the coordinator that broke or could not be opened";
        r.register("connection_failures", text, self.connection_failures.clone());
        let text = "Results that the coordinator has not acknowledged yet";
        r.register("results_waiting", text, self.results_waiting.clone());
        r.register("jobs_running", "Jobs running now", self.jobs_running.clone());
        let text = "Jobs given back because their volume had left; they go on where it is";
        r.register("jobs_returned", text, self.jobs_returned.clone());
        self.finished.register(r);
        self.reloads.register(r);
        r.register("lookup_ids", "Blob ids looked up, by who answered", self.lookup_ids.clone());
        self.work.register(r);
        for kind in KINDS {
            drop(self.jobs_running.get_or_create(&KindLabel { kind }));
        }
        for source in ["coordinator", "local"] {
            drop(self.lookup_ids.get_or_create(&SourceLabel { source }));
        }
    }

    /// Registers those that only the agent of a node, and a mover, has.
    pub fn register_node(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("holdfast_node");
        r.register("confined", "1 if what reads volumes is confined to them", self.confined.clone());
        let text = "Children that were started, each for one job";
        r.register("children_started", text, self.children_started.clone());
        let text = "Children that were killed to let go of a volume that leaves";
        r.register("children_killed", text, self.children_killed.clone());
        let text =
            "Times that a child was held back for a moment, because the machine is short of memory or disk";
        r.register("children_held", text, self.children_held.clone());
        r.register(
            "plans_refused",
            "Plans of the coordinator that made no sense",
            self.plans_refused.clone(),
        );
        r.register("volumes", "Volumes of the plan, by what there is of them", self.volumes.clone());
        self.set_volumes([0; SEEN.len()]);
    }

    /// How many volumes of the plan are ready, absent, ambiguous and refused.
    pub(crate) fn set_volumes(&self, counts: [i64; SEEN.len()]) {
        for (seen, count) in SEEN.into_iter().zip(counts) {
            self.volumes.get_or_create(&SeenLabel { seen }).set(count);
        }
    }

    /// A job of this kind began (1), or ended (-1).
    pub fn count_running(&self, kind: &'static str, change: i64) {
        self.jobs_running.get_or_create(&KindLabel { kind }).inc_by(change);
    }

    /// Whether the coordinator has welcomed the stream of a domain.
    pub fn set_domain(&self, domain: &DomainName, connected: bool) {
        let label = DomainLabel { domain: domain.to_string() };
        self.domain_connected.get_or_create(&label).set(i64::from(connected));
    }

    /// The domain is no longer one of this agent's.
    pub(crate) fn forget_domain(&self, domain: &DomainName) {
        self.domain_connected.remove(&DomainLabel { domain: domain.to_string() });
    }

    /// What was done between two readings of a job's figures.
    pub fn count_figures(&self, before: &Figures, now: &Figures) {
        self.work.count(before, now);
    }

    /// A batch of ids was answered.
    pub fn count_lookup(&self, by_coordinator: bool, ids: usize) {
        let source = if by_coordinator { "coordinator" } else { "local" };
        self.lookup_ids.get_or_create(&SourceLabel { source }).inc_by(ids as u64);
    }
}

#[cfg(test)]
mod tests;
