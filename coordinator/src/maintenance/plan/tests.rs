//! When tasks are due, over days, windows, failures and clocks that are put forward.

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// 2024-03-30, the day before Paris puts its clocks forward, midnight UTC.
const BASE: i64 = 1_711_756_800;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(BASE + seconds, 0)
}

fn timing(when: When, window: Option<&str>, zone: &str) -> Timing {
    Timing { when, window: window.map(|w| w.parse().unwrap()), zone: TimeZone::get(zone).unwrap() }
}

fn every(seconds: u64) -> Timing {
    timing(When::Every { seconds }, None, "UTC")
}

fn last(queued: i64, finished: i64, end: End) -> Option<Last> {
    Some(Last { queued: at(queued), finished: at(finished), end })
}

#[test]
fn windows_are_checked() {
    for good in ["22:00-06:00", "00:00-23:59", "08:30-09:00"] {
        assert_eq!(good.parse::<Window>().unwrap().to_string(), good);
    }
    for bad in ["", "22:00", "22-06", "24:00-01:00", "1:00-2:00", "01:00-01:00", "01:60-02:00", "+1:00-02:00"]
    {
        assert!(bad.parse::<Window>().is_err(), "{bad}");
    }
}

#[test]
fn a_window_may_go_over_midnight() {
    let night: Window = "22:00-06:00".parse().unwrap();
    let open = |hour| night.is_open(at(hour * HOUR), &TimeZone::UTC);
    assert_eq!([21, 22, 23, 24, 29, 30, 31].map(open), [false, true, true, true, true, false, false]);
    let next = |hour| night.next_open(at(hour * HOUR), &TimeZone::UTC);
    assert_eq!(next(7), at(22 * HOUR));
    assert_eq!(next(23), at(23 * HOUR));
    assert_eq!(next(30), at(46 * HOUR));
}

#[test]
fn a_time_that_a_day_lacks_is_the_next_that_there_is() {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let window: Window = "02:30-05:00".parse().unwrap();
    // On the 31st, 01:00 UTC is 03:00 in Paris: 02:30 never comes.
    let opens = window.next_open(at(DAY - 2 * HOUR), &zone);
    assert!((at(DAY)..=at(DAY + 2 * HOUR)).contains(&opens), "{opens:?}");
    assert!(window.is_open(opens, &zone));
}

#[test]
fn intervals_count_from_the_last_beginning() {
    let daily = every(86_400);
    assert_eq!(daily.next(last(0, HOUR, End::Whole), at(-DAY)), Some(at(DAY)));
    assert!(!daily.is_due(last(0, HOUR, End::Whole), at(-DAY), at(DAY - 1)));
    assert!(daily.is_due(last(0, HOUR, End::Whole), at(-DAY), at(DAY)));
    // What never ran comes soon, but not in the first moment.
    assert_eq!(daily.next(None, at(0)), Some(at(TASK_FIRST_SECONDS)));
    assert_eq!(every(5).next(None, at(0)), Some(at(5)));
    assert_eq!(Timing::never().next(last(0, 1, End::Failed), at(0)), None);
}

#[test]
fn what_failed_or_has_more_to_do_comes_again_sooner() {
    let daily = every(86_400);
    assert_eq!(daily.next(last(0, 10, End::Failed), at(0)), Some(at(10 + TASK_RETRY_SECONDS)));
    assert_eq!(daily.next(last(0, 10, End::More), at(0)), Some(at(10 + TASK_AGAIN_SECONDS)));
    // But never later than planned.
    assert_eq!(every(60).next(last(0, 10, End::Failed), at(0)), Some(at(60)));
}

#[test]
fn cron_is_made_up_for_once_and_the_window_waited_for() {
    let cron = Box::new(Cron::from_str("0 3 * * *").unwrap());
    let nightly = timing(When::Cron(cron.clone()), None, "UTC");
    assert_eq!(nightly.next(last(4 * HOUR, 5 * HOUR, End::Whole), at(0)), Some(at(DAY + 3 * HOUR)));
    assert!(nightly.is_due(last(-9 * DAY, -9 * DAY, End::Whole), at(-9 * DAY), at(20 * HOUR)));
    let windowed = timing(When::Cron(cron), Some("02:00-04:00"), "UTC");
    let missed = last(-DAY, -DAY, End::Whole);
    assert!(!windowed.is_due(missed, at(-DAY), at(5 * HOUR)));
    assert!(windowed.is_due(missed, at(-DAY), at(DAY + 3 * HOUR)));
    assert!(windowed.has_closed(at(5 * HOUR)) && !windowed.has_closed(at(3 * HOUR)));
    // Failed in its window, tried again in the next.
    let failed = last(3 * HOUR, 3 * HOUR + 1800, End::Failed);
    assert_eq!(windowed.next(failed, at(0)), Some(at(DAY + 2 * HOUR)));
}
