//! Letting go: no volume is held when its pod goes.

use super::{MIB, Node, backup, volume};
use crate::data::{noise, tree};
use crate::process::{eventually, now};

/// So much that a backup of it takes some seconds; how far it is, is told once a second.
const LARGE: usize = 640 * MIB;

fn large(node: &Node, path: &std::path::Path) {
    tree(&node.host.inside(path), LARGE / 2, 1);
    std::fs::write(node.host.inside(path).join("sub/more"), noise(LARGE / 2, 2)).unwrap();
}

#[test]
fn a_pod_that_is_taken_down_gets_its_volume_back_within_two_seconds() {
    let Some(mut node) = Node::find() else { return };
    let path = node.host.mount("u-1", "pv-1");
    large(&node, &path);
    node.plan(vec![volume("v", &[("u-1", "pv-1")])]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    node.fake.reads(8 * MIB as u64);
    assert!(!node.host.unmount(&path), "it is being read");
    // Kubelet takes down what it can, in any order; the token goes first here.
    let since = now();
    assert!(node.host.unmount(&node.host.volume("u-1", "projected", "kube-api-access")));
    eventually("unmounted", || node.host.unmount(&path));
    assert!(since.elapsed().as_secs_f64() < 2.0, "{:?}", since.elapsed());
    assert!(node.fake.returned().contains("taken down"));
    assert_eq!(node.on_bucket(&["snapshots", "--output", "json"]).ok().trim(), "[]");
}

#[test]
fn a_volume_goes_on_through_another_pod_of_the_node() {
    let Some(mut node) = Node::find() else { return };
    let first = node.host.mount("u-1", "pv-1");
    large(&node, &first);
    node.host.mount("u-2", "other");
    let second = node.host.volume("u-2", "csi", "pv-1").join("mount");
    node.host.bind(&first, &second);
    node.plan(vec![volume("v", &[("u-1", "pv-1"), ("u-2", "pv-1")])]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    node.fake.reads(8 * MIB as u64);
    assert!(node.host.unmount(&node.host.volume("u-1", "projected", "kube-api-access")));
    eventually("unmounted", || node.host.unmount(&first));
    let done = node.fake.finished();
    assert!(done.failure.is_none() && done.problems.is_empty(), "{done:?}");
    node.restores("v", &node.host.inside(&second));
}

#[test]
fn a_plan_without_the_place_takes_the_volume_away() {
    let Some(mut node) = Node::find() else { return };
    let path = node.host.mount("u-1", "pv-1");
    large(&node, &path);
    node.plan(vec![volume("v", &[("u-1", "pv-1")])]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    node.fake.reads(8 * MIB as u64);
    let since = now();
    node.plan(vec![volume("v", &[])]);
    eventually("unmounted", || node.host.unmount(&path));
    assert!(since.elapsed().as_secs_f64() < 2.0, "{:?}", since.elapsed());
    assert!(node.fake.returned().contains("plan"));
}
