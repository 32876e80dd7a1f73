//! The table of what is trusted and what is read again.

use super::{FreshRules, unchanged};
use crate::env::Timestamp;
use crate::items::entry::{Entry, Kind, Meta};

const START: Timestamp = Timestamp(1_000_000_000_000_000);
const RULES: FreshRules =
    FreshRules { parent_started: START, now: Timestamp(START.0 + 1), memory_fs: false, read_all: false };

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
}

#[test]
fn times_at_the_ends_of_the_range_do_not_overflow() {
    check("parent at the beginning of time", false, |_, _, _, r| r.parent_started = Timestamp(i64::MIN));
    check("parent at the end of time", true, |_, _, _, r| {
        r.parent_started = Timestamp(i64::MAX);
        r.now = Timestamp(i64::MAX);
    });
}
