//! `Restore`: a snapshot into a claim. Namespaced: only snapshots of its own namespace, only into claims of it.

#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns of one type are no duplicates; the derive makes a copy of the type within a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition;

/// A snapshot into a claim.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "Restore",
    plural = "restores",
    shortname = "hfrestore",
    category = "holdfast",
    namespaced,
    status = "RestoreStatus",
    derive = "PartialEq",
    doc = "A snapshot of this namespace into a claim of this namespace.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].reason"
    ),
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.files"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSpec {
    /// Which snapshot.
    #[x_kube(validation = Rule::new("self == oldSelf").message("snapshot can't be changed"))]
    pub snapshot: SnapshotRef,
    /// Into which claim.
    #[x_kube(validation = Rule::new("self == oldSelf").message("target can't be changed"))]
    pub target: RestoreTarget,
    /// What to do with what is there.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("existing can't be changed"))]
    pub existing: Existing,
    /// Only what is at or below this path of the snapshot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub path: String,
    /// Only entries that match one of these patterns, which are like those of `.gitignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub patterns: Vec<String>,
    /// Ends it.
    #[serde(default)]
    pub cancel: bool,
}

/// A snapshot. Exactly one of `name` and `id`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != has(self.id)").message("exactly one of name and id"))]
#[x_kube(validation = Rule::new("has(self.id) == has(self.repository)").message("repository goes with id"))]
pub struct SnapshotRef {
    /// The name of a Snapshot object of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// The id of a snapshot, 32 hex digits: also of one that is not shown as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{32}$"))]
    pub id: Option<String>,
    /// The Repository that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub repository: Option<String>,
}

/// A claim of this namespace. Exactly one of `claim` and `newClaim`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.claim) != has(self.newClaim)").message("exactly one of claim and newClaim"))]
pub struct RestoreTarget {
    /// A claim that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
    /// A claim that is made, filled before anybody can mount it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_claim: Option<NewClaim>,
}

/// A claim to be made. What is not given is as it was when the snapshot was made.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NewClaim {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class: Option<String>,
    /// Its size, such as `10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]i?)?$"))]
    pub size: Option<String>,
    /// Its access modes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub access_modes: Vec<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What to do with what is there.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse a target that is not empty.
    #[default]
    Fail,
    /// Keep files that are there.
    Skip,
    /// Replace files that are in the way. What is not in the snapshot stays.
    Overwrite,
    /// The same, but for files of equal size and time.
    IfChanged,
}

/// What became of a Restore.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// `Accepted`: it runs, or ran; else the reason is a refusal. `Complete`: everything is restored.
    #[serde(default)]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In a word: Waiting, Running, Done, Partial, Failed, Cancelled or Refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The domain that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The volume that is filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The node, or the mover, that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Regular files that were restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Entries that could not be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<i64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::snapshot::time_schema")]
    pub finished: Option<String>,
}
