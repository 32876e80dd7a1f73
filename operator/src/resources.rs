//! The custom resources of `holdfast.dev/v1alpha1`: what users and administrators write, and what they read.
//!
//! Types and their documentation only: what they do is decided elsewhere. A field that can't be understood must not keep the others from
//! being read, so text (spans of time, sizes, cron) is kept as text and understood where it is used.

pub mod backup;
mod condition;
pub mod generate;
pub mod policy;
pub mod repository;
pub mod restore;
pub mod snapshot;
mod span;

pub use backup::{Backup, BackupSpec, BackupStatus, BackupVolume};
pub use condition::{Conditions, Standing, TEXT_BYTES_MAX};
pub use policy::{
    BackupPolicy, BackupPolicySpec, BackupPolicyStatus, EmptyDirs, HostPath, Schedule, Selector, Uncovered,
};
pub use repository::{
    DeletionPolicy, MaintenanceSpec, Repository, RepositorySpec, RepositoryStatus, RetentionSpec, SecretRef,
    TaskSpec,
};
pub use restore::{Existing, NewClaim, Restore, RestoreSpec, RestoreStatus, RestoreTarget, SnapshotRef};
pub use snapshot::{ClaimRef, Consistency, NamespaceRef, Snapshot, SnapshotSpec, SnapshotStatus};
pub use span::Span;

/// The group of all resources.
pub const GROUP: &str = "holdfast.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";
