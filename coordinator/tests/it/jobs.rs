//! The life of jobs with everybody present.

use proto::convert::error_from_status;
use proto::v1;
use proto::v1::RunState;
use repository::ErrorKind;
use repository::env::Env;
use repository::ops::Problems;
use tokio_stream::StreamExt as _;

use crate::fakes::snapshot;
use crate::harness::{agent_config, eventually, pair};

#[tokio::test]
async fn a_backup_is_run_watched_and_counted() {
    let pair = pair().await;
    let mut problems = Problems::default();
    problems.push(b"secret", "open: permission denied");
    pair.agent.executor.end_with(Some(snapshot(5, "v", Env::system().now())), problems);
    let id = pair.client.backup("v").await;
    let request = v1::WatchRunRequest { run_id: id.0.to_vec().into() };
    let mut watch = pair.client.0.clone().watch_run(request).await.unwrap().into_inner();
    pair.agent.wait_begun("v", 1).await;
    pair.agent.executor.let_go();
    let mut last = None;
    while let Some(run) = watch.next().await {
        last = Some(run.unwrap());
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.agent_id.as_str(), last.attempts), (RunState::Done, "agent-1", 1));
    let result = last.result.unwrap();
    assert_eq!(result.figures.unwrap().bytes_read, 42);
    assert_eq!(result.problems.unwrap().kept[0].path, "secret");

    let volumes = pair.client.volumes().await.unwrap();
    let v = volumes.iter().find(|v| v.volume.as_ref().unwrap().name == "v").unwrap();
    assert_eq!((v.snapshots, v.newest.as_ref().unwrap().id[0], v.connected), (1, 5, true));
    eventually("the agent forgets the result", async || {
        pair.agent.started.jobs.as_ref().unwrap().held().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_begins_in_the_middle_shows_progress() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.client.wait_state(id, RunState::Running).await;
    let request = v1::WatchRunRequest { run_id: id.0.to_vec().into() };
    let mut watch = pair.client.0.clone().watch_run(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), watch.next()).await;
        let run = next.expect("progress is shown").unwrap().unwrap();
        assert_eq!(run.state(), RunState::Running);
        seen.push(run.figures.unwrap().entries);
    }
    assert!(seen[2] > seen[1], "{seen:?}");
}

#[tokio::test]
async fn a_second_wish_joins_the_first_and_volumes_wait_for_each_other() {
    let pair = pair().await;
    let first = pair.client.backup("v").await;
    pair.agent.wait_begun("v", 1).await;
    assert_eq!(pair.client.backup("v").await, first);
    let other = pair.client.backup("w").await;
    assert_eq!(pair.client.find_run(other).await.unwrap().state(), RunState::Queued);
    pair.agent.executor.let_go();
    pair.client.wait_state(first, RunState::Done).await;
    pair.agent.executor.let_go();
    pair.client.wait_state(other, RunState::Done).await;
    assert_ne!(pair.client.backup("v").await, first);
}

#[tokio::test]
async fn a_running_job_is_cancelled() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.agent.wait_begun("v", 1).await;
    assert!(pair.client.cancel(id).await.cancel_requested);
    pair.client.wait_state(id, RunState::Cancelled).await;
    // The agent is free again.
    let id = pair.client.backup("v").await;
    pair.agent.executor.let_go();
    pair.client.wait_state(id, RunState::Done).await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let pair = pair().await;
    pair.agent.stop().await;
    pair.client.wait_agent(false).await;
    let id = pair.client.backup("v").await;
    assert_eq!(pair.client.cancel(id).await.state(), RunState::Cancelled);
    // Watching an ended run gives it once.
    let request = v1::WatchRunRequest { run_id: id.0.to_vec().into() };
    let watch = pair.client.0.clone().watch_run(request).await.unwrap().into_inner();
    assert_eq!(watch.collect::<Vec<_>>().await.len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let pair = pair().await;
    let request = v1::RunBackupRequest { volume: "x".into(), ..Default::default() };
    let e = error_from_status(&pair.client.0.clone().run_backup(request).await.unwrap_err());
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.to_string().contains("known are: v, w"), "{e}");
    let request = v1::CancelRunRequest { run_id: vec![9; 16].into() };
    let e = error_from_status(&pair.client.0.clone().cancel_run(request).await.unwrap_err());
    assert_eq!(e.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn restores_go_to_the_agent_that_allows_their_target() {
    let pair = pair().await;
    let mut there = agent_config(pair.dir.path(), pair.coordinator.target(), &[]);
    there.domains[0].restore_roots = vec!["/elsewhere".into()];
    let _other = crate::harness::Agent::start(agent::Config {
        agent_id: "agent-2".into(),
        state_dir: pair.dir.path().join("agent-2"),
        ..there
    })
    .await;
    let (config, _) = pair.coordinator.stop().await;
    let engine = crate::fakes::FakeEngine::default();
    engine.snapshots.lock().unwrap().push(snapshot(3, "v", Env::system().now()));
    let coordinator = crate::harness::Coordinator::start(config, std::sync::Arc::new(engine)).await;
    let client = coordinator.client();
    client.wait_agent(true).await;
    let spec = || Some(v1::SnapshotSpec { spec: "latest".into(), volume: String::new() });
    let ask = async |target: &str| {
        let target = target.as_bytes().to_vec().into();
        client.0.clone().restore(v1::RestoreRequest { snapshot: spec(), target, ..Default::default() }).await
    };
    for bad in ["/etc", "/restored", "/"] {
        let e = error_from_status(&ask(bad).await.unwrap_err());
        assert_eq!(e.kind(), ErrorKind::Refused, "{bad}");
        assert!(e.to_string().contains("restore root"), "{e}");
    }
    let started = ask("/restore/v").await.unwrap().into_inner();
    pair.agent.wait_begun("restore", 1).await;
    pair.agent.executor.let_go();
    let id = proto::convert::job_id_from_wire(&started.run_id).unwrap();
    assert_eq!(client.wait_state(id, RunState::Done).await.agent_id, "agent-1");
}
