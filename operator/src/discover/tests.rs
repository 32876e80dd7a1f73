//! From pods to places, and which node reads what.

use std::collections::{HashMap, HashSet};

use super::{Found, Place, add_folder, assign, discover};
use crate::world::{
    Claim, ClaimPhase, Key, Labels, Node, Pod, PodPhase, PodVolume, Source, Volume, VolumeOfPod, World,
};

/// A cluster in a few words.
#[derive(Default)]
struct Town(World);

impl Town {
    fn node(mut self, name: &str) -> Self {
        let labels: Labels = [("kubernetes.io/hostname".to_owned(), format!("host-{name}"))].into();
        self.0.nodes.insert(Key::cluster(name), Node { labels, ..Node::default() }.into());
        self
    }

    fn claim(mut self, name: &str, source: Source, hosts: &[&str]) -> Self {
        let hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
        let volume = Volume { source, hosts, claim_uid: Some(format!("uid-{name}")), ..Volume::default() };
        self.0.volumes.insert(Key::cluster(&format!("pv-{name}")), volume.into());
        let claim = Claim {
            uid: format!("uid-{name}"),
            volume: Some(format!("pv-{name}")),
            phase: ClaimPhase::Bound,
            ..Claim::default()
        };
        self.0.claims.insert(Key::new("ns", name), claim.into());
        self
    }

    fn pod(mut self, name: &str, node: &str, claim: &str, change: impl FnOnce(&mut Pod)) -> Self {
        let volumes = vec![
            PodVolume { name: "data".into(), of: VolumeOfPod::Claim(claim.to_owned()) },
            PodVolume { name: "tmp".into(), of: VolumeOfPod::EmptyDir },
        ];
        let mut pod = Pod {
            uid: format!("pod-{name}"),
            node: Some(node.to_owned()),
            phase: PodPhase::Running,
            volumes,
            ..Pod::default()
        };
        change(&mut pod);
        self.0.pods.insert(Key::new("ns", name), pod.into());
        self
    }

    fn find(&self) -> Found {
        discover(&self.0, "c", |_, _, _| false)
    }
}

fn csi(handle: &str) -> Source {
    Source::Csi { driver: "d".into(), handle: handle.into() }
}

/// `id: node[pods] ... leaving ...` for each volume.
fn show(found: &Found) -> Vec<String> {
    let pods = |places: &[Place]| {
        let of = |p: &Place| match p {
            Place::Pod { uid, host_path, .. } => {
                uid.clone() + &host_path.as_ref().map(|h| format!("@{h}")).unwrap_or_default()
            }
            Place::Node(path) => path.clone(),
        };
        places.iter().map(of).collect::<Vec<_>>().join(",")
    };
    let site = |(id, site): (&String, &super::Site)| {
        let mut out = id.clone();
        for (node, places) in &site.nodes {
            out += &format!(" {node}[{}]", pods(places));
        }
        for node in &site.leaving {
            out += &format!(" leaves {node}");
        }
        out
    };
    found.sites.iter().map(site).collect()
}

#[test]
fn places_are_those_of_running_pods() {
    let town = || Town::default().node("n1").node("n2").claim("a", csi("h"), &[]);
    let check = |town: Town, expected: &str| assert_eq!(show(&town.find()), [expected]);
    check(town(), "csi:c/d/h");
    check(town().pod("p", "n1", "a", |_| {}), "csi:c/d/h n1[pod-p]");
    check(town().pod("p", "n1", "a", |p| p.phase = PodPhase::Pending), "csi:c/d/h");
    check(town().pod("p", "n1", "a", |p| p.phase = PodPhase::Ended), "csi:c/d/h");
    check(town().pod("p", "n1", "a", |p| p.deleting = true), "csi:c/d/h leaves n1");
    check(town().pod("p", "n1", "a", |p| p.node = None), "csi:c/d/h");
    check(town().pod("p", "n1", "a", |_| {}).pod("q", "n1", "a", |_| {}), "csi:c/d/h n1[pod-p,pod-q]");
    check(
        town().pod("p", "n1", "a", |p| p.deleting = true).pod("q", "n2", "a", |_| {}),
        "csi:c/d/h n2[pod-q] leaves n1",
    );
    check(town().pod("p", "n1", "gone", |_| {}), "csi:c/d/h");
}

#[test]
fn each_kind_has_its_identity_and_place() {
    let check = |source: Source, expected: &str| {
        let town = Town::default().node("n1").claim("a", source, &[]).pod("p", "n1", "a", |_| {});
        assert_eq!(show(&town.find()), [expected]);
    };
    check(Source::Local { path: "/mnt/x".into() }, "local:c/n1/mnt/x n1[pod-p]");
    check(Source::HostPath { path: "/srv".into() }, "hostpath:c/n1/srv n1[pod-p@/srv]");
    check(Source::Nfs { server: "s".into(), path: "/e".into() }, "nfs:c/s/e n1[pod-p]");
}

