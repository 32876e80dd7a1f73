//! The pod that fills one volume, and its way to it: objects only, made of plain values.
//!
//! A mover runs in Holdfast's own namespace, never in that of the claim. A pod can only mount claims of its own namespace, so the claim's volume
//! gets a twin: another persistent volume on the same data, bound to a claim of ours for as long as the restore takes. The claim itself is not
//! touched; nothing that happens to the twin can delete its data (`Retain`).

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use serde_json::{Value, json};

use super::{Tools, Writer, write};
use crate::config::Config;
use crate::identify::{AUDIENCE, MOVER, MOVER_LABEL};
use crate::tls::{CONFIG_MAP, SERVICE};
use crate::world::{Claim, Key, Labels, Volume};

/// Says which Restore an object is for, by its uid.
const RESTORE_LABEL: &str = "holdfast.dev/restore-uid";
/// Where a mover has its volume.
pub(super) const VOLUME_PATH: &str = "/volume";

/// The name of all objects of a Restore.
pub(super) fn name_of(restore_uid: &str) -> String {
    format!("holdfast-restore-{restore_uid}")
}

fn labels(restore_uid: &str) -> Value {
    json!({"app.kubernetes.io/name": "holdfast", MOVER_LABEL.0: MOVER_LABEL.1,
        "app.kubernetes.io/managed-by": "holdfast", RESTORE_LABEL: restore_uid})
}

/// The twin of a volume: the same data, for our claim only, and never deleted with it.
pub(super) fn twin(volume: &Volume, config: &Config, restore_uid: &str) -> Result<PersistentVolume, String> {
    let mut object: Value = serde_json::from_slice(&volume.json).map_err(|e| format!("its volume: {e}"))?;
    let name = name_of(restore_uid);
    let mut spec = object["spec"].take();
    spec["persistentVolumeReclaimPolicy"] = json!("Retain");
    spec["claimRef"] = json!({"namespace": config.namespace, "name": name});
    spec["storageClassName"] = json!("");
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("volumeAttributesClassName");
    }
    let object = json!({"metadata": {"name": name, "labels": labels(restore_uid)}, "spec": spec});
    serde_json::from_value(object).map_err(|e| format!("its volume: {e}"))
}

/// The claim of ours that has the twin.
pub(super) fn twin_claim(
    claim: &Claim,
    twin: &PersistentVolume,
    config: &Config,
    restore_uid: &str,
) -> Result<PersistentVolumeClaim, String> {
    let name = name_of(restore_uid);
    let spec = twin.spec.as_ref();
    let modes = spec.and_then(|s| s.access_modes.clone()).unwrap_or_default();
    let size = spec.and_then(|s| s.capacity.as_ref()?.get("storage").map(|q| q.0.clone()));
    let size = size.unwrap_or_else(|| claim.bytes.max(1).to_string());
    let object = json!({
        "metadata": {"name": name, "namespace": config.namespace, "labels": labels(restore_uid)},
        "spec": {"accessModes": modes, "storageClassName": "", "volumeName": name,
            "resources": {"requests": {"storage": size}}},
    });
    serde_json::from_value(object).map_err(|e| format!("a claim on it: {e}"))
}

/// The pod. It may do to files what owners, modes and attributes take, and nothing to anything else.
pub(super) fn pod(config: &Config, restore_uid: &str) -> Result<Pod, String> {
    let image = config.mover_image.as_ref().ok_or("HOLDFAST_MOVER_IMAGE is not set: there are no movers")?;
    let name = name_of(restore_uid);
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let coordinator = format!("https://{SERVICE}.{}.svc:{}", config.namespace, coordinator::config::PORT);
    let object = json!({
        "metadata": {"name": name, "namespace": config.namespace, "labels": labels(restore_uid)},
        "spec": {
            "serviceAccountName": MOVER, "automountServiceAccountToken": false, "enableServiceLinks": false,
            "restartPolicy": "Never", "priorityClassName": "holdfast-mover", "terminationGracePeriodSeconds": 10,
            "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"operator": "Exists"}],
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "fsGroupChangePolicy": "OnRootMismatch"},
            "containers": [{
                "name": "mover", "image": image, "imagePullPolicy": "IfNotPresent", "args": ["mover"],
                "env": [env("HOLDFAST_COORDINATOR", &coordinator),
                    env("HOLDFAST_TOKEN_FILE", "/var/run/secrets/holdfast.dev/token"),
                    env("HOLDFAST_TLS_CA_FILE", "/etc/holdfast/ca/ca.crt"),
                    env("HOLDFAST_STATE_DIR", "/var/lib/holdfast"),
                    field("HOLDFAST_POD_UID", "metadata.uid"), field("HOLDFAST_NODE_NAME", "spec.nodeName")],
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "768Mi"}},
                "securityContext": {
                    "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"],
                        "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"]},
                },
                "volumeMounts": [{"name": "volume", "mountPath": VOLUME_PATH},
                    {"name": "ca", "mountPath": "/etc/holdfast/ca", "readOnly": true},
                    {"name": "token", "mountPath": "/var/run/secrets/holdfast.dev", "readOnly": true},
                    {"name": "state", "mountPath": "/var/lib/holdfast"}, {"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": name}},
                {"name": "ca", "configMap": {"name": CONFIG_MAP}},
                {"name": "token", "projected": {"defaultMode": 0o400, "sources": [{"serviceAccountToken":
                    {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}}]}},
                {"name": "state", "emptyDir": {"sizeLimit": "4Gi"}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
        },
    });
    serde_json::from_value(object).map_err(|e| format!("the mover: {e}"))
}

/// Takes away what Restores made that are over.
pub(super) async fn sweep(tools: &Tools, active: &HashSet<String>, writer: &mut Writer) {
    let own = &tools.config.namespace;
    let over = |labels: &Labels| labels.get(RESTORE_LABEL).is_some_and(|uid| !active.contains(uid));
    let (pods, claims, volumes) = {
        let world = tools.watched.read();
        let pods = world.pods.iter().filter(|(k, p)| k.namespace == *own && !p.deleting && over(&p.labels));
        let claims =
            world.claims.iter().filter(|(k, c)| k.namespace == *own && !c.deleting && over(&c.labels));
        let volumes = world.volumes.iter().filter(|(_, v)| !v.deleting && over(&v.labels));
        let names = |k: &Key| k.name.clone();
        (
            pods.map(|(k, _)| names(k)).collect::<Vec<_>>(),
            claims.map(|(k, _)| names(k)).collect::<Vec<_>>(),
            volumes.map(|(k, _)| names(k)).collect::<Vec<_>>(),
        )
    };
    for name in pods {
        writer.delete_named(&write::namespaced::<Pod>(&tools.client, own), &name).await;
    }
    for name in claims {
        writer.delete_named(&write::namespaced::<PersistentVolumeClaim>(&tools.client, own), &name).await;
    }
    for name in volumes {
        writer.delete_named(&Api::<PersistentVolume>::all(tools.client.clone()), &name).await;
    }
}
