//! Which entries need not be read again.
//!
//! Size and times say that an entry is as it was, with exceptions. A write through mmap may leave the times as they
//! were until the page is written back (seconds later on disk file systems, never on those in memory), and clocks jump.
//! So an entry is only trusted if its ctime was already old when the parent's session began to read: by
//! induction nothing needs to be stored for that.

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
}

/// True if the entry is as the parent's session found it: same inode, size and times, and the times can be trusted.
///
/// On a restored or copied volume inodes and ctimes differ, so everything is read once.
#[must_use]
pub fn unchanged(parent: &Entry, now: &Meta, size: u64, rules: &FreshRules) -> bool {
    let old = &parent.meta;
    let same = old.ino == now.ino && parent.size == size && old.mtime == now.mtime && old.ctime == now.ctime;
    let fresh = now.ctime > rules.parent_started.plus_seconds(-FRESH_CTIME_SECONDS) || now.ctime > rules.now;
    same && !fresh && !parent.changed_during_read && !rules.memory_fs && !rules.read_all
}

#[cfg(test)]
mod tests;
