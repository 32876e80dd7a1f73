//! Everything that comes from outside: each call with each kind of nonsense gets `InvalidArgument` and the field's name.

use std::sync::Arc;

use proto::convert::{PATTERNS_MAX, RUNS_LISTED_MAX, TAGS_MAX, VOLUME_BYTES_MAX, VOLUMES_MAX};
use proto::v1;
use proto::v1::agent_message::Message;
use proto::v1::agents_client::AgentsClient;
use repository::env::Timestamp;
use tonic::{Code, Status};

use crate::fakes::{FakeEngine, snapshot};
use crate::harness::{Client, Coordinator, coordinator_config};
use crate::raw::{RawAgent, hello};

async fn start() -> (tempfile::TempDir, Coordinator, Client) {
    let dir = tempfile::tempdir().unwrap();
    let engine = FakeEngine::default();
    engine.snapshots.lock().unwrap().push(snapshot(3, "v", Timestamp(5)));
    let coordinator = Coordinator::start(coordinator_config(dir.path()), Arc::new(engine)).await;
    let client = coordinator.client();
    (dir, coordinator, client)
}

#[track_caller]
fn refused<T>(answer: Result<T, Status>, field: &str) {
    let status = answer.err().unwrap_or_else(|| panic!("{field}: accepted"));
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
    let said = format!("message field {field}: ");
    assert!(status.message().starts_with(&said), "{said:?} is not in {:?}", status.message());
}

fn spec(text: &str) -> Option<v1::SnapshotSpec> {
    Some(v1::SnapshotSpec { spec: text.into(), volume: String::new() })
}

/// Snapshot specs that no call takes, and the field.
fn specs(field: &str) -> Vec<(Option<v1::SnapshotSpec>, String)> {
    let odd_volume = v1::SnapshotSpec { spec: "latest".into(), volume: "a\0".into() };
    vec![
        (None, field.to_owned()),
        (spec(""), format!("{field}.spec")),
        (spec("a\nb"), format!("{field}.spec")),
        (spec(&"a".repeat(1000)), format!("{field}.spec")),
        (Some(odd_volume), format!("{field}.volume")),
    ]
}

/// Paths inside a volume that no call takes.
fn paths() -> Vec<Vec<u8>> {
    vec![b"a\0b".to_vec(), b"../a".to_vec(), b"a/./b".to_vec(), b"/..".to_vec(), vec![b'a'; 70_000]]
}

fn pattern_lists() -> [Vec<String>; 4] {
    let one = |p: String| vec![p];
    [vec!["x".into(); PATTERNS_MAX + 1], one(String::new()), one("a\0".into()), one("x".repeat(5000))]
}

#[tokio::test]
async fn calls_that_begin_runs() {
    let (_dir, _coordinator, Client(mut c)) = start().await;
    let good = v1::RunBackupRequest { volume: "v".into(), ..Default::default() };
    for volume in [String::new(), "a\0b".into(), "a\nb".into(), "v".repeat(VOLUME_BYTES_MAX + 1)] {
        refused(c.run_backup(v1::RunBackupRequest { volume, ..good.clone() }).await, "volume");
    }
    for tags in
        [vec!["t".to_owned(); TAGS_MAX + 1], vec![String::new()], vec!["x".repeat(300)], vec!["\u{7}".into()]]
    {
        refused(c.run_backup(v1::RunBackupRequest { tags, ..good.clone() }).await, "tags");
    }
    let good = v1::RestoreRequest { snapshot: spec("latest"), target: "/r".into(), ..Default::default() };
    for (snapshot, field) in specs("snapshot") {
        refused(c.restore(v1::RestoreRequest { snapshot, ..good.clone() }).await, &field);
    }
    for path in paths() {
        refused(c.restore(v1::RestoreRequest { path: path.into(), ..good.clone() }).await, "path");
    }
    for patterns in pattern_lists() {
        refused(c.restore(v1::RestoreRequest { patterns, ..good.clone() }).await, "patterns");
    }
    for target in ["", "relative", "/a/../b", "/a\0b", &format!("/{}", "a".repeat(5000))] {
        let target = target.as_bytes().to_vec().into();
        refused(c.restore(v1::RestoreRequest { target, ..good.clone() }).await, "target");
    }
    for existing in [5, -1, i32::MAX] {
        refused(c.restore(v1::RestoreRequest { existing, ..good.clone() }).await, "existing");
    }
    for agent_id in ["a\0".to_owned(), "a".repeat(254)] {
        refused(c.restore(v1::RestoreRequest { agent_id, ..good.clone() }).await, "agent_id");
    }
}

