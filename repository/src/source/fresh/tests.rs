//! The table of what is trusted and what is read again.

use super::{FreshRules, is_due, unchanged};
use crate::env::Timestamp;
use crate::items::entry::{Entry, Kind, Meta};

const START: Timestamp = Timestamp(1_000_000_000_000_000);
const RULES: FreshRules = FreshRules { parent_started: START, now: Timestamp(START.0 + 1), ..ALL };
const ALL: FreshRules = FreshRules {
    parent_started: START,
    now: START,
    memory_fs: false,
    read_all: false,
    same_volume: true,
    reread_days: 0,
};

fn old() -> Entry {
    let ctime = START.plus_seconds(-120);
    let meta = Meta { ino: 7, mtime: START.plus_seconds(-900), ctime, mode: 0o644, ..Meta::default() };
    Entry { path: b"f".to_vec(), meta, size: 5, changed_during_read: false, kind: Kind::Fifo }
}

fn check(what: &str, expected: bool, change: impl FnOnce(&mut Entry, &mut Meta, &mut u64, &mut FreshRules)) {
    let (mut parent, mut rules) = (old(), RULES);
    let (mut now, mut size) = (parent.meta.clone(), parent.size);
    change(&mut parent, &mut now, &mut size, &mut rules);
    assert_eq!(unchanged(&parent, &now, size, &rules), expected, "{what}");
}

#[test]
fn inode_size_and_times_decide() {
    check("nothing changed, ctime exactly old enough", true, |_, _, _, _| {});
    check("attributes of the parent do not matter", true, |p, _, _, _| {
        p.meta.xattrs.push((b"user.a".to_vec(), vec![1]));
    });
    check("other inode", false, |_, m, _, _| m.ino = 8);
    check("other size", false, |_, _, s, _| *s = 6);
    check("later mtime", false, |_, m, _, _| m.mtime.0 += 1);
    check("earlier mtime", false, |_, m, _, _| m.mtime.0 -= 1);
    check("other ctime", false, |_, m, _, _| m.ctime.0 -= 1);
}

#[test]
fn what_the_times_cannot_tell_is_read() {
    check("one nanosecond too fresh", false, |p, m, _, _| {
        m.ctime.0 += 1;
        p.meta.ctime = m.ctime;
    });
    check("fresh in the parent, old enough for a later one", true, |p, m, _, r| {
        m.ctime = START;
        p.meta.ctime = START;
        r.parent_started = START.plus_seconds(120);
        r.now = START.plus_seconds(200);
    });
    check("ctime in the future, the clock went back", false, |_, m, _, r| r.now = Timestamp(m.ctime.0 - 1));
    check("changed while it was read", false, |p, _, _, _| p.changed_during_read = true);
    check("in memory", false, |_, _, _, r| r.memory_fs = true);
    check("all is to be read", false, |_, _, _, r| r.read_all = true);
    check("another volume in its place", false, |_, _, _, r| r.same_volume = false);
}

/// Runs a backup on each of these days; for each path, on which of them it was due.
fn due_days(paths: &[Vec<u8>], reread_days: u32, days: &[i64]) -> Vec<Vec<i64>> {
    let at = |day: i64| Timestamp::from_parts(day * 86_400 + 5000, 0);
    let due = |path: &Vec<u8>| {
        let runs = days.windows(2).filter(|w| {
            is_due(path, &FreshRules { parent_started: at(w[0]), now: at(w[1]), reread_days, ..ALL })
        });
        runs.map(|w| w[1]).collect()
    };
    paths.iter().map(due).collect()
}

#[test]
fn every_file_has_its_day() {
    let paths: Vec<_> = (0..3000).map(|i| format!("dir/file-{i}").into_bytes()).collect();
    let daily: Vec<i64> = (100..161).collect();
    let due = due_days(&paths, 30, &daily);
    assert!(due.iter().all(|days| days.len() == 2 && days[1] - days[0] == 30), "once in 30 days");
    for day in 101..=130 {
        let count = due.iter().filter(|days| days[0] == day).count();
        assert!((50..170).contains(&count), "{count} of 3000 files on day {day}: spread");
    }
    // Days without a backup are made up for by the next one, and a second backup of a day reads nothing again.
    let due = due_days(&paths, 30, &[100, 100, 107, 107, 125, 125, 129, 131]);
    assert!(due.iter().all(|days| !days.is_empty() && !days.contains(&100)));
    assert!(due.iter().all(|days| days.iter().filter(|d| **d < 131).count() <= 1));
    assert!(due_days(&paths, 30, &[100, 140]).iter().all(|days| days == &[140]));
    assert!(due_days(&paths, 0, &[100, 400]).iter().all(Vec::is_empty), "0 is never");
    assert!(due_days(&paths, 1, &[100, 101, 102]).iter().all(|days| days == &[101, 102]));
    assert!(due_days(&paths, 30, &[200, 100]).iter().all(Vec::is_empty), "a clock that went back");
}

#[test]
fn times_at_the_ends_of_the_range_do_not_overflow() {
    check("parent at the beginning of time", false, |_, _, _, r| r.parent_started = Timestamp(i64::MIN));
    check("parent at the end of time", true, |_, _, _, r| {
        r.parent_started = Timestamp(i64::MAX);
        r.now = Timestamp(i64::MAX);
    });
}
