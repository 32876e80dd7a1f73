//! The wires of a cluster: a network namespace for the control plane with a bridge, and one for each node, plugged into it.
//! There is no way out of them.

use std::fs;

use crate::places::{CONTROL, CONTROL_ADDRESS, Places, node_address, node_net, node_pods};
use crate::shell::{Output, command, run};

const BRIDGE: &str = "nodes";

/// Lays the wires.
pub(crate) fn lay(nodes: usize) -> anyhow::Result<()> {
    ip(&["netns", "add", CONTROL])?;
    at(CONTROL, &["link", "set", "lo", "up"])?;
    at(CONTROL, &["link", "add", BRIDGE, "type", "bridge"])?;
    at(CONTROL, &["address", "add", &format!("{CONTROL_ADDRESS}/24"), "dev", BRIDGE])?;
    at(CONTROL, &["link", "set", BRIDGE, "up"])?;
    forward(CONTROL)?;
    for index in 1..=nodes {
        let (net, port) = (node_net(index), port(index));
        ip(&["netns", "add", &net])?;
        at(&net, &["link", "set", "lo", "up"])?;
        at(CONTROL, &["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &net])?;
        at(CONTROL, &["link", "set", &port, "master", BRIDGE, "up"])?;
        at(&net, &["address", "add", &format!("{}/24", node_address(index)), "dev", "eth0"])?;
        at(&net, &["link", "set", "eth0", "up"])?;
        at(&net, &["route", "add", "default", "via", CONTROL_ADDRESS])?;
        forward(&net)?;
        at(CONTROL, &["route", "add", &node_pods(index), "via", &node_address(index)])?;
    }
    Ok(())
}

/// Pulls a node's plug.
pub(crate) fn cut(index: usize) -> anyhow::Result<()> {
    at(CONTROL, &["link", "set", &port(index), "down"]).map(drop)
}

/// Plugs it in again.
pub(crate) fn heal(index: usize) -> anyhow::Result<()> {
    at(CONTROL, &["link", "set", &port(index), "up"])?;
    at(CONTROL, &["route", "replace", &node_pods(index), "via", &node_address(index)]).map(drop)
}

/// Takes all network namespaces away that are not among those of `before`, and are of a cluster.
pub(crate) fn remove(places: &Places) {
    let before = fs::read_to_string(places.state.join("netns.before")).unwrap_or_default();
    for name in names() {
        let ours = ["hft-", "cni-"].iter().any(|prefix| name.starts_with(prefix));
        if ours && !before.lines().any(|line| line == name) {
            drop(ip(&["netns", "delete", &name]));
        }
    }
}

/// Remembers which network namespaces are not ours.
pub(crate) fn remember(places: &Places) -> anyhow::Result<()> {
    Ok(fs::write(places.state.join("netns.before"), names().join("\n"))?)
}

fn names() -> Vec<String> {
    let listed = ip(&["netns", "list"]).unwrap_or_default();
    listed.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect()
}

fn port(index: usize) -> String {
    format!("port{index}")
}

fn forward(net: &str) -> anyhow::Result<Output> {
    run(&mut command(&["ip", "netns", "exec", net, "sysctl", "-qw", "net.ipv4.ip_forward=1"]), None)
}

fn at(net: &str, words: &[&str]) -> anyhow::Result<Output> {
    let words: Vec<&str> = ["ip", "-n", net].iter().chain(words).copied().collect();
    run(&mut command(&words), None)
}

fn ip(words: &[&str]) -> anyhow::Result<Output> {
    let words: Vec<&str> = ["ip"].iter().chain(words).copied().collect();
    run(&mut command(&words), None)
}
