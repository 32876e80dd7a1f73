//! `Snapshot`: a snapshot that a repository has. Namespaced: in the namespace of its claim. Made by Holdfast.

#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns of one type are no duplicates; the derive makes a copy of the type within a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{DeletionPolicy, condition};

/// A snapshot that a repository has. Only `deletionPolicy` can be changed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "Snapshot",
    plural = "snapshots",
    shortname = "hfsnap",
    category = "holdfast",
    namespaced,
    status = "SnapshotStatus",
    derive = "PartialEq",
    doc = "A snapshot that a repository has, shown by Holdfast in the namespace of its claim. Deleting this object deletes no data unless its deletionPolicy and that of the Repository are Forget.",
    printcolumn(name = "Claim", type_ = "string", json_path = ".spec.claim.name"),
    printcolumn(name = "Repository", type_ = "string", json_path = ".spec.repository"),
    printcolumn(name = "Started", type_ = "date", json_path = ".spec.started"),
    printcolumn(name = "Files", type_ = "integer", json_path = ".spec.files"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".spec.bytes"),
    printcolumn(name = "Problems", type_ = "integer", json_path = ".spec.problems"),
    printcolumn(name = "Consistency", type_ = "string", json_path = ".spec.consistency", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.id == oldSelf.id && self.repository == oldSelf.repository && self.volume == oldSelf.volume && self.started == oldSelf.started && self.finished == oldSelf.finished && self.bytes == oldSelf.bytes && self.files == oldSelf.files && self.problems == oldSelf.problems && self.consistency == oldSelf.consistency").message("only deletionPolicy can be changed"))]
#[x_kube(validation = Rule::new("has(self.claim) == has(oldSelf.claim) && has(self.namespace) == has(oldSelf.namespace)").message("claim and namespace can't be changed"))]
pub struct SnapshotSpec {
    /// The Repository that has it.
    #[schemars(length(min = 1, max = 253))]
    pub repository: String,
    /// Its id in the repository.
    #[schemars(regex(pattern = r"^[0-9a-f]{32}$"))]
    pub id: String,
    /// The volume's identity.
    #[schemars(length(min = 1, max = 8192))]
    pub volume: String,
    /// The claim that the volume had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("claim can't be changed"))]
    pub claim: Option<ClaimRef>,
    /// The namespace of the claim, in the cluster that it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("namespace can't be changed"))]
    pub namespace: Option<NamespaceRef>,
    /// The node that read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// When reading began.
    #[schemars(schema_with = "time_schema")]
    pub started: String,
    /// When it was written.
    #[schemars(schema_with = "time_schema")]
    pub finished: String,
    /// Plain bytes of its files.
    pub bytes: i64,
    /// Plain bytes that were new to the repository.
    #[serde(default)]
    pub bytes_new: i64,
    /// Its regular files.
    pub files: i64,
    /// Entries that could not be read.
    pub problems: i64,
    /// Files that changed while they were read.
    #[serde(default)]
    pub changed: i64,
    /// What it is a picture of.
    pub consistency: Consistency,
    /// The snapshot that unchanged entries were taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the deletion of this object does to the snapshot. `Forget` counts only if the Repository allows it.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// A claim as it was.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub uid: String,
}

/// A namespace as it was.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub uid: String,
    /// The cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub cluster: String,
}

/// What a snapshot is a picture of.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Of a volume that was written to while it was read.
    #[default]
    Live,
    /// Some files changed while they were read.
    Torn,
}

/// What is known of a Snapshot besides.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// What is so, since when, and why.
    #[serde(default)]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The schema of a time.
pub(super) fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}
