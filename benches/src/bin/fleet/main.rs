//! `fleet`: what a coordinator costs that holds many agents and volumes.
//!
//! The coordinator runs in this process, on an empty repository in memory; the agents are streams of a second process, which take
//! every job and report it done at once. Told are processor seconds and memory of the coordinator alone: with all agents connected and
//! nothing to do, while every volume gets its first backup, and after that.

#![expect(clippy::disallowed_methods, reason = "an edge: it measures")]

mod agents;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use benches::usage::{cpu_seconds, forget_peak, status_kib};
use clap::Parser;
use coordinator::config::Domain;
use coordinator::domains::Opener;
use coordinator::engine::{Engine, RepositoryEngine};
use coordinator::gate::{Grant, Identify};
use coordinator::maintenance::Maintenance;
use coordinator::schedule::{Rule, Trigger};
use repository::env::Env;
use repository::ids::DomainName;
use repository::keys::Credential;
use repository::ops::init::{InitOptions, init};
use repository::ops::{OpenOptions, Repository};
use repository::store::{Counts, RemoteStore, Store};
use service::repo::{KeyFrom, Settings, open_index};
use tokio_util::sync::CancellationToken;

/// What many agents and volumes cost their coordinator.
#[derive(Clone, Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Agents.
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// Volumes of each agent.
    #[arg(long, default_value_t = 20)]
    volumes: usize,
    /// How long nothing happens, each time.
    #[arg(long, default_value_t = 20)]
    quiet_seconds: u64,
    /// Be the agents of the coordinator there.
    #[arg(long, hide = true)]
    be_agents_of: Option<SocketAddr>,
}

impl Arguments {
    fn volume(agent: usize, number: usize) -> String {
        format!(
            "csi:6f0c2b52-6a0c-4c43-9f5e-0e8d2a1c7b11/csi.example.com/pvc-{agent:05}-{number:05}-4f6b-9d0e-5c9c2a7f1e3d"
        )
    }
}

/// Opens the one repository.
#[derive(Debug)]
struct Memory(Arc<Repository>);

#[async_trait]
impl Opener for Memory {
    async fn open(&self, _: &Domain, _: Arc<Counts>) -> repository::Result<Arc<dyn Engine>> {
        Ok(Arc::new(RepositoryEngine::new(self.0.clone(), open_index(&self.0, 3600))))
    }
}

/// Every token is an agent's.
#[derive(Debug)]
struct Anybody;

#[async_trait]
impl Identify for Anybody {
    async fn identify(&self, token: &str) -> repository::Result<Option<Grant>> {
        Ok(Some(Grant { name: token.to_owned(), agents: vec!["*".to_owned()], ..Grant::default() }))
    }
}

/// An empty repository in memory.
async fn repository(env: &Env) -> Result<Arc<Repository>> {
    let store: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let credential = || Credential::KeyFile(zeroize::Zeroizing::new([7; 32]));
    let domain = DomainName::default_domain();
    let options = InitOptions { domain: domain.clone(), credentials: vec![credential()] };
    init(store.clone(), options, env).await?;
    let options =
        OpenOptions { domain, credential: credential(), cache_dir: None, remote: false, cpu_threads: 1 };
    Ok(Repository::open(store, options, env.clone()).await?)
}

fn settings(folder: &std::path::Path) -> Domain {
    let mut maintenance = Maintenance::embedded(folder);
    maintenance.leader = false;
    Domain {
        repository: Settings {
            url: "memory:".to_owned(),
            domain: DomainName::default_domain(),
            key: KeyFrom::KeyFile("/none".into()),
            cache_dir: None,
            cpu_threads: 1,
        },
        credentials_file: None,
        database: folder.join("coordinator.db"),
        rules: Vec::new(),
        maintenance,
    }
}

/// The second process; it ends with its input.
struct Agents(Child);

impl Drop for Agents {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn start_agents(arguments: &Arguments, at: SocketAddr) -> Result<Agents> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--be-agents-of", &at.to_string()]);
    command.args(["--agents", &arguments.agents.to_string(), "--volumes", &arguments.volumes.to_string()]);
    Ok(Agents(command.stdin(Stdio::piped()).spawn().context("start the agents")?))
}

async fn until(what: &str, seconds: u64, mut done: impl FnMut() -> Result<bool>) -> Result<f64> {
    let begun = Instant::now();
    while !done()? {
        ensure!(begun.elapsed().as_secs() < seconds, "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Tells what a stretch of time cost.
async fn measure(what: &str, work: impl Future<Output = Result<f64>>) -> Result<()> {
    forget_peak()?;
    let cpu = cpu_seconds()?;
    let wall = work.await?;
    let (cpu, rss, peak) = (cpu_seconds()? - cpu, status_kib("VmRSS")?, status_kib("VmHWM")?);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{what}: {wall:.1} s, {cpu:.2} CPU-s ({:.1} % of a core), {} MiB at its end, {} MiB at its peak",
        100.0 * cpu / wall,
        rss >> 10,
        peak >> 10
    )?;
    Ok(())
}

async fn quiet(seconds: u64) -> Result<f64> {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(seconds as f64)
}

async fn run(arguments: &Arguments) -> Result<()> {
    let (env, folder) = (Env::system(), tempfile::tempdir()?);
    let config = coordinator::Config {
        domains: Vec::new(),
        listed: true,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        http_listen: None,
        tls: None,
        tokens: Vec::new(),
        certificates: Vec::new(),
        refresh_seconds: 3600,
        lost_seconds: 300,
        heartbeat_seconds: 15,
    };
    let opener = Arc::new(Memory(repository(&env).await?));
    let shutdown = CancellationToken::new();
    let (started, handle) =
        coordinator::start_open(config, opener, Arc::new(Anybody), env, shutdown.clone()).await?;
    let domain = DomainName::default_domain();
    handle.put_domain(settings(folder.path()));
    until("the domain opens", 30, || Ok(handle.domains().iter().all(|(_, open)| open.is_ok()))).await?;
    let agents = start_agents(arguments, started.grpc)?;
    let all = arguments.agents * arguments.volumes;
    let there = async || {
        Ok::<_, anyhow::Error>(handle.volumes(&domain).await?.iter().filter(|v| v.connected).count())
    };
    measure("agents come", async {
        let begun = Instant::now();
        while there().await? < all {
            ensure!(begun.elapsed().as_secs() < 300, "only {} volumes are there", there().await?);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(begun.elapsed().as_secs_f64())
    })
    .await?;
    measure("nothing to do", quiet(arguments.quiet_seconds)).await?;
    let rule = |volume: &String| Rule {
        volume: volume.clone(),
        trigger: Trigger::MaxAge { seconds: 86_400 },
        jitter_seconds: 0,
    };
    let names =
        (0..arguments.agents).flat_map(|a| (0..arguments.volumes).map(move |v| Arguments::volume(a, v)));
    let rules: HashMap<String, Rule> = names.map(|name| (name.clone(), rule(&name))).collect();
    handle.set_rules(&domain, rules)?;
    let backups = async {
        until("every volume has a snapshot", 900, || Ok(handle.snapshots(&domain)?.all.len() >= all)).await
    };
    measure("every volume's first backup", backups).await?;
    measure("nothing to do, with a snapshot each", quiet(arguments.quiet_seconds)).await?;
    drop(agents);
    shutdown.cancel();
    started.wait().await
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.be_agents_of {
        Some(at) => runtime.block_on(agents::be(&arguments, at)),
        None => runtime.block_on(run(&arguments)),
    }
}
