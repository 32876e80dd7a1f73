//! The decisions of a round, above all of a large cluster.

use std::collections::{BTreeMap, HashMap};

use proto::v1::{Seen, Sighting};
use repository::env::Timestamp;
use serde_json::json;

use super::{Coverage, Decision, Facts, Fold, Newest, NodeFact, RepositoryFact, decide};
use crate::resources::BackupPolicy;
use crate::world::{
    Claim, ClaimPhase, Key, Namespace, Node, Pod, PodPhase, PodVolume, Source, Volume, VolumeOfPod, World,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000_000);

fn facts(nodes: &[&str]) -> Facts {
    let here = NodeFact { connected: true, sightings: HashMap::new() };
    let fact = RepositoryFact {
        domain: "main".into(),
        open: Ok(()),
        access: proto::v1::Access { domain: "main".into(), ..Default::default() },
        newest: HashMap::new(),
    };
    Facts {
        now: NOW,
        cluster: "c".into(),
        repositories: BTreeMap::from([("main".to_owned(), fact)]),
        nodes: nodes.iter().map(|n| ((*n).to_owned(), here.clone())).collect(),
        ..Facts::default()
    }
}

fn policy(name: &str, spec: &serde_json::Value) -> (Key, std::sync::Arc<BackupPolicy>) {
    let object = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "BackupPolicy", "metadata": {"name": name}, "spec": spec});
    (Key::cluster(name), serde_json::from_value::<BackupPolicy>(object).unwrap().into())
}

fn everything() -> (Key, std::sync::Arc<BackupPolicy>) {
    policy("all", &json!({"repository": "main", "schedule": {"maxAge": "1h"}}))
}

/// So many nodes, each with pods of which each mounts so many claims of its own.
fn world(nodes: usize, pods: usize, claims: usize) -> World {
    let mut world = World::default();
    world.namespaces.insert(Key::cluster("ns"), Namespace { uid: "n".into(), ..Namespace::default() }.into());
    world.policies.extend([everything()]);
    for n in 0..nodes {
        let node = format!("n{n}");
        world.nodes.insert(Key::cluster(&node), Node::default().into());
        for p in 0..pods {
            let mut volumes = Vec::new();
            for c in 0..claims {
                let name = format!("c{n}-{p}-{c}");
                let source = Source::Csi { driver: "d".into(), handle: name.clone() };
                let volume = Volume {
                    source,
                    claim_uid: Some(name.clone()),
                    json: vec![b'x'; 900],
                    ..Volume::default()
                };
                world.volumes.insert(Key::cluster(&name), volume.into());
                let claim = Claim {
                    uid: name.clone(),
                    volume: Some(name.clone()),
                    phase: ClaimPhase::Bound,
                    json: vec![b'x'; 700],
                    ..Claim::default()
                };
                world.claims.insert(Key::new("ns", &name), claim.into());
                volumes.push(PodVolume { name: format!("v{c}"), of: VolumeOfPod::Claim(name) });
            }
            let pod = Pod {
                uid: format!("p{n}-{p}"),
                node: Some(node.clone()),
                phase: PodPhase::Running,
                volumes,
                ..Pod::default()
            };
            world.pods.insert(Key::new("ns", &format!("p{n}-{p}")), pod.into());
        }
    }
    world
}

