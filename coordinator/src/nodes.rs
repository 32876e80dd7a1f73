//! The nodes of a cluster: what each was told to look after, and what it found. Decided elsewhere, kept and passed on here.
//!
//! A node has at most one plan; who decides may say the same again as often as it likes. An agent of a node may only speak for
//! volumes of its plan.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::v1;
use repository::env::{Env, Timestamp};
use repository::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::limits::{NODE_PULSE_SECONDS, NODES_MAX};
use crate::pulse::Pulse;

/// How a node stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeState {
    /// The node's name; of a mover its pod's uid.
    pub name: String,
    /// It serves one volume only.
    pub mover: bool,
    /// Its agent attends now.
    pub connected: bool,
    /// Its agent's version.
    pub version: String,
    /// Its agent reads volumes in confined children only.
    pub confined: bool,
    /// When it was last heard of.
    pub seen: Option<Timestamp>,
    /// Revision of the plan that it looked for last.
    pub revision: u64,
    /// What it found, by volume.
    pub sightings: HashMap<String, v1::Sighting>,
}

#[derive(Debug)]
struct Node {
    plan: watch::Sender<Arc<v1::NodePlan>>,
    /// Somebody decided a plan for it: else it only attended.
    planned: bool,
    state: NodeState,
    /// The number of the stream that it attends by.
    stream: u64,
}

/// All nodes. Plain bookkeeping under one lock, without waiting.
#[derive(Debug)]
pub struct Board {
    nodes: Mutex<(BTreeMap<String, Node>, u64)>,
    env: Env,
    pulse: Pulse,
}

/// A node's stream, as the board knows it.
#[derive(Debug)]
pub(crate) struct Attendance {
    pub(crate) node: String,
    pub(crate) number: u64,
    pub(crate) plans: watch::Receiver<Arc<v1::NodePlan>>,
}

impl Board {
    pub(crate) fn new(env: Env, pulse: Pulse) -> Self {
        Self { nodes: Mutex::default(), env, pulse }
    }

    fn lock(&self) -> MutexGuard<'_, (BTreeMap<String, Node>, u64)> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a node its plan. Revision and pulse are the board's; a plan like the last one changes nothing.
    pub fn set_plan(&self, node: &str, plan: v1::NodePlan) {
        let mut nodes = self.lock();
        let node = nodes.0.entry(node.to_owned()).or_insert_with_key(|name| Node::new(name));
        node.planned = true;
        node.plan.send_if_modified(|now| {
            let plan = v1::NodePlan { revision: now.revision, pulse_seconds: NODE_PULSE_SECONDS, ..plan };
            if **now == plan && now.revision > 0 {
                return false;
            }
            *now = Arc::new(v1::NodePlan { revision: now.revision + 1, ..plan });
            true
        });
    }

    /// Takes a node's plan away: it may look after nothing any more. It is forgotten once it does not attend.
    pub fn remove(&self, node: &str) {
        self.set_plan(node, v1::NodePlan::default());
        let mut nodes = self.lock();
        if let Some(known) = nodes.0.get_mut(node) {
            known.planned = false;
            if !known.state.connected {
                nodes.0.remove(node);
            }
        }
    }

    /// All nodes that have a plan or attend.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeState> {
        self.lock().0.values().map(|n| n.state.clone()).collect()
    }

    /// How one node stands.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeState> {
        self.lock().0.get(name).map(|n| n.state.clone())
    }

    /// A node came; its older stream ends.
    pub(crate) fn attend(&self, arrival: &v1::Arrival) -> Result<Attendance> {
        let mut nodes = self.lock();
        if nodes.0.len() >= NODES_MAX && !nodes.0.contains_key(&arrival.node) {
            let what = format!("node {:?}: {NODES_MAX} nodes attend already", arrival.node);
            return Err(Error::new(ErrorKind::Refused, what));
        }
        nodes.1 += 1;
        let number = nodes.1;
        let node = nodes.0.entry(arrival.node.clone()).or_insert_with_key(|name| Node::new(name));
        node.stream = number;
        let state = &mut node.state;
        (state.mover, state.confined, state.connected) = (arrival.mover, arrival.confined, true);
        (state.version, state.seen) = (arrival.version.clone(), Some(self.env.now()));
        // What it found before is a former process's word.
        state.sightings.clear();
        state.revision = 0;
        let plans = node.plan.subscribe();
        drop(nodes);
        self.pulse.beat();
        Ok(Attendance { node: arrival.node.clone(), number, plans })
    }

    /// A node said something by this stream. False when a newer stream took its place.
    pub(crate) fn hear(&self, node: &str, number: u64, sightings: Option<v1::Sightings>) -> bool {
        let mut nodes = self.lock();
        let Some(node) = nodes.0.get_mut(node).filter(|n| n.stream == number) else { return false };
        node.state.seen = Some(self.env.now());
        let Some(sightings) = sightings else { return true };
        let plan = node.plan.borrow().clone();
        let of_plan = |s: &v1::Sighting| plan.volumes.iter().any(|v| v.volume == s.volume);
        let known = sightings.volumes.into_iter().filter(of_plan);
        node.state.revision = sightings.revision;
        node.state.sightings = known.map(|s| (s.volume.clone(), s)).collect();
        drop(nodes);
        self.pulse.beat();
        true
    }

    /// A stream ended.
    pub(crate) fn leave(&self, node: &str, number: u64) {
        let mut nodes = self.lock();
        let Some(known) = nodes.0.get_mut(node).filter(|n| n.stream == number) else { return };
        known.state.connected = false;
        if !known.planned {
            nodes.0.remove(node);
        }
        drop(nodes);
        self.pulse.beat();
    }

    /// Takes out what a node may not speak for: volumes that its plan does not have, or has in another domain, and restores into
    /// anything but what the plan lets it restore.
    pub(crate) fn keep_planned(&self, node: &str, domain: &str, volumes: &mut Vec<v1::Volume>) {
        let plan = self.lock().0.get(node).map(|n| n.plan.borrow().clone()).unwrap_or_default();
        let planned: HashMap<&str, &str> =
            plan.volumes.iter().map(|v| (v.volume.as_str(), v.domain.as_str())).collect();
        let before = volumes.len();
        volumes.retain(|v| planned.get(v.name.as_str()) == Some(&domain));
        if volumes.len() < before {
            tracing::debug!(
                node,
                dropped = before - volumes.len(),
                "volumes that are not in the node's plan"
            );
        }
    }

    /// Whether the plan lets the node write into any of its volumes.
    pub(crate) fn may_restore(&self, node: &str, domain: &str) -> bool {
        let plan = self.lock().0.get(node).map(|n| n.plan.borrow().clone()).unwrap_or_default();
        plan.volumes.iter().any(|v| v.restore && v.domain == domain)
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let plan = watch::channel(Arc::new(v1::NodePlan::default())).0;
        let state = NodeState { name: name.to_owned(), ..NodeState::default() };
        Self { plan, planned: false, state, stream: 0 }
    }
}

#[cfg(test)]
mod tests;
