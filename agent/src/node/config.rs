//! Settings of `holdfast node` and `holdfast mover`: one name each, whether from file, environment (`HOLDFAST_<NAME>`) or flags.
//!
//! Which repositories there are, and what opens them, is never a setting: the coordinator says it (`NodePlan`).

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proto::convert;
use service::client::Target;
use service::config::Invalid;
use service::tls::ClientFiles;

use crate::config::{HTTP_PORT, MEMORY_BYTES_MIN};
use crate::limits::CHILD_MEMORY_BYTES_MIN;

service::layer! {
    /// One source of settings. Units are in the names.
    pub struct NodeLayer {
        scalars {
            /// URL of the coordinator.
            coordinator: String,
            /// File with the projected token for the coordinator.
            token_file: PathBuf,
            /// CA of the coordinator's certificate.
            tls_ca_file: PathBuf,
            /// Plaintext gRPC also to other machines.
            allow_plaintext: bool,
            /// The node's name.
            node_name: String,
            /// The pod's uid; a mover is known by it.
            pod_uid: String,
            /// Kubelet's folder, mounted at the same path as on the host.
            kubelet_root: PathBuf,
            /// Other folders of the host that are mounted at their own paths: hostPath volumes are read below them only.
            host_paths: Folders,
            /// Folder for caches and results that the coordinator has not acknowledged yet.
            state_dir: PathBuf,
            /// Address of `/metrics`, `/healthz` and `/readyz`.
            http_listen: SocketAddr,
            /// Bound on the memory of all jobs together, bytes.
            memory_bytes_max: usize,
            /// Jobs at once.
            jobs_max: u32,
            /// Threads of one job for hashing, compressing and encrypting; 0 means one a core.
            cpu_threads: usize,
            /// Files that one job reads at once; 0 derives it.
            readers: usize,
            /// zstd level, 1 to 19.
            zstd_level: i32,
            /// Every file is read again within this many days; 0 for never, 30 unless given.
            reread_days: u32,
            /// Whether volumes may be read by children only that are confined to them: required or off.
            confine: Confine,
            /// Longest wait before connecting again.
            reconnect_seconds_max: u64,
        }
        lists {}
    }
}

/// Folders, separated by colons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders(pub Vec<PathBuf>);

impl FromStr for Folders {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect()))
    }
}

impl<'de> serde::Deserialize<'de> for Folders {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::<PathBuf>::deserialize(from).map(Self)
    }
}

/// Whether children must be confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confine {
    /// What can't be confined is not read.
    #[default]
    Required,
    /// Children are confined as far as the kernel can.
    Off,
}

impl FromStr for Confine {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            other => Err(format!("confine is required or off, not {other:?}")),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Confine {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Confine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Off => "off",
        })
    }
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All pods' volumes of a node, for as long as it lives.
    Node,
    /// The volume of its own pod, for one job.
    Mover,
}

/// The settings, validated.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Which of the two.
    pub role: Role,
    /// The coordinator.
    pub coordinator: Target,
    /// How the coordinator knows it: the node's name, or the mover's pod.
    pub id: String,
    /// Name of the machine in snapshots.
    pub host: String,
    /// Kubelet's folder.
    pub kubelet_root: PathBuf,
    /// Folders of the host, kubelet's among them.
    pub host_paths: Vec<PathBuf>,
    /// Folder for caches, scratch and kept results.
    pub state_dir: PathBuf,
    /// Metrics and health.
    pub http_listen: Option<SocketAddr>,
    /// Jobs at once.
    pub jobs_max: u32,
    /// Whether children must be confined.
    pub confine: Confine,
    /// What each child gets.
    pub child: ChildLimits,
    /// Longest wait before connecting again.
    pub reconnect_seconds_max: u64,
    /// The program that does jobs; this one unless a test says otherwise.
    pub program: PathBuf,
}

/// What one child may use, and how it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// Its share of the memory, bytes.
    pub memory_bytes_max: usize,
    /// Threads for hashing, compressing and encrypting, at least 1.
    pub cpu_threads: usize,
    /// Files read at once; 0 derives it.
    pub readers: usize,
    /// zstd level.
    pub zstd_level: i32,
    /// Every file is read again within this many days; 0 for never.
    pub reread_days: u32,
}