#[tokio::test]
async fn calls_about_runs_and_lists() {
    let (_dir, _coordinator, Client(mut c)) = start().await;
    for run_id in [vec![], vec![1; 15], vec![1; 17], vec![0; 100_000]] {
        let run_id: bytes::Bytes = run_id.into();
        refused(c.watch_run(v1::WatchRunRequest { run_id: run_id.clone() }).await, "run_id");
        refused(c.cancel_run(v1::CancelRunRequest { run_id }).await, "run_id");
    }
    for limit in [RUNS_LISTED_MAX + 1, u32::MAX] {
        refused(c.list_runs(v1::ListRunsRequest { limit, ..Default::default() }).await, "limit");
    }
    for volume in ["a\0b".to_owned(), "v".repeat(VOLUME_BYTES_MAX + 1)] {
        let runs = v1::ListRunsRequest { volume: volume.clone(), limit: 0 };
        refused(c.list_runs(runs).await, "volume");
        refused(c.list_snapshots(v1::ListSnapshotsRequest { volume }).await, "volume");
    }
    // Nothing in a request may be larger than a request.
    let volume = "v".repeat(2 << 20);
    let status = c.list_snapshots(v1::ListSnapshotsRequest { volume }).await.err().unwrap();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}

#[tokio::test]
async fn calls_about_snapshots() {
    let (_dir, _coordinator, Client(mut c)) = start().await;
    for (snapshot, field) in specs("snapshot") {
        let s = || snapshot.clone();
        refused(c.get_snapshot(v1::GetSnapshotRequest { snapshot: s() }).await, &field);
        refused(c.verify(v1::VerifyRequest { snapshot: s(), quick: true }).await, &field);
        refused(c.list_entries(v1::ListEntriesRequest { snapshot: s(), ..Default::default() }).await, &field);
        refused(c.cat(v1::CatRequest { snapshot: s(), path: "a".into() }).await, &field);
        let find = v1::FindEntriesRequest { snapshot: s(), patterns: vec!["x".into()] };
        refused(c.find_entries(find).await, &field);
    }
    for (older, field) in specs("older") {
        refused(c.diff(v1::DiffRequest { older, newer: spec("latest") }).await, &field);
    }
    for (newer, field) in specs("newer") {
        refused(c.diff(v1::DiffRequest { older: spec("latest"), newer }).await, &field);
    }
    for path in paths() {
        let (snapshot, path) = (spec("latest"), bytes::Bytes::from(path));
        let list = v1::ListEntriesRequest { snapshot: snapshot.clone(), path: path.clone(), recursive: true };
        refused(c.list_entries(list).await, "path");
        refused(c.cat(v1::CatRequest { snapshot, path }).await, "path");
    }
    refused(c.cat(v1::CatRequest { snapshot: spec("latest"), ..Default::default() }).await, "path");
    for patterns in pattern_lists().into_iter().chain([vec![]]) {
        let find = v1::FindEntriesRequest { snapshot: spec("latest"), patterns };
        refused(c.find_entries(find).await, "patterns");
    }
}

#[tokio::test]
async fn lookups() {
    let (_dir, coordinator, _client) = start().await;
    let mut agents = AgentsClient::new(coordinator.target().connect().unwrap());
    for bytes in [1, 31, 33, 32 * 4096 + 32, 1 << 20] {
        refused(agents.lookup(v1::LookupRequest { ids: vec![0; bytes].into() }).await, "ids");
    }
    let none = agents.lookup(v1::LookupRequest::default()).await.unwrap().into_inner();
    assert_eq!(none, v1::LookupResponse::default());
}

