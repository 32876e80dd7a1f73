//! How jobs ended, as a metric of both servers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use proto::job::{JobResult, JobSpec};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    result: &'static str,
}

/// Ended jobs by kind and result. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Finished(Family<Labels, Counter>);

impl Finished {
    /// Registers `jobs_finished`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("jobs_finished", "Jobs that ended; partial means with problems", self.0.clone());
        for kind in JobSpec::KINDS {
            for result in JobResult::OUTCOMES {
                drop(self.0.get_or_create(&Labels { kind, result }));
            }
        }
    }

    /// A job ended.
    pub fn count(&self, spec: &JobSpec, result: &JobResult) {
        self.0.get_or_create(&Labels { kind: spec.kind(), result: result.outcome() }).inc();
    }
}