fn why(decision: &Decision, claim: &str) -> String {
    match &decision.claims[&Key::new("ns", claim)] {
        Coverage::Protected { policy, .. } => format!("protected by {policy}"),
        Coverage::Excluded { why } => format!("excluded by {why}"),
        Coverage::Unprotected { why, what, .. } => format!("{}: {what}", why.name()),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is tested is how long it takes")]
fn a_node_with_500_pods_and_2000_claims_is_decided_in_a_second() {
    let world = world(1, 500, 4);
    let begun = std::time::Instant::now();
    let decision = decide(&world, &facts(&["n0"]));
    let took = begun.elapsed();
    assert_eq!(decision.plans["n0"].volumes.len(), 2000);
    assert!(took.as_millis() < 1000, "{took:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is tested is how long it takes")]
fn a_cluster_with_20000_volumes_is_decided_soon() {
    if std::env::var_os("RUN_SLOW_TESTS").is_none() {
        return;
    }
    let world = world(1000, 5, 4);
    let nodes: Vec<String> = (0..1000).map(|n| format!("n{n}")).collect();
    let facts = facts(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    let begun = std::time::Instant::now();
    let decision = decide(&world, &facts);
    let took = begun.elapsed();
    assert_eq!((decision.chosen.len(), decision.plans.len()), (20_000, 1000));
    assert!(decision.plans.values().all(|p| p.volumes.len() == 20));
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn every_claim_is_protected_excluded_or_reported() {
    let mut world = world(1, 1, 1);
    let check = |world: &World, facts: &Facts, expected: &str| {
        let said = why(&decide(world, facts), "c0-0-0");
        assert!(said.starts_with(expected), "{said:?}, not {expected:?}");
    };
    let id = "csi:c/d/c0-0-0";
    let mut known = facts(&["n0"]);
    check(&world, &known, "NeverBackedUp");
    let mut newest = |seconds: i64, partial: bool| {
        let (good, good_finished) = (Some(NOW.plus_seconds(-seconds)), Some(NOW.plus_seconds(1 - seconds)));
        let newest = Newest { good, good_finished, partial };
        known.repositories.get_mut("main").unwrap().newest.insert(id.to_owned(), newest);
        known.clone()
    };
    check(&world, &newest(5399, false), "protected by all");
    check(&world, &newest(5399, true), "protected by all");
    check(&world, &newest(5401, false), "TooOld");
    check(&world, &newest(5401, true), "Partial");
    let mut refused = newest(9999, false);
    let sighting =
        Sighting { seen: Seen::Refused.into(), what: "not confined".into(), ..Sighting::default() };
    refused.nodes.get_mut("n0").unwrap().sightings.insert(id.to_owned(), sighting);
    check(&world, &refused, "NotSeen: node n0: not confined");
    check(&world, &facts(&[]), "NoAgent");
    let mut closed = facts(&["n0"]);
    closed.repositories.get_mut("main").unwrap().open = Err("no key".into());
    check(&world, &closed, "RepositoryNotReady: Repository main: no key");
    check(&world, &Facts { repositories: BTreeMap::new(), ..facts(&["n0"]) }, "RepositoryNotReady");
    world.pods.clear();
    check(&world, &facts(&["n0"]), "NotMounted");
    let mut claim = (*world.claims[&Key::new("ns", "c0-0-0")]).clone();
    claim.block = true;
    world.claims.insert(Key::new("ns", "c0-0-0"), claim.into());
    check(&world, &facts(&["n0"]), "Block");
    world.policies.clear();
    check(&world, &facts(&["n0"]), "NoPolicy");
}

#[test]
fn folders_of_nodes_are_volumes_too() {
    let mut world = world(2, 0, 0);
    let spec = json!({"repository": "main", "schedule": {"maxAge": "1h"}, "selector": {"namespaces": ["none"]},
        "hostPaths": [{"path": "/etc/kubernetes/"}]});
    world.policies = [policy("nodes", &spec)].into();
    let decision = decide(&world, &facts(&["n0"]));
    assert_eq!(decision.plans["n0"].volumes[0].volume, "node:c/n0/etc/kubernetes");
    assert_eq!(decision.plans["n1"].volumes.len(), 1);
    let fold = &Fold::all(&decision)["nodes"];
    assert_eq!((fold.selected, fold.protected, fold.unprotected.len()), (2, 0, 2));
    assert_eq!(fold.unprotected[0].0, "n0");
}

#[test]
fn a_policy_that_makes_no_sense_keeps_no_other_from_counting() {
    let mut world = world(1, 1, 1);
    world
        .policies
        .extend([policy("bad", &json!({"repository": "main", "priority": 9, "schedule": {"cron": "no"}}))]);
    let decision = decide(&world, &facts(&["n0"]));
    assert!(decision.wrong["bad"].contains("cron"));
    assert_eq!(decision.chosen.len(), 1);
}
