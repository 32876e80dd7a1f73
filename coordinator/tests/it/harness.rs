//! Starts and stops coordinators and agents, and waits for what should happen.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coordinator::engine::Engine;
use coordinator::maintenance::{Maintenance, Timing};
use futures::TryStreamExt as _;
use proto::convert;
use proto::job::JobId;
use proto::v1;
use proto::v1::holdfast_client::HoldfastClient;
use repository::env::Env;
use repository::ids::DomainName;
use repository::source::Rules;
use service::client::{Connection, Target};
use service::repo::{KeyFrom, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::fakes::{FakeEngine, FakeExecutor};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `look` gives something, and fails with `what` if it never does.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

fn settings() -> Settings {
    Settings {
        url: "memory:".into(),
        domain: DomainName::default_domain(),
        key: KeyFrom::KeyFile(PathBuf::from("/none")),
        cache_dir: None,
        cpu_threads: 1,
    }
}

/// Nothing runs by itself.
fn quiet(dir: &Path) -> Maintenance {
    let mut all = Maintenance::embedded(dir);
    all.forget = Timing::never();
    all.gc.timing = Timing::never();
    all.scrub.timing = Timing::never();
    all.restore_test.timing = Timing::never();
    all
}

pub(crate) fn coordinator_config(dir: &Path) -> coordinator::Config {
    let domain = coordinator::config::Domain {
        repository: settings(),
        credentials_file: None,
        database: dir.join("coordinator/coordinator.db"),
        rules: Vec::new(),
        maintenance: quiet(dir),
    };
    coordinator::Config {
        domains: vec![domain],
        listed: false,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        http_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        tls: None,
        tokens: Vec::new(),
        certificates: Vec::new(),
        refresh_seconds: 3600,
        lost_seconds: 3600,
        heartbeat_seconds: 1,
    }
}

/// What HTTP answers, head and all.
pub(crate) async fn get(http: SocketAddr, path: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A coordinator that a test can stop.
pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) config: coordinator::Config,
    engine: Arc<dyn Engine>,
    started: coordinator::Started,
    shutdown: CancellationToken,
}

impl Coordinator {
    pub(crate) async fn start(config: coordinator::Config, engine: Arc<dyn Engine>) -> Self {
        let shutdown = CancellationToken::new();
        let (metrics, env) = (coordinator::metrics::Metrics::default(), Env::system());
        let started =
            coordinator::start(config.clone(), engine.clone(), metrics, env, shutdown.clone()).await.unwrap();
        let (address, http) = (started.grpc, started.http.unwrap());
        Self { address, http, config, engine, started, shutdown }
    }

    /// Stops gracefully. The configuration to start again at the same address.
    pub(crate) async fn stop(self) -> (coordinator::Config, Arc<dyn Engine>) {
        self.shutdown.cancel();
        self.started.wait().await.unwrap();
        (coordinator::Config { listen: self.address, ..self.config }, self.engine)
    }

