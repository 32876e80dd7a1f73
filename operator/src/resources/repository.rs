//! `Repository`: a store, a domain of it, and what opens it. Cluster-scoped: administrators'.

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

/// Where backups go, and what opens it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    shortname = "hfrepo",
    category = "holdfast",
    status = "RepositoryStatus",
    derive = "PartialEq",
    doc = "Where backups go: a store, a domain of the repository in it, and what opens it. For administrators.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Snapshots", type_ = "integer", json_path = ".status.snapshots"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.domain) == has(oldSelf.domain)").message("domain can't be changed"))]
pub struct RepositorySpec {
    /// URL of the store: `s3://bucket/prefix`, `gs://...`, `az://...`, or `file:///path` in the coordinator's own file system (for
    /// trials only: agents must see the same folder). Can't be changed.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^(s3|gs|az|file)://"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("url can't be changed: make another Repository"))]
    pub url: String,
    /// The domain of the repository; the name of this object unless given. Can't be changed. Two Repositories of a cluster can't have
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("domain can't be changed"))]
    pub domain: Option<String>,
    /// The Secret that opens it, in Holdfast's own namespace.
    pub secret_ref: SecretRef,
    /// Create the repository (or the domain in it) if there is none. Switch it off where one must be there: a typing error in the URL
    /// then is an error.
    #[serde(default = "yes")]
    pub create: bool,
    /// Which snapshots are kept. Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSpec>,
    /// What runs by itself, when, and how much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceSpec>,
    /// IANA name of the time zone of cron schedules and windows; `UTC` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// So many of the newest snapshots of each volume are shown as Snapshot objects. All of them can be listed with `holdfast
    /// snapshots`.
    #[serde(default = "shown")]
    #[schemars(range(min = 0, max = 100))]
    pub snapshots_shown: u32,
    /// What the deletion of Snapshot objects may do at most. `Retain`: nothing, whatever they say. `Forget`: a Snapshot object whose
    /// own `deletionPolicy` is `Forget` takes its snapshot along, through the breaker against mass deletion.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// A Secret in Holdfast's own namespace. Its keys: `key` (32 bytes, or 64 hex digits) or `passphrase`; settings of the store's client
/// as in the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT`, `AWS_REGION`, ...).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What the deletion of an object does to data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Nothing.
    #[default]
    Retain,
    /// The snapshot is forgotten, if the breaker lets it.
    Forget,
}

/// Which snapshots of each volume are kept: what any of these keeps. The newest always stays.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetentionSpec {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// One of each of the newest so many hours that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u32>,
    /// The same for days (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u32>,
    /// The same for weeks (from Monday).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u32>,
    /// The same for months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u32>,
    /// The same for years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u32>,
    /// All that are not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Span>,
    /// All with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub keep_tags: Vec<String>,
}

/// What runs by itself. Each has a default that is right for most.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceSpec {
    /// Applies the retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forget: Option<TaskSpec>,
    /// Deletes what no snapshot needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc: Option<TaskSpec>,
    /// Reads what is stored, and proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<TaskSpec>,
    /// Restores samples, and compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_test: Option<TaskSpec>,
}

/// One kind of task. At most one of `cron` and `every`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.cron) && has(self.every))").message("at most one of cron and every"))]
pub struct TaskSpec {
    /// `false`: only when somebody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// At these times: minute, hour, day of month, month, day of week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cron: Option<String>,
    /// Again so long after its last beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Only in this part of the day, such as `22:00-06:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub window: Option<String>,
}

/// What is known of a Repository.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// `Ready`: backups can go there. `Reachable`: the store answers.
    #[serde(default)]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// How many snapshots it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<i64>,
    /// Of how many volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<i64>,
    /// Snapshots that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<i64>,
}

fn yes() -> bool {
    true
}

fn shown() -> u32 {
    3
}
