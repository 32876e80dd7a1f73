//! Runs the operator: stands by until it leads, then leads until it is stopped or loses the Lease; who loses it ends, and comes back as
//! a new process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coordinator::ConfigLayer as CoordinatorLayer;
use coordinator::domains::RepositoryOpener;
use coordinator::gate::Identify;
use kube::Client;
use prometheus_client::registry::Registry;
use proto::v1::NodePlan;
use repository::env::Env;
use repository::ids::hex;
use service::tls::ServerFiles;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::control::{Control, Tools};
use crate::identify::{Domains, Reviewer};
use crate::lease::Candidate;
use crate::limits::TLS_LOOK_SECONDS;
use crate::metrics::Metrics;
use crate::standby::{self, Leader};
use crate::tls;
use crate::world::watch::Watched;

/// Runs until `shutdown`, or until it fails.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    service::tls::install_provider();
    let client = Client::try_default().await.context("find the API server")?;
    Box::pin(run_with(config, client, Env::system(), shutdown)).await
}

/// The same against this API server.
pub async fn run_with(
    config: Config,
    client: Client,
    env: Env,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let folder = config.state_dir.join("tls");
    let files = tls::ensure(&client, &config.namespace, &folder, env.now()).await?;
    let me = format!("{}_{}", config.pod_name, hex(&env.random::<4>()));
    let address = config.address.map(|a| a.to_string());
    let candidate = Candidate::new(&client, &config.namespace, me, address, env.clone());
    if !stand_by(&config, &files, &candidate, &metrics, &shutdown).await? {
        return Ok(());
    }
    let stop = shutdown.child_token();
    metrics.set_leads(true);
    tracing::info!("leads");
    let held = async {
        let held = candidate.hold(&stop).await;
        stop.cancel();
        held
    };
    let renew = keep_certificate(&client, &config, &env, &stop);
    let led = async {
        let led = lead(&config, &client, files, &metrics, &env, &stop).await;
        // The Lease is given back after the last agent was told to go.
        stop.cancel();
        led
    };
    let (held, led, ()) = tokio::join!(held, led, renew);
    led?;
    held.map_err(|why| anyhow::anyhow!("leads no more: {why}"))
}

/// Serves as a standby until it leads. False when it was stopped before.
async fn stand_by(
    config: &Config,
    files: &ServerFiles,
    candidate: &Candidate,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> anyhow::Result<bool> {
    let (stop, leader) = (shutdown.child_token(), Leader::default());
    let won = async {
        let won = candidate.win(&stop, |address| leader.set(address)).await;
        stop.cancel();
        won
    };
    let serving = standby::serve(config, files, leader.clone(), metrics, &stop);
    let (won, served) = tokio::join!(won, serving);
    served?;
    Ok(won && !shutdown.is_cancelled())
}

async fn keep_certificate(client: &Client, config: &Config, env: &Env, stop: &CancellationToken) {
    let folder = config.state_dir.join("tls");
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(TLS_LOOK_SECONDS)) => {}
        }
        // The listener follows the files.
        if let Err(e) = tls::ensure(client, &config.namespace, &folder, env.now()).await {
            tracing::error!(error = format!("{e:#}"), "the certificate could not be looked after");
        }
    }
}

async fn lead(
    config: &Config,
    client: &Client,
    files: ServerFiles,
    metrics: &Metrics,
    env: &Env,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (tasks, watched, domains) = (TaskTracker::new(), Watched::default(), Domains::default());
    watched.start(client, &tasks, stop);
    let reviewer =
        Reviewer::new(client.clone(), watched.clone(), &config.namespace, domains.clone(), env.clone());
    let others: Arc<dyn Identify> = Arc::new(reviewer);
    let settings = coordinator_settings(config, files)?;
    let opener = Arc::new(RepositoryOpener::new(&settings, env.clone())?);
    let (started, handle) =
        coordinator::start_open(settings, opener, others, env.clone(), stop.clone()).await?;
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    handle.registries().put("operator", registry);
    let tools = Tools {
        client: client.clone(),
        watched,
        port: Arc::new(handle),
        config: Arc::new(config.clone()),
        env: env.clone(),
        metrics: metrics.clone(),
        domains,
    };
    let control = Control::new(tools);
    let (served, ()) = tokio::join!(
        async {
            let served = started.wait().await;
            stop.cancel();
            served
        },
        control.run(stop)
    );
    tasks.close();
    tasks.wait().await;
    served
}

/// The coordinator's own settings; its domains come from Repositories. Who calls is known by tokens of the cluster.
fn coordinator_settings(config: &Config, files: ServerFiles) -> anyhow::Result<coordinator::Config> {
    // Checked as if it listened on this machine only: that it asks callers who they are is known here, not there.
    let layer = CoordinatorLayer {
        repo: Some("file:///nowhere".to_owned()),
        key_file: Some(config.state_dir.join("nothing")),
        state_dir: Some(config.state_dir.clone()),
        http_listen: Some(config.http_listen),
        tls_cert_file: Some(files.cert_file),
        tls_key_file: Some(files.key_file),
        ..CoordinatorLayer::default()
    };
    let settings = layer.validate().context("settings of the coordinator")?;
    Ok(coordinator::Config { domains: Vec::new(), listed: true, listen: config.listen, ..settings })
}

/// The domains that each agent has in its plan.
pub(crate) fn domains_of<'a>(
    plans: impl Iterator<Item = (&'a String, &'a NodePlan)>,
) -> BTreeMap<String, Vec<String>> {
    let of = |plan: &NodePlan| plan.repositories.iter().map(|r| r.domain.clone()).collect();
    plans.map(|(node, plan)| (node.clone(), of(plan))).collect()
}
