//! From objects of Kubernetes to what is kept of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use serde::Serialize;

use super::objects::{
    Claim, ClaimPhase, Class, Labels, Namespace, Node, Pod, PodPhase, PodVolume, Source, Volume, VolumeOfPod,
};
use crate::limits::ORIGIN_OBJECT_BYTES_MAX;
use crate::quantity;
use crate::resources::{Backup, BackupPolicy, Repository, Restore, Snapshot};

/// What is kept of an object.
pub trait Trim: Send + Sync + 'static {
    /// The object as the API server gives it.
    type From;

    /// Keeps what is needed.
    fn trim(from: Self::From) -> Self;
}

/// Annotations of pods that mean something to us begin with one of these.
const POD_ANNOTATIONS: [&str; 4] =
    ["backup.velero.io/", "pre.hook.backup.velero.io/", "post.hook.backup.velero.io/", "holdfast.dev/"];
/// Of a namespace: others (`cluster/uid`, with commas) whose snapshots may be seen and restored in it, too.
const ADOPTS_ANNOTATION: &str = "holdfast.dev/adopts";
/// Never selected by, and mostly large.
const NOT_KEPT: [&str; 2] = ["kubectl.kubernetes.io/last-applied-configuration", "volume.kubernetes.io/"];

impl Trim for Pod {
    type From = core::Pod;

    fn trim(from: core::Pod) -> Self {
        let (spec, status) = (from.spec.unwrap_or_default(), from.status.unwrap_or_default());
        let name = from.metadata.name.unwrap_or_default();
        let waits_for = match status.phase.as_deref() {
            Some("Pending") => waits_for(&status),
            _ => String::new(),
        };
        let owners = from.metadata.owner_references.unwrap_or_default();
        let controller = owners.iter().find(|o| o.controller == Some(true));
        let annotations = from.metadata.annotations.unwrap_or_default();
        Self {
            uid: from.metadata.uid.unwrap_or_default(),
            node: spec.node_name,
            phase: match status.phase.as_deref() {
                Some("Running") => PodPhase::Running,
                Some("Succeeded" | "Failed") => PodPhase::Ended,
                _ => PodPhase::Pending,
            },
            deleting: from.metadata.deletion_timestamp.is_some(),
            labels: from.metadata.labels.unwrap_or_default(),
            annotations: kept(annotations, |name| POD_ANNOTATIONS.iter().any(|p| name.starts_with(p))),
            volumes: spec.volumes.into_iter().flatten().filter_map(|v| pod_volume(&name, v)).collect(),
            controller: controller.map(|o| format!("{}/{}", o.kind, o.name)),
            service_account: spec.service_account_name.unwrap_or_default(),
            waits_for,
        }
    }
}

/// Why a pod does not run yet: it has no node, or a container can't be started.
fn waits_for(status: &core::PodStatus) -> String {
    let unscheduled =
        status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let waiting = status.container_statuses.iter().flatten().find_map(|c| c.state.as_ref()?.waiting.as_ref());
    let said = match (unscheduled, waiting) {
        (Some(condition), _) => condition.message.clone(),
        (None, Some(waiting)) => waiting.message.clone().or_else(|| waiting.reason.clone()),
        (None, None) => None,
    };
    said.unwrap_or_default().chars().take(300).collect()
}

fn kept(all: Labels, keep: impl Fn(&str) -> bool) -> Labels {
    all.into_iter().filter(|(name, _)| keep(name)).collect()
}

fn pod_volume(pod: &str, volume: core::Volume) -> Option<PodVolume> {
    let of = if let Some(claim) = volume.persistent_volume_claim {
        VolumeOfPod::Claim(claim.claim_name)
    } else if volume.ephemeral.is_some() {
        VolumeOfPod::Claim(format!("{pod}-{}", volume.name))
    } else if volume.empty_dir.is_some_and(|e| e.medium.unwrap_or_default().is_empty()) {
        VolumeOfPod::EmptyDir
    } else {
        return None;
    };
    Some(PodVolume { name: volume.name, of })
}

impl Trim for Claim {
    type From = core::PersistentVolumeClaim;

    fn trim(from: core::PersistentVolumeClaim) -> Self {
        let json = stored(&from);
        let (spec, status) = (from.spec.unwrap_or_default(), from.status.unwrap_or_default());
        let asked = spec.resources.and_then(|r| r.requests);
        let storage = |all: &BTreeMap<String, _>| {
            let size: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> = all.get("storage");
            size.and_then(|s| quantity::bytes(&s.0))
        };
        let has = status.capacity.as_ref().and_then(storage);
        let modes = spec.access_modes.unwrap_or_default();
        let annotations = from.metadata.annotations.unwrap_or_default();
        Self {
            uid: from.metadata.uid.unwrap_or_default(),
            volume: spec.volume_name.filter(|v| !v.is_empty()),
            phase: match status.phase.as_deref() {
                Some("Bound") => ClaimPhase::Bound,
                Some("Lost") => ClaimPhase::Lost,
                _ => ClaimPhase::Pending,
            },
            class: spec.storage_class_name.filter(|c| !c.is_empty()),
            bytes: has.or_else(|| asked.as_ref().and_then(storage)).unwrap_or(0),
            block: spec.volume_mode.as_deref() == Some("Block"),
            shared: modes.iter().any(|m| m == "ReadWriteMany" || m == "ReadOnlyMany"),
            deleting: from.metadata.deletion_timestamp.is_some(),
            labels: from.metadata.labels.unwrap_or_default(),
            annotations: kept(annotations, |name| !NOT_KEPT.iter().any(|p| name.starts_with(p))),
            json,
        }
    }
}

