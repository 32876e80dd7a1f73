//! From plan to snapshot.

use proto::v1::Seen;

use super::{MIB, Node, backup, volume};
use crate::data::tree;

#[test]
fn a_volume_of_a_pod_is_found_backed_up_by_a_child_and_restorable() {
    let Some(mut node) = Node::find() else { return };
    let path = node.host.mount("u-1", "pv-1");
    tree(&node.host.inside(&path), MIB, 1);
    node.plan(vec![volume("csi:c/d/pv-1", &[("u-1", "pv-1")]), volume("csi:c/d/pv-2", &[("u-1", "pv-2")])]);
    node.fake.is_offered("default", &["csi:c/d/pv-1"]);
    node.fake.offer("default", backup(1, "csi:c/d/pv-1"));
    let done = node.fake.finished();
    assert!(done.failure.is_none() && done.problems.is_empty(), "{done:?}");
    assert_eq!(done.figures.files, 3);
    assert!(node.fake.lookups() > 0, "the child's lookups go to the coordinator");
    let manifest = done.snapshot.unwrap().manifest;
    assert_eq!((manifest.host.as_str(), manifest.volume.as_str()), ("node1", "csi:c/d/pv-1"));
    // People see where it was, not how the child reached it.
    assert_eq!(manifest.path, path.as_os_str().as_encoded_bytes());
    node.restores("csi:c/d/pv-1", &node.host.inside(&path));
    assert_eq!(node.open_in_volumes(), Vec::<std::path::PathBuf>::new(), "of the agent itself");

    // A coordinator that comes anew judges by its plan what it was offered: it hears it again.
    node.plan(vec![volume("csi:c/d/pv-1", &[("u-1", "pv-1")]), volume("csi:c/d/pv-2", &[("u-1", "pv-2")])]);
    node.fake.is_offered("default", &["csi:c/d/pv-1"]);

    // What is mounted later is found without asking, and what is gone is no longer offered.
    let later = node.host.mount("u-1", "pv-2");
    tree(&node.host.inside(&later), 1000, 2);
    node.fake.is_offered("default", &["csi:c/d/pv-1", "csi:c/d/pv-2"]);
    assert!(node.host.unmount(&path), "nothing is open while no job runs");
    assert!(node.fake.sees("csi:c/d/pv-1", Seen::Absent).what.contains("taken down"));
}
