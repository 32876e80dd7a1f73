//! Objects of Kubernetes and snapshots, as tests need them.

use repository::env::Timestamp;
use repository::ids::{BlobId, BlobRef, PackId, Place, Sid};
use repository::manifest::{Manifest, Origin, Summary};
use repository::ops::snapshots::Snapshot;
use serde_json::{Value, json};

use super::FakeApi;

/// A cluster of two nodes, with the namespaces `kube-system`, `holdfast-system` and `shop`.
pub(crate) fn cluster() -> FakeApi {
    let api = FakeApi::default();
    for name in ["kube-system", "holdfast-system", "shop"] {
        api.put("core/namespaces", json!({"metadata": {"name": name, "uid": format!("ns-{name}")}}));
    }
    for name in ["n1", "n2"] {
        api.put(
            "core/nodes",
            json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        );
    }
    api
}

/// A claim of `shop` bound to a CSI volume.
pub(crate) fn claim(api: &FakeApi, name: &str) {
    let uid = format!("claim-{name}");
    api.put(
        "core/persistentvolumes",
        json!({"metadata": {"name": format!("pv-{name}")},
        "spec": {"csi": {"driver": "d", "volumeHandle": name}, "claimRef": {"uid": uid}}}),
    );
    api.put("core/persistentvolumeclaims", json!({"metadata": {"name": name, "namespace": "shop", "uid": uid},
        "spec": {"volumeName": format!("pv-{name}"), "storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}));
}

/// A running pod of `shop` on a node that mounts a claim of its name.
pub(crate) fn pod(api: &FakeApi, name: &str, node: &str) {
    api.put("core/pods", json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("pod-{name}-{node}")},
        "spec": {"nodeName": node, "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]},
        "status": {"phase": "Running"}}));
}

/// A Repository in a folder.
pub(crate) fn repository(name: &str, folder: &std::path::Path) -> Value {
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Repository", "metadata": {"name": name},
        "spec": {"url": format!("file://{}", folder.display()), "secretRef": {"name": "key"}}})
}

/// The Secret that opens it.
pub(crate) fn secret(api: &FakeApi) {
    use k8s_openapi::ByteString;
    let key = serde_json::to_value(ByteString("5".repeat(64).into_bytes())).unwrap();
    api.put(
        "core/secrets",
        json!({"metadata": {"name": "key", "namespace": "holdfast-system"}, "data": {"key": key}}),
    );
}

/// A policy for everything.
pub(crate) fn policy(name: &str) -> Value {
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "BackupPolicy", "metadata": {"name": name},
        "spec": {"repository": "main", "schedule": {"maxAge": "1h"}}})
}

/// A Backup in `shop`.
pub(crate) fn backup(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Backup", "metadata": {"name": name, "namespace": "shop"},
        "spec": spec})
}

/// The identity of a claim's volume.
pub(crate) fn volume(claim: &str) -> String {
    format!("csi:ns-kube-system/d/{claim}")
}

/// What a claim of `shop` is to its cluster.
pub(crate) fn origin(claim: &str) -> Origin {
    Origin {
        cluster: "ns-kube-system".into(),
        namespace: "shop".into(),
        namespace_uid: "ns-shop".into(),
        claim: claim.into(),
        claim_uid: format!("claim-{claim}"),
        objects: Vec::new(),
    }
}

fn blob() -> BlobRef {
    let pack = PackId { sid: Sid([0; 16]), rnd: [0; 8] };
    BlobRef { id: BlobId([0; 32]), place: Place { pack, ordinal: 0 } }
}

/// A snapshot of a claim's volume, begun at that second.
pub(crate) fn snapshot(id: u8, claim: &str, second: i64) -> Snapshot {
    let manifest = Manifest {
        volume: volume(claim),
        host: "n1".into(),
        path: b"/data".to_vec(),
        started: Timestamp::from_parts(second, 0),
        finished: Timestamp::from_parts(second + 5, 0),
        parent: None,
        tags: Vec::new(),
        entries: 3,
        files: 2,
        bytes: 10,
        bytes_new: 10,
        bytes_stored: 10,
        problems: 0,
        changed: 0,
        root: blob(),
        root_usage: blob(),
        summary: Summary::Inline(Vec::new()),
        identity: None,
        copied: None,
        repaired: None,
        origin: Some(Box::new(origin(claim))),
    };
    Snapshot { id: Sid([id; 16]), manifest }
}
