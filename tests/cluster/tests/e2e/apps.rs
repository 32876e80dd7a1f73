//! Applications of the tests: namespaces, volumes on nodes, claims, and pods that mount them.

use std::fs;
use std::path::PathBuf;

use cluster::oci::BUSYBOX_IMAGE;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Of volumes that are made by hand.
pub(crate) const CLASS: &str = "tests-static";

/// What a volume of the tests is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A local volume: kubelet binds the folder into pods' folders.
    Local,
    /// A hostPath volume: kubelet mounts nothing.
    HostPath,
}

/// A claim of the tests with its volume.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The node that has the volume.
    pub(crate) node: usize,
    /// The volume's folder, as the machine sees it.
    pub(crate) folder: PathBuf,
}

/// Makes a namespace.
pub(crate) fn namespace(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.access.apply_json(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})])
}

/// Makes an empty volume on a node and a claim that has it. `claim` is `NAMESPACE/NAME`.
pub(crate) fn claim(stage: &Stage, claim: &str, node: usize, kind: Kind) -> anyhow::Result<Claim> {
    let (namespace, name) = split(claim);
    let volume = format!("{namespace}-{name}");
    let path = format!("/srv/volumes/{volume}");
    let folder = stage.own()?.folder(node, &path)?;
    fs::create_dir_all(&folder)?;
    let mut spec = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": namespace, "name": name},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [format!("node{node}")]}]}]}},
    });
    match kind {
        Kind::Local => spec["local"] = json!({"path": path}),
        Kind::HostPath => spec["hostPath"] = json!({"path": path, "type": "Directory"}),
    }
    stage.access.apply_json(&[
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}),
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS, "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}}}}),
    ])?;
    Ok(Claim { namespace: namespace.to_owned(), name: name.to_owned(), node, folder })
}

/// Starts a pod of the claim's name that mounts it at `/data` and runs `script`; waits until it runs.
pub(crate) fn pod(stage: &Stage, claim: &Claim, script: &str) -> anyhow::Result<()> {
    stage.access.apply_json(&[pod_object(claim, script)])?;
    until_running(stage, &claim.namespace, &claim.name)
}

/// The pod as an object.
pub(crate) fn pod_object(claim: &Claim, script: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": claim.name, "namespace": claim.namespace},
    "spec": {
        "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
        "nodeSelector": {"kubernetes.io/hostname": format!("node{}", claim.node)},
        "containers": [{"name": "app", "image": BUSYBOX_IMAGE, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-ec", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim.name}}],
    }})
}

/// A script that does nothing for long, and ends when it is asked to.
pub(crate) const IDLE: &str = "sleep 100000";

/// Waits until a pod runs.
pub(crate) fn until_running(stage: &Stage, namespace: &str, name: &str) -> anyhow::Result<()> {
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    let what = format!("pod {namespace}/{name} runs");
    stage.access.until(&what, 60, &["pod", "-n", namespace, name], runs).map(drop)
}

fn split(claim: &str) -> (&str, &str) {
    claim.split_once('/').unwrap_or(("default", claim))
}
