//! Backups of pods' volumes, and restores: every byte and attribute is compared.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::apps::{self, Claim, IDLE, Kind};
use crate::stage::Stage;
use crate::tree;

/// Runs a Backup of everything that `spec` says, and waits for its end, which must be good.
pub(crate) fn backup(stage: &Stage, namespace: &str, name: &str, spec: &Value) -> anyhow::Result<Value> {
    stage.access.apply_json(&[json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Backup",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})])?;
    ended(stage, "backups.holdfast.dev", namespace, name)
}

/// Restores, and waits for the end, which must be good.
pub(crate) fn restore(stage: &Stage, namespace: &str, name: &str, spec: &Value) -> anyhow::Result<Value> {
    stage.access.apply_json(&[json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Restore",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})])?;
    ended(stage, "restores.holdfast.dev", namespace, name)
}

fn ended(stage: &Stage, kind: &str, namespace: &str, name: &str) -> anyhow::Result<Value> {
    let over = |o: &Value| {
        o["status"]["phase"]
            .as_str()
            .is_some_and(|p| ["Done", "Partial", "Failed", "Cancelled", "Refused"].contains(&p))
    };
    let object = stage.access.until(
        &format!("{kind} {namespace}/{name} ends"),
        120,
        &[kind, "-n", namespace, name],
        over,
    )?;
    ensure!(object["status"]["phase"] == "Done", "{kind} {namespace}/{name} ended: {}", object["status"]);
    Ok(object)
}

/// The newest Snapshot object of a claim; waits until one is there that `is_new`.
pub(crate) fn snapshot(
    stage: &Stage,
    claim: &Claim,
    is_new: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let what = format!("a snapshot of {}/{}", claim.namespace, claim.name);
    let of = |list: &Value| -> Option<Value> {
        let items = list["items"].as_array()?;
        let ours = items.iter().filter(|s| s["spec"]["claim"]["name"] == claim.name.as_str() && is_new(s));
        ours.max_by_key(|s| s["spec"]["started"].as_str().map(str::to_owned)).cloned()
    };
    let words = ["snapshots.holdfast.dev", "-n", &claim.namespace];
    let list = stage.access.until(&what, 120, &words, |list| of(list).is_some())?;
    of(&list).context(what)
}

/// Volumes of both kinds on both nodes: backed up on demand, changed, and restored into other claims.
pub(crate) fn round_trip(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "shop")?;
    let first = apps::claim(stage, "shop/orders", 1, Kind::Local)?;
    let second = apps::claim(stage, "shop/images", 2, Kind::HostPath)?;
    for (seed, claim) in [&first, &second].into_iter().enumerate() {
        tree::plant(&claim.folder, u8::try_from(seed)?)?;
        apps::pod(stage, claim, IDLE)?;
    }
    stage.access.sh("shop/orders", "echo written by the pod > /data/from-the-pod; sync")?;
    let expected = [tree::read(&first.folder)?, tree::read(&second.folder)?];
    let done = backup(stage, "shop", "all", &json!({"claim": "orders"}))?;
    ensure!(done["status"]["done"] == 1, "one volume: {}", done["status"]);
    backup(stage, "shop", "images", &json!({"claim": "images"}))?;
    let snapshots = [snapshot(stage, &first, |_| true)?, snapshot(stage, &second, |_| true)?];
    for snapshot in &snapshots {
        ensure!(snapshot["spec"]["problems"] == 0, "problems: {}", snapshot["spec"]);
    }
    stage.access.sh("shop/orders", "rm -r /data/deep; echo changed > /data/large")?;

    for (claim, snapshot, tree) in
        [(&first, &snapshots[0], &expected[0]), (&second, &snapshots[1], &expected[1])]
    {
        let name = format!("{}-again", claim.name);
        let target = apps::claim(stage, &format!("shop/{name}"), claim.node, Kind::Local)?;
        restore(
            stage,
            "shop",
            &name,
            &json!({
                "snapshot": {"name": snapshot["metadata"]["name"]}, "target": {"claim": name},
            }),
        )?;
        tree::same(&format!("{name} holds what {} held", claim.name), tree, &tree::read(&target.folder)?)?;
    }
    Ok(())
}

/// A policy with a short objective backs up by itself, and again after a change.
pub(crate) fn on_schedule(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "clockwork")?;
    let claim = apps::claim(stage, "clockwork/log", 2, Kind::Local)?;
    apps::pod(stage, &claim, "while true; do date >> /data/log; sleep 1; done")?;
    stage.access.apply_json(&[json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "BackupPolicy", "metadata": {"name": "often"},
        "spec": {"repository": "dev", "priority": 10, "selector": {"namespaces": ["clockwork"]}, "schedule": {"maxAge": "20s"}}})])?;
    let first = snapshot(stage, &claim, |_| true)?;
    let second = snapshot(stage, &claim, |s| s["metadata"]["name"] != first["metadata"]["name"])?;
    ensure!(
        second["spec"]["bytes"].as_i64() > first["spec"]["bytes"].as_i64(),
        "the log grew: {}",
        second["spec"]
    );
    stage.access.kubectl(&["delete", "backuppolicies.holdfast.dev", "often"]).map(drop)
}
