//! Backups that nobody asked for.

use std::sync::Arc;

use coordinator::schedule::{Rule, Trigger};
use proto::v1::RunState;
use repository::env::Env;

use crate::fakes::{FakeEngine, snapshot};
use crate::harness::{Agent, Coordinator, agent_config, coordinator_config, eventually};

#[tokio::test]
async fn due_volumes_are_backed_up_and_fresh_ones_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let rule = Rule { volume: "*".into(), trigger: Trigger::MaxAge { seconds: 3600 }, jitter_seconds: 0 };
    let mut config = coordinator_config(dir.path());
    config.domains[0].rules = vec![rule];
    let engine = FakeEngine::default();
    let now = Env::system().now();
    engine.snapshots.lock().unwrap().push(snapshot(1, "v", now.plus_seconds(-60)));
    engine.snapshots.lock().unwrap().push(snapshot(2, "gone", now.plus_seconds(-7200)));
    let coordinator = Coordinator::start(config, Arc::new(engine)).await;
    let agent = Agent::start(agent_config(dir.path(), coordinator.target(), &["v", "w"])).await;
    agent.executor.end_with(Some(snapshot(3, "w", now)), Default::default());
    agent.wait_begun("w", 1).await;
    agent.executor.let_go();
    let client = coordinator.client();
    let runs = eventually("the run ends", async || {
        let runs = client.runs().await.ok()?;
        runs.iter().all(|r| r.state() == RunState::Done).then_some(runs)
    })
    .await;
    assert_eq!((runs.len(), agent.executor.begun("v")), (1, 0));
    let volumes = client.volumes().await.unwrap();
    let late: Vec<_> = volumes.iter().filter(|v| v.late).map(|v| &v.volume.as_ref().unwrap().name).collect();
    assert_eq!(late, ["gone"]);
    assert_eq!(volumes[0].schedule, "at most 3600 s old");
}
