//! Schedules, as tables.

use std::str::FromStr as _;

use croner::Cron;
use jiff::tz::TimeZone;
use repository::env::Timestamp;

use super::{Action, Rule, Rules, Trigger, Volume, jitter, plan};

/// 2026-11-01 00:00:00 UTC.
const DAY: i64 = 1_793_491_200;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(DAY + seconds, 0)
}

fn max_age(seconds: u64) -> Rule {
    Rule { volume: "*".into(), trigger: Trigger::MaxAge { seconds }, jitter_seconds: 0 }
}

fn cron(text: &str, zone: &str) -> Rule {
    let trigger =
        Trigger::Cron { cron: Box::new(Cron::from_str(text).unwrap()), zone: TimeZone::get(zone).unwrap() };
    Rule { volume: "*".into(), trigger, jitter_seconds: 0 }
}

fn volume(newest: Option<i64>) -> Volume {
    let newest_started = newest.map(at);
    let (first_seen, last_failed) = (at(0), None);
    Volume { name: "v".into(), first_seen, newest_started, last_failed, busy: false, connected: true }
}

fn patterns(all: &[Rule]) -> Rules {
    Rules { patterns: all.to_vec(), ..Rules::default() }
}

fn check(now: i64, volume: Volume, rule: &Rule, action: Action, late: bool) {
    let [decision] = plan(at(now), &[volume], &patterns(std::slice::from_ref(rule))).try_into().unwrap();
    assert_eq!((decision.action, decision.late), (action, late), "at {now}");
}

#[test]
fn a_new_volume_is_due_at_once() {
    check(0, volume(None), &max_age(3600), Action::Run, false);
    check(3601, volume(None), &max_age(3600), Action::Run, true);
}

#[test]
fn max_age_counts_from_the_start_of_the_newest_snapshot() {
    check(3599 + 100, volume(Some(100)), &max_age(3600), Action::Wait(at(3700)), false);
    check(3700, volume(Some(100)), &max_age(3600), Action::Run, false);
    check(3701, volume(Some(100)), &max_age(3600), Action::Run, true);
}

#[test]
fn a_busy_volume_is_not_started_twice() {
    check(9999, Volume { busy: true, ..volume(Some(0)) }, &max_age(60), Action::Busy, true);
    check(9999, Volume { connected: false, ..volume(Some(0)) }, &max_age(60), Action::Unreachable, true);
}

#[test]
fn a_failed_run_is_not_repeated_at_once() {
    let failed = Volume { last_failed: Some(at(1000)), ..volume(Some(0)) };
    check(1001, failed.clone(), &max_age(60), Action::Wait(at(1300)), true);
    check(1300, failed, &max_age(60), Action::Run, true);
}

#[test]
fn cron_waits_for_its_time_and_makes_up_for_a_missed_one() {
    let three = cron("0 3 * * *", "UTC");
    check(0, volume(None), &three, Action::Wait(at(3 * 3600)), false);
    check(3 * 3600, volume(None), &three, Action::Run, false);
    check(3 * 3600 + 30, volume(Some(3 * 3600 + 10)), &three, Action::Wait(at(27 * 3600)), false);
    // Two days away: once, not twice; and late.
    check(60 * 3600, volume(Some(3 * 3600 + 10)), &three, Action::Run, true);
    check(60 * 3600 + 60, volume(Some(60 * 3600)), &three, Action::Wait(at(75 * 3600)), false);
}

#[test]
fn cron_has_a_time_zone() {
    // 3:00 in Tokyo is 18:00 UTC the day before.
    check(0, volume(None), &cron("0 3 * * *", "Asia/Tokyo"), Action::Wait(at(18 * 3600)), false);
}

#[test]
fn jitter_never_makes_a_snapshot_too_old() {
    let rule = Rule { jitter_seconds: 600, ..max_age(3600) };
    let name = |n| format!("volume-{n}");
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..100 {
        let v = Volume { name: name(n), ..volume(Some(0)) };
        let Action::Wait(due) = plan(at(1), &[v], &patterns(std::slice::from_ref(&rule)))[0].action else {
            panic!("{n}")
        };
        assert!((at(3000)..=at(3600)).contains(&due), "{due:?}");
        seen.insert(due);
    }
    assert!(seen.len() > 50, "{} different starts", seen.len());
    assert_eq!(jitter("x", 0), 0);
}

#[test]
fn the_first_matching_rule_counts() {
    let named = |volume: &str, seconds| Rule { volume: volume.into(), ..max_age(seconds) };
    let rules = [named("host:/db*", 1), named("*", 2)];
    let seconds = |name| match patterns(&rules).find(name).unwrap().trigger {
        Trigger::MaxAge { seconds } => seconds,
        Trigger::Cron { .. } => 0,
    };
    assert_eq!((seconds("host:/db-0"), seconds("host:/web")), (1, 2));
    let unscheduled = plan(at(0), &[volume(None)], &patterns(&rules[..1]));
    assert_eq!(unscheduled[0].action, Action::Unscheduled);
}

#[test]
fn a_volumes_own_rule_counts_before_all_patterns() {
    let mut rules = patterns(&[max_age(2)]);
    rules.named.insert("v".to_owned(), max_age(1));
    let seconds = |name| match rules.find(name).unwrap().trigger {
        Trigger::MaxAge { seconds } => seconds,
        Trigger::Cron { .. } => 0,
    };
    assert_eq!((seconds("v"), seconds("w")), (1, 2));
}
