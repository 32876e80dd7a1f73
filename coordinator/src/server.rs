//! Starts the coordinator, and stops it gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use proto::v1::agents_server::AgentsServer;
use proto::v1::holdfast_server::HoldfastServer;
use proto::v1::maintenance_server::MaintenanceServer;
use proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use repository::env::Env;
use rustls::ServerConfig;
use service::http::{Http, Pages};
use service::listen::Listener;
use service::main_task::MainTask;
use service::reload::{Follow, Reloads, Watched, follow as follow_files};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::config::Config;
use crate::core::Core;
use crate::engine::{Engine, RepositoryEngine};
use crate::gate::Gate;
use crate::limits::{
    CONNECTIONS_MAX, KEEPALIVE_SECONDS, REQUEST_BYTES_MAX, REQUEST_SECONDS, STOP_SECONDS,
    STREAMS_PER_CONNECTION_MAX,
};
use crate::metrics::Metrics;
use crate::service::agents::AgentService;
use crate::service::client::ClientService;
use crate::service::maintenance::MaintenanceService;

/// A coordinator that is running.
#[derive(Debug)]
pub struct Started {
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves metrics and health.
    pub http: Option<SocketAddr>,
    main: MainTask,
}

impl Started {
    /// Waits for its end: after the shutdown, or when it fails.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.main.wait().await
    }
}

/// Opens the repository and runs until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (env, metrics) = (Env::system(), Metrics::default());
    let engine = RepositoryEngine::open(&config, metrics.store.clone(), &env).await?;
    start(config, Arc::new(engine), metrics, env, shutdown).await?.wait().await
}

/// Binds the listeners and begins. Port 0 takes a free one.
pub async fn start(
    config: Config,
    engine: Arc<dyn Engine>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    service::tls::install_provider();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    if let Some(folder) = config.database.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("create state folder {}", folder.display()))?;
    }
    let secrets = Secrets::open(&config, &metrics.reloads)?;
    let core = Arc::new(Core::open(&config, engine, env, metrics)?);
    let listener = Listener::bind(config.listen, CONNECTIONS_MAX).await;
    let listener = listener.with_context(|| format!("listen on {}", config.listen))?;
    let grpc = listener.local_addr().context("address of the gRPC listener")?;
    let http_server = Http::bind(config.http_listen).await?;
    let http = http_server.local_addr()?;
    tracing::info!(%grpc, tls = config.tls.is_some(), tokens = config.tokens.len(), "coordinator listens");
    let ready_core = core.clone();
    let pages = Pages { registry: Arc::new(registry), ready: Arc::new(move || ready_core.ready()) };
    let follow = secrets.follow();
    let serving = serve(core.clone(), secrets, listener, shutdown.clone())?;
    let main = async move {
        let every = Duration::from_secs(config.refresh_seconds);
        // If one server fails the rest stops, too.
        let serving = async { serving.await.inspect_err(|_| shutdown.cancel()) };
        let (served, http, (), (), (), ()) = tokio::join!(
            serving,
            http_server.serve(pages, &shutdown),
            core.keep_going(&shutdown),
            core.keep_maintaining(&shutdown),
            core.keep_fresh(every, &shutdown),
            follow_files(follow, &shutdown),
        );
        tracing::info!("coordinator stopped");
        served.and(http)
    };
    Ok(Started { grpc, http, main: MainTask::spawn("coordinator", main) })
}

/// What is made of files, and follows them.
struct Secrets {
    gate: Gate,
    tls: Option<Watched<ServerConfig>>,
}

impl Secrets {
    fn open(config: &Config, reloads: &Reloads) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(|files| files.watch(reloads)).transpose();
        let tls = tls.context("TLS of the gRPC listener")?;
        Ok(Self { gate: Gate::new(&config.tokens, reloads)?, tls })
    }

    fn follow(&self) -> Vec<Arc<dyn Follow>> {
        let tls = self.tls.clone().map(|w| Arc::new(w) as Arc<dyn Follow>);
        let tokens = self.gate.tokens().cloned().map(|w| Arc::new(w) as Arc<dyn Follow>);
        tls.into_iter().chain(tokens).collect()
    }
}

fn serve(
    core: Arc<Core>,
    secrets: Secrets,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let tasks = TaskTracker::new();
    let agents = AgentService { core: core.clone(), tasks: tasks.clone(), shutdown: shutdown.clone() };
    let agents = AgentsServer::new(agents).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let clients = ClientService::new(core.clone(), tasks.clone(), shutdown.clone());
    let maintenance = MaintenanceServer::new(MaintenanceService(clients.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let clients = HoldfastServer::new(clients).max_decoding_message_size(REQUEST_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let keepalive = Some(Duration::from_secs(KEEPALIVE_SECONDS));
    let router = Server::builder()
        .timeout(Duration::from_secs(REQUEST_SECONDS))
        .http2_keepalive_interval(keepalive)
        .http2_keepalive_timeout(keepalive)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .layer(secrets.gate)
        .add_service(health)
        .add_service(reflection().build_v1().context("reflection")?)
        .add_service(reflection().build_v1alpha().context("reflection")?)
        .add_service(agents)
        .add_service(maintenance)
        .add_service(clients);
    let incoming = listener.connections(secrets.tls);
    Ok(async move {
        reporter.set_serving::<AgentsServer<AgentService>>().await;
        reporter.set_serving::<HoldfastServer<ClientService>>().await;
        reporter.set_serving::<MaintenanceServer<MaintenanceService>>().await;
        let stop = shutdown.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, async move {
            stop.cancelled().await;
            reporter.set_not_serving::<AgentsServer<AgentService>>().await;
            reporter.set_not_serving::<HoldfastServer<ClientService>>().await;
            reporter.set_not_serving::<MaintenanceServer<MaintenanceService>>().await;
            // Agents and clients learn it by the end of their streams, and come back later.
            core.hub.clear();
        });
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(Duration::from_secs(STOP_SECONDS)).await;
        };
        tokio::select! {
            served = serving => served.context("serve gRPC")?,
            () = deadline => tracing::warn!("open calls were cut off at the stop"),
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    })
}
