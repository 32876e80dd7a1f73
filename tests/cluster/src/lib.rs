//! A real Kubernetes on one machine for tests: a control plane and nodes, each with its own container runtime, kubelet,
//! network namespace and mount namespace. Without a registry, a virtual machine or a container engine.
//!
//! It ends only processes that it started, and leaves nothing behind: `down` takes away every process, namespace, mount,
//! cgroup, setting of the kernel and file that `up` made. Tests also run against any other cluster (`HOLDFAST_TESTS_KUBECONFIG`); what needs the
//! nodes themselves is then left out, and said.

pub mod access;
pub mod machine;
pub mod oci;
pub mod own;
pub mod programs;

mod control;
mod keys;
mod network;
mod node;
mod places;
mod process;
mod shell;
mod teardown;

pub use access::Access;
pub use own::Own;
pub use places::Places;
pub use shell::{Output, command, run, until};
