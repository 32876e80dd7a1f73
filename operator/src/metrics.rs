//! What the operator counts. Labels are from closed sets; names of claims and policies only on capped gauges.

use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::decide::{Coverage, Decision, Fold, Why};
use crate::limits::CLAIMS_LABELLED_MAX;

/// How a write to the API server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Wrote {
    /// Well.
    Done,
    /// The object had changed, or was gone.
    Conflict,
    /// Otherwise badly.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    outcome: Wrote,
}

/// How claims stand, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum State {
    Protected,
    Excluded,
    Unprotected,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClaimLabels {
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabels {
    reason: &'static str,
}

/// All counters of the operator. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    leads: Gauge,
    rounds: Counter,
    round_seconds: Counter<f64, std::sync::atomic::AtomicU64>,
    writes: Family<WriteLabels, Counter>,
    claims: Family<ClaimLabels, Gauge>,
    unprotected: Family<WhyLabels, Gauge>,
    rows: Arc<RwLock<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    policies: Vec<(String, i64, i64, i64)>,
    claims: Vec<(String, String, &'static str)>,
}

impl Metrics {
    /// Registers all.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("holdfast_operator");
        for outcome in [Wrote::Done, Wrote::Conflict, Wrote::Failed] {
            let _there = self.writes.get_or_create(&WriteLabels { outcome });
        }
        for state in [State::Protected, State::Excluded, State::Unprotected] {
            let _there = self.claims.get_or_create(&ClaimLabels { state });
        }
        for why in Why::ALL {
            let _there = self.unprotected.get_or_create(&WhyLabels { reason: why.name() });
        }
        registry.register("leads", "1 if this process is the leader", self.leads.clone());
        registry.register("rounds", "Rounds of the controllers", self.rounds.clone());
        let spent = self.round_seconds.clone();
        registry.register_with_unit("round", "Time that rounds took", Unit::Seconds, spent);
        registry.register("writes", "Requests to the API server that change something", self.writes.clone());
        registry.register("claims", "Claims by how they stand", self.claims.clone());
        let what = "Claims that are not protected, by the reason";
        registry.register("claims_unprotected", what, self.unprotected.clone());
        registry.register_collector(Box::new(self.clone()));
    }

    /// Whether this process leads.
    pub fn set_leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    pub(crate) fn note_write(&self, outcome: Wrote) {
        self.writes.get_or_create(&WriteLabels { outcome }).inc();
    }

    /// A round ended that took so many nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "rounds take seconds")]
    pub(crate) fn note_round(&self, decision: &Decision, nanos: i64) {
        self.rounds.inc();
        self.round_seconds.inc_by(nanos as f64 / 1e9);
        let mut states = [0_i64; 3];
        let mut whys = [0_i64; Why::ALL.len()];
        let mut claims = Vec::new();
        for (key, coverage) in &decision.claims {
            match coverage {
                Coverage::Protected { .. } => states[0] += 1,
                Coverage::Excluded { .. } => states[1] += 1,
                Coverage::Unprotected { why, .. } => {
                    states[2] += 1;
                    if let Some(count) =
                        Why::ALL.iter().position(|w| w == why).and_then(|at| whys.get_mut(at))
                    {
                        *count += 1;
                    }
                    if claims.len() < CLAIMS_LABELLED_MAX {
                        claims.push((key.namespace.clone(), key.name.clone(), why.name()));
                    }
                }
            }
        }
        for (state, count) in [State::Protected, State::Excluded, State::Unprotected].into_iter().zip(states)
        {
            self.claims.get_or_create(&ClaimLabels { state }).set(count);
        }
        for (why, count) in Why::ALL.iter().zip(whys) {
            self.unprotected.get_or_create(&WhyLabels { reason: why.name() }).set(count);
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let policies = Fold::all(decision).into_iter().take(CLAIMS_LABELLED_MAX).map(|(name, fold)| {
            let last = fold.last_success.map_or(0, |t| t.seconds());
            (name, count(fold.selected), count(fold.protected), last)
        });
        let rows = Rows { policies: policies.collect(), claims };
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

type OfPolicy = fn(&(String, i64, i64, i64)) -> i64;

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let of_policies: [(&str, &str, OfPolicy); 3] = [
            ("policy_claims", "Claims that a policy backs up", |r| r.1),
            ("policy_claims_protected", "Of these, those with a good snapshot within the objective", |r| r.2),
            ("policy_last_success_timestamp_seconds", "End of the newest good backup of a policy", |r| r.3),
        ];
        for (name, help, read) in of_policies {
            let mut described = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for row in &rows.policies {
                let labels = [("policy", row.0.as_str())];
                ConstGauge::new(read(row)).encode(described.encode_family(&labels)?)?;
            }
        }
        let help = "1 for a claim that is not protected; at most 1000 are named";
        let mut described = encoder.encode_descriptor("claim_unprotected", help, None, MetricType::Gauge)?;
        for (namespace, claim, reason) in &rows.claims {
            let labels =
                [("claim_namespace", namespace.as_str()), ("claim", claim.as_str()), ("reason", *reason)];
            ConstGauge::new(1_i64).encode(described.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
