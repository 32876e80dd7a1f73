//! The domains that one coordinator serves. Each has a core of its own, with engine, index, database, agents, schedules and
//! maintenance; they have nothing in common but the listeners, the threads and the bounds of the process.
//!
//! 1. A domain that can't be opened keeps no other one waiting: it is tried again, and named where people look.
//! 2. A domain that a caller may not use is one that does not exist: the same words, whatever it is asked.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use repository::env::Env;
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::ops::Sharing;
use repository::store::Counts;
use repository::{Error, ErrorKind, Result};
use service::repo::{Probe, open_index};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::{self, Config};
use crate::core::Core;
use crate::engine::{Engine, RepositoryEngine};
use crate::gate::Grant;
use crate::limits::{DOMAIN_NAME_SHOWN, DOMAINS_EXPECTED, OPEN_AGAIN_SECONDS, TASKS_AT_ONCE_MAX};
use crate::metrics::Metrics;
use crate::pulse::Pulse;

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
    /// For the domains of this configuration; for some, if it has none yet.
    pub fn new(config: &Config, env: Env) -> Result<Self> {
        let threads = config.domains.first().map_or(0, |d| d.repository.cpu_threads);
        let domains = if config.domains.is_empty() { DOMAINS_EXPECTED } else { config.domains.len() };
        let sharing = Sharing::new(threads, domains)?;
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
    /// Beats when something happened in any of them.
    pub(crate) pulse: Pulse,
    /// Tasks of maintenance that run at once, of all domains together.
    turns: Arc<Semaphore>,
}

impl Opening {
    pub(crate) fn new(config: Config, opener: Arc<dyn Opener>, env: Env) -> Self {
        let turns = Arc::new(Semaphore::new(TASKS_AT_ONCE_MAX));
        Self { config, opener, env, pulse: Pulse::default(), turns }
    }

    async fn open(&self, settings: &config::Domain, metrics: &Metrics) -> Result<Core> {
        let engine = self.opener.open(settings, metrics.store.clone()).await?;
        make_folder(settings)?;
        let core = Core::open(&self.config, settings, engine, self.env.clone(), metrics.clone())?;
        let span = tracing::info_span!("domain", name = %settings.repository.domain);
        Ok(core.beside_others(self.turns.clone(), span).telling(self.pulse.clone()))
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
    pub(crate) name: DomainName,
    metrics: Metrics,
    /// What opens it; none of one that is open.
    settings: Option<config::Domain>,
    state: RwLock<Result<Arc<Core>, (ErrorKind, String)>>,
    /// Ends its work.
    stop: CancellationToken,
}

impl Domain {
    fn new(name: DomainName, metrics: Metrics, core: Option<Arc<Core>>) -> Self {
        metrics.domain_open.set(i64::from(core.is_some()));
        let closed = || (ErrorKind::Refused, "it is being opened; try again soon".to_owned());
        let state = RwLock::new(core.ok_or_else(closed));
        Self { name, metrics, settings: None, state, stop: CancellationToken::new() }
    }

    /// One that is opened by [`Domains::keep`].
    pub(crate) fn closed(settings: config::Domain, metrics: Metrics) -> Self {
        let name = settings.repository.domain.clone();
        Self { settings: Some(settings), ..Self::new(name, metrics, None) }
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

    /// Whether it can do its work, or why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone().map_err(|(_, why)| why)?.ready()
    }

    /// Keeps it going until it is stopped; before that, opens it as soon as it can be. At the end its agents' streams end.
    async fn keep(&self, opening: Option<&Opening>, every: Duration) {
        let shutdown = &self.stop;
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
        core.hub.clear();
    }

