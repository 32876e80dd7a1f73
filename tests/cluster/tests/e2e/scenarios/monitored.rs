//! A real Prometheus watches the cluster, and is asked what every panel of the dashboards and every alert asks.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use cluster::{run, until};
use monitoring::{alerts::ALERTS, dashboards};
use serde_json::{Value, json};

use crate::skipped;
use crate::stage::{SYSTEM, Stage};

const ADDRESS: &str = "127.0.0.1:9090";

/// A Prometheus; it ends when it is dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where each pod of Holdfast serves metrics.
fn targets(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let pods = stage.access.list(&["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=holdfast"])?;
    let of = |pod: &Value| {
        let ip = pod["status"]["podIP"].as_str()?;
        let ports = pod["spec"]["containers"][0]["ports"].as_array()?;
        let port = ports.iter().find(|p| p["name"] == "http")?["containerPort"].as_u64()?;
        Some(format!("{ip}:{port}"))
    };
    Ok(pods.iter().filter_map(of).collect())
}

fn start(stage: &Stage, folder: &Path, targets: &[String]) -> anyhow::Result<Prometheus> {
    let config = json!({
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [stage.manifests("components/monitoring/rules.yaml")],
        "scrape_configs": [{"job_name": "holdfast", "static_configs": [{"targets": targets}]}],
    });
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config.to_string())?;
    let mut command = stage.access.command(Path::new("prometheus"));
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={ADDRESS}")).arg("--log.level=error");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Prometheus(child.context("start prometheus")?))
}

/// What it answers, a line for each series.
fn ask(stage: &Stage, query: &str) -> anyhow::Result<Vec<String>> {
    let mut command = stage.access.command(Path::new("promtool"));
    let said = run(command.args(["query", "instant", &format!("http://{ADDRESS}"), query]), None)?;
    Ok(said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// Every panel has something to show on a system that works, and every alert can be evaluated; none about damage fires.
pub(crate) fn panels(stage: &Stage) -> anyhow::Result<()> {
    if Command::new("prometheus").arg("--version").output().is_err() {
        skipped("every panel's query", "prometheus is not installed (Debian's package prometheus)");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let targets = targets(stage)?;
    let _running = start(stage, folder.path(), &targets)?;
    let all = targets.len().to_string();
    until("all of Holdfast's pods are scraped, twice", 60, || {
        let up = ask(stage, "sum(count_over_time(up[1m]) > 2) > 0 and sum(up)")?;
        let up = if up.is_empty() { Vec::new() } else { ask(stage, "sum(up)")? };
        Ok(up.iter().any(|line| line.contains(&format!("=> {all} "))).then_some(()))
    })?;
    let mut empty = Vec::new();
    for (dashboard, panel) in dashboards::all().iter().flat_map(|d| d.panels.iter().map(move |p| (d, p))) {
        let query = panel.query_of_all();
        // What has never happened has no time: nothing is right to show.
        if ask(stage, &query)?.is_empty() && !query.contains("> 0") {
            empty.push(format!("{}: {}: {query}", dashboard.title, panel.title));
        }
    }
    ensure!(empty.is_empty(), "nothing to show:\n      {}", empty.join("\n      "));
    for alert in ALERTS {
        ask(stage, alert.query).with_context(|| format!("ask {}", alert.name))?;
    }
    for quiet in [
        "HoldfastVerificationFailed",
        "HoldfastNoLeader",
        "HoldfastReadersNotConfined",
        "HoldfastRepositoryUnreachable",
    ] {
        let query = ALERTS.iter().find(|a| a.name == quiet).map(|a| a.query).context(quiet)?;
        let answer = ask(stage, query)?;
        ensure!(answer.is_empty(), "{quiet} would fire: {answer:?}");
    }
    Ok(())
}