impl NodeLayer {
    /// Checks everything, and names everything that is wrong at once.
    pub fn validate(self, role: Role) -> Result<NodeConfig, Invalid> {
        let mut wrong = Vec::new();
        let coordinator = self.target();
        if let Err(e) = coordinator.check() {
            let missing = "coordinator is missing: its URL".to_owned();
            wrong.push(if self.coordinator.is_none() { missing } else { e.chain() });
        }
        let node_name = required("node_name", self.node_name.as_ref(), &mut wrong);
        let id = match role {
            Role::Node => node_name.clone(),
            Role::Mover => required("pod_uid", self.pod_uid.as_ref(), &mut wrong),
        };
        let kubelet_root = self.kubelet_root.clone().unwrap_or_else(|| PathBuf::from(KUBELET_ROOT));
        let mut host_paths = self.host_paths.clone().unwrap_or_default().0;
        host_paths.push(kubelet_root.clone());
        for path in host_paths.iter().filter(|p| !is_plain(p)) {
            wrong.push(format!("{} must be an absolute path without . and ..", path.display()));
        }
        if self.state_dir.as_ref().is_none_or(|p| !is_plain(p)) {
            wrong.push("state_dir must be an absolute path without . and ..".to_owned());
        }
        let jobs_max = self.jobs_max.unwrap_or(if role == Role::Mover { 1 } else { JOBS_MAX });
        if jobs_max == 0 || jobs_max > convert::JOBS_AT_ONCE_MAX {
            wrong.push(format!("jobs_max must be 1 to {}", convert::JOBS_AT_ONCE_MAX));
        }
        let child = self.child(jobs_max, &mut wrong);
        if self.reconnect_seconds_max == Some(0) {
            wrong.push("reconnect_seconds_max must be at least 1".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Invalid(wrong));
        }
        Ok(NodeConfig {
            role,
            coordinator,
            id,
            host: node_name,
            kubelet_root,
            host_paths,
            state_dir: self.state_dir.unwrap_or_default(),
            http_listen: Some(self.http_listen.unwrap_or_else(|| ([127, 0, 0, 1], HTTP_PORT).into())),
            jobs_max,
            confine: self.confine.unwrap_or_default(),
            child,
            reconnect_seconds_max: self.reconnect_seconds_max.unwrap_or(30),
            program: PathBuf::from("/proc/self/exe"),
        })
    }

    fn target(&self) -> Target {
        let tls = ClientFiles { ca_file: self.tls_ca_file.clone(), ..ClientFiles::default() };
        Target {
            url: self.coordinator.clone().unwrap_or_default(),
            token_file: self.token_file.clone(),
            tls,
            allow_plaintext: self.allow_plaintext.unwrap_or(false),
            // Each stream says its own.
            domain: None,
        }
    }

    fn child(&self, jobs_max: u32, wrong: &mut Vec<String>) -> ChildLimits {
        let all = self.memory_bytes_max.unwrap_or(repository::limits::MEMORY_BYTES);
        let memory_bytes_max = all / usize::try_from(jobs_max.max(1)).unwrap_or(usize::MAX);
        if all < MEMORY_BYTES_MIN || memory_bytes_max < CHILD_MEMORY_BYTES_MIN {
            wrong.push(format!(
                "memory_bytes_max must be at least {MEMORY_BYTES_MIN}, and {CHILD_MEMORY_BYTES_MIN} for each of jobs_max ({jobs_max})"
            ));
        }
        let zstd_level = self.zstd_level.unwrap_or(crate::config::DEFAULT_ZSTD_LEVEL);
        if !(1..=19).contains(&zstd_level) {
            wrong.push("zstd_level must be 1 to 19".to_owned());
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        ChildLimits {
            memory_bytes_max,
            // A child can't ask for it: what tells lies beyond its confinement.
            cpu_threads: self.cpu_threads.filter(|n| *n > 0).unwrap_or_else(cores),
            readers: self.readers.unwrap_or(0),
            zstd_level,
            reread_days: self.reread_days.unwrap_or(repository::limits::REREAD_DAYS),
        }
    }
}

/// Where kubelet lives unless told otherwise.
const KUBELET_ROOT: &str = "/var/lib/kubelet";
/// Jobs at once on a node: more than one, so that a large volume does not keep small ones waiting.
const JOBS_MAX: u32 = 2;

fn required(name: &str, value: Option<&String>, wrong: &mut Vec<String>) -> String {
    match value {
        None => wrong.push(format!("{name} is missing")),
        Some(value) => {
            let judged = convert::check_name(name, value, convert::HOST_BYTES_MAX);
            wrong.extend(judged.err().map(|e| e.chain()));
        }
    }
    value.cloned().unwrap_or_default()
}

fn is_plain(path: &Path) -> bool {
    service::paths::parts(path.as_os_str().as_bytes()).is_some()
}

#[cfg(test)]
mod tests;
