//! Maintenance that a schedule began or somebody asked for: one at a time, seen, cancelled, taken up again.

use std::sync::Arc;

use coordinator::gate::{Access, Grant};
use coordinator::maintenance::{RetentionRule, Timing, When};
use proto::convert;
use proto::task::{GcSpec, RepairSpec, RestoreTestSpec, ScrubSpec, TaskId, TaskSpec};
use proto::v1::maintenance_client::MaintenanceClient;
use proto::v1::{self, RunState};
use repository::env::{Env, Timestamp};
use repository::retention::Rules;
use service::client::{Connection, Target};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::fakes::{FakeEngine, snapshot};
use crate::harness::{Coordinator, coordinator_config, eventually};

pub(crate) type Client = MaintenanceClient<Connection>;

pub(crate) fn client(target: &Target) -> Client {
    MaintenanceClient::new(target.connect().unwrap())
}

pub(crate) fn every(seconds: u64) -> Timing {
    Timing { when: When::Every { seconds }, ..Timing::never() }
}

/// An engine of which each GC run waits to be let go.
fn gated() -> (Arc<FakeEngine>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (Arc::new(FakeEngine { collecting: Some(gate.clone()), ..FakeEngine::default() }), gate)
}

pub(crate) async fn start(client: &Client, spec: &TaskSpec) -> Result<(TaskId, bool), tonic::Status> {
    let spec = Some(convert::task_spec_to_wire(spec));
    let request = v1::StartMaintenanceRequest { spec, reason: "a test".into() };
    let started = client.clone().start_maintenance(request).await?.into_inner();
    Ok((convert::task_id_from_wire(&started.task_id).unwrap(), started.existed))
}

fn gc() -> TaskSpec {
    TaskSpec::Gc(GcSpec::default())
}

pub(crate) fn bytes(id: TaskId) -> bytes::Bytes {
    id.0.to_vec().into()
}

async fn get(client: &Client, id: TaskId) -> v1::MaintenanceTask {
    let request = v1::GetMaintenanceRequest { task_id: bytes(id) };
    client.clone().get_maintenance(request).await.unwrap().into_inner()
}

pub(crate) async fn wait(client: &Client, id: TaskId, state: RunState) -> v1::MaintenanceTask {
    eventually(&format!("task becomes {state:?}"), async || {
        Some(get(client, id).await).filter(|t| t.state() == state)
    })
    .await
}

pub(crate) async fn list(client: &Client) -> (Vec<v1::MaintenancePlan>, Vec<v1::MaintenanceTask>) {
    let answers = client.clone().list_maintenance(v1::ListMaintenanceRequest::default()).await;
    let mut answers = answers.unwrap().into_inner();
    let (mut plans, mut tasks) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        plans.extend(answer.plans);
        tasks.extend(answer.tasks);
    }
    (plans, tasks)
}

#[tokio::test]
async fn a_schedule_fires_again_and_again_and_says_when() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coordinator_config(dir.path());
    config.domains[0].maintenance.gc.timing = every(1);
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(config, engine.clone()).await;
    eventually("it ran twice", async || (engine.count("gc") >= 2).then_some(())).await;
    let (plans, tasks) = list(&client(&coordinator.target())).await;
    let of = |kind: &str| plans.iter().find(|p| p.kind == kind).unwrap().clone();
    assert_eq!((of("gc").schedule.as_str(), of("forget").schedule.as_str()), ("every 1 s", ""));
    assert!(of("gc").next_unix_nanos > 0 && of("forget").next_unix_nanos == 0);
    assert!(tasks.iter().all(|t| t.by == "schedule"), "{tasks:?}");
    let metrics = coordinator.metrics().await;
    assert!(!metrics.contains("holdfast_coordinator_gc_deleted_packs_total 0"), "{metrics}");
    for line in ["holdfast_coordinator_leader 1", "holdfast_coordinator_repository_packs 5"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn one_task_runs_at_a_time_and_never_two_of_a_kind() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, gate) = gated();
    let coordinator = Coordinator::start(coordinator_config(dir.path()), engine.clone()).await;
    let client = client(&coordinator.target());
    let (first, existed) = start(&client, &gc()).await.unwrap();
    assert!(!existed);
    wait(&client, first, RunState::Running).await;
    assert_eq!(start(&client, &gc()).await.unwrap(), (first, true));
    let other = TaskSpec::Gc(GcSpec { dry_run: true, ..GcSpec::default() });
    let refused = start(&client, &other).await.unwrap_err();
    assert!(
        refused.code() == Code::PermissionDenied && refused.message().contains("cancel it first"),
        "{refused}"
    );
    let (second, _) = start(&client, &TaskSpec::Forget).await.unwrap();
    let mut watched = client
        .clone()
        .watch_maintenance(v1::WatchMaintenanceRequest { task_id: bytes(first) })
        .await
        .unwrap()
        .into_inner();
    let seen = watched.next().await.unwrap().unwrap();
    assert_eq!((seen.state(), seen.figures.unwrap().packs), (RunState::Running, 1));
    assert_eq!(get(&client, second).await.state(), RunState::Queued);
    gate.add_permits(1);
    let mut last = seen;
    while let Some(next) = watched.next().await {
        last = next.unwrap();
    }
    assert_eq!(last.state(), RunState::Done);
    let result = convert::task_result_from_wire(last.result.unwrap());
    assert_eq!((result.counts["deleted"], result.complete, &*last.reason), (1, true, "a test"));
    wait(&client, second, RunState::Done).await;
    assert_eq!(engine.count("gc"), 1);
    coordinator.stop().await;
}

