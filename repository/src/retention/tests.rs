//! Which snapshots each rule keeps, as tables and as properties.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(seconds, 0)
}

/// 2026-11-23 12:00:00 UTC, a Monday.
fn now() -> Timestamp {
    at(1_795_435_200)
}

fn snapshot(n: u8, age: i64) -> Candidate {
    let (id, volume, tags) = (Sid([n; 16]), "v".to_owned(), Vec::new());
    Candidate { id, volume, recorded: now().plus_seconds(-age), tags, quality: Quality::Good, pinned: false }
}

/// The numbers of the kept ones, newest first, with their reasons.
fn kept(snapshots: &[Candidate], rules: &Rules) -> Vec<(u8, String)> {
    let plan = plan(snapshots.to_vec(), rules, now());
    assert_eq!(plan.decisions.len(), snapshots.len());
    let kept = plan.decisions.into_iter().filter(|d| !d.kept.is_empty());
    let words = |d: &Decision| d.kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    kept.map(|d| (d.snapshot.id.0[0], words(&d))).collect()
}

fn numbers(snapshots: &[Candidate], rules: &Rules) -> Vec<u8> {
    kept(snapshots, rules).into_iter().map(|(n, _)| n).collect()
}

#[test]
fn the_newest_are_kept() {
    let all: Vec<_> = (0..10).map(|n| snapshot(n, i64::from(n) * HOUR)).collect();
    assert_eq!(numbers(&all, &Rules { last: 3, ..Rules::default() }), [0, 1, 2]);
    assert_eq!(
        numbers(&all, &Rules { within_seconds: Some(5 * 3600), ..Rules::default() }),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(numbers(&all, &Rules { last: 1, age_seconds_min: 7200, ..Rules::default() }), [0, 1]);
}

#[test]
fn periods_keep_their_newest_and_skip_empty_ones() {
    // Two a day for ten days, nothing on days 2 to 4.
    let days = (0..10i64).filter(|d| !(2..5).contains(d));
    let all: Vec<_> = days.flat_map(|d| [(d * 2, d * DAY), (d * 2 + 1, d * DAY + 6 * HOUR)]).collect();
    let all: Vec<_> = all.into_iter().map(|(n, age)| snapshot(n as u8, age)).collect();
    assert_eq!(numbers(&all, &Rules { daily: 4, ..Rules::default() }), [0, 2, 10, 12]);
    assert_eq!(numbers(&all, &Rules { hourly: 3, ..Rules::default() }), [0, 1, 2]);
    // Monday the 23rd; the week before, 16th to 22nd; and the one before that.
    assert_eq!(numbers(&all, &Rules { weekly: 3, ..Rules::default() }), [0, 2, 16]);
    assert_eq!(
        kept(&all, &Rules { yearly: 2, daily: 1, ..Rules::default() }),
        [(0, "daily, yearly".to_owned())]
    );
}

#[test]
fn months_and_years_follow_the_calendar() {
    let ages = [0, 22 * DAY, 23 * DAY, 53 * DAY, 54 * DAY, 327 * DAY, 400 * DAY];
    let all: Vec<_> = ages.iter().zip(0u8..).map(|(age, n)| snapshot(n, *age)).collect();
    // November has 23 days so far, October 31; 327 days ago was the last day but one of 2025.
    assert_eq!(numbers(&all, &Rules { monthly: 3, ..Rules::default() }), [0, 2, 4]);
    assert_eq!(numbers(&all, &Rules { yearly: 5, ..Rules::default() }), [0, 5]);
}

#[test]
fn a_partial_snapshot_stands_in_for_no_whole_one() {
    let mut all: Vec<_> = (0..4).map(|n| snapshot(n, i64::from(n) * HOUR)).collect();
    all[0].quality = Quality::Partial;
    all[1].quality = Quality::Damaged;
    assert_eq!(numbers(&all, &Rules { daily: 1, ..Rules::default() }), [2]);
    let last = kept(&all, &Rules { last: 2, ..Rules::default() });
    assert_eq!(last, [(0, "last".to_owned()), (1, "last".to_owned()), (2, "last good one".to_owned())]);
    all.iter_mut().for_each(|s| s.quality = Quality::Partial);
    assert_eq!(numbers(&all, &Rules { daily: 1, ..Rules::default() }), [0], "if there are only partial ones");
}

#[test]
fn tags_volumes_and_the_future() {
    let mut all: Vec<_> = (0..3).map(|n| snapshot(n, 100 * DAY + i64::from(n) * HOUR)).collect();
    all[2].tags = vec!["release".to_owned(), "x".to_owned()];
    let rules = Rules { tags: vec!["release".to_owned()], ..Rules::default() };
    assert_eq!(kept(&all, &rules), [(2, "tag release".to_owned())]);
    all[2].volume = "other".to_owned();
    let rules = Rules { last: 1, ..Rules::default() };
    assert_eq!(numbers(&all, &rules), [2, 0], "volumes don't compete, and come by name");
    all[0].recorded = now().plus_seconds(DAY);
    assert_eq!(numbers(&all, &Rules { within_seconds: Some(60), ..Rules::default() }), [2, 0]);
}

#[test]
fn the_breaker_stops_a_landslide() {
    let all: Vec<_> = (0..10).map(|n| snapshot(n, i64::from(n) * HOUR)).collect();
    let plan = plan(all, &Rules { last: 4, ..Rules::default() }, now());
    assert_eq!(plan.forgotten().count(), 6);
    assert!(plan.check_share(60).is_ok());
    let error = plan.check_share(59).unwrap_err();
    assert_eq!(error.to_string(), "this would forget 6 of 10 snapshots, more than 59 %");
    let two =
        super::plan(vec![snapshot(0, 0), snapshot(1, 9)], &Rules { last: 1, ..Rules::default() }, now());
    assert!(two.check_share(0).is_ok(), "one snapshot is no landslide");
    assert!(Rules::default().is_empty() && !Rules { yearly: 1, ..Rules::default() }.is_empty());
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (prop::array::uniform6(0u32..4), prop::option::of(0u64..400_000)).prop_map(|(n, within_seconds)| Rules {
        last: n[0],
        hourly: n[1],
        daily: n[2],
        weekly: n[3],
        monthly: n[4],
        yearly: n[5],
        within_seconds,
        ..Rules::default()
    })
}

fn any_snapshots() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..400 * DAY, 0..3u8, 0..2u8);
    prop::collection::vec(one, 1..40).prop_map(|list| {
        let made = list.into_iter().zip(0u8..).map(|((age, quality, volume), n)| {
            let quality = [Quality::Damaged, Quality::Partial, Quality::Good][usize::from(quality)];
            Candidate { quality, volume: format!("v{volume}"), ..snapshot(n, age) }
        });
        made.collect()
    })
}

proptest! {
    /// Whatever the rules: the best of each volume stays, the order of input does not matter, and what a plan keeps, the
    /// same plan keeps again when the rest is gone.
    #[test]
    fn plans_are_safe_and_stable(snapshots in any_snapshots(), rules in any_rules()) {
        let first = plan(snapshots.clone(), &rules, now());
        for volume in ["v0", "v1"] {
            let of = |s: &&Candidate| s.volume == volume;
            let best = snapshots.iter().filter(of).map(|s| s.quality).max();
            let left = first.decisions.iter().filter(|d| !d.kept.is_empty()).map(|d| &d.snapshot);
            prop_assert_eq!(left.filter(of).map(|s| s.quality).max(), best);
        }
        let mut turned = snapshots;
        turned.reverse();
        prop_assert_eq!(&plan(turned, &rules, now()), &first);
        let left: Vec<_> =
            first.decisions.iter().filter(|d| !d.kept.is_empty()).map(|d| d.snapshot.clone()).collect();
        prop_assert_eq!(plan(left, &rules, now()).forgotten().count(), 0);
    }
}
