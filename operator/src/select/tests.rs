//! Which policy counts for which claim, and what leaves a claim out.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::{
    EXCLUDE_LABEL, EXCLUDES_ANNOTATION, INCLUDES_ANNOTATION, Policy, Verdict, in_order, is_left_out, verdict,
};
use crate::resources::{BackupPolicy, BackupPolicySpec, EmptyDirs, Schedule, Selector, Span};
use crate::world::{Claim, ClaimPhase, Key, Labels, Namespace, Pod, Volume, World};

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn wants(all: &[(&str, &str)]) -> Option<LabelSelector> {
    Some(LabelSelector { match_labels: Some(labels(all)), match_expressions: None })
}

fn policy(name: &str, created: i64, change: impl FnOnce(&mut BackupPolicySpec)) -> Policy {
    let schedule = Schedule { max_age: Some(Span("1h".into())), ..Schedule::default() };
    let mut spec = BackupPolicySpec { repository: "r".into(), schedule, ..BackupPolicySpec::default() };
    change(&mut spec);
    let mut object = BackupPolicy::new(name, spec);
    let at = jiff::Timestamp::from_second(created).unwrap();
    object.metadata.creation_timestamp = Some(Time(at));
    Policy::new(&object).unwrap()
}

fn world(claim: Claim) -> World {
    let mut world = World::default();
    let namespace = Namespace { uid: "n".into(), labels: labels(&[("team", "a")]), ..Namespace::default() };
    world.namespaces.insert(Key::cluster("shop"), namespace.into());
    world.volumes.insert(Key::cluster("pv"), Volume::default().into());
    world.claims.insert(Key::new("shop", "data"), claim.into());
    world
}

fn claim() -> Claim {
    Claim {
        uid: "c".into(),
        volume: Some("pv".into()),
        phase: ClaimPhase::Bound,
        class: Some("fast".into()),
        bytes: 10 << 30,
        labels: labels(&[("app", "db")]),
        annotations: labels(&[("tier", "gold")]),
        ..Claim::default()
    }
}

fn judge(world: &World, policies: &[Policy], left_out: bool) -> String {
    let (key, claim) = world.claims.iter().next().unwrap();
    match verdict(world, (key, claim), policies, left_out) {
        Verdict::Chosen(name) => name.to_owned(),
        Verdict::Excluded(why) => format!("excluded by {why}"),
        Verdict::NoPolicy => "nobody".to_owned(),
    }
}

#[test]
fn all_that_is_given_must_fit() {
    let check = |change: fn(&mut Selector), selected: bool| {
        let policies = [policy("p", 1, |spec| change(&mut spec.selector))];
        assert_eq!(judge(&world(claim()), &policies, false) == "p", selected);
    };
    check(|_| {}, true);
    check(|s| s.namespaces = vec!["sh*".into()], true);
    check(|s| s.namespaces = vec!["other".into()], false);
    check(|s| s.exclude_namespaces = vec!["shop".into()], false);
    check(|s| s.namespace_selector = wants(&[("team", "a")]), true);
    check(|s| s.namespace_selector = wants(&[("team", "b")]), false);
    check(|s| s.claim_selector = wants(&[("app", "db")]), true);
    check(|s| s.claim_selector = wants(&[("app", "web")]), false);
    check(|s| s.storage_classes = vec!["slow".into(), "fa*".into()], true);
    check(|s| s.storage_classes = vec![String::new()], false);
    check(|s| s.size_min = Some("10Gi".into()), true);
    check(|s| s.size_min = Some("11Gi".into()), false);
    check(|s| s.size_max = Some("10Gi".into()), true);
    check(|s| s.size_max = Some("9Gi".into()), false);
    check(|s| s.annotations = BTreeMap::from([("tier".into(), "gold".into())]), true);
    check(|s| s.annotations = BTreeMap::from([("tier".into(), "tin".into())]), false);
    check(|s| (s.namespaces, s.size_min) = (vec!["shop".into()], Some("1Ti".into())), false);
}

#[test]
fn of_several_the_order_is_fixed() {
    let check = |policies: &[(&str, i64, i32)], first: &str| {
        let of =
            |&(name, created, priority): &(&str, i64, i32)| policy(name, created, |s| s.priority = priority);
        for policies in [policies.iter().map(of).collect(), policies.iter().rev().map(of).collect::<Vec<_>>()]
        {
            assert_eq!(judge(&world(claim()), &in_order(policies), false), first);
        }
    };
    check(&[("a", 2, 0), ("b", 1, 0)], "b");
    check(&[("a", 1, 0), ("b", 1, 0)], "a");
    check(&[("a", 1, 0), ("b", 2, 5)], "b");
    check(&[("a", 1, -1), ("b", 2, 0)], "b");
}

