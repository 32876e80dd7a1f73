//! What settings are refused, and what is derived.

use super::{Confine, NodeLayer, Role};

fn good() -> NodeLayer {
    NodeLayer {
        coordinator: Some("https://holdfast-coordinator.holdfast-system.svc:7425".into()),
        tls_ca_file: Some("/ca.crt".into()),
        node_name: Some("node1".into()),
        state_dir: Some("/var/lib/holdfast".into()),
        ..NodeLayer::default()
    }
}

#[test]
fn a_node_is_known_by_its_name_and_a_mover_by_its_pod() {
    let node = good().validate(Role::Node).unwrap();
    assert_eq!((node.id.as_str(), node.jobs_max, node.confine), ("node1", 2, Confine::Required));
    assert_eq!(node.host_paths, [std::path::PathBuf::from("/var/lib/kubelet")]);
    assert!(good().validate(Role::Mover).unwrap_err().to_string().contains("pod_uid is missing"));
    let mover = NodeLayer { pod_uid: Some("8a-1".into()), ..good() }.validate(Role::Mover).unwrap();
    assert_eq!((mover.id.as_str(), mover.host.as_str(), mover.jobs_max), ("8a-1", "node1", 1));
}

#[test]
fn the_memory_is_shared_out() {
    let layer = NodeLayer { memory_bytes_max: Some(1 << 30), jobs_max: Some(4), ..good() };
    assert_eq!(layer.validate(Role::Node).unwrap().child.memory_bytes_max, 256 << 20);
    let layer = NodeLayer { memory_bytes_max: Some(128 << 20), jobs_max: Some(4), ..good() };
    assert!(layer.validate(Role::Node).unwrap_err().to_string().contains("memory_bytes_max"));
}

#[test]
fn all_that_is_wrong_is_named() {
    let layer = NodeLayer {
        coordinator: Some("ftp://x".into()),
        kubelet_root: Some("kubelet".into()),
        host_paths: Some("/a:/b/../c".parse().unwrap()),
        state_dir: Some("state".into()),
        jobs_max: Some(0),
        zstd_level: Some(40),
        reconnect_seconds_max: Some(0),
        node_name: None,
        ..good()
    };
    let said = layer.validate(Role::Node).unwrap_err().to_string();
    for name in [
        "coordinator",
        "node_name",
        "kubelet ",
        "/b/../c",
        "state_dir",
        "jobs_max",
        "zstd_level",
        "reconnect",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert!("sometimes".parse::<Confine>().is_err());
}
