//! Each volume by its own rule, each rule with its own breaker.

use repository::ids::Sid;
use repository::retention::Quality;

use super::*;

const NOW: i64 = 1_700_000_000;

/// `count` snapshots of a volume, an hour apart, the newest now.
fn hourly(volume: &str, count: u8) -> Vec<Candidate> {
    let one = |i: u8| Candidate {
        id: Sid([i; 16]),
        volume: volume.to_owned(),
        recorded: Timestamp::from_parts(NOW - 3600 * i64::from(i), 0),
        tags: Vec::new(),
        quality: Quality::Good,
        pinned: false,
    };
    (0..count).map(one).collect()
}

fn last(volume: &str, last: u32, share_percent_max: u8) -> RetentionRule {
    RetentionRule { volume: volume.to_owned(), rules: Rules { last, ..Rules::default() }, share_percent_max }
}

fn forgotten(plan: &Plan, volume: &str) -> usize {
    plan.forgotten().filter(|c| c.volume == volume).count()
}

#[test]
fn the_first_rule_that_matches_counts() {
    let rules = [last("db-*", 4, 100), last("keep", 0, 100), last("*", 1, 100)];
    let candidates = ["db-1", "keep", "x"].into_iter().flat_map(|v| hourly(v, 5)).collect();
    let decided = decide(candidates, &rules, Timestamp::from_parts(NOW, 0), None);
    let of = |volume| forgotten(&decided.plan, volume);
    assert_eq!((of("db-1"), of("keep"), of("x")), (1, 0, 4));
    let kept = decided.plan.decisions.iter().filter(|d| d.snapshot.volume == "keep");
    assert!(kept.clone().count() == 5 && kept.clone().all(|d| d.kept == [Reason::NoRule]));
    let volumes: Vec<_> = decided.plan.decisions.iter().map(|d| d.snapshot.volume.as_str()).collect();
    assert!(volumes.is_sorted(), "{volumes:?}");
}

#[test]
fn a_breaker_holds_back_its_own_volumes_only() {
    let rules = [last("db-*", 1, 50), last("*", 4, 50)];
    let candidates: Vec<_> = ["db-1", "x"].into_iter().flat_map(|v| hourly(v, 5)).collect();
    let now = Timestamp::from_parts(NOW, 0);
    let decided = decide(candidates.clone(), &rules, now, None);
    assert_eq!(decided.tripped.len(), 1);
    assert_eq!((decided.tripped[0].0.as_str(), decided.tripped[0].1.forgotten), ("db-*", 4));
    let allowed = decided.allowed(&rules);
    assert_eq!((forgotten(&allowed, "db-1"), forgotten(&allowed, "x")), (0, 1));
    assert!(decide(candidates, &rules, now, Some(100)).tripped.is_empty());
}

#[test]
fn without_rules_everything_is_kept() {
    let decided = decide(hourly("x", 9), &[], Timestamp::from_parts(NOW, 0), None);
    assert_eq!((decided.plan.decisions.len(), decided.plan.forgotten().count()), (9, 0));
}

#[test]
fn the_embedded_rules_forget_slowly() {
    let decided = decide(hourly("x", 72), &default_rules(), Timestamp::from_parts(NOW, 0), None);
    let gone = decided.plan.forgotten().count();
    assert!(decided.tripped.is_empty() && (15..=23).contains(&gone), "{gone}");
}
