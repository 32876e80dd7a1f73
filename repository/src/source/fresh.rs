//! Which entries need not be read again.
//!
//! Size and times say that an entry is as it was, with exceptions. A write through mmap may leave the times as they
//! were until the page is written back (seconds later on disk file systems, never on those in memory), and clocks jump.
//! So an entry is only trusted if its ctime was already old when the parent's session began to read: by
//! induction nothing needs to be stored for that.
//!
//! Two more rules need no trust in times at all. Every file is read again within a set number of days: its path says on
//! which of them, so that the work is spread, and whatever the times hid (bad memory, a tool that sets them back) does
//! not stay hidden. And on a volume that is not the one that the parent saw, though it has its name, everything is read.

use crate::env::Timestamp;
use crate::items::entry::{Entry, Meta};
use crate::limits::FRESH_CTIME_SECONDS;

/// What decides besides the entry itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshRules {
    /// When the parent's session started to read.
    pub parent_started: Timestamp,
    /// The present moment.
    pub now: Timestamp,
    /// The volume lies in memory: times say nothing.
    pub memory_fs: bool,
    /// Everything is to be read once.
    pub read_all: bool,
    /// The volume is the one that the parent's session read, not another one in its place.
    pub same_volume: bool,
    /// Every file is read again within so many days; 0 for never.
    pub reread_days: u32,
}

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// True if it is this file's turn to be read again: its day (one of every `reread_days`) has come since the parent's
/// session began. Nothing needs to be stored for that either: each backup reads those whose day lies between its
/// parent's start and its own.
#[must_use]
pub fn is_due(path: &[u8], rules: &FreshRules) -> bool {
    let day = |t: Timestamp| t.0.div_euclid(DAY_NANOS);
    let (today, passed) = (day(rules.now), day(rules.now) - day(rules.parent_started));
    let days = i64::from(rules.reread_days);
    if days == 0 || passed <= 0 {
        return false;
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&blake3::hash(path).as_bytes()[..8]);
    let own_day = i64::try_from(u64::from_le_bytes(hash) % days.unsigned_abs()).unwrap_or(0);
    (today - own_day).rem_euclid(days) < passed
}

/// True if the entry is as the parent's session found it: same inode, size and times, and the times can be trusted.
///
/// On a restored or copied volume inodes and ctimes differ, so that everything is read once, also where they happen to
/// agree: size and mtime alone would let through what another tool wrote with the same (docs/decisions/0006).
#[must_use]
pub fn unchanged(parent: &Entry, now: &Meta, size: u64, rules: &FreshRules) -> bool {
    let old = &parent.meta;
    let same = old.ino == now.ino && parent.size == size && old.mtime == now.mtime && old.ctime == now.ctime;
    let fresh = now.ctime > rules.parent_started.plus_seconds(-FRESH_CTIME_SECONDS) || now.ctime > rules.now;
    let trusted = rules.same_volume && !rules.memory_fs && !rules.read_all;
    same && trusted && !fresh && !parent.changed_during_read
}

#[cfg(test)]
mod tests;
