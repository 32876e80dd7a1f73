//! Starts the agent, and stops it gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use repository::env::Env;
use service::http::Pages;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::executor::{Executor, RepositoryExecutor};
use crate::jobs::{Jobs, Kept};
use crate::limits::{PROGRESS_SECONDS, STOP_SECONDS};
use crate::link::Link;
use crate::metrics::Metrics;

/// An agent that is running.
#[derive(Debug)]
pub struct Started {
    /// Where it serves metrics and health.
    pub http: Option<SocketAddr>,
    /// The jobs that it holds.
    pub jobs: Arc<Jobs>,
    main: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Started {
    /// Waits for its end: after the shutdown, or when it fails.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.main.await.context("agent's main task")?
    }
}

/// Opens the repository and runs until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    service::tls::install_provider();
    let (env, metrics) = (Env::system(), Metrics::default());
    let executor = RepositoryExecutor::open(&config, &metrics, &env).await?;
    start(config, Arc::new(executor), metrics, env, shutdown).await?.wait().await
}

/// Binds the listener and begins. Port 0 takes a free one.
pub async fn start(
    config: Config,
    executor: Arc<dyn Executor>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    service::tls::install_provider();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let folder = config.state_dir.display();
    let kept = Kept::open(&config.state_dir).with_context(|| format!("create state folder {folder}"))?;
    let jobs = Jobs::new(executor, kept, config.jobs_max, metrics.clone(), shutdown.clone());
    let listener = match config.http_listen {
        Some(address) => {
            Some(TcpListener::bind(address).await.with_context(|| format!("listen on {address} for HTTP"))?)
        }
        None => None,
    };
    let http =
        listener.as_ref().map(TcpListener::local_addr).transpose().context("address of HTTP listener")?;
    let connected = metrics.connected.clone();
    let ready = move || match connected.get() {
        1 => Ok(()),
        _ => Err("not connected to the coordinator".to_owned()),
    };
    let pages = Pages { registry: Arc::new(registry), ready: Arc::new(ready) };
    let link = Link::new(&config, jobs.clone(), metrics, env);
    let main_jobs = jobs.clone();
    let main = async move {
        let pages_served = async {
            let served = match listener {
                Some(listener) => service::http::serve(listener, pages, shutdown.clone()).await,
                None => Ok(()),
            };
            served.inspect_err(|_| shutdown.cancel())
        };
        let (http, (), ()) = tokio::join!(pages_served, link.keep(&shutdown), count(&main_jobs, &shutdown));
        if tokio::time::timeout(Duration::from_secs(STOP_SECONDS), main_jobs.stop()).await.is_err() {
            tracing::warn!("running jobs were cut off at the stop");
        }
        tracing::info!("agent stopped");
        http.context("serve HTTP")
    };
    Ok(Started { http, jobs, main: tokio::spawn(main) })
}

/// Adds progress to the metrics, connected or not.
async fn count(jobs: &Jobs, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(PROGRESS_SECONDS)) => jobs.count_progress(),
        }
    }
}
