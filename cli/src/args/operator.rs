//! Arguments of what runs in a cluster of Kubernetes, and of what is applied to it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

/// `operator`
#[derive(Args, Clone, Debug, Default)]
pub struct OperatorArgs {
    /// The configuration file (YAML); flags and environment win over it
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Holdfast's own namespace [default: holdfast-system]
    #[arg(long, env = "HOLDFAST_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// The name of this pod
    #[arg(long, env = "HOLDFAST_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// The address of this pod
    #[arg(long, env = "HOLDFAST_POD_IP", value_name = "ADDRESS")]
    pub pod_ip: Option<IpAddr>,
    /// Address of the gRPC listener [default: 0.0.0.0:7425]
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics, /healthz and /readyz [default: 0.0.0.0:7426]
    #[arg(long, env = "HOLDFAST_HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// Folder for keys, certificates and the queue: in memory
    #[arg(long, env = "HOLDFAST_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The cluster's name in the identities of volumes; never change it [default: the uid of the namespace kube-system]
    #[arg(long, env = "HOLDFAST_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// The image of the pods that restore, and read what no pod mounts
    #[arg(long, env = "HOLDFAST_MOVER_IMAGE", value_name = "IMAGE")]
    pub mover_image: Option<String>,
}

/// `crds`
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct CrdsArgs {
    /// Print their reference (Markdown) instead
    #[arg(long)]
    pub docs: bool,
}