    async fn open(&self, opening: &Opening, shutdown: &CancellationToken) -> Option<Arc<Core>> {
        let settings = self.settings.as_ref()?;
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
                    opening.pulse.beat();
                    return Some(core);
                }
                Err(e) => {
                    tracing::error!(domain = %self.name, error = %e.chain(), "domain can't be opened, trying again");
                    self.set(Err((e.kind(), e.chain())));
                    opening.pulse.beat();
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
#[derive(Debug, Default)]
pub(crate) struct Domains {
    all: RwLock<Vec<Arc<Domain>>>,
    changed: Notify,
    /// They come and go while the process runs.
    open_ended: bool,
}

impl Domains {
    /// One that is open.
    pub(crate) fn one(name: DomainName, core: Arc<Core>) -> Self {
        let metrics = core.metrics.clone();
        Self::several([Domain::new(name, metrics, Some(core))])
    }

    /// Several that are opened by [`Domains::keep`].
    pub(crate) fn several(all: impl IntoIterator<Item = Domain>) -> Self {
        let all = RwLock::new(all.into_iter().map(Arc::new).collect());
        Self { all, ..Self::default() }
    }

    /// None yet; they come and go.
    pub(crate) fn open_ended() -> Self {
        Self { open_ended: true, ..Self::default() }
    }

    /// All that there are now.
    pub(crate) fn all(&self) -> Vec<Arc<Domain>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one of that name.
    pub(crate) fn find(&self, name: &DomainName) -> Option<Arc<Domain>> {
        self.all().into_iter().find(|d| d.name == *name)
    }

    /// Serves one more, or one instead of its namesake, whose work ends first.
    pub(crate) fn put(&self, domain: Domain) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let domain = Arc::new(domain);
        match all.iter_mut().find(|d| d.name == domain.name) {
            Some(known) => std::mem::replace(known, domain).stop.cancel(),
            None => all.push(domain),
        }
        drop(all);
        self.changed.notify_one();
    }

    /// Serves it no more. True if it was served.
    pub(crate) fn remove(&self, name: &DomainName) -> bool {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = all.iter().position(|d| d.name == *name) else { return false };
        all.remove(place).stop.cancel();
        true
    }

    /// The domain that a call is about: the one it names, or else the only one that the caller may use.
    pub(crate) fn choose(&self, grant: &Grant, wanted: Option<&[u8]>) -> Result<Arc<Domain>> {
        let mine: Vec<_> = self.all().into_iter().filter(|d| grant.covers(&d.name)).collect();
        let known = || mine.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ");
        match (wanted, mine.as_slice()) {
            (Some(wanted), _) => {
                let found = mine.iter().find(|d| d.name.as_str().as_bytes() == wanted).cloned();
                found.ok_or_else(|| Error::new(ErrorKind::NotFound, unknown(wanted, &known())))
            }
            (None, [one]) => Ok(one.clone()),
            (None, []) => Err(Error::new(ErrorKind::NotFound, "there is no domain for this token")),
            (None, _) => {
                let what = format!("there are several domains: name one (--domain) of {}", known());
                Err(Error::new(ErrorKind::Input, what))
            }
        }
    }

    /// Whether the coordinator can do its work, and which domains it can't serve. Where they come and go it always can: what
    /// hinders one of them must not keep away who asks for another, or puts it right.
    pub(crate) fn ready(&self) -> Result<String, String> {
        let all = self.all();
        if let ([one], false) = (all.as_slice(), self.open_ended) {
            return one.ready().map(|()| "ok".to_owned());
        }
        let judged = service::http::ready_of(all.iter().map(|d| (d.name.to_string(), d.ready())));
        match (judged, self.open_ended) {
            (Err(_), true) if all.is_empty() => Ok("no domain yet".to_owned()),
            (Err(why), true) => Ok(why),
            (judged, _) => judged,
        }
    }

    /// Keeps all going until `shutdown`. One that takes another's place begins when that one has ended.
    pub(crate) async fn keep(
        &self,
        opening: Option<&Opening>,
        every: Duration,
        shutdown: &CancellationToken,
    ) {
        let (mut going, mut names) = (FuturesUnordered::new(), HashSet::new());
        let mut kept: Vec<Arc<Domain>> = Vec::new();
        loop {
            kept.retain(|d| !d.stop.is_cancelled());
            for domain in self.all() {
                let known = kept.iter().any(|k| Arc::ptr_eq(k, &domain));
                if !known && names.insert(domain.name.clone()) {
                    kept.push(domain.clone());
                    going.push(async move {
                        domain.keep(opening, every).await;
                        domain.name.clone()
                    });
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.changed.notified() => {}
                Some(name) = going.next(), if !going.is_empty() => drop(names.remove(&name)),
            }
        }
        self.all().iter().for_each(|d| d.stop.cancel());
        while going.next().await.is_some() {}
    }

    /// Ends the connections of all agents.
    pub(crate) fn clear_agents(&self) {
        for core in self.all().iter().filter_map(|d| d.core().ok()) {
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
