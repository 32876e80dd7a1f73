//! `Backup`: a backup now. Namespaced: about the claims of its own namespace.

#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns of one type are no duplicates; the derive makes a copy of the type within a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, condition};

/// A backup now.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "Backup",
    plural = "backups",
    shortname = "hfbackup",
    category = "holdfast",
    namespaced,
    status = "BackupStatus",
    derive = "PartialEq",
    doc = "A backup now, of claims of its own namespace that a BackupPolicy selects. In Holdfast's own namespace, of all that the policy selects.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.done"),
    printcolumn(name = "Volumes", type_ = "integer", json_path = ".status.total"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.policy) != has(self.claim)").message("exactly one of policy and claim"))]
#[x_kube(validation = Rule::new("has(self.policy) == has(oldSelf.policy) && (!has(self.policy) || self.policy == oldSelf.policy)").message("policy can't be changed"))]
#[x_kube(validation = Rule::new("has(self.claim) == has(oldSelf.claim) && (!has(self.claim) || self.claim == oldSelf.claim)").message("claim can't be changed"))]
pub struct BackupSpec {
    /// All claims that this BackupPolicy selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub policy: Option<String>,
    /// Only this claim, by the BackupPolicy that selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
    /// Labels of the snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tags: Vec<String>,
    /// Read every file, also those that seem unchanged.
    #[serde(default)]
    pub read_all: bool,
    /// Ends it.
    #[serde(default)]
    pub cancel: bool,
    /// This object is deleted so long after its end; its snapshots stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// What became of a Backup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// `Accepted`: it runs, or ran; else the reason is a refusal. `Complete`: all volumes have a snapshot.
    #[serde(default)]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In a word: Running, Done, Partial, Failed, Cancelled or Refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Volumes that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<i64>,
    /// All volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Each volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<BackupVolume>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::snapshot::time_schema")]
    pub finished: Option<String>,
}

/// One volume of a Backup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupVolume {
    /// Its identity.
    pub volume: String,
    /// `namespace/name` of its claim; the folder of a node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub claim: String,
    /// The domain that it goes to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where it is: queued, offered, running, done, failed or cancelled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// The snapshot that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What is to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
