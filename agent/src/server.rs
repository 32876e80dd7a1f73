//! Starts the agent, and stops it gracefully.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use repository::env::Env;
use service::client::Dialer;
use service::http::{Http, Pages, Registries};
use service::main_task::MainTask;
use service::reload::follow as follow_files;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::{Config, Domain};
use crate::executor::{Executor, RepositoryExecutor};
use crate::jobs::{Jobs, Kept};
use crate::limits::{OPEN_AGAIN_SECONDS, PROGRESS_SECONDS, STOP_SECONDS};
use crate::link::{Link, Who, offer_of};
use crate::metrics::Metrics;
use crate::opener::{Opener, RepositoryOpener};
use crate::slots::Slots;
use crate::standing::Standing;

/// An agent that is running.
#[derive(Debug)]
pub struct Started {
    /// Where it serves metrics and health.
    pub http: Option<SocketAddr>,
    /// The jobs that it holds, where it serves the only domain.
    pub jobs: Option<Arc<Jobs>>,
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
    if config.listed {
        let opener = RepositoryOpener::new(&config, dialer.clone(), metrics.clone(), env.clone())?;
        return start_each(config, dialer, Arc::new(opener), metrics, env, shutdown).await?.wait().await;
    }
    let about = (&config, only(&config)?);
    let lookups = dialer.about(&about.1.repository.domain)?;
    let executor = RepositoryExecutor::open(about, lookups, &metrics, &env).await?;
    start(config, dialer, Arc::new(executor), metrics, env, shutdown).await?.wait().await
}

fn only(config: &Config) -> anyhow::Result<&Domain> {
    config.domains.first().context("no domain is configured")
}

/// Binds the listener and begins to serve the only domain, which is open. Port 0 takes a free one.
pub async fn start(
    config: Config,
    dialer: Dialer,
    executor: Arc<dyn Executor>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    let domain = only(&config)?.clone();
    let agent = Agent::new(config, dialer, metrics, env, shutdown);
    let state_dir = agent.config.state_dir.clone();
    let jobs = agent.jobs(0, &state_dir, executor)?;
    let link = agent.link(&domain, jobs.clone())?;
    let (held, going) = (jobs.clone(), agent.clone());
    let work = async move { keep(&link, &held, &going.shutdown).await };
    agent.begin(work.boxed(), Some(jobs)).await
}

/// Binds the listener and begins to serve the domains of the list, each as soon as it can be opened.
pub async fn start_each(
    config: Config,
    dialer: Dialer,
    opener: Arc<dyn Opener>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<Started> {
    let agent = Agent::new(config, dialer, metrics, env, shutdown);
    let each = agent.clone();
    let work = async move {
        let in_use = each.config.domains.iter().enumerate().filter(|(_, domain)| domain.is_in_use());
        let all = in_use.map(|(number, domain)| each.serve(number, domain, &*opener));
        futures::future::join_all(all).await;
    };
    agent.begin(work.boxed(), None).await
}

/// What the domains of an agent share.
#[derive(Clone, Debug)]
struct Agent {
    config: Arc<Config>,
    dialer: Dialer,
    slots: Slots,
    standing: Arc<Standing>,
    metrics: Metrics,
    env: Env,
    shutdown: CancellationToken,
}

impl Agent {
    fn new(config: Config, dialer: Dialer, metrics: Metrics, env: Env, shutdown: CancellationToken) -> Self {
        service::tls::install_provider();
        let slots = Slots::new(config.jobs_max, config.domains.len());
        let served = config.domains.iter().filter(|d| !config.listed || d.is_in_use());
        let served = served.map(|d| &d.repository.domain);
        let standing = Arc::new(Standing::new(served, metrics.clone()));
        Self { config: Arc::new(config), dialer, slots, standing, metrics, env, shutdown }
    }

    fn jobs(
        &self,
        number: usize,
        state_dir: &Path,
        executor: Arc<dyn Executor>,
    ) -> anyhow::Result<Arc<Jobs>> {
        let kept = Kept::open(state_dir);
        let kept = kept.with_context(|| format!("create state folder {}", state_dir.display()))?;
        let slots = (self.slots.clone(), number);
        Ok(Jobs::new(executor, kept, slots, self.metrics.clone(), self.shutdown.clone()))
    }

    fn link(&self, domain: &Domain, jobs: Arc<Jobs>) -> repository::Result<Link> {
        let who = Who {
            agent_id: self.config.agent_id.clone(),
            host: self.config.host.clone(),
            jobs_max: self.config.jobs_max,
            reconnect_seconds_max: self.config.reconnect_seconds_max,
        };
        let about = (&domain.repository.domain, &self.dialer);
        let offered = offer_of(&self.config.host, domain);
        Link::new(about, who, offered, jobs, self.standing.clone(), self.env.clone())
    }

    /// Opens a domain of the list as soon as it can be, and keeps it going.
    async fn serve(&self, number: usize, domain: &Domain, opener: &dyn Opener) {
        let name = &domain.repository.domain;
        let (mut wait, wait_max) = OPEN_AGAIN_SECONDS;
        loop {
            let opened = tokio::select! {
                () = self.shutdown.cancelled() => return,
                opened = self.open(number, domain, opener) => opened,
            };
            match opened {
                Ok((link, jobs)) => {
                    let span = tracing::info_span!("domain", %name);
                    return keep(&link, &jobs, &self.shutdown).instrument(span).await;
                }
                Err(e) => {
                    let why = repository::error::one_line(e.as_ref());
                    tracing::error!(domain = %name, error = why, "domain can't be opened, trying again");
                    self.standing.set(name, Err(why));
                }
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(wait)) => wait = (wait * 2).min(wait_max),
            }
        }
    }

    async fn open(
        &self,
        number: usize,
        domain: &Domain,
        opener: &dyn Opener,
    ) -> anyhow::Result<(Link, Arc<Jobs>)> {
        let executor = opener.open(domain).await?;
        let state_dir = self.config.state_dir.join("domains").join(domain.repository.domain.as_str());
        let jobs = self.jobs(number, &state_dir, executor)?;
        Ok((self.link(domain, jobs.clone())?, jobs))
    }

    async fn begin(self, work: BoxFuture<'static, ()>, jobs: Option<Arc<Jobs>>) -> anyhow::Result<Started> {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let http_server = Http::bind(self.config.http_listen).await?;
        let http = http_server.local_addr()?;
        let judged = self.standing.clone();
        let pages = Pages { registries: Registries::one(registry), ready: Arc::new(move || judged.ready()) };
        let (follow, shutdown) = (self.dialer.follow(), self.shutdown);
        let main = async move {
            let (http, (), ()) =
                tokio::join!(http_server.serve(pages, &shutdown), work, follow_files(follow, &shutdown),);
            tracing::info!("agent stopped");
            http
        };
        Ok(Started { http, jobs, main: MainTask::spawn("agent", main) })
    }
}

/// Keeps a domain's stream and jobs going until the shutdown.
pub(crate) async fn keep(link: &Link, jobs: &Jobs, shutdown: &CancellationToken) {
    tokio::join!(link.keep(shutdown), count(jobs, shutdown));
    if tokio::time::timeout(Duration::from_secs(STOP_SECONDS), jobs.stop()).await.is_err() {
        tracing::warn!("running jobs were cut off at the stop");
    }
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
