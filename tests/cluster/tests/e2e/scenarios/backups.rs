//! Backups of pods' volumes, and restores: every byte and attribute is compared.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::apps::{self, Claim, IDLE, Kind};
use crate::stage::{IMAGE, SYSTEM, Stage};
use crate::tree;

/// Asks for a backup of one claim, by an object of its name.
pub(crate) fn begin(stage: &Stage, claim: &Claim, name: &str) -> anyhow::Result<()> {
    stage.access.apply_json(&[json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Backup",
        "metadata": {"name": name, "namespace": claim.namespace}, "spec": {"claim": claim.name}})])
}

/// Waits for the end of a Backup, which must be good. Gives the snapshot's id.
pub(crate) fn ended(stage: &Stage, claim: &Claim, name: &str, seconds: u64) -> anyhow::Result<String> {
    let over = |o: &Value| {
        let phase = o["status"]["phase"].as_str();
        phase.is_some_and(|p| ["Done", "Partial", "Failed", "Cancelled", "Refused"].contains(&p))
    };
    let what = format!("Backup {}/{name} ends", claim.namespace);
    let words = ["backups.holdfast.dev", "-n", &claim.namespace, name];
    let status = stage.access.until(&what, seconds, &words, over)?["status"].clone();
    ensure!(status["phase"] == "Done", "Backup {}/{name}: {status}", claim.namespace);
    let id = status["volumes"][0]["snapshot"].as_str().map(str::to_owned);
    id.with_context(|| format!("Backup {}/{name} names no snapshot: {status}", claim.namespace))
}

/// Waits until a Backup's volume is being read.
pub(crate) fn runs(stage: &Stage, claim: &Claim, name: &str) -> anyhow::Result<()> {
    let reads = |o: &Value| o["status"]["volumes"][0]["state"] == "running";
    let words = ["backups.holdfast.dev", "-n", &claim.namespace, name];
    stage.access.until(&format!("Backup {name} runs"), 60, &words, reads).map(drop)
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

/// Restores a snapshot with the bucket and its key alone, as after the loss of everything else, and reads what came.
pub(crate) fn restored(stage: &Stage, id: &str) -> anyhow::Result<tree::Tree> {
    let (name, path) = (format!("restore-{}", &id[..12]), format!("/srv/restored-{}", &id[..12]));
    let out = stage.own()?.folder(1, &path)?;
    std::fs::create_dir_all(&out)?;
    let target = "/out";
    let args = [
        "restore",
        "--repo",
        "s3://holdfast/dev",
        "--domain",
        "dev",
        "--key-file",
        "/secret/key",
        id,
        target,
    ];
    stage.access.apply_json(&[json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "nodeSelector": {"kubernetes.io/hostname": "node1"},
            "securityContext": {"runAsUser": 0, "runAsGroup": 0},
            "containers": [{"name": "restore", "image": IMAGE, "args": args,
                "envFrom": [{"secretRef": {"name": "holdfast-dev"}}],
                "volumeMounts": [{"name": "out", "mountPath": target}, {"name": "secret", "mountPath": "/secret"}]}],
            "volumes": [{"name": "out", "hostPath": {"path": path}}, {"name": "secret", "secret": {"secretName": "holdfast-dev"}}],
        }})])?;
    let over = |o: &Value| matches!(o["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let pod = stage.access.until("the restore ends", 120, &["pod", "-n", SYSTEM, &name], over)?;
    let said = stage.access.kubectl(&["logs", "-n", SYSTEM, &name])?;
    ensure!(pod["status"]["phase"] == "Succeeded", "restore of {id}: {said}");
    stage.access.kubectl(&["delete", "pod", "-n", SYSTEM, &name, "--grace-period=0", "--force"])?;
    tree::read(&out)
}

/// Lets agents see a folder of their nodes, as an overlay would; waits until they are back.
fn mount_folder(stage: &Stage, path: &str) -> anyhow::Result<()> {
    let patch = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "agent", "env": [{"name": "HOLDFAST_HOST_PATHS", "value": path}], "volumeMounts": [
            {"name": "volumes", "mountPath": path, "readOnly": true, "mountPropagation": "HostToContainer"}]}],
        "volumes": [{"name": "volumes", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}],
    }}}});
    stage.access.kubectl(&["patch", "-n", SYSTEM, "ds", "holdfast-agent", "-p", &patch.to_string()])?;
    stage
        .access
        .kubectl(&["rollout", "status", "-n", SYSTEM, "ds/holdfast-agent", "--timeout=180s"])
        .map(drop)
}

