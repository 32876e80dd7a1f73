//! The domains that one coordinator serves. Each has a core of its own, with engine, index, database, agents, schedules and
//! maintenance; they have nothing in common but the listeners, the threads and the bounds of the process.
//!
//! 1. A domain that can't be opened keeps no other one waiting: it is tried again, and named where people look.
//! 2. A domain that a caller may not use is one that does not exist: the same words, whatever it is asked.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use repository::env::Env;
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::ops::Sharing;
use repository::store::Counts;
use repository::{Error, ErrorKind, Result};
use service::repo::{Probe, open_index};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::{self, Config};
use crate::core::Core;
use crate::engine::{Engine, RepositoryEngine};
use crate::gate::Grant;
use crate::limits::{DOMAIN_NAME_SHOWN, OPEN_AGAIN_SECONDS, TASKS_AT_ONCE_MAX};
use crate::metrics::Metrics;

/// Opens the repository of a domain. A trait, so that domains can be tested without any.
#[async_trait]
pub trait Opener: Send + Sync + Debug {
    /// Opens it; requests to its store are counted.
    async fn open(&self, domain: &config::Domain, counts: Arc<Counts>) -> Result<Arc<dyn Engine>>;
}

/// Opens real repositories, on threads that all of them share.
#[derive(Debug)]
pub struct RepositoryOpener {
    sharing: Sharing,
    refresh_seconds: u64,
    env: Env,
}

impl RepositoryOpener {
    /// For the domains of this configuration.
    pub fn new(config: &Config, env: Env) -> Result<Self> {
        let threads = config.domains.first().map_or(0, |d| d.repository.cpu_threads);
        let sharing = Sharing::new(threads, config.domains.len())?;
        Ok(Self { sharing, refresh_seconds: config.refresh_seconds.saturating_mul(2), env })
    }
}

#[async_trait]
impl Opener for RepositoryOpener {
    async fn open(&self, domain: &config::Domain, counts: Arc<Counts>) -> Result<Arc<dyn Engine>> {
        let settings = &domain.repository;
        let credentials = domain.credentials_file.as_deref();
        let store = settings.open_store(credentials, counts, Probe::Run, &self.env).await?;
        let repo = settings.open_in(store, &self.sharing, &self.env).await?;
        let index = open_index(&repo, self.refresh_seconds);
        Ok(Arc::new(RepositoryEngine::new(repo, index)))
    }
}

/// How domains of a list are opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) config: Config,
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) env: Env,
    /// Tasks of maintenance that run at once, of all domains together.
    turns: Arc<Semaphore>,
}

impl Opening {
    pub(crate) fn new(config: Config, opener: Arc<dyn Opener>, env: Env) -> Self {
        Self { config, opener, env, turns: Arc::new(Semaphore::new(TASKS_AT_ONCE_MAX)) }
    }

    async fn open(&self, settings: &config::Domain, metrics: &Metrics) -> Result<Core> {
        let engine = self.opener.open(settings, metrics.store.clone()).await?;
        make_folder(settings)?;
        let core = Core::open(&self.config, settings, engine, self.env.clone(), metrics.clone())?;
        let span = tracing::info_span!("domain", name = %settings.repository.domain);
        Ok(core.beside_others(self.turns.clone(), span))
    }
}

/// Makes the folder of a domain's database.
pub(crate) fn make_folder(settings: &config::Domain) -> Result<()> {
    let Some(folder) = settings.database.parent() else { return Ok(()) };
    let made = std::fs::create_dir_all(folder);
    made.context(ErrorKind::Internal, || format!("create state folder {}", folder.display()))
}

/// A domain: open, or not and why.
#[derive(Debug)]
pub(crate) struct Domain {
    name: DomainName,
    metrics: Metrics,
    state: RwLock<Result<Arc<Core>, (ErrorKind, String)>>,
}

impl Domain {
    fn new(name: DomainName, metrics: Metrics, core: Option<Arc<Core>>) -> Self {
        metrics.domain_open.set(i64::from(core.is_some()));
        let closed = || (ErrorKind::Refused, "it is being opened; try again soon".to_owned());
        Self { name, metrics, state: RwLock::new(core.ok_or_else(closed)) }
    }

