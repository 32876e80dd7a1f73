//! A cluster of our own: made, used, and taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::access::Access;
use crate::places::{CONTROL, Places, node_name};
use crate::process::{crash, find, stop};
use crate::shell::until;
use crate::{control, keys, machine, network, node, oci, programs, teardown};

const READY_SECONDS: u64 = 120;
/// What addresses and names have room for.
const NODES_MAX: usize = 9;

/// A cluster on this machine.
#[derive(Debug, Clone)]
pub struct Own {
    /// Where its files are.
    pub places: Places,
    /// How many nodes it has, counted from 1.
    pub nodes: usize,
    /// The administrator's way in.
    pub access: Access,
}

impl Own {
    /// Makes a cluster; all nodes are ready when it returns. What an earlier one left behind is taken away before.
    ///
    /// # Errors
    /// If one is there, or the machine lacks something; what was made until then is taken away.
    pub fn up(places: &Places, nodes: usize, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        ensure!((1..=NODES_MAX).contains(&nodes), "1 to {NODES_MAX} nodes, not {nodes}");
        let missing = machine::missing(places);
        ensure!(missing.is_empty(), "no cluster can be made here: {}", missing.join("; "));
        ensure!(Self::find(places).is_none(), "a cluster runs in {}", places.state.display());
        teardown::all(places);
        programs::build(places, say)?;
        let made = Self::make(places, nodes, say);
        if made.is_err() && std::env::var_os("HOLDFAST_CLUSTER_KEEP").is_none() {
            teardown::all(places);
        }
        made
    }

    fn make(places: &Places, nodes: usize, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        for folder in ["log", "running", "etcd"] {
            fs::create_dir_all(places.state.join(folder))?;
        }
        fs::set_permissions(places.state.join("etcd"), fs::Permissions::from_mode(0o700))?;
        fs::write(places.state.join("nodes"), nodes.to_string())?;
        fs::write(places.state.join("resolv.conf"), node::resolver())?;
        teardown::remember(places)?;
        keys::make(places, nodes)?;
        network::lay(nodes)?;
        let own = Self { places: places.clone(), nodes, access: access(places)? };
        say("starting the control plane");
        control::up(places, &own.access)?;
        for index in 1..=nodes {
            node::up(places, index)?;
        }
        let images = places.state.join("images");
        fs::create_dir_all(&images)?;
        let (pause, busybox) = (images.join("pause.tar"), images.join("busybox.tar"));
        oci::pause(node::PAUSE_IMAGE, &pause)?;
        oci::busybox(&busybox)?;
        own.load(&pause)?;
        own.load(&busybox)?;
        say("starting the nodes");
        for index in 1..=nodes {
            own.start_kubelet(index)?;
            node::proxy(places, index)?;
        }
        for index in 1..=nodes {
            own.until_ready(index, true, READY_SECONDS)?;
        }
        Ok(own)
    }

    /// The cluster that runs here, if one does.
    #[must_use]
    pub fn find(places: &Places) -> Option<Self> {
        find(places, "kube-apiserver")?;
        let nodes = fs::read_to_string(places.state.join("nodes")).ok()?.parse().ok()?;
        Some(Self { places: places.clone(), nodes, access: access(places).ok()? })
    }

    /// Takes everything away that a cluster here made, also half a one.
    pub fn down(places: &Places) {
        teardown::all(places);
    }

    /// Gives an image to all nodes.
    pub fn load(&self, archive: &Path) -> anyhow::Result<()> {
        (1..=self.nodes).try_for_each(|index| node::load(&self.places, index, archive))
    }

    /// A command as a process of the node's host.
    pub fn on_node(&self, index: usize, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = node::inside(&self.places, index)?;
        command.args(words);
        Ok(command)
    }

    /// A folder that is `path` on that node and lies below `/srv` there, as the machine sees it.
    pub fn folder(&self, index: usize, path: &str) -> anyhow::Result<PathBuf> {
        let below = path.strip_prefix("/srv/").with_context(|| format!("{path} is not below /srv"))?;
        Ok(self.places.node(index).join("own/srv").join(below))
    }

    /// Cuts a node off from everybody.
    pub fn cut(&self, index: usize) -> anyhow::Result<()> {
        network::cut(index)
    }

    /// Ends that.
    pub fn heal(&self, index: usize) -> anyhow::Result<()> {
        network::heal(index)
    }

    /// Ends a node's kubelet; its pods go on.
    pub fn stop_kubelet(&self, index: usize) {
        stop(&self.places, &format!("kubelet{index}"));
    }

    /// Kills it, as a crash would.
    pub fn crash_kubelet(&self, index: usize) {
        crash(&self.places, &format!("kubelet{index}"));
    }

    /// Starts it again.
    pub fn start_kubelet(&self, index: usize) -> anyhow::Result<()> {
        node::kubelet(&self.places, index)
    }

    /// Kills a container's first process as the kernel would: no signal handler runs. `id` is the API's, with its scheme.
    pub fn kill_container(&self, index: usize, id: &str) -> anyhow::Result<()> {
        node::kill(&self.places, index, id.rsplit('/').next().unwrap_or(id))
    }

    /// Waits until the API says of a node that it is ready, or that it is not.
    pub fn until_ready(&self, index: usize, ready: bool, seconds: u64) -> anyhow::Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        until(&format!("node {index} is ready: {ready}"), seconds, || {
            let said = self.access.kubectl(&["get", "node", &node_name(index), "-o", path])?;
            Ok(((said == "True") == ready).then_some(()))
        })
    }
}

fn access(places: &Places) -> anyhow::Result<Access> {
    Ok(Access {
        before: vec!["nsenter".to_owned(), format!("--net=/run/netns/{CONTROL}")],
        kubectl: programs::place(places, "kubectl")?,
        kubeconfig: places.admin(),
    })
}
