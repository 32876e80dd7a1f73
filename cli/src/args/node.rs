//! Arguments of `node` and `mover`: each flag is a setting by the same name. Which repositories there are is no setting of theirs.

use std::net::SocketAddr;
use std::path::PathBuf;

use agent::node::Confine;
use clap::Args;

/// `node` and `mover`
#[derive(Args, Clone, Debug, Default)]
pub struct NodeArgs {
    /// The configuration file (YAML); flags and environment win over it
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's name
    #[arg(long, env = "HOLDFAST_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The pod's uid, by which a mover is known
    #[arg(long, env = "HOLDFAST_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,
    /// Kubelet's folder, seen at the same path as on the host [default: /var/lib/kubelet]
    #[arg(long, env = "HOLDFAST_KUBELET_ROOT", value_name = "DIR")]
    pub kubelet_root: Option<PathBuf>,
    /// Another folder of the host that is seen at its own path: hostPath volumes below it may be read (repeatable)
    #[arg(long = "host-path", env = "HOLDFAST_HOST_PATHS", value_delimiter = ':', value_name = "DIR")]
    pub host_paths: Vec<PathBuf>,
    /// Folder for caches, and for results that the coordinator has not acknowledged yet
    #[arg(long, env = "HOLDFAST_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of /metrics, /healthz and /readyz [default: 127.0.0.1:7427]
    #[arg(long, env = "HOLDFAST_HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// Bound on the memory of all jobs together, bytes
    #[arg(long, env = "HOLDFAST_MEMORY_BYTES_MAX", value_name = "BYTES")]
    pub memory_bytes_max: Option<usize>,
    /// Jobs at once [default: 2; of a mover 1]
    #[arg(long, env = "HOLDFAST_JOBS_MAX", value_name = "N")]
    pub jobs_max: Option<u32>,
    /// Threads of one job that hash, compress and encrypt; 0 means one a core
    #[arg(long, env = "HOLDFAST_CPU_THREADS", value_name = "N")]
    pub cpu_threads: Option<usize>,
    /// Files that one job reads at once; 0 derives it
    #[arg(long, env = "HOLDFAST_READERS", value_name = "N")]
    pub readers: Option<usize>,
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, env = "HOLDFAST_ZSTD_LEVEL", value_name = "LEVEL")]
    pub zstd_level: Option<i32>,
    /// Every file is read again within this many days, whatever its times say; 0 for never [default: 30]
    #[arg(long, env = "HOLDFAST_REREAD_DAYS", value_name = "N")]
    pub reread_days: Option<u32>,
    /// Read volumes only in children that the kernel confines to them (required), or anyway (off) [default: required]
    #[arg(long, env = "HOLDFAST_CONFINE", value_name = "WHEN")]
    pub confine: Option<Confine>,
    /// Longest wait before connecting again
    #[arg(long, env = "HOLDFAST_RECONNECT_SECONDS_MAX", value_name = "SECONDS")]
    pub reconnect_seconds_max: Option<u64>,
}