impl Trim for Volume {
    type From = core::PersistentVolume;

    fn trim(from: core::PersistentVolume) -> Self {
        let json = stored(&from);
        let annotations = from.metadata.annotations.unwrap_or_default();
        let spec = from.spec.unwrap_or_default();
        let terms = spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
        let terms = terms.map(|r| r.node_selector_terms.as_slice()).unwrap_or_default();
        let expressions = terms.iter().flat_map(|t| t.match_expressions.iter().flatten());
        let hosts = expressions.filter(|e| e.key == "kubernetes.io/hostname" && e.operator == "In");
        Self {
            deleting: from.metadata.deletion_timestamp.is_some(),
            hosts: hosts.flat_map(|e| e.values.iter().flatten().cloned()).collect(),
            claim_uid: spec.claim_ref.as_ref().and_then(|c| c.uid.clone()),
            source: source(spec, annotations.get("pv.kubernetes.io/migrated-to")),
            labels: from.metadata.labels.unwrap_or_default(),
            json,
        }
    }
}

fn source(spec: core::PersistentVolumeSpec, migrated_to: Option<&String>) -> Source {
    if let Some(csi) = spec.csi {
        return Source::Csi { driver: csi.driver, handle: csi.volume_handle };
    }
    if let Some(driver) = migrated_to {
        let handle = spec
            .aws_elastic_block_store
            .map(|s| s.volume_id)
            .or(spec.gce_persistent_disk.map(|s| s.pd_name))
            .or(spec.azure_disk.map(|s| s.disk_uri))
            .or(spec.azure_file.map(|s| s.share_name))
            .or(spec.cinder.map(|s| s.volume_id))
            .or(spec.vsphere_volume.map(|s| s.volume_path))
            .or(spec.portworx_volume.map(|s| s.volume_id));
        return handle.map_or(Source::Other, |handle| Source::Csi { driver: driver.clone(), handle });
    }
    if let Some(local) = spec.local {
        return Source::Local { path: local.path };
    }
    if let Some(host) = spec.host_path {
        return Source::HostPath { path: host.path };
    }
    match spec.nfs {
        Some(nfs) => Source::Nfs { server: nfs.server, path: nfs.path },
        None => Source::Other,
    }
}

/// The object as snapshots keep it: what is needed to make it again, without who changed which field and how it stands. Empty if it is
/// larger than [`ORIGIN_OBJECT_BYTES_MAX`].
fn stored<K: Serialize>(object: &K) -> Vec<u8> {
    let Ok(mut value) = serde_json::to_value(object) else { return Vec::new() };
    if let Some(all) = value.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(|m| m.as_object_mut()) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(|a| a.as_object_mut()) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    let json = serde_json::to_vec(&value).unwrap_or_default();
    if json.len() > ORIGIN_OBJECT_BYTES_MAX { Vec::new() } else { json }
}

impl Trim for Namespace {
    type From = core::Namespace;

    fn trim(from: core::Namespace) -> Self {
        let adopts = from.annotations().get(ADOPTS_ANNOTATION).map(String::as_str).unwrap_or_default();
        let adopts = adopts.split(',').map(str::trim).filter(|a| a.contains('/')).map(str::to_owned);
        Self {
            adopts: adopts.collect(),
            uid: from.metadata.uid.unwrap_or_default(),
            labels: from.metadata.labels.unwrap_or_default(),
            deleting: from.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl Trim for Class {
    type From = StorageClass;

    fn trim(from: StorageClass) -> Self {
        let json = stored(&from);
        let default = from.annotations().get("storageclass.kubernetes.io/is-default-class");
        Self {
            default: default.is_some_and(|v| v == "true"),
            waits: from.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            provisioner: from.provisioner,
            json,
        }
    }
}

impl Trim for Node {
    type From = core::Node;

    fn trim(from: core::Node) -> Self {
        let conditions = from.status.and_then(|s| s.conditions).unwrap_or_default();
        Self {
            uid: from.metadata.uid.unwrap_or_default(),
            labels: from.metadata.labels.unwrap_or_default(),
            ready: conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
        }
    }
}

/// Our own are kept as they are, but for who changed which field.
macro_rules! keep {
    ($($kind:ty),*) => {$(
        impl Trim for $kind {
            type From = $kind;

            fn trim(mut from: $kind) -> Self {
                from.metadata.managed_fields = None;
                from
            }
        }
    )*};
}

keep!(Repository, BackupPolicy, Backup, Restore, Snapshot);