#[test]
fn what_leaves_a_claim_out_comes_first() {
    let policies = [policy("p", 1, |_| {})];
    let check = |change: fn(&mut World), left_out: bool, why: &str| {
        let mut world = world(claim());
        change(&mut world);
        let said = judge(&world, &policies, left_out);
        assert!(said.starts_with("excluded") && said.contains(why), "{said}");
    };
    check(
        |w| {
            w.claims.insert(
                Key::new("shop", "data"),
                Claim { labels: labels(&[(EXCLUDE_LABEL, "true")]), ..claim() }.into(),
            );
        },
        false,
        "its label",
    );
    check(
        |w| {
            w.volumes.insert(
                Key::cluster("pv"),
                Volume { labels: labels(&[(EXCLUDE_LABEL, "true")]), ..Volume::default() }.into(),
            );
        },
        false,
        "volume's label",
    );
    check(
        |w| {
            w.namespaces.insert(
                Key::cluster("shop"),
                Namespace { labels: labels(&[(EXCLUDE_LABEL, "true")]), ..Namespace::default() }.into(),
            );
        },
        false,
        "namespace's label",
    );
    check(|_| {}, true, "backup-volumes-excludes");
    check(
        |w| {
            w.claims.insert(Key::new("shop", "data"), Claim { phase: ClaimPhase::Pending, ..claim() }.into());
        },
        false,
        "no volume yet",
    );
    check(
        |w| {
            w.claims.insert(Key::new("shop", "data"), Claim { deleting: true, ..claim() }.into());
        },
        false,
        "being deleted",
    );
    assert_eq!(
        judge(&world(Claim { labels: labels(&[(EXCLUDE_LABEL, "false")]), ..claim() }), &policies, false),
        "p"
    );
}

#[test]
fn annotations_of_velero_name_volumes_of_pods() {
    let pod = |name: &str, value: &str| Pod { annotations: labels(&[(name, value)]), ..Pod::default() };
    assert!(is_left_out(&pod(EXCLUDES_ANNOTATION, "a, b"), "b"));
    assert!(!is_left_out(&pod(EXCLUDES_ANNOTATION, "ab"), "b"));
    let (key, namespace) = (Key::new("shop", "p"), Namespace::default());
    let asks = |pod: &Pod, policy: &Policy| policy.wants_empty_dir(&key, pod, "b", &namespace);
    let none = policy("p", 1, |_| {});
    let some = policy("p", 1, |s| s.empty_dirs = Some(EmptyDirs { pod_selector: wants(&[("x", "y")]) }));
    let all = policy("p", 1, |s| s.empty_dirs = Some(EmptyDirs::default()));
    assert!(!asks(&pod(INCLUDES_ANNOTATION, "b"), &none), "emptyDirs are opted in to by the policy");
    assert!(asks(&pod(INCLUDES_ANNOTATION, "b"), &some) && !asks(&Pod::default(), &some));
    assert!(asks(&Pod::default(), &all) && !asks(&pod(EXCLUDES_ANNOTATION, "b"), &all));
}

#[test]
fn what_makes_no_sense_is_named() {
    let check = |change: fn(&mut BackupPolicySpec), what: &str| {
        let schedule = Schedule { max_age: Some(Span("1h".into())), ..Schedule::default() };
        let mut spec = BackupPolicySpec { repository: "r".into(), schedule, ..BackupPolicySpec::default() };
        change(&mut spec);
        let wrong = Policy::new(&BackupPolicy::new("p", spec)).unwrap_err();
        assert!(wrong.contains(what), "{wrong}");
    };
    check(|s| s.schedule.max_age = Some(Span("1x".into())), "schedule.maxAge");
    check(|s| s.schedule = Schedule { cron: Some("no".into()), ..Schedule::default() }, "cron");
    check(|s| s.schedule = Schedule::default(), "exactly one");
    check(|s| s.schedule.time_zone = Some("Moon/Base".into()), "timeZone");
    check(|s| s.objective = Some(Span("h".into())), "objective");
    check(|s| s.selector.size_min = Some("big".into()), "sizeMin");
    check(
        |s| s.host_paths = vec![crate::resources::HostPath { path: "/a/../b".into(), node_selector: None }],
        "/a/../b",
    );
}
