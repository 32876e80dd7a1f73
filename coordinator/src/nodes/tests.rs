//! Plans and sightings, and who may speak for what.

use proto::v1;
use repository::env::Env;

use super::Board;
use crate::pulse::Pulse;

fn board() -> Board {
    Board::new(Env::system(), Pulse::default())
}

fn plan(volumes: &[(&str, &str)]) -> v1::NodePlan {
    let volume = |(volume, domain): &(&str, &str)| v1::NodeVolume {
        volume: (*volume).into(),
        domain: (*domain).into(),
        ..v1::NodeVolume::default()
    };
    v1::NodePlan { volumes: volumes.iter().map(volume).collect(), ..v1::NodePlan::default() }
}

fn arrival(node: &str) -> v1::Arrival {
    v1::Arrival { node: node.into(), version: "1".into(), confined: true, ..v1::Arrival::default() }
}

fn seen(volume: &str) -> v1::Sighting {
    v1::Sighting { volume: volume.into(), seen: v1::Seen::Ready.into(), ..v1::Sighting::default() }
}

#[test]
fn a_plan_that_says_nothing_new_is_not_sent_again() {
    let board = board();
    let mut here = board.attend(&arrival("n")).unwrap();
    assert_eq!(here.plans.borrow_and_update().revision, 0);
    board.set_plan("n", plan(&[("v", "a")]));
    assert!(here.plans.has_changed().unwrap());
    assert_eq!(here.plans.borrow_and_update().revision, 1);
    board.set_plan("n", plan(&[("v", "a")]));
    assert!(!here.plans.has_changed().unwrap());
    board.set_plan("n", plan(&[("v", "a"), ("w", "a")]));
    let now = here.plans.borrow_and_update().clone();
    assert_eq!((now.revision, now.volumes.len()), (2, 2));
    board.remove("n");
    let now = here.plans.borrow_and_update().clone();
    assert_eq!((now.revision, now.volumes.len()), (3, 0));
}

#[test]
fn an_empty_plan_is_sent_too() {
    let board = board();
    board.set_plan("n", v1::NodePlan::default());
    assert_eq!(board.attend(&arrival("n")).unwrap().plans.borrow().revision, 1);
}

#[test]
fn only_the_newest_stream_counts_and_only_for_its_plan() {
    let board = board();
    board.set_plan("n", plan(&[("v", "a")]));
    let old = board.attend(&arrival("n")).unwrap();
    let new = board.attend(&arrival("n")).unwrap();
    let said = v1::Sightings { revision: 1, volumes: vec![seen("v"), seen("another's")] };
    assert!(!board.hear("n", old.number, Some(said.clone())));
    assert!(board.node("n").unwrap().sightings.is_empty());
    assert!(board.hear("n", new.number, Some(said)));
    let state = board.node("n").unwrap();
    assert_eq!(state.sightings.keys().collect::<Vec<_>>(), ["v"]);
    assert!(state.connected && state.confined);
    board.leave("n", old.number);
    assert!(board.node("n").unwrap().connected);
    board.leave("n", new.number);
    assert!(!board.node("n").unwrap().connected);
    // One that comes again has found nothing yet.
    board.attend(&arrival("n")).unwrap();
    assert!(board.node("n").unwrap().sightings.is_empty());
}

#[test]
fn a_node_speaks_only_for_the_volumes_of_its_plan_and_their_domains() {
    let board = board();
    board.set_plan("n", plan(&[("v", "a"), ("w", "b")]));
    let volume = |name: &str| v1::Volume { name: name.into(), ..v1::Volume::default() };
    let kept = |node: &str, domain: &str| {
        let mut all = vec![volume("v"), volume("w"), volume("x")];
        board.keep_planned(node, domain, &mut all);
        all.into_iter().map(|v| v.name).collect::<Vec<_>>()
    };
    assert_eq!((kept("n", "a"), kept("n", "b")), (vec!["v".to_owned()], vec!["w".to_owned()]));
    assert!(kept("other", "a").is_empty());
    assert!(!board.may_restore("n", "a"));
    let mut writable = plan(&[("v", "a")]);
    writable.volumes[0].restore = true;
    board.set_plan("n", writable);
    assert!(board.may_restore("n", "a") && !board.may_restore("n", "b"));
}

#[test]
fn a_node_without_plan_is_forgotten_when_it_leaves() {
    let board = board();
    let here = board.attend(&arrival("stranger")).unwrap();
    assert_eq!(board.nodes().len(), 1);
    board.leave("stranger", here.number);
    assert!(board.nodes().is_empty());
    board.set_plan("n", plan(&[]));
    board.remove("n");
    assert!(board.nodes().is_empty());
}
