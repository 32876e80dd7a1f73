//! What plans are refused, which volumes of a good one, and that secrets are not shown.

use proto::v1;

use super::{Access, Place, Plan, PodKind};

fn access(domain: &str) -> v1::Access {
    v1::Access {
        domain: domain.into(),
        url: "s3://bucket/prefix".into(),
        credentials: [("AWS_SECRET_ACCESS_KEY".to_owned(), "hush-hush".to_owned())].into(),
        key_file: b"holdfast-key-1 00".as_slice().into(),
        reuse: "own".into(),
        ..v1::Access::default()
    }
}

fn pod(uid: &str, name: &str) -> v1::PodPlace {
    v1::PodPlace { pod_uid: uid.into(), name: name.into(), ..v1::PodPlace::default() }
}

fn volume(name: &str, place: v1::volume_place::Place) -> v1::NodeVolume {
    let places = vec![v1::VolumePlace { place: Some(place) }];
    v1::NodeVolume { volume: name.into(), domain: "d".into(), places, ..v1::NodeVolume::default() }
}

fn of_pod(uid: &str, name: &str) -> v1::NodeVolume {
    volume("v", v1::volume_place::Place::Pod(pod(uid, name)))
}

fn plan(volumes: Vec<v1::NodeVolume>) -> v1::NodePlan {
    v1::NodePlan { revision: 3, pulse_seconds: 5, repositories: vec![access("d")], volumes }
}

#[test]
fn a_good_plan_is_taken_over() {
    let read = Plan::from_wire(plan(vec![of_pod("8a-1", "pvc-1.x")])).unwrap();
    assert_eq!((read.revision, read.pulse.as_secs(), read.volumes.len()), (3, 5, 1));
    let Place::Pod(place) = &read.volumes[0].places[0] else { panic!("{read:?}") };
    assert_eq!((place.pod.as_str(), &place.kind), ("8a-1", &PodKind::Mounted("pvc-1.x".into())));
    let access = &read.repositories[&"d".parse().unwrap()];
    assert_eq!(access.credentials["aws_secret_access_key"].as_str(), "hush-hush");
    // And on to a child.
    assert_eq!(Access::from_wire(access.to_wire()).unwrap(), **access);
}

#[test]
fn secrets_are_not_shown() {
    let read = Plan::from_wire(plan(Vec::new())).unwrap();
    let shown = format!("{read:?}");
    assert!(shown.contains("s3://bucket"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("holdfast-key"), "{shown}");
}

#[track_caller]
fn refused(plan: v1::NodePlan, name: &str) {
    let said = Plan::from_wire(plan).unwrap_err().chain();
    assert!(said.contains(name), "{name} is not in {said}");
}

#[test]
fn plans_that_make_no_sense_are_refused_by_name() {
    let with = |change: fn(&mut v1::Access)| {
        let mut plan = plan(Vec::new());
        change(&mut plan.repositories[0]);
        plan
    };
    refused(with(|a| a.domain = "../x".into()), "domain");
    refused(with(|a| a.url = String::new()), "URL");
    refused(with(|a| a.url = "memory:x".into()), "URL");
    refused(with(|a| a.key_file = Vec::new().into()), "key file");
    refused(with(|a| a.key_file = vec![0; 1 << 20].into()), "key file");
    refused(with(|a| a.reuse = "sometimes".into()), "access of domain d");
    refused(with(|a| drop(a.credentials.insert("LD_PRELOAD".into(), "x".into()))), "LD_PRELOAD");
    refused(with(|a| drop(a.credentials.insert("aws_secret_access_key".into(), "x".into()))), "twice");
    refused(with(|a| a.url = "file:///r".into()), "no setting at all");
    refused(
        v1::NodePlan { repositories: vec![access("d"), access("d")], ..plan(Vec::new()) },
        "domain d twice",
    );
    refused(plan(vec![of_pod("u", "a"), of_pod("u", "b")]), "v: twice");
    let stranger = v1::NodeVolume { domain: "other".into(), ..of_pod("u", "a") };
    refused(plan(vec![stranger]), "domain other has no access");
    refused(
        plan(vec![volume("", v1::volume_place::Place::OwnPath(b"/v".as_slice().into()))]),
        "volumes.volume",
    );
    refused(plan(vec![of_pod("u", "a"); crate::limits::PLAN_VOLUMES_MAX + 1]), "volumes");
}

#[test]
fn one_bad_volume_keeps_no_other_from_being_read() {
    use v1::volume_place::Place as Wire;
    let check = |bad: v1::NodeVolume| {
        let other = v1::NodeVolume { volume: "other".into(), ..of_pod("u", "a") };
        let read = Plan::from_wire(plan(vec![bad, other])).unwrap();
        assert_eq!(read.volumes.len(), 1, "{read:?}");
        assert_eq!(read.refused[0].0, "v");
    };
    for (uid, name) in [
        ("", "a"),
        ("..", "a"),
        ("a/b", "a"),
        ("u", ""),
        ("u", ".."),
        ("u", "../x"),
        ("u", "a b"),
        ("u", "a\0"),
    ] {
        check(of_pod(uid, name));
    }
    for path in [&b"relative"[..], b"/a/../b", b"/", b"", b"/a\0b"] {
        check(volume("v", Wire::HostPath(path.into())));
        check(volume("v", Wire::OwnPath(path.into())));
        check(volume("v", Wire::Device(path.into())));
    }
    let both = v1::PodPlace { ephemeral: true, host_path: b"/x".as_slice().into(), ..pod("u", "a") };
    check(volume("v", Wire::Pod(both)));
    let mut unknown = of_pod("u", "a");
    unknown.places[0].place = None;
    check(unknown);
}
