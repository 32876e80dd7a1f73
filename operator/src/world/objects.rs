//! What is kept of each kind of object.

use std::collections::BTreeMap;
use std::fmt;

use repository::manifest::Origin;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// The name of an object within its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace; empty for what is the cluster's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of an object in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Of an object of the cluster.
    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Where it is in its life.
    pub phase: PodPhase,
    /// Somebody asked for its end.
    pub deleting: bool,
    /// Its labels.
    pub labels: Labels,
    /// Those annotations that mean something to us.
    pub annotations: Labels,
    /// Its volumes that may hold data.
    pub volumes: Vec<PodVolume>,
    /// `Kind/name` of its controller.
    pub controller: Option<String>,
    /// Its service account.
    pub service_account: String,
    /// Why it does not run yet, as far as Kubernetes says it.
    pub waits_for: String,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    /// Its containers do not run yet.
    #[default]
    Pending,
    /// They run: its volumes are mounted.
    Running,
    /// They have ended.
    Ended,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodVolume {
    /// As the pod calls it.
    pub name: String,
    /// What it is.
    pub of: VolumeOfPod,
}

/// What a volume of a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeOfPod {
    /// A claim of this name, in the pod's namespace. It is the pod's own where it is ephemeral.
    Claim(String),
    /// An emptyDir on disk.
    EmptyDir,
}

/// A persistent volume claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its uid.
    pub uid: String,
    /// The persistent volume that it is bound to.
    pub volume: Option<String>,
    /// Whether it is bound.
    pub phase: ClaimPhase,
    /// Its storage class.
    pub class: Option<String>,
    /// What it has, or else asks for, in bytes.
    pub bytes: u64,
    /// A device, not a file system.
    pub block: bool,
    /// Several nodes may have it at once.
    pub shared: bool,
    /// Somebody asked for its end.
    pub deleting: bool,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations, without those that are never selected by.
    pub annotations: Labels,
    /// The object, as snapshots keep it; empty if it is too large.
    pub json: Vec<u8>,
}

/// Whether a claim has a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimPhase {
    /// Not yet.
    #[default]
    Pending,
    /// It has one.
    Bound,
    /// It had one.
    Lost,
}

/// A persistent volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Where its data is.
    pub source: Source,
    /// The uid of the claim that it is bound to.
    pub claim_uid: Option<String>,
    /// The only hosts that it can be on, by their label `kubernetes.io/hostname`; empty: any.
    pub hosts: Vec<String>,
    /// Somebody asked for its end.
    pub deleting: bool,
    /// Its labels.
    pub labels: Labels,
    /// The object, as snapshots keep it; empty if it is too large.
    pub json: Vec<u8>,
}

/// Where the data of a persistent volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A CSI driver's.
    Csi {
        /// The driver.
        driver: String,
        /// Its handle.
        handle: String,
    },
    /// A folder or device of a node, by the local plugin.
    Local {
        /// Absolute.
        path: String,
    },
    /// A folder of a node.
    HostPath {
        /// Absolute.
        path: String,
    },
    /// An export.
    Nfs {
        /// The server.
        server: String,
        /// The path there.
        path: String,
    },
    /// Something that we do not know how to find.
    #[default]
    Other,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// Namespaces whose snapshots may be seen and restored here too, as `cluster/uid`.
    pub adopts: Vec<String>,
    /// Somebody asked for its end.
    pub deleting: bool,
}

impl Namespace {
    /// Whether a snapshot of that origin may be seen and restored here: by cluster and uid, never by name: a namespace that was deleted and
    /// made again may be somebody else's. An administrator lets a namespace adopt another one's.
    #[must_use]
    pub fn may_see(&self, cluster: &str, origin: &Origin) -> bool {
        if origin.namespace_uid.is_empty() || origin.cluster.is_empty() {
            return false;
        }
        let own = origin.cluster == cluster && origin.namespace_uid == self.uid;
        own || self.adopts.contains(&format!("{}/{}", origin.cluster, origin.namespace_uid))
    }
}

/// A storage class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Who makes its volumes.
    pub provisioner: String,
    /// It counts for claims that name none.
    pub default: bool,
    /// Volumes are made when the first pod comes.
    pub waits: bool,
    /// The object, as snapshots keep it; empty if it is too large.
    pub json: Vec<u8>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// Its kubelet says that it works.
    pub ready: bool,
}
