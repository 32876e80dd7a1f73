//! Where a cluster's files are, and its names and addresses.
//!
//! Sockets lie below the state folder, so it must stay short: a socket's path has at most 107 bytes.

use std::path::{Path, PathBuf};

/// The control plane's network namespace.
pub(crate) const CONTROL: &str = "hft-control";
/// Its address on the network of the nodes.
pub(crate) const CONTROL_ADDRESS: &str = "10.77.0.1";
/// What the API server is to pods.
pub(crate) const API_SERVICE: &str = "10.79.0.1";
/// What the name server is to pods.
pub(crate) const DNS_SERVICE: &str = "10.79.0.10";
/// Of services.
pub(crate) const SERVICES: &str = "10.79.0.0/16";
/// Of all pods.
pub(crate) const PODS: &str = "10.78.0.0/16";

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Places {
    /// What `down` removes.
    pub state: PathBuf,
    /// Programs that were built once; stays.
    pub cache: PathBuf,
    /// Where this crate's files are: Go modules, manifests of test applications.
    pub here: PathBuf,
}

impl Places {
    /// Those of the environment (`HOLDFAST_CLUSTER_DIR`, `HOLDFAST_CLUSTER_CACHE`), or the usual ones.
    #[must_use]
    pub fn usual() -> Self {
        let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = named("HOME").unwrap_or_else(|| PathBuf::from("/var/cache"));
        Self {
            state: named("HOLDFAST_CLUSTER_DIR").unwrap_or_else(|| PathBuf::from("/var/lib/holdfast-tests")),
            cache: named("HOLDFAST_CLUSTER_CACHE").unwrap_or_else(|| home.join(".cache/holdfast-tests")),
            here: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        }
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.state.join("log").join(format!("{process}.log"))
    }

    pub(crate) fn running(&self) -> PathBuf {
        self.state.join("running")
    }

    pub(crate) fn key(&self, file: &str) -> PathBuf {
        self.state.join("keys").join(file)
    }

    /// The administrator's way into the API.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.state.join("admin.conf")
    }

    /// What is node `index`'s own.
    #[must_use]
    pub fn node(&self, index: usize) -> PathBuf {
        self.state.join(format!("node{index}"))
    }
}

/// A node's name.
pub(crate) fn node_name(index: usize) -> String {
    format!("node{index}")
}

/// Its network namespace.
pub(crate) fn node_net(index: usize) -> String {
    format!("hft-node{index}")
}

/// Its address.
pub(crate) fn node_address(index: usize) -> String {
    format!("10.77.0.{}", 10 + index)
}

/// The addresses of its pods.
pub(crate) fn node_pods(index: usize) -> String {
    format!("10.78.{index}.0/24")
}

/// The folder of its control groups, below each hierarchy.
pub(crate) fn node_cgroup(index: usize) -> String {
    format!("holdfast-tests-node{index}")
}

/// A path as text; those of tests are.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
