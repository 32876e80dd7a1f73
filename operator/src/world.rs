//! The cluster as plain values: what the API server last said of it, trimmed to what decisions need.
//!
//! Everything behind this module is a pure function of a [`World`]. It never holds what it does not need: a cluster has 20,000 volumes, and
//! an object of Kubernetes is mostly what others need.

mod objects;
mod trim;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use objects::{
    Claim, ClaimPhase, Class, Key, Labels, Namespace, Node, Pod, PodPhase, PodVolume, Source, Volume,
    VolumeOfPod,
};
pub use trim::Trim;

use crate::resources::{Backup, BackupPolicy, Repository, Restore, Snapshot};

/// Objects of one kind.
pub type Objects<T> = BTreeMap<Key, Arc<T>>;

/// The cluster, as last heard.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Pods.
    pub pods: Objects<Pod>,
    /// Persistent volume claims.
    pub claims: Objects<Claim>,
    /// Persistent volumes.
    pub volumes: Objects<Volume>,
    /// Namespaces.
    pub namespaces: Objects<Namespace>,
    /// Storage classes.
    pub classes: Objects<Class>,
    /// Nodes.
    pub nodes: Objects<Node>,
    /// Repositories.
    pub repositories: Objects<Repository>,
    /// Policies.
    pub policies: Objects<BackupPolicy>,
    /// Backups on demand.
    pub backups: Objects<Backup>,
    /// Restores.
    pub restores: Objects<Restore>,
    /// Shown snapshots.
    pub snapshots: Objects<Snapshot>,
}

impl World {
    /// The uid of the namespace `kube-system`, which names a cluster.
    #[must_use]
    pub fn cluster_uid(&self) -> Option<&str> {
        self.namespaces.get(&Key::cluster("kube-system")).map(|n| n.uid.as_str())
    }

    /// The volume that a claim is bound to, if the volume says so too.
    #[must_use]
    pub fn volume_of(&self, claim: &Claim) -> Option<&Arc<Volume>> {
        let volume = self.volumes.get(&Key::cluster(claim.volume.as_deref()?))?;
        let bound = volume.claim_uid.as_deref().is_none_or(|uid| uid == claim.uid);
        bound.then_some(volume)
    }
}
