//! Coordinators and agents that go away in the middle of a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::v1::RunState;
use repository::env::Timestamp;
use repository::ids::BlobId;
use repository::index::Lookup as _;

use crate::fakes::{EmptyLookup, FakeEngine, place, snapshot};
use crate::harness::{Agent, Coordinator, agent_config, eventually, pair};

#[tokio::test]
async fn a_job_outlives_a_restart_of_the_coordinator() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    let waiting = pair.client.backup("w").await;
    pair.agent.wait_begun("v", 1).await;
    pair.client.wait_state(id, RunState::Running).await;
    let (config, engine) = pair.coordinator.stop().await;
    let coordinator = Coordinator::start(config, engine).await;
    let client = coordinator.client();
    client.wait_agent(true).await;
    let run = client.wait_state(id, RunState::Running).await;
    assert_eq!((run.attempts, run.agent_id.as_str()), (1, "agent-1"));
    pair.agent.executor.let_go();
    client.wait_state(id, RunState::Done).await;
    pair.agent.executor.let_go();
    client.wait_state(waiting, RunState::Done).await;
    assert_eq!((pair.agent.executor.begun("v"), pair.agent.executor.begun("w")), (1, 1));
}

#[tokio::test]
async fn work_is_finished_while_the_coordinator_is_away_and_reported_afterwards() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.agent.wait_begun("v", 1).await;
    let (config, engine) = pair.coordinator.stop().await;
    pair.agent.executor.let_go();
    eventually("the job ends", async || {
        (pair.agent.started.jobs.as_ref().unwrap().results().len() == 1).then_some(())
    })
    .await;
    // Even the agent may start anew in between: the result is on disk.
    pair.agent.stop().await;
    let coordinator = Coordinator::start(config, engine).await;
    let agent = Agent::start(agent_config(pair.dir.path(), coordinator.target(), &["v", "w"])).await;
    let run = coordinator.client().wait_state(id, RunState::Done).await;
    assert_eq!((run.attempts, run.result.unwrap().figures.unwrap().bytes_read), (1, 42));
    assert_eq!(agent.executor.begun("v"), 0);
    eventually("the agent forgets the result", async || {
        agent.started.jobs.as_ref().unwrap().held().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_its_database_only_the_queue_and_the_log_are_lost() {
    let pair = pair().await;
    let done = pair.client.backup("v").await;
    pair.agent.executor.let_go();
    pair.client.wait_state(done, RunState::Done).await;
    let running = pair.client.backup("v").await;
    pair.agent.wait_begun("v", 2).await;
    let queued = pair.client.backup("w").await;
    let (config, _) = pair.coordinator.stop().await;
    std::fs::remove_dir_all(config.domains[0].database.parent().unwrap()).unwrap();

    let engine = FakeEngine::default();
    engine.snapshots.lock().unwrap().push(snapshot(3, "old-host:/old", Timestamp(5)));
    let coordinator = Coordinator::start(config, Arc::new(engine)).await;
    let client = coordinator.client();
    // The agent knows the running job whole.
    client.wait_state(running, RunState::Running).await;
    pair.agent.executor.let_go();
    client.wait_state(running, RunState::Done).await;
    assert_eq!(pair.agent.executor.begun("v"), 2);
    assert!(client.find_run(queued).await.is_none() && client.find_run(done).await.is_none());
    // Snapshots and the volumes of agents that are gone come from the bucket.
    let names = eventually("all volumes are back", async || {
        let all = client.volumes().await.ok()?;
        let names: Vec<_> = all.into_iter().map(|v| (v.volume.unwrap().name, v.snapshots)).collect();
        (names.len() == 3).then_some(names)
    })
    .await;
    assert_eq!(names, [("old-host:/old".to_owned(), 1), ("v".to_owned(), 0), ("w".to_owned(), 0)]);
}

#[tokio::test]
async fn a_job_lost_with_its_agent_is_begun_again() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.agent.wait_begun("v", 1).await;
    pair.client.wait_state(id, RunState::Running).await;
    pair.agent.stop().await;
    pair.client.wait_agent(false).await;
    assert_eq!(pair.client.find_run(id).await.unwrap().state(), RunState::Running);
    let agent = Agent::start(agent_config(pair.dir.path(), pair.coordinator.target(), &["v", "w"])).await;
    agent.wait_begun("v", 1).await;
    agent.executor.let_go();
    assert_eq!(pair.client.wait_state(id, RunState::Done).await.attempts, 2);
}

#[tokio::test]
async fn a_job_of_an_agent_that_stays_away_goes_to_another() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.client.wait_state(id, RunState::Running).await;
    let (config, engine) = pair.coordinator.stop().await;
    pair.agent.stop().await;
    let coordinator = Coordinator::start(coordinator::Config { lost_seconds: 1, ..config }, engine).await;
    let other = agent_config(pair.dir.path(), coordinator.target(), &["v"]);
    let state_dir = pair.dir.path().join("agent-2");
    let other = Agent::start(agent::Config { agent_id: "agent-2".into(), state_dir, ..other }).await;
    other.wait_begun("v", 1).await;
    other.executor.let_go();
    assert_eq!(coordinator.client().wait_state(id, RunState::Done).await.agent_id, "agent-2");
}

#[tokio::test]
async fn a_wish_to_cancel_reaches_an_agent_that_was_away() {
    let pair = pair().await;
    let id = pair.client.backup("v").await;
    pair.client.wait_state(id, RunState::Running).await;
    let (config, engine) = pair.coordinator.stop().await;
    // The agent can't find this one: its port is another.
    let elsewhere = coordinator::Config { listen: ([127, 0, 0, 1], 0).into(), ..config.clone() };
    let hidden = Coordinator::start(elsewhere, engine.clone()).await;
    assert!(hidden.client().cancel(id).await.cancel_requested);
    hidden.stop().await;
    let coordinator = Coordinator::start(config, engine).await;
    coordinator.client().wait_state(id, RunState::Cancelled).await;
}

#[tokio::test]
async fn lookups_fall_back_to_the_local_index() {
    let pair = pair().await;
    let local = Arc::new(EmptyLookup::default());
    let metrics = agent::metrics::Metrics::default();
    let dialer = pair.coordinator.target().open(&metrics.reloads).unwrap();
    let lookup = agent::lookup::RemoteLookup::new(dialer, local.clone(), metrics);
    let ids: Vec<_> = (0..2500u32).map(|n| BlobId([n.to_le_bytes()[0]; 32])).collect();
    let places = lookup.find(&ids).await.unwrap();
    assert_eq!(places.len(), ids.len());
    for (id, found) in ids.iter().zip(places) {
        assert_eq!(found, (id.0[0] % 2 == 0).then(|| place(id)));
    }
    assert_eq!(local.0.load(Ordering::SeqCst), 0);
    pair.coordinator.stop().await;
    assert_eq!(lookup.find(&ids).await.unwrap(), vec![None; ids.len()]);
    assert_eq!(local.0.load(Ordering::SeqCst), ids.len());
}