#[test]
fn equal_folders_of_two_nodes_are_two_volumes() {
    let source = Source::HostPath { path: "/srv".into() };
    let town = Town::default().node("n1").node("n2").claim("a", source, &[]);
    let town = town.pod("p", "n1", "a", |_| {}).pod("q", "n2", "a", |_| {});
    let found = town.find();
    assert_eq!(show(&found), ["hostpath:c/n1/srv n1[pod-p@/srv]", "hostpath:c/n2/srv n2[pod-q@/srv]"]);
    assert_eq!(found.by_claim[&Key::new("ns", "a")].len(), 2);
}

#[test]
fn what_no_pod_mounts_is_known_where_that_can_be() {
    let local = || Source::Local { path: "/x".into() };
    let town = Town::default().node("n1").claim("a", local(), &["host-n1"]).claim(
        "b",
        local(),
        &["host-n1", "host-n2"],
    );
    let found = town.claim("c", Source::Other, &[]).find();
    assert_eq!(show(&found), ["local:c/n1/x"]);
    assert!(found.unknown[&Key::new("ns", "b")].contains("on which node"));
    assert!(found.unknown[&Key::new("ns", "c")].contains("not supported"));
}

#[test]
fn claims_on_the_same_data_are_one_volume() {
    let town = Town::default().node("n1").node("n2").claim("a", csi("h"), &[]).claim("b", csi("h"), &[]);
    let found = town.pod("p", "n1", "a", |_| {}).pod("q", "n2", "b", |_| {}).find();
    assert_eq!(show(&found), ["csi:c/d/h n1[pod-p] n2[pod-q]"]);
    assert_eq!(found.sites["csi:c/d/h"].claims.len(), 2);
}

#[test]
fn a_volume_of_another_claim_is_not_read() {
    let mut town = Town::default().node("n1").claim("a", csi("h"), &[]).pod("p", "n1", "a", |_| {});
    let stolen = Volume { source: csi("h"), claim_uid: Some("another".into()), ..Volume::default() };
    town.0.volumes.insert(Key::cluster("pv-a"), stolen.into());
    assert_eq!(show(&town.find()), Vec::<String>::new());
}

#[test]
fn emptydirs_and_folders_only_where_they_are_wanted() {
    let town = Town::default().node("n1").claim("a", csi("h"), &[]).pod("p", "n1", "a", |_| {});
    let mut found = discover(&town.0, "c", |key, _, volume| key.name == "p" && volume == "tmp");
    let id = add_folder(&mut found, "c", "n1", "/etc");
    assert_eq!(id, "node:c/n1/etc");
    assert_eq!(
        show(&found),
        ["csi:c/d/h n1[pod-p]", "emptydir:c/n1/pod-p/tmp n1[pod-p]", "node:c/n1/etc n1[/etc]"]
    );
}

#[test]
fn one_node_reads_a_volume_and_keeps_it_while_it_can() {
    let town = Town::default().node("n1").node("n2").claim("a", csi("h"), &[]);
    let found = town.pod("p", "n1", "a", |_| {}).pod("q", "n2", "a", |_| {}).find();
    let check = |before: Option<&str>, connected: &[&str], expected: &str| {
        let before: HashMap<_, _> =
            before.map(|n| ("csi:c/d/h".to_owned(), n.to_owned())).into_iter().collect();
        let connected: HashSet<_> = connected.iter().map(|n| (*n).to_owned()).collect();
        let assigned = assign(&found, |_| true, &before, &connected);
        assert_eq!(assigned["csi:c/d/h"], expected, "{before:?} {connected:?}");
    };
    check(None, &["n1", "n2"], "n1");
    check(None, &["n2"], "n2");
    check(Some("n2"), &["n1", "n2"], "n2");
    check(Some("n2"), &["n1"], "n1");
    check(Some("n3"), &["n1", "n2"], "n1");
    check(Some("n2"), &[], "n1");
    assert!(assign(&found, |_| false, &HashMap::new(), &HashSet::new()).is_empty());
}

#[test]
fn shared_volumes_are_spread() {
    let mut town = Town::default().node("n1").node("n2");
    for i in 0..10 {
        let name = format!("a{i}");
        town = town.claim(&name, csi(&name), &[]);
        town = town.pod(&format!("p{i}"), "n1", &name, |_| {}).pod(&format!("q{i}"), "n2", &name, |_| {});
    }
    let both = ["n1".to_owned(), "n2".to_owned()].into();
    let assigned = assign(&town.find(), |_| true, &HashMap::new(), &both);
    assert_eq!(assigned.values().filter(|n| *n == "n1").count(), 5);
}
