//! Starts the coordinator, and stops it gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use proto::v1::agents_server::AgentsServer;
use proto::v1::holdfast_server::HoldfastServer;
use proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use repository::env::Env;
use service::http::Pages;
use service::token::{Guard, Token};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::Config;
use crate::core::Core;
use crate::engine::{Engine, RepositoryEngine};
use crate::limits::{KEEPALIVE_SECONDS, REQUEST_SECONDS, STOP_SECONDS, STREAMS_PER_CONNECTION_MAX};
use crate::metrics::Metrics;
use crate::service::agents::AgentService;
use crate::service::client::ClientService;

/// A coordinator that is running.
#[derive(Debug)]
pub struct Started {
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves metrics and health.
    pub http: Option<SocketAddr>,
    main: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Started {
    /// Waits for its end: after the shutdown, or when it fails.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.main.await.context("coordinator's main task")?
    }
}

/// Opens the repository and runs until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (env, metrics) = (Env::system(), Metrics::default());
    let engine = RepositoryEngine::open(&config.repository, metrics.store.clone(), &env).await?;
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
    let core = Arc::new(Core::open(&config, engine, env, metrics)?);
    let router = Servers { core: core.clone(), shutdown: shutdown.clone(), tasks: TaskTracker::new() };
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let grpc = listener.local_addr().context("address of the gRPC listener")?;
    let http_listener = match config.http_listen {
        Some(address) => {
            Some(TcpListener::bind(address).await.with_context(|| format!("listen on {address} for HTTP"))?)
        }
        None => None,
    };
    let http = http_listener
        .as_ref()
        .map(TcpListener::local_addr)
        .transpose()
        .context("address of HTTP listener")?;
    tracing::info!(%grpc, tls = config.tls.is_some(), "coordinator listens");
    let ready_core = core.clone();
    let pages = Pages { registry: Arc::new(registry), ready: Arc::new(move || ready_core.ready()) };
    let serving = router.serve(&config, listener)?;
    let main = async move {
        let every = Duration::from_secs(config.refresh_seconds);
        let pages_served = async {
            match http_listener {
                Some(listener) => service::http::serve(listener, pages, shutdown.clone()).await,
                None => Ok(()),
            }
        };
        // If one server fails the rest stops, too.
        let serving = async { serving.await.inspect_err(|_| shutdown.cancel()) };
        let pages_served = async { pages_served.await.inspect_err(|_| shutdown.cancel()) };
        let (served, http, (), ()) = tokio::join!(
            serving,
            pages_served,
            core.keep_going(&shutdown),
            core.keep_fresh(every, &shutdown)
        );
        tracing::info!("coordinator stopped");
        served?;
        http.context("serve HTTP")
    };
    Ok(Started { grpc, http, main: tokio::spawn(main) })
}

struct Servers {
    core: Arc<Core>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Servers {
    fn serve(
        self,
        config: &Config,
        listener: TcpListener,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let token = |file: &Option<std::path::PathBuf>| file.as_deref().map(Token::read).transpose();
        let (agent, client) = (token(&config.agent_token_file)?, token(&config.client_token_file)?);
        let Self { core, shutdown, tasks } = self;
        let agents = AgentService { core: core.clone(), tasks: tasks.clone(), shutdown: shutdown.clone() };
        let agents = AgentsServer::new(agents).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let clients = ClientService { core: core.clone(), shutdown: shutdown.clone() };
        let clients = HoldfastServer::new(clients).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .context("reflection")?;
        let keepalive = Some(Duration::from_secs(KEEPALIVE_SECONDS));
        let mut server = Server::builder()
            .timeout(Duration::from_secs(REQUEST_SECONDS))
            .http2_keepalive_interval(keepalive)
            .http2_keepalive_timeout(keepalive)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
        if let Some(tls) = &config.tls {
            server = server.tls_config(tls.load()?).context("TLS of the gRPC listener")?;
        }
        let router = server
            .add_service(health)
            .add_service(reflection)
            .add_service(InterceptedService::new(agents, Guard::new(agent.into_iter().collect())))
            .add_service(InterceptedService::new(clients, Guard::new(client.into_iter().collect())));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Ok(async move {
            reporter.set_serving::<AgentsServer<AgentService>>().await;
            reporter.set_serving::<HoldfastServer<ClientService>>().await;
            let stop = shutdown.clone();
            let serving = router.serve_with_incoming_shutdown(incoming, async move {
                stop.cancelled().await;
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
}
