//! Takes a cluster away, whole or half made: processes, containers, mounts, loop devices, namespaces, control groups, settings of the
//! kernel, files. Touches nothing that no cluster of ours made.

use std::fs;
use std::path::Path;

use crate::network;
use crate::node::{OWN, end_containers, remove_cgroups};
use crate::places::Places;
use crate::process::{kill_naming, names, stop};
use crate::shell::{command, run};

/// Settings of the kernel that kubelets change for the whole machine.
const SETTINGS: &[&str] =
    &["vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops", "net.ipv4.ip_forward"];
const NODES_MAX: usize = 9;

/// Writes down what is to be put back.
pub(crate) fn remember(places: &Places) -> anyhow::Result<()> {
    let mut lines = String::new();
    for name in SETTINGS {
        lines += &format!("{name}={}\n", run(&mut command(&["sysctl", "-n", name]), None)?.trim());
    }
    fs::write(places.state.join("settings.before"), lines)?;
    let absent: Vec<&str> = OWN.iter().filter(|folder| !Path::new(folder).exists()).copied().collect();
    fs::write(places.state.join("folders.absent"), absent.join("\n"))?;
    network::remember(places)
}

/// Takes everything away. Does nothing where there is nothing.
pub(crate) fn all(places: &Places) {
    if !places.state.exists() {
        return;
    }
    let (nodes, others): (Vec<_>, Vec<_>) =
        names(places).into_iter().partition(|n| n.starts_with("node") || n.starts_with("containerd"));
    // Kubelets first: they would start again what is ended.
    let (kubelets, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|n| n.starts_with("kubelet"));
    for name in kubelets {
        stop(places, &name);
    }
    for index in 1..=NODES_MAX {
        end_containers(places, index);
    }
    for name in others.into_iter().chain(nodes) {
        stop(places, &name);
    }
    kill_naming("containerd-shim-runc-v2", &places.state);
    detach_loops(places);
    network::remove(places);
    unmount(places);
    for index in 1..=NODES_MAX {
        remove_cgroups(index);
    }
    for line in read(places, "settings.before").lines() {
        drop(run(&mut command(&["sysctl", "-qw", line]), None));
    }
    for folder in read(places, "folders.absent").lines() {
        drop(fs::remove_dir(folder)); // Only if nothing is in it.
    }
    drop(fs::remove_dir_all(&places.state));
}

fn read(places: &Places, file: &str) -> String {
    fs::read_to_string(places.state.join(file)).unwrap_or_default()
}

/// Loop devices over files of ours.
fn detach_loops(places: &Places) {
    let listed = run(&mut command(&["losetup", "-n", "-O", "NAME,BACK-FILE"]), None).unwrap_or_default();
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        if let (Some(device), Some(file)) = (words.next(), words.next())
            && Path::new(file).starts_with(&places.state)
        {
            drop(run(&mut command(&["losetup", "-d", device]), None));
        }
    }
}

/// Mounts below the state folder, the innermost first.
fn unmount(places: &Places) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = mounts
        .lines()
        .filter_map(|l| l.split(' ').nth(1))
        .filter(|p| Path::new(p).starts_with(&places.state));
    let mut ours: Vec<&str> = ours.collect();
    ours.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
    for path in ours {
        drop(run(&mut command(&["umount", "-l", path]), None));
    }
}
