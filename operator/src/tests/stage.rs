//! The controllers with all that they work with, in a process.

use std::sync::Arc;

use repository::env::{Clock, Env, SystemRandom, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::objects::{claim, cluster, pod, policy, repository, secret};
use super::{FakeApi, FakePort};
use crate::control::{Control, Tools};
use crate::identify::Domains;
use crate::metrics::Metrics;
use crate::world::watch::Watched;

/// A clock that the test turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<std::sync::atomic::AtomicI64>);

impl Hands {
    pub(crate) fn set(&self, second: i64) {
        self.0.store(second, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_parts(self.0.load(std::sync::atomic::Ordering::Relaxed), 0)
    }
}

/// A coordinator's controllers in a cluster.
pub(crate) struct Stage {
    pub(crate) api: FakeApi,
    pub(crate) port: FakePort,
    pub(crate) hands: Hands,
    pub(crate) control: Control,
    pub(crate) watched: Watched,
    pub(crate) stop: CancellationToken,
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// When tests begin, in seconds.
pub(crate) const NOW: i64 = 1_790_000_000;

impl Stage {
    pub(crate) async fn new() -> Self {
        let (api, port, hands) = (cluster(), FakePort::default(), Hands::default());
        hands.set(NOW);
        let (stop, watched, dir) =
            (CancellationToken::new(), Watched::default(), tempfile::tempdir().unwrap());
        let client = api.client();
        watched.start(&client, &TaskTracker::new(), &stop);
        let config = crate::ConfigLayer {
            pod_name: Some("c-1".into()),
            mover_image: Some("holdfast:1".into()),
            state_dir: Some(dir.path().join("state")),
            ..crate::ConfigLayer::default()
        };
        let tools = Tools {
            client,
            watched: watched.clone(),
            port: Arc::new(port.clone()),
            config: Arc::new(config.validate().unwrap()),
            env: Env { clock: Arc::new(hands.clone()), random: Arc::new(SystemRandom) },
            metrics: Metrics::default(),
            domains: Domains::default(),
        };
        let stage = Self { control: Control::new(tools), api, port, hands, watched, stop, dir };
        stage.until("listed", |s| s.watched.missing().is_empty()).await;
        stage
    }

    pub(crate) async fn until(&self, what: &str, good: impl Fn(&Self) -> bool) {
        for _try in 0..2000 {
            if good(self) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("{what} did not come");
    }

    /// Rounds until it is so.
    pub(crate) async fn rounds(&mut self, what: &str, good: impl Fn(&Self) -> bool) {
        for _try in 0..500 {
            self.control.round().await;
            if good(self) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("{what} did not come: {:?} {:?}", self.port.state(), self.api.names("holdfast.dev/restores"));
    }

    /// Rounds that find nothing more to do.
    pub(crate) async fn settle(&mut self) {
        for _round in 0..5 {
            self.control.round().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// With an open repository `main`, a policy for everything, and a claim `data` that a pod on `n1` mounts.
    pub(crate) async fn ready() -> Self {
        let mut stage = Self::new().await;
        secret(&stage.api);
        stage.api.put("holdfast.dev/repositories", repository("main", &stage.dir.path().join("repo")));
        stage.api.put("holdfast.dev/backuppolicies", policy("all"));
        claim(&stage.api, "data");
        pod(&stage.api, "data", "n1");
        stage.port.store("main", Vec::new());
        stage.rounds("a plan", |s| s.plan("n1").len() == 1).await;
        stage.port.attend("n1");
        stage
    }

    pub(crate) fn plan(&self, node: &str) -> Vec<(String, usize)> {
        let state = self.port.state();
        let plan = state.plans.get(node).cloned().unwrap_or_default();
        plan.volumes.iter().map(|v| (v.volume.clone(), v.places.len())).collect()
    }

    pub(crate) fn ours(&self, plural: &str, namespace: &str, name: &str) -> Value {
        self.api.get(&format!("holdfast.dev/{plural}"), namespace, name).unwrap_or_default()
    }

    /// `Type=Status/Reason` of a condition.
    pub(crate) fn condition(&self, plural: &str, namespace: &str, name: &str, kind: &str) -> String {
        let object = self.ours(plural, namespace, name);
        let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|c| c["type"] == kind);
        found.map(|c| format!("{}/{}", text(&c["status"]), text(&c["reason"]))).unwrap_or_default()
    }

    pub(crate) fn phase(&self, name: &str) -> String {
        text(&self.ours("backups", "shop", name)["status"]["phase"])
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
