//! Starts the coordinator, and stops it gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use proto::v1::agents_server::AgentsServer;
use proto::v1::holdfast_server::HoldfastServer;
use proto::v1::maintenance_server::MaintenanceServer;
use proto::v1::nodes_server::NodesServer;
use proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use repository::env::Env;
use rustls::ServerConfig;
use service::http::{Http, Pages, Registries};
use service::listen::Listener;
use service::main_task::MainTask;
use service::reload::{Follow, Reloads, Watched, follow as follow_files};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::config::{self, Config};
use crate::core::Core;
use crate::domains::{Domain, Domains, Opener, Opening, RepositoryOpener, make_folder};
use crate::door::Door;
use crate::engine::{Engine, RepositoryEngine};
use crate::gate::{Gate, Identify};
use crate::handle::Handle;
use crate::limits::{
    CONNECTIONS_MAX, DOMAINS_EXPECTED, KEEPALIVE_SECONDS, REQUEST_BYTES_MAX, REQUEST_SECONDS, STOP_SECONDS,
    STREAMS_PER_CONNECTION_MAX,
};
use crate::metrics::{self, Metrics};
use crate::nodes::Board;
use crate::pulse::Pulse;
use crate::service::agents::AgentService;
use crate::service::client::ClientService;
use crate::service::maintenance::MaintenanceService;
use crate::service::nodes::NodeService;

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
    let env = Env::system();
    if config.listed {
        let opener = Arc::new(RepositoryOpener::new(&config, env.clone())?);
        return start_each(config, opener, env, shutdown).await?.wait().await;
    }
    let metrics = Metrics::default();
    let (settings, counts) = (&only(&config)?.repository, metrics.store.clone());
    let engine = RepositoryEngine::open(settings, config.refresh_seconds, counts, &env).await?;
    start(config, Arc::new(engine), metrics, env, shutdown).await?.wait().await
}

fn only(config: &Config) -> anyhow::Result<&config::Domain> {
    config.domains.first().context("no domain is configured")
}

/// Binds the listeners and begins to serve the only domain, which is open. Port 0 takes a free one.
pub async fn start(
    config: Config,
    engine: Arc<dyn Engine>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let domain = only(&config)?;
    make_folder(domain)?;
    let reloads = metrics.reloads.clone();
    let core = Arc::new(Core::open(&config, domain, engine, env, metrics)?);
    let domains = Arc::new(Domains::one(domain.repository.domain.clone(), core));
    let registries = Registries::one(registry);
    begin(&config, Served::new(domains, None, registries, reloads), shutdown).await
}

/// Binds the listeners and begins to serve the domains of the list, each as soon as it can be opened.
pub async fn start_each(
    config: Config,
    opener: Arc<dyn Opener>,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    let (reloads, mut registry) = (Reloads::default(), Registry::default());
    reloads.register(registry.sub_registry_with_prefix(metrics::PREFIX));
    let (registries, mut domains) = (Registries::one(registry), Vec::new());
    for domain in &config.domains {
        let name = &domain.repository.domain;
        let metrics = Metrics::one_of(config.domains.len());
        let mut registry = Registry::with_labels([("domain".into(), name.to_string().into())].into_iter());
        metrics.register_domain(&mut registry);
        registries.put(name.as_str(), registry);
        domains.push(Domain::closed(domain.clone(), metrics));
    }
    let domains = Arc::new(Domains::several(domains));
    let opening = Some(Opening::new(config.clone(), opener, env));
    begin(&config, Served::new(domains, opening, registries, reloads), shutdown).await
}