fn planted(folder: &Path, seed: u8) -> anyhow::Result<tree::Tree> {
    tree::plant(folder, seed)?;
    tree::read(folder)
}

/// Claims of both nodes, backed up on demand, changed, and restored as they were.
pub(crate) fn round_trip(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "shop")?;
    let claims = [
        apps::claim(stage, "shop/orders", 1, Kind::Local)?,
        apps::claim(stage, "shop/images", 2, Kind::Local)?,
    ];
    let mut expected = Vec::new();
    for (seed, claim) in (0..).zip(&claims) {
        tree::plant(&claim.folder, seed)?;
        apps::pod(stage, claim, IDLE)?;
        stage.access.sh(&format!("shop/{}", claim.name), "echo by the pod > /data/from-the-pod; sync")?;
        expected.push(tree::read(&claim.folder)?);
        begin(stage, claim, &claim.name)?;
    }
    for (claim, expected) in claims.iter().zip(&expected) {
        let id = ended(stage, claim, &claim.name, 120)?;
        let object = snapshot(stage, claim, |s| s["spec"]["id"] == id.as_str())?;
        ensure!(
            object["spec"]["problems"] == 0 && object["spec"]["namespace"]["name"] == "shop",
            "{}",
            object["spec"]
        );
        stage.access.sh(&format!("shop/{}", claim.name), "rm -r /data/deep; echo changed > /data/large")?;
        tree::same(&format!("what {} held", claim.name), expected, &restored(stage, &id)?)?;
    }
    Ok(())
}

/// A hostPath volume, which kubelet mounts nowhere: read where agents have its folder mounted.
pub(crate) fn host_path(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "paths")?;
    let claim = apps::claim(stage, "paths/data", 2, Kind::HostPath)?;
    let expected = planted(&claim.folder, 7)?;
    apps::pod(stage, &claim, IDLE)?;
    mount_folder(stage, "/srv/volumes")?;
    begin(stage, &claim, "data")?;
    let id = ended(stage, &claim, "data", 120)?;
    tree::same("the hostPath volume", &expected, &restored(stage, &id)?)
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
    stage.access.kubectl(&["delete", "backuppolicies.holdfast.dev", "often"])?;
    stage
        .access
        .kubectl(&["delete", "pod", "-n", "clockwork", "log", "--grace-period=0", "--force"])
        .map(drop)
}

/// What is not backed up is named with the reason: left out, not mounted, a device.
pub(crate) fn coverage(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "coverage")?;
    let claim = |name: &str| apps::claim(stage, &format!("coverage/{name}"), 1, Kind::Local);
    let (left_out, mounted) = (claim("left-out")?, claim("mounted")?);
    claim("unmounted")?;
    let label = ["label", "pvc", "-n", "coverage", "left-out", "velero.io/exclude-from-backup=true"];
    stage.access.kubectl(&label)?;
    apps::pod(stage, &left_out, IDLE)?;
    apps::pod(stage, &mounted, IDLE)?;
    begin(stage, &mounted, "mounted")?;
    ended(stage, &mounted, "mounted", 120)?;
    let named = |policy: &Value, name: &str| {
        let all = policy["status"]["unprotectedClaims"].as_array().cloned().unwrap_or_default();
        all.iter().any(|c| c["namespace"] == "coverage" && c["name"] == name)
    };
    let so = |policy: &Value| {
        named(policy, "unmounted") && !named(policy, "mounted") && !named(policy, "left-out")
    };
    let words = ["backuppolicies.holdfast.dev", "everything"];
    stage.access.until("the policy names the claim that no pod mounts, and no other", 60, &words, so)?;
    let words =
        ["events", "-n", "coverage", "--field-selector=reason=Unprotected,involvedObject.name=unmounted"];
    let said = |list: &Value| list["items"].as_array().is_some_and(|l| !l.is_empty());
    stage.access.until("an event tells who looks at the claim", 60, &words, said).map(drop)
}