    /// Its core, or why there is none.
    pub(crate) fn core(&self) -> Result<Arc<Core>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let closed = |(kind, why)| Error::new(kind, format!("domain {} is not open: {why}", self.name));
        state.clone().map_err(closed)
    }

    fn set(&self, state: Result<Arc<Core>, (ErrorKind, String)>) {
        self.metrics.domain_open.set(i64::from(state.is_ok()));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn ready(&self) -> Result<(), String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone().map_err(|(_, why)| why)?.ready()
    }

    /// Keeps it going until `shutdown`; before that, opens it as soon as it can be.
    async fn keep(&self, opening: Option<&Opening>, every: Duration, shutdown: &CancellationToken) {
        let found = self.state.read().unwrap_or_else(PoisonError::into_inner).clone().ok();
        let core = match (found, opening) {
            (Some(core), _) => Some(core),
            (None, Some(opening)) => self.open(opening, shutdown).await,
            (None, None) => None,
        };
        let Some(core) = core else { return };
        let span = core.span.clone();
        let going = async {
            tokio::join!(
                core.keep_going(shutdown),
                core.keep_maintaining(shutdown),
                core.keep_fresh(every, shutdown)
            )
        };
        let ((), (), ()) = going.instrument(span).await;
    }

    async fn open(&self, opening: &Opening, shutdown: &CancellationToken) -> Option<Arc<Core>> {
        let settings = opening.config.domains.iter().find(|d| d.repository.domain == self.name)?;
        let (mut wait, wait_max) = OPEN_AGAIN_SECONDS;
        loop {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return None,
                opened = opening.open(settings, &self.metrics) => opened,
            };
            match opened {
                Ok(core) => {
                    tracing::info!(domain = %self.name, "domain is open");
                    let core = Arc::new(core);
                    self.set(Ok(core.clone()));
                    return Some(core);
                }
                Err(e) => {
                    tracing::error!(domain = %self.name, error = %e.chain(), "domain can't be opened, trying again");
                    self.set(Err((e.kind(), e.chain())));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(wait)) => wait = (wait * 2).min(wait_max),
            }
        }
    }
}

/// All domains that are served.
#[derive(Debug)]
pub(crate) struct Domains(Vec<Domain>);

impl Domains {
    /// One that is open.
    pub(crate) fn one(name: DomainName, core: Arc<Core>) -> Self {
        Self(vec![Domain::new(name, core.metrics.clone(), Some(core))])
    }

    /// Several that are opened by [`Domains::keep`], with the metrics of each.
    pub(crate) fn several(all: impl IntoIterator<Item = (DomainName, Metrics)>) -> Self {
        Self(all.into_iter().map(|(name, metrics)| Domain::new(name, metrics, None)).collect())
    }

    /// The domain that a call is about: the one it names, or else the only one that the caller may use.
    pub(crate) fn choose(&self, grant: &Grant, wanted: Option<&[u8]>) -> Result<&Domain> {
        let mine: Vec<&Domain> = self.0.iter().filter(|d| grant.covers(&d.name)).collect();
        let known = || mine.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ");
        match (wanted, mine.as_slice()) {
            (Some(wanted), _) => {
                let found = mine.iter().find(|d| d.name.as_str().as_bytes() == wanted).copied();
                found.ok_or_else(|| Error::new(ErrorKind::NotFound, unknown(wanted, &known())))
            }
            (None, [one]) => Ok(one),
            (None, []) => Err(Error::new(ErrorKind::NotFound, "there is no domain for this token")),
            (None, _) => {
                let what = format!("there are several domains: name one (--domain) of {}", known());
                Err(Error::new(ErrorKind::Input, what))
            }
        }
    }

    /// Whether the coordinator can do its work, and which domains it can't serve.
    pub(crate) fn ready(&self) -> Result<String, String> {
        match self.0.as_slice() {
            [one] => one.ready().map(|()| "ok".to_owned()),
            all => service::http::ready_of(all.iter().map(|d| (d.name.to_string(), d.ready()))),
        }
    }

    /// Keeps all going until `shutdown`.
    pub(crate) async fn keep(
        &self,
        opening: Option<&Opening>,
        every: Duration,
        shutdown: &CancellationToken,
    ) {
        futures::future::join_all(self.0.iter().map(|d| d.keep(opening, every, shutdown))).await;
    }

    /// Ends the connections of all agents.
    pub(crate) fn clear_agents(&self) {
        for core in self.0.iter().filter_map(|d| d.core().ok()) {
            core.hub.clear();
        }
    }
}

fn unknown(wanted: &[u8], known: &str) -> String {
    let wanted: String = String::from_utf8_lossy(wanted).chars().take(DOMAIN_NAME_SHOWN).collect();
    match known {
        "" => format!("no domain {wanted:?}"),
        _ => format!("no domain {wanted:?}; known are: {known}"),
    }
}

#[cfg(test)]
mod tests;