/// Binds the listeners and begins to serve domains that come and go by the handle. Callers are known by `others`, besides the
/// configured tokens and certificates.
pub async fn start_open(
    config: Config,
    opener: Arc<dyn Opener>,
    others: Arc<dyn Identify>,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<(Started, Handle)> {
    let (reloads, mut registry) = (Reloads::default(), Registry::default());
    reloads.register(registry.sub_registry_with_prefix(metrics::PREFIX));
    let (domains, registries) = (Arc::new(Domains::open_ended()), Registries::one(registry));
    let opening = Opening::new(config.clone(), opener, env.clone());
    let board = Arc::new(Board::new(env, opening.pulse.clone()));
    let handle = Handle {
        domains: domains.clone(),
        board: board.clone(),
        registries: registries.clone(),
        pulse: opening.pulse.clone(),
        expected: DOMAINS_EXPECTED,
    };
    let served = Served::new(domains, Some(opening), registries, reloads);
    let served = Served { others: Some(others), board, ..served };
    Ok((begin(&config, served, shutdown).await?, handle))
}

/// What is served.
struct Served {
    domains: Arc<Domains>,
    /// How they are opened, where they are not open.
    opening: Option<Opening>,
    registries: Registries,
    reloads: Reloads,
    /// Who knows callers besides the configuration.
    others: Option<Arc<dyn Identify>>,
    board: Arc<Board>,
}

impl Served {
    fn new(
        domains: Arc<Domains>,
        opening: Option<Opening>,
        registries: Registries,
        reloads: Reloads,
    ) -> Self {
        // Without a cluster nobody plans: a node that attends hears nothing.
        let board = Arc::new(Board::new(Env::system(), Pulse::default()));
        Self { domains, opening, registries, reloads, others: None, board }
    }
}

async fn begin(config: &Config, served: Served, shutdown: CancellationToken) -> anyhow::Result<Started> {
    service::tls::install_provider();
    let Served { domains, opening, registries, reloads, others, board } = served;
    let secrets = Secrets::open(config, others, &reloads)?;
    let listener = Listener::bind(config.listen, CONNECTIONS_MAX).await;
    let listener = listener.with_context(|| format!("listen on {}", config.listen))?;
    let grpc = listener.local_addr().context("address of the gRPC listener")?;
    let http_server = Http::bind(config.http_listen).await?;
    let http = http_server.local_addr()?;
    tracing::info!(%grpc, tls = config.tls.is_some(), tokens = config.tokens.len(), "coordinator listens");
    let judged = domains.clone();
    let pages = Pages { registries, ready: Arc::new(move || judged.ready()) };
    let follow = secrets.follow();
    let serving = serve((&domains, board), secrets, listener, shutdown.clone())?;
    let every = Duration::from_secs(config.refresh_seconds);
    let main = async move {
        // If one server fails the rest stops, too.
        let serving = async { serving.await.inspect_err(|_| shutdown.cancel()) };
        let (served, http, (), ()) = tokio::join!(
            serving,
            http_server.serve(pages, &shutdown),
            domains.keep(opening.as_ref(), every, &shutdown),
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
    fn open(config: &Config, others: Option<Arc<dyn Identify>>, reloads: &Reloads) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(|files| files.watch(reloads)).transpose();
        let tls = tls.context("TLS of the gRPC listener")?;
        let gate = Gate::new(&config.tokens, reloads)?.with_certificates(&config.certificates);
        let gate = match others {
            Some(others) => gate.with_others(others),
            None => gate,
        };
        Ok(Self { gate, tls })
    }

    fn follow(&self) -> Vec<Arc<dyn Follow>> {
        let tls = self.tls.clone().map(|w| Arc::new(w) as Arc<dyn Follow>);
        let tokens = self.gate.tokens().cloned().map(|w| Arc::new(w) as Arc<dyn Follow>);
        tls.into_iter().chain(tokens).collect()
    }
}

fn serve(
    (domains, board): (&Arc<Domains>, Arc<Board>),
    secrets: Secrets,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let tasks = TaskTracker::new();
    let nodes = NodeService { board: board.clone(), tasks: tasks.clone(), shutdown: shutdown.clone() };
    let nodes = NodesServer::new(nodes).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let agents = AgentService { board, tasks: tasks.clone(), shutdown: shutdown.clone() };
    let agents = AgentsServer::new(agents).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let clients = ClientService::new(tasks.clone(), shutdown.clone());
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
        .layer(Door { gate: secrets.gate, domains: domains.clone() })
        .add_service(health)
        .add_service(reflection().build_v1().context("reflection")?)
        .add_service(reflection().build_v1alpha().context("reflection")?)
        .add_service(agents)
        .add_service(nodes)
        .add_service(maintenance)
        .add_service(clients);
    let domains = domains.clone();
    let incoming = listener.connections(secrets.tls);
    Ok(async move {
        reporter.set_serving::<AgentsServer<AgentService>>().await;
        reporter.set_serving::<NodesServer<NodeService>>().await;
        reporter.set_serving::<HoldfastServer<ClientService>>().await;
        reporter.set_serving::<MaintenanceServer<MaintenanceService>>().await;
        let stop = shutdown.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, async move {
            stop.cancelled().await;
            reporter.set_not_serving::<AgentsServer<AgentService>>().await;
            reporter.set_not_serving::<NodesServer<NodeService>>().await;
            reporter.set_not_serving::<HoldfastServer<ClientService>>().await;
            reporter.set_not_serving::<MaintenanceServer<MaintenanceService>>().await;
            // Agents and clients learn it by the end of their streams, and come back later.
            domains.clear_agents();
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
