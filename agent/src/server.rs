//! Starts the agent, and stops it gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use repository::env::Env;
use service::client::Dialer;
use service::http::{Http, Pages};
use service::main_task::MainTask;
use service::reload::follow as follow_files;
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
    let dialer = config.coordinator.open(&metrics.reloads)?;
    let executor = RepositoryExecutor::open(&config, dialer.clone(), &metrics, &env).await?;
    start(config, dialer, Arc::new(executor), metrics, env, shutdown).await?.wait().await
}

/// Binds the listener and begins. Port 0 takes a free one.
pub async fn start(
    config: Config,
    dialer: Dialer,
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
    let http_server = Http::bind(config.http_listen).await?;
    let http = http_server.local_addr()?;
    let connected = metrics.connected.clone();
    let ready = move || match connected.get() {
        1 => Ok(()),
        _ => Err("not connected to the coordinator".to_owned()),
    };
    let pages = Pages { registry: Arc::new(registry), ready: Arc::new(ready) };
    let follow = dialer.follow();
    let link = Link::new(&config, dialer, jobs.clone(), metrics, env);
    let main_jobs = jobs.clone();
    let main = async move {
        let (http, (), (), ()) = tokio::join!(
            http_server.serve(pages, &shutdown),
            link.keep(&shutdown),
            count(&main_jobs, &shutdown),
            follow_files(follow, &shutdown),
        );
        if tokio::time::timeout(Duration::from_secs(STOP_SECONDS), main_jobs.stop()).await.is_err() {
            tracing::warn!("running jobs were cut off at the stop");
        }
        tracing::info!("agent stopped");
        http
    };
    Ok(Started { http, jobs, main: MainTask::spawn("agent", main) })
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
