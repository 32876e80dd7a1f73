//! Installing: the manifests as they are, in the documented steps.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::Value;

use crate::stage::{SYSTEM, Stage};

/// The kinds that the manifests bring.
const KINDS: &[&str] = &["repositories", "backuppolicies", "backups", "restores", "snapshots"];

/// The overlay `dev`, onto a cluster that has never seen it; and a second time.
pub(crate) fn applied(stage: &Stage) -> anyhow::Result<()> {
    let first = stage.access.kustomize(&stage.manifests("overlays/dev"))?;
    ensure!(first.lines().count() > 20, "only this was applied: {first}");
    for kind in KINDS {
        let name = format!("{kind}.holdfast.dev");
        stage.access.until(&format!("{name} is served"), 30, &["crd", &name], |crd| {
            condition(crd, "Established").as_deref() == Some("True")
        })?;
    }
    let before = versions(stage)?;
    stage.access.kustomize(&stage.manifests("overlays/dev"))?;
    ensure!(versions(stage)? == before, "a second apply changed the specification of something");
    Ok(())
}

/// The generation of everything that has one: what a second apply must leave.
fn versions(stage: &Stage) -> anyhow::Result<BTreeSet<String>> {
    let words = ["deployment,daemonset,networkpolicy,poddisruptionbudget", "-n", SYSTEM];
    let items = stage.access.list(&words)?;
    Ok(items
        .iter()
        .map(|i| format!("{}/{} {}", i["kind"], i["metadata"]["name"], i["metadata"]["generation"]))
        .collect())
}

/// All pods come up, the coordinators on different nodes; probes pass.
pub(crate) fn running(stage: &Stage) -> anyhow::Result<()> {
    let full = |o: &Value| {
        let s = &o["status"];
        let (wanted, ready) = (s["desiredNumberScheduled"].as_u64(), s["numberReady"].as_u64());
        wanted.is_some_and(|n| n > 0) && wanted == ready
    };
    let two = |o: &Value| o["status"]["readyReplicas"] == 2 && o["status"]["updatedReplicas"] == 2;
    stage.access.until(
        "two coordinators are ready",
        120,
        &["deploy", "-n", SYSTEM, "holdfast-coordinator"],
        two,
    )?;
    stage.access.until(
        "an agent is ready on each node",
        180,
        &["ds", "-n", SYSTEM, "holdfast-agent"],
        full,
    )?;
    let words = ["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=coordinator"];
    let pods = stage.access.list(&words)?;
    let nodes: BTreeSet<String> = pods.iter().map(|p| p["spec"]["nodeName"].to_string()).collect();
    ensure!(nodes.len() == 2 || stage.own.is_none(), "both coordinators are on {nodes:?}");
    let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
    ensure!(pods.iter().all(|p| restarts(p) == 0), "a coordinator was restarted");
    Ok(())
}

/// The second step: a Repository that is made in a new store, and opened.
pub(crate) fn repository(stage: &Stage) -> anyhow::Result<()> {
    stage.access.kustomize(&stage.manifests("overlays/dev/repository"))?;
    let open = |o: &Value| condition(o, "Ready").as_deref() == Some("True");
    stage.access.until("the repository is ready", 120, &["repositories.holdfast.dev", "dev"], open).map(drop)
}

/// The status of a condition.
pub(crate) fn condition(object: &Value, kind: &str) -> Option<String> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|c| c["type"] == kind)?["status"].as_str().map(str::to_owned)
}