    /// Asks for a stop without waiting for it.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// What HTTP answers, head and all.
    pub(crate) async fn get(&self, path: &str) -> String {
        get(self.http, path).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    pub(crate) fn target(&self) -> Target {
        Target { url: format!("http://{}", self.address), ..Target::default() }
    }

    pub(crate) fn client(&self) -> Client {
        Client(HoldfastClient::new(self.target().connect().unwrap()))
    }
}

pub(crate) fn agent_config(dir: &Path, coordinator: Target, volumes: &[&str]) -> agent::Config {
    let volume = |name: &&str| agent::config::Volume {
        name: (*name).to_owned(),
        path: PathBuf::from("/data"),
        rules: Rules::default(),
    };
    let domain = agent::config::Domain {
        repository: settings(),
        credentials_file: None,
        reuse: Default::default(),
        volumes: volumes.iter().map(volume).collect(),
        restore_roots: vec![PathBuf::from("/restore")],
    };
    agent::Config {
        domains: vec![domain],
        listed: false,
        coordinator,
        http_listen: None,
        agent_id: "agent-1".into(),
        host: "host-1".into(),
        state_dir: dir.join("agent"),
        memory_bytes_max: 64 << 20,
        jobs_max: 1,
        zstd_level: 2,
        reread_days: 0,
        readers: 0,
        reconnect_seconds_max: 1,
    }
}

/// An agent that a test can stop.
pub(crate) struct Agent {
    pub(crate) executor: Arc<FakeExecutor>,
    pub(crate) started: agent::Started,
    pub(crate) metrics: agent::metrics::Metrics,
    shutdown: CancellationToken,
}

impl Agent {
    pub(crate) async fn start(config: agent::Config) -> Self {
        let (executor, shutdown) = (Arc::new(FakeExecutor::default()), CancellationToken::new());
        let metrics = agent::metrics::Metrics::default();
        let dialer = config.coordinator.open(&metrics.reloads).unwrap();
        let started =
            agent::start(config, dialer, executor.clone(), metrics.clone(), Env::system(), shutdown.clone());
        Self { executor, started: started.await.unwrap(), metrics, shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.started.wait().await.unwrap();
    }

    pub(crate) async fn wait_begun(&self, what: &str, times: usize) {
        eventually(&format!("{what} begun {times} times"), async || {
            (self.executor.begun(what) == times).then_some(())
        })
        .await;
    }
}

/// A client with the calls that tests make often.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) HoldfastClient<Connection>);

/// All messages of a list.
async fn whole<T>(answer: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Result<Vec<T>, Status> {
    answer?.into_inner().try_collect().await
}

impl Client {
    pub(crate) async fn agents(&self) -> Result<Vec<v1::Agent>, Status> {
        let all = whole(self.0.clone().list_agents(v1::ListAgentsRequest {}).await).await?;
        Ok(all.into_iter().flat_map(|m| m.agents).collect())
    }

    pub(crate) async fn volumes(&self) -> Result<Vec<v1::VolumeStatus>, Status> {
        let all = whole(self.0.clone().list_volumes(v1::ListVolumesRequest {}).await).await?;
        Ok(all.into_iter().flat_map(|m| m.volumes).collect())
    }

    pub(crate) async fn runs(&self) -> Result<Vec<v1::Run>, Status> {
        let all = whole(self.0.clone().list_runs(v1::ListRunsRequest::default()).await).await?;
        Ok(all.into_iter().flat_map(|m| m.runs).collect())
    }

    /// Snapshots, and how many outcomes are damaged.
    pub(crate) async fn snapshots(&self, volume: &str) -> Result<(Vec<v1::Snapshot>, usize), Status> {
        let request = v1::ListSnapshotsRequest { volume: volume.into() };
        let all = whole(self.0.clone().list_snapshots(request).await).await?;
        let damaged = all.iter().map(|m| m.damaged.len()).sum();
        Ok((all.into_iter().flat_map(|m| m.snapshots).collect(), damaged))
    }

    pub(crate) async fn wait_agent(&self, connected: bool) {
        eventually("agent comes or goes", async || {
            let agents = self.agents().await.ok()?;
            agents.iter().any(|a| a.id == "agent-1" && a.connected == connected).then_some(())
        })
        .await;
    }

    pub(crate) async fn backup(&self, volume: &str) -> JobId {
        let request = v1::RunBackupRequest { volume: volume.into(), ..Default::default() };
        let started = self.0.clone().run_backup(request).await.unwrap().into_inner();
        convert::job_id_from_wire(&started.run_id).unwrap()
    }

    pub(crate) async fn find_run(&self, id: JobId) -> Option<v1::Run> {
        let runs = self.runs().await.ok()?;
        runs.into_iter().find(|r| r.job.as_ref().is_some_and(|j| j.id[..] == id.0))
    }

    pub(crate) async fn wait_state(&self, id: JobId, state: v1::RunState) -> v1::Run {
        eventually(&format!("run becomes {state:?}"), async || {
            self.find_run(id).await.filter(|r| r.state() == state)
        })
        .await
    }

    pub(crate) async fn cancel(&self, id: JobId) -> v1::Run {
        let request = v1::CancelRunRequest { run_id: id.0.to_vec().into() };
        self.0.clone().cancel_run(request).await.unwrap().into_inner()
    }
}

/// A coordinator with one agent of one volume, connected.
pub(crate) struct Pair {
    pub(crate) dir: TempDir,
    pub(crate) coordinator: Coordinator,
    pub(crate) agent: Agent,
    pub(crate) client: Client,
}

pub(crate) async fn pair() -> Pair {
    let dir = tempfile::tempdir().unwrap();
    let coordinator =
        Coordinator::start(coordinator_config(dir.path()), Arc::new(FakeEngine::default())).await;
    let agent = Agent::start(agent_config(dir.path(), coordinator.target(), &["v", "w"])).await;
    let client = coordinator.client();
    client.wait_agent(true).await;
    Pair { dir, coordinator, agent, client }
}
