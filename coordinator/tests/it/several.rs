//! Coordinators and agents of several domains, each with a repository and a worker that do what a test tells them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use coordinator::domains::Opener;
use coordinator::engine::Engine;
use proto::v1::holdfast_client::HoldfastClient;
use repository::env::Env;
use repository::store::Counts;
use repository::{Error, ErrorKind};
use service::client::Target;
use tokio_util::sync::CancellationToken;

use crate::fakes::{FakeEngine, FakeExecutor};
use crate::harness::{Client, agent_config, coordinator_config, eventually, get};

/// Opens a fake for each domain, unless it is broken.
#[derive(Debug, Default)]
pub(crate) struct Fakes {
    pub(crate) engines: Mutex<HashMap<String, Arc<FakeEngine>>>,
    pub(crate) executors: Mutex<HashMap<String, Arc<FakeExecutor>>>,
    pub(crate) broken: Mutex<HashSet<String>>,
}

impl Fakes {
    pub(crate) fn executor(&self, domain: &str) -> Arc<FakeExecutor> {
        self.executors.lock().unwrap().entry(domain.to_owned()).or_default().clone()
    }

    pub(crate) fn engine(&self, domain: &str) -> Arc<FakeEngine> {
        self.engines.lock().unwrap().entry(domain.to_owned()).or_default().clone()
    }

    pub(crate) fn put_engine(&self, domain: &str, engine: FakeEngine) {
        self.engines.lock().unwrap().insert(domain.to_owned(), Arc::new(engine));
    }

    fn check(&self, domain: &str) -> repository::Result<()> {
        match self.broken.lock().unwrap().contains(domain) {
            true => Err(Error::new(ErrorKind::Key, "the key does not fit")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Opener for Fakes {
    async fn open(
        &self,
        domain: &coordinator::config::Domain,
        _: Arc<Counts>,
    ) -> repository::Result<Arc<dyn Engine>> {
        let name = domain.repository.domain.as_str();
        self.check(name)?;
        Ok(self.engine(name))
    }
}

#[async_trait]
impl agent::opener::Opener for Fakes {
    async fn open(&self, domain: &agent::config::Domain) -> repository::Result<Arc<dyn agent::Executor>> {
        let name = domain.repository.domain.as_str();
        self.check(name)?;
        Ok(self.executor(name))
    }
}

pub(crate) fn listed(dir: &Path, names: &[&str]) -> coordinator::Config {
    let mut config = coordinator_config(dir);
    let one = config.domains.remove(0);
    for name in names {
        let mut domain = one.clone();
        domain.repository.domain = name.parse().unwrap();
        domain.database = dir.join("domains").join(name).join("coordinator.db");
        config.domains.push(domain);
    }
    coordinator::Config { listed: true, ..config }
}

/// A coordinator of several domains.
pub(crate) struct Several {
    pub(crate) address: SocketAddr,
    pub(crate) http: SocketAddr,
    config: coordinator::Config,
    started: coordinator::Started,
    shutdown: CancellationToken,
}

impl Several {
    pub(crate) async fn start(config: coordinator::Config, fakes: &Arc<Fakes>) -> Self {
        let shutdown = CancellationToken::new();
        let started =
            coordinator::start_each(config.clone(), fakes.clone(), Env::system(), shutdown.clone()).await;
        let started = started.unwrap();
        let (address, http) = (started.grpc, started.http.unwrap());
        Self { address, http, config, started, shutdown }
    }

    /// Starts the domains and waits for all of them.
    pub(crate) async fn open(config: coordinator::Config, fakes: &Arc<Fakes>) -> Self {
        let this = Self::start(config, fakes).await;
        this.wait_ready("200 OK\r\n", "\nok\n").await;
        this
    }

    pub(crate) async fn wait_ready(&self, head: &str, body: &str) -> String {
        eventually(&format!("readiness says {body:?}"), async || {
            let page = get(self.http, "/readyz").await;
            (page.contains(head) && page.contains(body)).then_some(page)
        })
        .await
    }

    pub(crate) async fn stop(self) -> coordinator::Config {
        self.shutdown.cancel();
        self.started.wait().await.unwrap();
        coordinator::Config { listen: self.address, ..self.config }
    }

    /// The coordinator as somebody with this token calls it about this domain.
    pub(crate) fn target(&self, domain: Option<&str>, token_file: Option<&PathBuf>) -> Target {
        Target {
            url: format!("http://{}", self.address),
            token_file: token_file.cloned(),
            domain: domain.map(|d| d.parse().unwrap()),
            ..Target::default()
        }
    }

    pub(crate) fn client(&self, domain: &str) -> Client {
        client(&self.target(Some(domain), None))
    }
}

pub(crate) fn client(target: &Target) -> Client {
    Client(HoldfastClient::new(target.connect().unwrap()))
}

/// An agent with a volume `v` in each domain.
pub(crate) struct Agent {
    pub(crate) started: agent::Started,
    shutdown: CancellationToken,
}

impl Agent {
    pub(crate) async fn start(dir: &Path, coordinator: &Several, names: &[&str], fakes: &Arc<Fakes>) -> Self {
        let mut config = agent_config(dir, coordinator.target(None, None), &["v"]);
        let one = config.domains.remove(0);
        for name in names {
            let mut domain = one.clone();
            domain.repository.domain = name.parse().unwrap();
            domain.restore_roots = vec![PathBuf::from("/restore").join(name)];
            config.domains.push(domain);
        }
        let http_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let config = agent::Config { listed: true, http_listen, ..config };
        let (metrics, shutdown) = (agent::metrics::Metrics::default(), CancellationToken::new());
        let dialer = config.coordinator.open(&metrics.reloads).unwrap();
        let opener = fakes.clone();
        let started = agent::start_each(config, dialer, opener, metrics, Env::system(), shutdown.clone());
        Self { started: started.await.unwrap(), shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.started.wait().await.unwrap();
    }
}