#[tokio::test]
async fn cancelling_ends_a_task_that_runs_and_one_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _gate) = gated();
    let coordinator = Coordinator::start(coordinator_config(dir.path()), engine.clone()).await;
    let client = client(&coordinator.target());
    let (running, _) = start(&client, &gc()).await.unwrap();
    let (waiting, _) = start(&client, &TaskSpec::Forget).await.unwrap();
    wait(&client, running, RunState::Running).await;
    for id in [waiting, running] {
        let request = v1::CancelMaintenanceRequest { task_id: bytes(id) };
        client.clone().cancel_maintenance(request).await.unwrap();
        wait(&client, id, RunState::Cancelled).await;
    }
    assert_eq!(engine.count("forget"), 0);
    let unknown = v1::CancelMaintenanceRequest { task_id: vec![9; 16].into() };
    assert_eq!(client.clone().cancel_maintenance(unknown).await.unwrap_err().code(), Code::NotFound);
    coordinator.stop().await;
}

#[tokio::test]
async fn what_ran_when_the_coordinator_stopped_goes_on_when_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, gate) = gated();
    let coordinator = Coordinator::start(coordinator_config(dir.path()), engine.clone()).await;
    let (id, _) = start(&client(&coordinator.target()), &gc()).await.unwrap();
    wait(&client(&coordinator.target()), id, RunState::Running).await;
    let (config, same) = coordinator.stop().await;
    let coordinator = Coordinator::start(config, same).await;
    eventually("it was begun again", async || (engine.count("gc") == 2).then_some(())).await;
    gate.add_permits(1);
    let done = wait(&client(&coordinator.target()), id, RunState::Done).await;
    assert_eq!(done.attempts, 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_window_that_is_closed_stops_nobody_who_asks() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coordinator_config(dir.path());
    let hour = (Env::system().now().seconds() / 3600) % 24;
    // Opens in two hours.
    let window = format!("{:02}:00-{:02}:00", (hour + 2) % 24, (hour + 3) % 24).parse().unwrap();
    config.domains[0].maintenance.gc.timing = Timing { window: Some(window), ..every(1) };
    config.domains[0].maintenance.forget = every(1);
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(config, engine.clone()).await;
    eventually("what has no window ran", async || (engine.count("forget") >= 2).then_some(())).await;
    assert_eq!(engine.count("gc"), 0);
    let client = client(&coordinator.target());
    let (id, _) = start(&client, &gc()).await.unwrap();
    wait(&client, id, RunState::Done).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn only_the_leader_runs_maintenance() {
    let dir = tempfile::tempdir().unwrap();
    let config = coordinator_config(dir.path());
    let leader = Coordinator::start(config.clone(), Arc::new(FakeEngine::default())).await;
    // The same state folder: the lock is taken.
    let second = Coordinator::start(config.clone(), Arc::new(FakeEngine::default())).await;
    let mut follower = config;
    follower.domains[0].database = dir.path().join("other/coordinator.db");
    follower.domains[0].maintenance.leader = false;
    follower.domains[0].maintenance.forget = every(1);
    let third_engine = Arc::new(FakeEngine::default());
    let third = Coordinator::start(follower, third_engine.clone()).await;
    for (coordinator, why) in [(&second, "same state folder"), (&third, "leader: false")] {
        let client = client(&coordinator.target());
        let refused = start(&client, &gc()).await.unwrap_err();
        assert!(refused.message().contains(why), "{refused}");
        assert!(list(&client).await.0.iter().all(|p| p.why_not.contains(why) && p.next_unix_nanos == 0));
        assert!(coordinator.metrics().await.contains("holdfast_coordinator_leader 0"));
    }
    let (id, _) = start(&client(&leader.target()), &gc()).await.unwrap();
    wait(&client(&leader.target()), id, RunState::Done).await;
    assert_eq!(third_engine.count("forget"), 0);
    // Whoever holds the lock ends: the next one leads.
    leader.stop().await;
    eventually("the second leads", async || start(&client(&second.target()), &TaskSpec::Forget).await.ok())
        .await;
    second.stop().await;
    third.stop().await;
}

fn keep_one(volume: &str, share_percent_max: u8) -> RetentionRule {
    let rules = Rules { last: 1, ..Rules::default() };
    RetentionRule { volume: volume.into(), rules, share_percent_max }
}

#[tokio::test]
async fn a_breaker_stops_retention_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coordinator_config(dir.path());
    config.domains[0].maintenance.retention = vec![keep_one("db", 50), keep_one("*", 100)];
    let engine = Arc::new(FakeEngine::default());
    for n in 0..5 {
        let at = Timestamp::from_parts(1_700_000_000 + i64::from(n), 0);
        engine.snapshots.lock().unwrap().extend([snapshot(n, "db", at), snapshot(n + 10, "x", at)]);
    }
    let coordinator = Coordinator::start(config, engine.clone()).await;
    let client = client(&coordinator.target());
    let (id, _) = start(&client, &TaskSpec::Forget).await.unwrap();
    let failed = wait(&client, id, RunState::Failed).await;
    let result = convert::task_result_from_wire(failed.result.unwrap());
    let what = result.failure.unwrap().what;
    assert!(what.contains("volumes db: this would forget 4 of 5 snapshots, more than 50 %"), "{what}");
    // The others' rule was not stopped.
    assert_eq!((result.counts["forgotten"], result.counts["tripped"]), (4, 1));
    let metrics = coordinator.metrics().await;
    for line in ["retention_breakers_tripped 1", "snapshots_forgotten_total 4"] {
        assert!(metrics.contains(&format!("holdfast_coordinator_{line}")), "{line} in {metrics}");
    }
    // By hand: what it would do and why, then with a wider breaker.
    let ask = async |dry_run, share_percent_max| {
        let request = v1::ForgetRequest { dry_run, share_percent_max, ..Default::default() };
        let answers = client.clone().forget(request).await?.into_inner();
        answers
            .collect::<Result<Vec<_>, _>>()
            .await
            .map(|all| all.into_iter().flat_map(|a| a.fates).collect::<Vec<_>>())
    };
    let told = ask(true, None).await.unwrap();
    assert_eq!((told.len(), told.iter().filter(|f| f.forgotten).count()), (6, 4));
    assert_eq!(told[0].kept_because, ["last"]);
    let refused = ask(false, None).await.unwrap_err();
    assert!(refused.message().contains("--max-share"), "{refused}");
    assert_eq!(ask(false, Some(80)).await.unwrap().len(), 6);
    assert_eq!(engine.snapshots.lock().unwrap().len(), 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn the_audit_knows_whose_token_it_was_and_readers_may_only_look() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coordinator_config(dir.path());
    let token = |name: &str, clients| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{name}-0123456789abcdef")).unwrap();
        (path, Grant { name: name.into(), clients: Some(clients), ..Grant::default() })
    };
    config.tokens = vec![token("watcher", Access::Read), token("operator", Access::Write)];
    let engine = Arc::new(FakeEngine::default());
    engine.snapshots.lock().unwrap().push(snapshot(1, "v", Timestamp(5)));
    let coordinator = Coordinator::start(config, engine.clone()).await;
    let with = |name: &str| {
        let token_file = Some(dir.path().join(name));
        client(&Target { token_file, ..coordinator.target() })
    };
    let (watcher, operator) = (with("watcher"), with("operator"));
    assert_eq!(start(&watcher, &gc()).await.unwrap_err().code(), Code::PermissionDenied);
    let forget = v1::ForgetRequest { snapshots: vec!["latest".into()], ..Default::default() };
    assert_eq!(watcher.clone().forget(forget.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    let undo = v1::UnforgetRequest { snapshot: "abcd".into(), reason: "oops".into() };
    assert_eq!(watcher.clone().unforget(undo.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    let (id, _) = start(&operator, &gc()).await.unwrap();
    assert_eq!(wait(&watcher, id, RunState::Done).await.by, "operator");
    let cancel = v1::CancelMaintenanceRequest { task_id: bytes(id) };
    assert_eq!(watcher.clone().cancel_maintenance(cancel).await.unwrap_err().code(), Code::PermissionDenied);
    let forget = v1::ForgetRequest { reason: "too old".into(), ..forget };
    operator.clone().forget(forget).await.unwrap().into_inner().collect::<Vec<_>>().await;
    operator.clone().unforget(undo).await.unwrap();
    let asked = engine.asked.lock().unwrap().clone();
    let said: Vec<_> = asked.iter().map(|(what, b)| (what.as_str(), b.by.as_str(), b.why.as_str())).collect();
    let expected = [
        ("gc", "operator", "a test"),
        ("forget 1", "operator", "too old"),
        ("unforget abcd", "operator", "oops"),
    ];
    assert_eq!(said, expected);
    let mut audit = watcher.clone().list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    let answer = audit.next().await.unwrap().unwrap();
    let record = repository::manifest::audit::Record::decode(&answer.records[0].record).unwrap();
    assert_eq!((record.by.as_str(), answer.records[0].kind.as_str()), ("me", "keys"));
    assert!(answer.damaged[0].what.contains("a/x is damaged"));
    coordinator.stop().await;
}

#[tokio::test]
async fn scrubs_restore_tests_and_repairs_are_tasks_with_the_configured_budgets() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = coordinator_config(dir.path());
    config.domains[0].maintenance.scrub.bytes_max = 77;
    config.domains[0].maintenance.restore_test.volumes_max = 1;
    let engine = Arc::new(FakeEngine::default());
    for (n, volume) in [(1, "v"), (2, "w")] {
        engine.snapshots.lock().unwrap().push(snapshot(n, volume, Timestamp(5)));
    }
    let coordinator = Coordinator::start(config, engine.clone()).await;
    let client = client(&coordinator.target());
    let run = async |spec: TaskSpec| {
        let (id, _) = start(&client, &spec).await.unwrap();
        let done = wait(&client, id, RunState::Done).await;
        convert::task_result_from_wire(done.result.unwrap())
    };
    let scrubbed = run(TaskSpec::Scrub(ScrubSpec::default())).await;
    assert_eq!((scrubbed.counts["packs"], scrubbed.outcome()), (3, "partial"), "it found damage");
    assert_eq!(scrubbed.problems.kept()[0].what, "a frame is damaged");
    run(TaskSpec::Scrub(ScrubSpec { bytes_max: Some(5), ..ScrubSpec::default() })).await;
    let tested = run(TaskSpec::RestoreTest(RestoreTestSpec::default())).await;
    assert_eq!((tested.counts["volumes"], tested.counts["failed_volumes"]), (1, 0));
    let repaired = run(TaskSpec::Repair(RepairSpec::Index { all: true, dry_run: false })).await;
    assert_eq!(repaired.counts["packs"], 4);
    let all =
        RepairSpec::Snapshots { snapshots: vec![], volume: Some("w".into()), forget: false, dry_run: true };
    assert_eq!(run(TaskSpec::Repair(all)).await.counts["sound"], 1);
    let lifted = run(TaskSpec::Repair(RepairSpec::Quarantine { dry_run: false })).await;
    assert_eq!((lifted.counts["packs"], lifted.counts["lifted"], lifted.outcome()), (2, 1, "partial"));
    assert_eq!((lifted.lists["lifted"].len(), &*lifted.problems.kept()[0].what), (1, "is gone"));
    let asked: Vec<String> = engine.asked.lock().unwrap().iter().map(|(what, _)| what.clone()).collect();
    assert_eq!(asked[..4], ["scrub Some(77)", "scrub Some(5)", "test v", "repair index"]);
    assert!(dir.path().join("restore-tests").is_dir(), "the scratch folder is made");
    let metrics = coordinator.metrics().await;
    for line in ["scrub_packs_total 6", "scrub_unverified_packs 2", "restore_tests_total 1"] {
        assert!(metrics.contains(&format!("holdfast_coordinator_{line}")), "{line} in {metrics}");
    }
    coordinator.stop().await;
}
