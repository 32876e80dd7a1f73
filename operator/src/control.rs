//! The controllers, in rounds: look at the cluster and the coordinator, decide everything at once, do what differs.
//!
//! 1. A round begins from what there is, never from what changed: what was missed is made up for by the next one.
//! 2. Nothing is decided before every kind of object was listed: an empty list and a list that is not there look the same.
//! 3. A write that fails is made again by a later round; a store that hangs holds up its own repository only.

mod backups;
mod mirror;
mod movers;
mod policies;
mod repositories;
mod restores;
mod secrets;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use repository::env::{Env, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::decide::{Coverage, Decision, Facts, NodeFact, decide};
use crate::identify::Domains;
use crate::limits::{LOOK_SECONDS, SETTLE_MILLIS};
use crate::metrics::Metrics;
use crate::port::Port;
use crate::world::Key;
use crate::world::watch::Watched;

use repositories::Repositories;
pub(crate) use write::{Told, Writer};

/// What the controllers work with.
#[derive(Clone)]
pub struct Tools {
    /// The API server.
    pub client: Client,
    /// What it said.
    pub watched: Watched,
    /// The coordinator.
    pub port: Arc<dyn Port>,
    /// The settings.
    pub config: Arc<Config>,
    /// Time and random bytes.
    pub env: Env,
    /// Counters.
    pub metrics: Metrics,
    /// The domains that each agent may have.
    pub domains: Domains,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("port", &self.port).finish_non_exhaustive()
    }
}

/// All controllers.
#[derive(Debug)]
pub struct Control {
    tools: Tools,
    writer: Writer,
    repositories: Repositories,
    mirror: mirror::Mirror,
    restores: restores::Restores,
    begun: backups::Begun,
    /// Which node read which volume in the last round.
    before: HashMap<String, String>,
    /// How the claims stood in the last round; `None` before the first.
    stood: Option<BTreeMap<Key, Coverage>>,
    /// When the first round was.
    started: Option<Timestamp>,
    wake: Arc<Notify>,
}

impl Control {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        let reporter = Reporter {
            controller: "holdfast.dev/operator".to_owned(),
            instance: Some(tools.config.pod_name.clone()),
        };
        let recorder = Recorder::new(tools.client.clone(), reporter);
        let wake = Arc::new(Notify::new());
        Self {
            writer: Writer::new(recorder, tools.env.clone(), tools.metrics.clone()),
            repositories: Repositories::new(wake.clone()),
            mirror: mirror::Mirror::default(),
            restores: restores::Restores::default(),
            begun: backups::Begun::new(),
            before: HashMap::new(),
            stood: None,
            started: None,
            wake,
            tools,
        }
    }

    /// Rounds until `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        let (mut cluster, mut coordinator) = (self.tools.watched.changes(), self.tools.port.changes());
        let wake = self.wake.clone();
        loop {
            self.round().await;
            let settle = Duration::from_millis(SETTLE_MILLIS);
            tokio::select! {
                () = stop.cancelled() => break,
                _ = cluster.changed() => {}
                _ = coordinator.changed() => {}
                () = wake.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(settle) => {}
            }
            let _now = (cluster.borrow_and_update(), coordinator.borrow_and_update());
        }
        self.repositories.stop().await;
    }

    /// One round. Gives what was decided; `None` while something was not listed yet.
    pub async fn round(&mut self) -> Option<Arc<Decision>> {
        if !self.tools.watched.missing().is_empty() {
            return None;
        }
        let cluster = self.cluster()?;
        let begun = self.tools.env.now();
        self.started.get_or_insert(begun);
        self.writer.begin();
        self.repositories.look(&self.tools, &mut self.writer).await;
        let facts = self.facts(cluster, begun);
        let decision = Arc::new(decide(&self.tools.watched.read(), &facts));
        self.before.clone_from(&decision.assigned);
        self.apply(&decision);
        self.repositories.tell(&self.tools, &mut self.writer).await;
        policies::tell(&self.tools, (&decision, &facts), &mut self.writer).await;
        self.note_claims(&decision).await;
        backups::look(&self.tools, (&decision, &facts), &mut self.begun, &mut self.writer).await;
        self.restores.look(&self.tools, &facts, &mut self.writer).await;
        self.mirror.look(&self.tools, &facts, &mut self.writer).await;
        self.tools.metrics.note_round(&decision, (self.tools.env.now().0 - begun.0).max(0));
        Some(decision)
    }

    /// The cluster's name in identities; it must never change while there are snapshots.
    fn cluster(&self) -> Option<String> {
        let given = self.tools.config.cluster_name.clone();
        given.or_else(|| self.tools.watched.read().cluster_uid().map(str::to_owned))
    }

    fn facts(&self, cluster: String, now: Timestamp) -> Facts {
        let nodes = self.tools.port.nodes().into_iter();
        let fact = |n: coordinator::nodes::NodeState| {
            (n.name, NodeFact { connected: n.connected, sightings: n.sightings })
        };
        Facts {
            now,
            cluster,
            repositories: self.repositories.facts(&self.tools),
            nodes: nodes.filter(|n| !n.mover).map(fact).collect(),
            before: self.before.clone(),
            restoring: HashMap::new(),
        }
    }

    /// Tells the coordinator.
    fn apply(&self, decision: &Decision) {
        let port = &self.tools.port;
        // Before the plans: an agent that hears of a domain may have it.
        let plans = decision.plans.iter().chain(self.restores.plans());
        self.tools.domains.set(crate::run::domains_of(plans));
        for (domain, schedules) in &decision.schedules {
            let Ok(domain) = domain.parse() else { continue };
            if let Err(e) = port.set_schedules(&domain, schedules.clone()) {
                tracing::debug!(%domain, error = %e.chain(), "the domain takes no schedules yet");
            }
        }
        for (node, plan) in &decision.plans {
            port.set_plan(node, plan.clone());
        }
        for node in port.nodes() {
            if !node.mover && !decision.plans.contains_key(&node.name) {
                port.remove_node(&node.name);
            }
        }
    }

    /// Says of claims that they are not protected any more, or at all.
    async fn note_claims(&mut self, decision: &Decision) {
        let before = self.stood.replace(decision.claims.clone());
        let Some(before) = before else { return };
        for (key, coverage) in &decision.claims {
            let Coverage::Unprotected { why, what, .. } = coverage else { continue };
            let was = before.get(key);
            let same = matches!(was, Some(Coverage::Unprotected { why: known, .. }) if known == why);
            if same || *why == crate::decide::Why::NeverBackedUp {
                continue;
            }
            let uid = self.tools.watched.read().claims.get(key).map(|c| c.uid.clone());
            let Some(uid) = uid else { continue };
            let told = Told {
                warning: true,
                reason: "Unprotected",
                action: "Backup",
                note: format!("not protected: {what}"),
            };
            self.writer.tell_claim(key, &uid, told).await;
        }
    }
}
