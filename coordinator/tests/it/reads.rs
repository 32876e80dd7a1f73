//! What clients and monitors read.

use std::sync::Arc;

use proto::convert::error_from_status;
use proto::v1;
use repository::ErrorKind;
use repository::env::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tonic_health::pb::health_client::HealthClient;

use crate::fakes::{FakeEngine, snapshot};
use crate::harness::{Client, Coordinator, coordinator_config, eventually};

async fn start(entries: usize) -> (tempfile::TempDir, Coordinator, Client) {
    let dir = tempfile::tempdir().unwrap();
    let engine = FakeEngine { entries, ..FakeEngine::default() };
    engine.snapshots.lock().unwrap().push(snapshot(3, "v", Timestamp(5)));
    let coordinator = Coordinator::start(coordinator_config(dir.path()), Arc::new(engine)).await;
    let client = coordinator.client();
    (dir, coordinator, client)
}

fn spec(text: &str) -> Option<v1::SnapshotSpec> {
    Some(v1::SnapshotSpec { spec: text.into(), volume: String::new() })
}

#[tokio::test]
async fn listings_come_whole_in_bounded_messages() {
    let (_dir, _coordinator, mut client) = start(1000).await;
    let request = v1::ListEntriesRequest { snapshot: spec("latest"), ..Default::default() };
    let mut stream = client.0.list_entries(request).await.unwrap().into_inner();
    let (mut entries, mut messages) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        entries.extend(batch.unwrap().entries);
        messages += 1;
    }
    assert!(messages >= 4, "{messages}");
    let expected: Vec<_> = (0..1000).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(entries.iter().map(|e| e.path.to_vec()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn errors_keep_their_kind_also_in_the_middle_of_a_stream() {
    let (_dir, _coordinator, mut client) = start(0).await;
    let request = v1::CatRequest { snapshot: spec("latest"), path: "f".into() };
    let mut stream = client.0.cat(request).await.unwrap().into_inner();
    let mut bytes = 0;
    let e = loop {
        match stream.next().await.unwrap() {
            Ok(data) => bytes += data.data.len(),
            Err(status) => break error_from_status(&status),
        }
    };
    assert_eq!((bytes, e.kind()), (3 << 20, ErrorKind::Damaged));
    let request = v1::FindEntriesRequest { snapshot: spec("latest"), patterns: vec!["[".into()] };
    let e = error_from_status(&client.0.find_entries(request).await.unwrap_err());
    assert_eq!(e.kind(), ErrorKind::Input);
    let e = client.0.get_snapshot(v1::GetSnapshotRequest { snapshot: spec("zz") }).await.unwrap_err();
    assert_eq!(error_from_status(&e).kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn snapshots_verification_and_figures() {
    let (_dir, _coordinator, mut client) = start(0).await;
    let all = client.0.list_snapshots(v1::ListSnapshotsRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.snapshots.len(), all.damaged.len()), (1, 1));
    let none =
        client.0.list_snapshots(v1::ListSnapshotsRequest { volume: "x".into() }).await.unwrap().into_inner();
    assert!(none.snapshots.is_empty());
    let request = v1::VerifyRequest { snapshot: spec("latest"), quick: true };
    let updates: Vec<_> = client.0.verify(request).await.unwrap().into_inner().collect().await;
    let last = updates.into_iter().next_back().unwrap().unwrap();
    assert_eq!(last.report.unwrap().kept[0].path, "p/x");
    assert_eq!(client.0.stats(v1::StatsRequest {}).await.unwrap().into_inner().snapshots, 4);
}

async fn get(coordinator: &Coordinator, path: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(coordinator.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_and_metrics() {
    let (_dir, coordinator, _client) = start(0).await;
    assert!(get(&coordinator, "/healthz").await.starts_with("HTTP/1.1 200"));
    eventually("ready", async || {
        get(&coordinator, "/readyz").await.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    let metrics = get(&coordinator, "/metrics").await;
    assert!(metrics.contains("holdfast_coordinator_snapshots 1"), "{metrics}");
    assert!(metrics.contains("holdfast_coordinator_jobs{state=\"queued\"} 0"), "{metrics}");
    let channel = tonic::transport::Endpoint::from_shared(coordinator.target().url).unwrap().connect_lazy();
    let request = tonic_health::pb::HealthCheckRequest { service: "holdfast.v1.Holdfast".into() };
    assert_eq!(HealthClient::new(channel).check(request).await.unwrap().into_inner().status, 1);
}
