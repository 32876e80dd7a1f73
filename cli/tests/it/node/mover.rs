//! A mover: one volume, one job, and an exit code.

use proto::v1;

use super::{MIB, Node, backup, start, volume};
use crate::data::{assert_same, tree};

/// The volume of the mover's own pod.
fn own(path: &std::path::Path, restore: bool) -> v1::NodeVolume {
    let place = v1::volume_place::Place::OwnPath(path.as_os_str().as_encoded_bytes().to_vec().into());
    let places = vec![v1::VolumePlace { place: Some(place) }];
    v1::NodeVolume { places, restore, ..volume("v", &[]) }
}

fn restore(number: u8, snapshot: &[u8], target: &std::path::Path) -> v1::Job {
    let spec = v1::RestoreJob {
        snapshot: snapshot.to_vec().into(),
        target: target.as_os_str().as_encoded_bytes().to_vec().into(),
        ..v1::RestoreJob::default()
    };
    v1::Job { id: vec![number; 16].into(), spec: Some(v1::job::Spec::Restore(spec)) }
}

#[test]
fn a_mover_ends_with_its_job() {
    let Some(mut node) = Node::find() else { return };
    node.agent.kill();
    let (from, into) = (node.host.mount("u-1", "from"), node.host.mount("u-2", "into"));
    tree(&node.host.inside(&from), MIB, 1);
    node.plan(vec![own(&from, false)]);
    let mover = start(&node.host, &node.fake, &["mover", "--pod-uid", "m-1"]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    let done = node.fake.finished();
    assert!(done.failure.is_none(), "{done:?}");
    assert_eq!(mover.ends().code, Some(0));

    node.plan(vec![own(&into, true)]);
    let mover = start(&node.host, &node.fake, &["mover", "--pod-uid", "m-2"]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", restore(2, &done.snapshot.unwrap().id.0, &into));
    let done = node.fake.finished();
    assert!(done.failure.is_none() && done.problems.is_empty(), "{done:?}");
    assert_eq!(mover.ends().code, Some(0));
    assert_same(&node.host.inside(&from), &node.host.inside(&into));
}

#[test]
fn a_mover_writes_nowhere_but_into_its_volume_and_only_if_the_plan_says_so() {
    let Some(mut node) = Node::find() else { return };
    node.agent.kill();
    let (path, other) = (node.host.mount("u-1", "mine"), node.host.mount("u-2", "other"));
    tree(&node.host.inside(&path), 1000, 1);
    node.plan(vec![own(&path, false)]);
    let mover = start(&node.host, &node.fake, &["mover", "--pod-uid", "m-1"]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    let id = node.fake.finished().snapshot.unwrap().id.0;
    mover.ends();
    for (target, may) in [(&path, false), (&other, true)] {
        node.plan(vec![own(&path, may)]);
        let _mover = start(&node.host, &node.fake, &["mover", "--pod-uid", "m-2"]);
        node.fake.is_offered("default", &["v"]);
        node.fake.offer("default", restore(2, &id, target));
        assert!(node.fake.returned().contains("not here"));
        assert_eq!(std::fs::read_dir(node.host.inside(&other)).unwrap().count(), 0);
    }
}
