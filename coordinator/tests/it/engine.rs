//! The real engine behind both servers: a volume goes into a folder store and comes back.

use std::path::Path;
use std::sync::Arc;

use agent::executor::RepositoryExecutor;
use coordinator::engine::RepositoryEngine;
use proto::convert;
use proto::v1;
use proto::v1::RunState;
use repository::env::Env;
use repository::ids::DomainName;
use repository::keys::Credential;
use repository::ops::init::{InitOptions, init};
use repository::store::{Counts, StoreOptions};
use service::repo::{KeyFrom, Settings};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::harness::{Client, Coordinator, agent_config, coordinator_config};

async fn create_repository(dir: &Path, env: &Env) -> Settings {
    let url = format!("file://{}", dir.join("store").display());
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    let store = repository::store::open(&url, &options, env).await.unwrap();
    let key = dir.join("key");
    let credentials = vec![Credential::create_key_file(&key, env).unwrap()];
    let domain = DomainName::default_domain();
    init(store, InitOptions { domain: domain.clone(), credentials }, env).await.unwrap();
    let cache_dir = Some(dir.join("cache"));
    Settings { url, domain, key: KeyFrom::KeyFile(key), cache_dir, cpu_threads: 1 }
}

fn latest() -> Option<v1::SnapshotSpec> {
    Some(v1::SnapshotSpec { spec: "latest".into(), volume: String::new() })
}

async fn wait_done(client: &Client, started: v1::RunStarted) -> v1::JobResult {
    let id = convert::job_id_from_wire(&started.run_id).unwrap();
    let request = v1::WatchRunRequest { run_id: started.run_id };
    let all: Vec<_> = client.0.clone().watch_run(request).await.unwrap().into_inner().collect().await;
    let last = all.into_iter().next_back().unwrap().unwrap();
    assert_eq!(last.state(), RunState::Done, "{id}: {:?}", last.result);
    last.result.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_in_and_comes_back() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::system());
    let repository = create_repository(dir.path(), &env).await;
    let volume = dir.path().join("volume");
    std::fs::create_dir_all(volume.join("sub")).unwrap();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(volume.join("sub/file"), &content).unwrap();
    std::fs::write(volume.join("note"), "hello").unwrap();

    let mut config = coordinator_config(dir.path());
    config.domains[0].repository = repository.clone();
    let engine = RepositoryEngine::open(&repository, 60, Arc::new(Counts::default()), &env).await.unwrap();
    let coordinator = Coordinator::start(config, Arc::new(engine)).await;
    let client = coordinator.client();
    let mut config = agent_config(dir.path(), coordinator.target(), &["v"]);
    config.domains[0].repository = repository;
    config.domains[0].volumes[0].path = volume.clone();
    config.domains[0].restore_roots = vec![dir.path().join("restored")];
    let (metrics, shutdown) = (agent::metrics::Metrics::default(), CancellationToken::new());
    let dialer = config.coordinator.open(&metrics.reloads).unwrap();
    let executor = RepositoryExecutor::open((&config, &config.domains[0]), dialer.clone(), &metrics, &env)
        .await
        .unwrap();
    let agent = agent::start(config, dialer, Arc::new(executor), metrics, env, shutdown.clone());
    let agent = agent.await.unwrap();
    client.wait_agent(true).await;

    let request = v1::RunBackupRequest { volume: "v".into(), ..Default::default() };
    let started = client.0.clone().run_backup(request).await.unwrap().into_inner();
    let result = wait_done(&client, started).await;
    assert_eq!(result.problems.unwrap().count, 0);
    assert_eq!(result.snapshot.unwrap().files, 2);
    let (listed, damaged) = client.snapshots("").await.unwrap();
    assert_eq!((listed.len(), damaged), (1, 0));

    let request = v1::CatRequest { snapshot: latest(), path: "sub/file".into() };
    let mut data = Vec::new();
    let mut stream = client.0.clone().cat(request).await.unwrap().into_inner();
    while let Some(piece) = stream.next().await {
        data.extend_from_slice(&piece.unwrap().data);
    }
    assert!(data == content, "cat gave {} bytes", data.len());

    let request = v1::VerifyRequest { snapshot: latest(), quick: false };
    let updates: Vec<_> = client.0.clone().verify(request).await.unwrap().into_inner().collect().await;
    assert_eq!(updates.into_iter().next_back().unwrap().unwrap().report.unwrap().count, 0);

    let root = dir.path().join("restored");
    std::fs::create_dir(&root).unwrap();
    let target = root.join("v").into_os_string().into_encoded_bytes().into();
    let request = v1::RestoreRequest { snapshot: latest(), target, ..Default::default() };
    let started = client.0.clone().restore(request).await.unwrap().into_inner();
    wait_done(&client, started).await;
    assert!(std::fs::read(root.join("v/sub/file")).unwrap() == content);
    assert_eq!(std::fs::read(root.join("v/note")).unwrap(), b"hello");

    shutdown.cancel();
    agent.wait().await.unwrap();
    coordinator.stop().await;
}
