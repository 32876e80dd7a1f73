//! What a machine must have for a cluster of our own, and what of it is missing here.
//!
//! Asks the machine rather than its name: a container with the same tools may still be refused a network namespace.

use std::path::Path;
use std::process::Command;

use crate::places::Places;
use crate::programs;
use crate::shell::{command, run};

/// Tools, and Debian's packages that have them.
const TOOLS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("ethtool", "ethtool"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("sysctl", "procps"),
    ("mkfs.ext4", "e2fsprogs"),
    ("losetup", "mount"),
];
const BUSYBOX: (&str, &str) = ("/bin/busybox", "busybox-static");
const PLUGINS: (&str, &str) = ("/usr/lib/cni/bridge", "containernetworking-plugins");

/// The packages that have everything but Go.
#[must_use]
pub fn packages() -> Vec<&'static str> {
    let mut all: Vec<_> = TOOLS.iter().map(|(_, package)| *package).chain([BUSYBOX.1, PLUGINS.1]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What keeps a cluster from being made here, each as half a sentence. Nothing: it can be.
#[must_use]
pub fn missing(places: &Places) -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return vec!["it needs root".to_owned()];
    }
    let mut out: Vec<String> = TOOLS
        .iter()
        .filter(|(tool, _)| find(tool).is_none())
        .map(|(tool, package)| format!("{tool} is not installed (package {package})"))
        .collect();
    for (path, package) in [BUSYBOX, PLUGINS] {
        if !Path::new(path).exists() {
            out.push(format!("{path} is not there (package {package})"));
        }
    }
    if !programs::are_built(places).unwrap_or(false) && find("go").is_none() {
        out.push("Kubernetes is not built, and Go is not installed".to_owned());
    }
    if out.is_empty() {
        out.extend(refused());
    }
    out
}

/// What the kernel does not let us do.
fn refused() -> Vec<String> {
    let tries: &[(&str, &[&str])] = &[
        ("network namespaces", &["unshare", "-n", "true"]),
        ("mount namespaces", &["unshare", "-m", "true"]),
        ("bridges", &["unshare", "-n", "ip", "link", "add", "hft0", "type", "bridge"]),
        ("pairs of network devices", &["unshare", "-n", "ip", "link", "add", "hft0", "type", "veth"]),
        ("packet filters", &["unshare", "-n", "iptables", "-t", "nat", "-S"]),
    ];
    let failed = tries.iter().filter_map(|(what, words)| {
        let error = run(&mut command(words), None).err()?;
        Some(format!("{what} are not to be had: {error:#}"))
    });
    let mut out: Vec<String> = failed.collect();
    let overlay = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !overlay.contains("overlay") && run(Command::new("modprobe").arg("overlay"), None).is_err() {
        out.push("the kernel has no overlay file system".to_owned());
    }
    let probe =
        "/sys/fs/cgroup".to_owned() + if is_unified() { "" } else { "/memory" } + "/holdfast-tests-probe";
    match std::fs::create_dir(&probe) {
        Ok(()) => drop(std::fs::remove_dir(&probe)),
        Err(error) => out.push(format!("control groups can't be made: {error}")),
    }
    out
}

/// Whether control groups are those of version 2.
pub(crate) fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn find(tool: &str) -> Option<std::path::PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&folders).chain(usual).map(|f| f.join(tool)).find(|p| p.is_file())
}
