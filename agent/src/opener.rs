//! Opens the repositories of several domains: one store and one set of threads for all of them.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use repository::Result;
use repository::env::Env;
use repository::ops::Sharing;
use repository::store::Store;
use service::client::Dialer;
use service::repo::Probe;
use tokio::sync::OnceCell;

use crate::config::{Config, Domain};
use crate::executor::{Executor, RepositoryExecutor};
use crate::metrics::Metrics;

/// Opens a domain. A trait, so that agents of several domains can be tested without any repository.
#[async_trait]
pub trait Opener: Send + Sync + Debug {
    /// What does the domain's jobs.
    async fn open(&self, domain: &Domain) -> Result<Arc<dyn Executor>>;
}

/// Opens real repositories.
#[derive(Debug)]
pub struct RepositoryOpener {
    config: Config,
    dialer: Dialer,
    metrics: Metrics,
    env: Env,
    sharing: Sharing,
    store: OnceCell<Arc<dyn Store>>,
}

impl RepositoryOpener {
    /// For the domains of this configuration that are in use.
    pub fn new(config: &Config, dialer: Dialer, metrics: Metrics, env: Env) -> Result<Self> {
        let threads = config.domains.first().map_or(0, |d| d.repository.cpu_threads);
        let in_use = config.domains.iter().filter(|d| d.is_in_use()).count();
        let (sharing, store) = (Sharing::new(threads, in_use)?, OnceCell::new());
        Ok(Self { config: config.clone(), dialer, metrics, env, sharing, store })
    }
}

#[async_trait]
impl Opener for RepositoryOpener {
    async fn open(&self, domain: &Domain) -> Result<Arc<dyn Executor>> {
        let settings = &domain.repository;
        let counts = self.metrics.store.clone();
        let open = |own| settings.open_store(own, counts, Probe::Skip, &self.env);
        let store = match domain.credentials_file.as_deref() {
            Some(own) => open(Some(own)).await?,
            // All others lie in one store: its bounds on requests count for all together.
            None => self.store.get_or_try_init(|| open(None)).await?.clone(),
        };
        let repo = settings.open_in(store, &self.sharing, &self.env).await?;
        let lookups = self.dialer.about(&settings.domain)?;
        Ok(Arc::new(RepositoryExecutor::with(&self.config, domain, repo, lookups, &self.metrics)))
    }
}