#[tokio::test]
async fn hellos() {
    let (_dir, coordinator, _client) = start().await;
    let say = async |hello: v1::Hello| {
        RawAgent::attach(&coordinator.target(), Message::Hello(hello)).await.map(drop)
    };
    let volume = |name: &str, host: &str, path: &'static [u8]| v1::Volume {
        name: name.into(),
        host: host.into(),
        path: path.into(),
    };
    for agent_id in [String::new(), "a\nb".into(), "a\0".into(), "a".repeat(254)] {
        refused(say(v1::Hello { agent_id, ..hello("a") }).await, "agent_id");
    }
    refused(say(v1::Hello { host: "h".repeat(254), ..hello("a") }).await, "host");
    refused(say(v1::Hello { version: "1".repeat(65), ..hello("a") }).await, "version");
    for jobs_max in [0, 1025, u32::MAX] {
        refused(say(v1::Hello { jobs_max, ..hello("a") }).await, "jobs_max");
    }
    for (bad, field) in [
        (volume("", "h", b"/d"), "volumes.name"),
        (volume("a\0", "h", b"/d"), "volumes.name"),
        (volume("v", "h\0", b"/d"), "volumes.host"),
        (volume("v", "h", b"d"), "volumes.path"),
        (volume("v", "h", b"/d/../e"), "volumes.path"),
        (volume("v", "h", b"/d\0"), "volumes.path"),
    ] {
        refused(say(v1::Hello { volumes: vec![bad], ..hello("a") }).await, field);
    }
    let many = vec![volume("v", "h", b"/d"); VOLUMES_MAX + 1];
    refused(say(v1::Hello { volumes: many, ..hello("a") }).await, "volumes");
    for root in ["", "r", "/r/..", "/r\0"] {
        refused(say(v1::Hello { restore_roots: vec![root.into()], ..hello("a") }).await, "restore_roots");
    }
    let id = |n: usize| bytes::Bytes::from(vec![1; n]);
    let backup = v1::job::Spec::Backup(v1::BackupJob { volume: "v".into(), ..Default::default() });
    let restore = |existing| {
        let (snapshot, target) = (id(16), "/restore/x".into());
        v1::job::Spec::Restore(v1::RestoreJob { snapshot, target, existing, ..Default::default() })
    };
    for (job, field) in [
        (v1::Job { id: id(15), spec: Some(backup) }, "job id"),
        (v1::Job { id: id(16), spec: None }, "spec"),
        (v1::Job { id: id(16), spec: Some(restore(99)) }, "restore.existing"),
        (
            v1::Job { id: id(16), spec: Some(v1::job::Spec::Backup(v1::BackupJob::default())) },
            "backup.volume",
        ),
    ] {
        refused(say(v1::Hello { jobs: vec![job], ..hello("a") }).await, field);
    }
    let first = RawAgent::attach(&coordinator.target(), Message::Heartbeat(v1::Heartbeat {})).await;
    assert_eq!(first.err().unwrap().code(), Code::InvalidArgument);
    say(hello("a")).await.unwrap();
}

/// In the middle of a stream there is nobody to answer: the connection ends, and says why.
#[tokio::test]
async fn messages_of_agents() {
    let (_dir, coordinator, _client) = start().await;
    let id = |n: usize| bytes::Bytes::from(vec![1; n]);
    for (message, field) in [
        (Message::Accept(v1::Accept { job_id: id(3) }), "job id"),
        (Message::Decline(v1::Decline { job_id: id(0), reason: "x".repeat(100_000) }), "job id"),
        (Message::Progress(v1::Progress { job_id: id(17), figures: None }), "job id"),
        (Message::Finished(v1::Finished { job_id: id(16), result: None }), "result"),
        (Message::Hello(hello("a")), "hello"),
    ] {
        let mut agent = RawAgent::attach(&coordinator.target(), Message::Hello(hello("a"))).await.unwrap();
        agent.say(message).await;
        let status = agent.end().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert!(status.message().contains(field), "{field}: {status}");
    }
    // Figures may be any numbers, of any run.
    let mut agent = RawAgent::attach(&coordinator.target(), Message::Hello(hello("a"))).await.unwrap();
    let figures = Some(v1::Figures { bytes_total: u64::MAX, entries: u64::MAX, ..Default::default() });
    agent.say(Message::Progress(v1::Progress { job_id: id(16), figures })).await;
    agent
        .say(Message::Finished(v1::Finished { job_id: id(16), result: Some(v1::JobResult::default()) }))
        .await;
    assert!(agent.hear().await.is_some(), "the agent was cut off");
}
