//! What clients and monitors read.

use std::sync::Arc;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use proto::convert::error_from_status;
use proto::v1;
use repository::ErrorKind;
use repository::env::Timestamp;
use tokio_stream::StreamExt as _;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

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
    let (all, damaged) = client.snapshots("").await.unwrap();
    assert_eq!((all.len(), damaged), (1, 1));
    assert!(client.snapshots("x").await.unwrap().0.is_empty());
    let request = v1::VerifyRequest { snapshot: spec("latest"), quick: true };
    let updates: Vec<_> = client.0.verify(request).await.unwrap().into_inner().collect().await;
    let last = updates.into_iter().next_back().unwrap().unwrap();
    assert_eq!(last.report.unwrap().kept[0].path, "p/x");
    assert_eq!(client.0.stats(v1::StatsRequest {}).await.unwrap().into_inner().snapshots, 4);
}

#[tokio::test]
async fn health_and_metrics() {
    let (_dir, coordinator, _client) = start(0).await;
    assert!(coordinator.get("/healthz").await.starts_with("HTTP/1.1 200"));
    eventually("ready", async || coordinator.get("/readyz").await.starts_with("HTTP/1.1 200").then_some(()))
        .await;
    let metrics = coordinator.metrics().await;
    assert!(metrics.contains("holdfast_coordinator_snapshots 1"), "{metrics}");
    assert!(metrics.contains("holdfast_coordinator_jobs{state=\"queued\"} 0"), "{metrics}");
    let channel = tonic::transport::Endpoint::from_shared(coordinator.target().url).unwrap().connect_lazy();
    let request = tonic_health::pb::HealthCheckRequest { service: "holdfast.v1.Holdfast".into() };
    assert_eq!(HealthClient::new(channel).check(request).await.unwrap().into_inner().status, 1);
    // A stop is told to who watches, before the streams end.
    let channel = tonic::transport::Endpoint::from_shared(coordinator.target().url).unwrap().connect_lazy();
    let request = tonic_health::pb::HealthCheckRequest { service: "holdfast.v1.Agents".into() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    coordinator.begin_stop();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2);
}

#[tokio::test]
async fn reflection_serves_the_descriptors_of_all_services() {
    let (_dir, coordinator, _client) = start(0).await;
    let channel = tonic::transport::Endpoint::from_shared(coordinator.target().url).unwrap().connect_lazy();
    let ask = async |request| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut client = ServerReflectionClient::new(channel.clone());
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        answers.into_inner().next().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list");
    };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["holdfast.v1.Agents", "holdfast.v1.Holdfast", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("holdfast.v1.Holdfast.RunBackup".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("no file") };
    let file = FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
    let services: Vec<_> = file.service.iter().map(|s| s.name()).collect();
    assert_eq!((file.package(), services), ("holdfast.v1", vec!["Holdfast"]));
}
