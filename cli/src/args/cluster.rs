//! Arguments of `kubectl holdfast`, and of `holdfast` where it goes to a cluster's coordinator by itself.

use std::path::PathBuf;

use clap::Args;

/// Which cluster, and as whom.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Go to the coordinator of a cluster: kubectl's configuration [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_parser = super::path(), value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it [default: its current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// The namespace that Holdfast is installed in
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "holdfast-system",
        help_heading = "Cluster"
    )]
    pub system_namespace: String,
    /// Act as this account of Holdfast [default: the one that may most of those that you may make tokens of]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub as_account: Option<String>,
}
