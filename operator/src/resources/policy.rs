//! `BackupPolicy`: which volumes are backed up where, and when. Cluster-scoped: administrators'.

#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns of one type are no duplicates; the derive makes a copy of the type within a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, condition};

/// Which volumes are backed up where, and when.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "BackupPolicy",
    plural = "backuppolicies",
    shortname = "hfpolicy",
    category = "holdfast",
    status = "BackupPolicyStatus",
    derive = "PartialEq",
    doc = "Which volumes are backed up where, and when. For administrators.",
    printcolumn(name = "Repository", type_ = "string", json_path = ".spec.repository"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Claims", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Protected", type_ = "integer", json_path = ".status.protected"),
    printcolumn(name = "Unprotected", type_ = "integer", json_path = ".status.unprotected"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastSuccess"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// The Repository that the backups go to.
    #[schemars(length(min = 1, max = 253))]
    pub repository: String,
    /// Which claims. Empty: all of the cluster. All that is given must fit.
    #[serde(default)]
    pub selector: Selector,
    /// Where several policies select a claim, the one with the highest priority counts; of equals the oldest, then the first by name.
    #[serde(default)]
    pub priority: i32,
    /// Folders of worker nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub host_paths: Vec<HostPath>,
    /// The emptyDirs of pods, which go when their pods go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dirs: Option<EmptyDirs>,
    /// When.
    pub schedule: Schedule,
    /// No backups by the schedule. Backups on demand still run.
    #[serde(default)]
    pub paused: bool,
    /// What is left out: patterns as in `.gitignore`, relative to the volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude: Vec<String>,
    /// Leave out folders that say of themselves that they are caches (`CACHEDIR.TAG`).
    #[serde(default)]
    pub exclude_caches: bool,
    /// A claim is protected while its newest good snapshot is not older than this. Unless given: 1.5 times the `maxAge`, or with
    /// `cron`, 26 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Span>,
}

/// Which claims. All that is given must fit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Names of namespaces; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespaces: Vec<String>,
    /// Names of namespaces that are left out; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude_namespaces: Vec<String>,
    /// Labels of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_selector: Option<LabelSelector>,
    /// Names of storage classes; `*` stands for any text, an empty name for no class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub storage_classes: Vec<String>,
    /// Claims of this size at least, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]i?)?$"))]
    pub size_min: Option<String>,
    /// Claims of this size at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]i?)?$"))]
    pub size_max: Option<String>,
    /// Annotations that claims must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A folder of worker nodes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HostPath {
    /// The folder, absolute. The agent must have it mounted at the same path.
    #[schemars(length(min = 2, max = 4096), regex(pattern = r"^/[^/]"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(p, p == '..' || p == '.')").message("path must not hold . or .."))]
    pub path: String,
    /// Labels of the nodes; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

/// EmptyDirs of pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDirs {
    /// Labels of pods in the selected namespaces; all unless given. A pod's annotation `backup.velero.io/backup-volumes` that names
    /// the volume opts it in, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// When. Exactly one of `cron` and `maxAge`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cron) != has(self.maxAge)").message("exactly one of cron and maxAge"))]
#[x_kube(validation = Rule::new("!has(self.timeZone) || has(self.cron)").message("timeZone goes with cron"))]
pub struct Schedule {
    /// At these times: minute, hour, day of month, month, day of week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cron: Option<String>,
    /// IANA name of the time zone of `cron`; `UTC` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// The newest snapshot shall never be older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Spreads the starts over this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
}

/// What is known of a BackupPolicy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicyStatus {
    /// `Ready`: it is understood, and its repository is open. `Protected`: each selected claim has a good snapshot within the
    /// objective.
    #[serde(default)]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Claims that this policy backs up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<i64>,
    /// Those with a good snapshot within the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<i64>,
    /// Those without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprotected: Option<i64>,
    /// The end of the newest good backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::snapshot::time_schema")]
    pub last_success: Option<String>,
    /// Some of the unprotected claims, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub unprotected_claims: Vec<Uncovered>,
}

/// A claim, and why it is not protected.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Uncovered {
    /// Its namespace; of folders of nodes the node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}
