//! The agent of a node in a cluster, and the mover of one volume.
//!
//! The coordinator says which volumes are to be read and what opens the repositories (`attend`, `plan`); they are found by kubelet's
//! folder and the table of mounts (`mountinfo`, `find`, `sights`); each domain has a stream of its own (`domains`); each job is done by
//! a child that is confined to the one volume (`child`, and in the child `worker`, `open`, `confine`, `filter`), and that is killed to
//! let go of it (`executor`).
//!
//! This process itself opens nothing of any volume, and has no permission in the cluster.

mod attend;
mod child;
mod config;
mod confine;
mod domains;
mod executor;
mod filter;
mod find;
mod mountinfo;
mod open;
mod pipe;
mod plan;
mod pressure;
mod probe;
mod sights;
pub mod worker;

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use proto::v1;
use repository::env::Env;
use repository::ids::DomainName;
use service::http::{Http, Pages, Registries};
use service::reload::follow as follow_files;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::slots::Slots;
use crate::standing::{NOT_CONNECTED, Standing};

pub use crate::jobs::Acknowledged;
pub use config::{ChildLimits, Confine, Folders, NodeConfig, NodeLayer, Role};

/// Domains that share the room for kept results.
const RESULTS_SHARED_BY: usize = 8;

/// A node's agent, or a mover, that is bound and ready to run.
#[derive(Debug)]
pub struct Bound {
    /// Where it serves metrics and health.
    pub http: Option<SocketAddr>,
    parts: Parts,
}

#[derive(Debug)]
struct Parts {
    attendance: attend::Attendance,
    watcher: sights::Watcher,
    domains: domains::Domains,
    http: Http,
    pages: Pages,
}

/// Runs until `shutdown`; a mover until its job has ended and the coordinator knows. Says how that job ended.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> anyhow::Result<Option<Acknowledged>> {
    Bound::new(config).await?.run(shutdown).await
}

impl Bound {
    /// Opens files and listeners. Port 0 takes a free one.
    pub async fn new(config: NodeConfig) -> anyhow::Result<Self> {
        service::tls::install_provider();
        let (env, metrics, config) = (Env::system(), Metrics::default(), Arc::new(config));
        let dialer = config.coordinator.open(&metrics.reloads)?;
        let (nursery, impossible) = nursery(&config, &metrics).await?;
        let confined = nursery.confine;
        metrics.confined.set(i64::from(confined));
        if let Some(why) = &impossible {
            tracing::error!(why, confine = %config.confine, "what reads volumes can't be confined");
        }
        let refusal = impossible.filter(|_| config.confine == Confine::Required);
        let nursery = Arc::new(nursery);
        let (plans, plan) = watch::channel(Arc::default());
        let (tables, table) = watch::channel(Arc::default());
        let (seen, sights) = watch::channel(Arc::default());
        let (leaving, again) = (Arc::new(sights::Leaving::default()), Arc::new(Notify::new()));
        let watches = executor::Watches {
            plan: plan.clone(),
            tables: table,
            sights: sights.clone(),
            leaving: leaving.clone(),
            again: again.clone(),
        };
        let watcher = sights::Watcher {
            kubelet: config.kubelet_root.clone(),
            host: config.host_paths.clone(),
            refusal: refusal.clone(),
            plan,
            tables,
            sights: seen,
            leaving,
            again,
        };
        let state = Arc::new(Mutex::new(Err(NOT_CONNECTED.to_owned())));
        let attendance = attend::Attendance {
            dialer: dialer.clone(),
            arrival: arrival(&config, confined),
            plans,
            sights,
            reconnect_max: Duration::from_secs(config.reconnect_seconds_max),
            metrics: metrics.clone(),
            env: env.clone(),
            state: state.clone(),
        };
        let standing = Arc::new(Standing::new(std::iter::empty::<&DomainName>(), metrics.clone()));
        let http = Http::bind(config.http_listen).await?;
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.register_node(&mut registry);
        let judged = standing.clone();
        let ready = Arc::new(move || is_ready(&state, refusal.as_deref(), &judged));
        let pages = Pages { registries: Registries::one(registry), ready };
        let slots = Slots::new(config.jobs_max, RESULTS_SHARED_BY);
        let domains = domains::Domains { config, dialer, watches, nursery, slots, standing, metrics, env };
        let address = http.local_addr()?;
        Ok(Self { http: address, parts: Parts { attendance, watcher, domains, http, pages } })
    }

    /// Runs until `shutdown`, or the end of a mover's job.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<Option<Acknowledged>> {
        let Parts { attendance, watcher, domains, http, pages } = self.parts;
        let follow = domains.dialer.follow();
        // A mover's own end stops the rest, too; the rest outlives the jobs, which may need it to end.
        let stop = CancellationToken::new();
        let work = async {
            let end = domains.keep(&shutdown).await;
            stop.cancel();
            end
        };
        let (http, end, (), (), ()) = tokio::join!(
            http.serve(pages, &stop),
            work,
            attendance.keep(&stop),
            watcher.run(&stop),
            follow_files(follow, &stop),
        );
        tracing::info!("agent stopped");
        http.map(|()| end)
    }
}

/// What starts children, and why they can't be confined, if so: that is tried, not believed.
async fn nursery(config: &NodeConfig, metrics: &Metrics) -> anyhow::Result<(child::Nursery, Option<String>)> {
    let mut nursery = child::Nursery {
        program: config.program.clone(),
        state_dir: config.state_dir.clone(),
        host: config.host.clone(),
        limits: config.child,
        confine: true,
        low_priority: config.role == Role::Node,
        metrics: metrics.clone(),
        number: AtomicU64::new(0),
    };
    nursery.clean().with_context(|| format!("prepare state folder {}", config.state_dir.display()))?;
    let (pods, domains) = (config.kubelet_root.join("pods"), config.state_dir.join("domains"));
    let mut outside = vec![Path::new("/"), Path::new("/proc/1/environ"), &pods, &domains, &config.state_dir];
    outside.extend(config.coordinator.token_file.as_deref());
    let impossible = match confine::is_possible() {
        Ok(()) => nursery.probe(&outside).await.err(),
        Err(e) => Some(e),
    };
    nursery.confine = impossible.is_none();
    Ok((nursery, impossible.map(|e| e.chain())))
}

fn arrival(config: &NodeConfig, confined: bool) -> v1::Arrival {
    v1::Arrival {
        node: config.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mover: config.role == Role::Mover,
        confined,
    }
}

/// How many volumes of a plan are ready by this table of mounts, without looking at any disk. For measurements.
pub fn count_ready(plan: v1::NodePlan, mountinfo: &[u8], kubelet: &Path) -> repository::Result<usize> {
    let plan = plan::Plan::from_wire(plan)?;
    let table = mountinfo::Table::parse(mountinfo, kubelet.join("pods").as_os_str().as_bytes());
    let roots = find::Roots { kubelet, host: &[] };
    let sights = sights::look(&plan, &table, roots, &find::NoFolders, &|_| false);
    Ok(sights.iter().filter(|s| matches!(s.seen, find::Seen::Ready(_))).count())
}

/// Ready while it follows a plan and may read; domains without a stream are named.
fn is_ready(
    attending: &Mutex<Result<(), String>>,
    refusal: Option<&str>,
    domains: &Standing,
) -> Result<String, String> {
    if let Some(why) = refusal {
        return Err(why.to_owned());
    }
    attending.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    // A domain that is away is the coordinator's to notice; the others work.
    Ok(domains.ready().unwrap_or_else(|why| why))
}
