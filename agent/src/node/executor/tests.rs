//! When a volume must be let go.

use std::path::PathBuf;

use super::{is_planned, left};
use crate::node::find::Spot;
use crate::node::mountinfo::Table;
use crate::node::plan::{Place, Plan, PlannedVolume, PodKind, PodPlace};
use crate::node::sights::Leaving;

fn spot(path: &str, mount: Option<u64>, pod: Option<&str>) -> Spot {
    let pod = pod.map(str::to_owned);
    Spot { path: path.into(), base: "/k".into(), mount, pod }
}

#[test]
fn the_mount_itself_must_stay() {
    let check = |lines: &str, expected: bool| {
        let table = Table::parse(lines.as_bytes(), b"/k/pods");
        let said = left(&spot("/k/pods/u/v", Some(7), Some("u")), &table, &Leaving::default());
        assert_eq!(said.is_none(), expected, "{lines} {said:?}");
    };
    check("7 1 8:1 / /k/pods/u/v rw - ext4 d rw\n", true);
    check("8 1 8:1 / /k/pods/u/v rw - ext4 d rw\n", false);
    check("7 1 8:1 / /k/pods/u/w rw - ext4 d rw\n", false);
    check("", false);
    // Something was mounted over it: what is opened by the path now is not it.
    check("7 1 8:1 / /k/pods/u/v rw - ext4 d rw\n9 7 8:2 / /k/pods/u/v rw - ext4 d rw\n", false);
    // What is mounted nowhere can't be unmounted.
    assert!(left(&spot("/data", None, None), &Table::default(), &Leaving::default()).is_none());
}

#[test]
fn the_plan_must_have_the_place() {
    let pod = |uid: &str, kind| Place::Pod(PodPlace { pod: uid.into(), kind });
    let mounted = |uid: &str| pod(uid, PodKind::Mounted("a".into()));
    let volume = |places: Vec<Place>| PlannedVolume {
        name: "v".into(),
        domain: "d".parse().unwrap(),
        places,
        rules: Default::default(),
        restore: false,
    };
    let check = |spot: &Spot, places: Vec<Place>, expected: bool| {
        let plan = Plan { volumes: vec![volume(places.clone()).into()], ..Plan::default() };
        assert_eq!(is_planned(&volume(Vec::new()), spot, &plan), expected, "{places:?}");
    };
    let here = spot("/k/pods/u/v", Some(7), Some("u"));
    check(&here, vec![mounted("u")], true);
    check(&here, vec![mounted("w"), mounted("u")], true);
    check(&here, vec![mounted("w")], false);
    check(&here, Vec::new(), false);
    let host_path = |path: &str| PodKind::HostPath(PathBuf::from(path));
    let on_host = spot("/data", None, Some("u"));
    check(&on_host, vec![pod("u", host_path("/data"))], true);
    check(&on_host, vec![pod("u", host_path("/other"))], false);
    check(&spot("/data", None, None), vec![Place::HostPath("/data".into())], true);
    check(&spot("/data", None, None), vec![Place::Own("/other".into())], false);
    let none = Plan::default();
    assert!(!is_planned(&volume(Vec::new()), &here, &none));
}
