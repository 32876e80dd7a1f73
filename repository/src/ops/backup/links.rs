//! Files with several names: read under the first, taken over under the others.
//!
//! The walk meets a name, and the item stream gets the first name's entry, always before the next name's. What is kept
//! between the two is bounded (`limits`), and dropped when all of a file's names have come; a name of which nothing is
//! kept is read like any other file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::items::entry::{Content, Entry, Kind};
use crate::limits::{LINKED_BYTES_MAX, LINKED_FILES_MAX};
use crate::source::Found;

/// Memory of one file's place in the table, besides its content.
const SLOT_BYTES: usize = 320;

/// One file.
#[derive(Debug)]
struct Slot {
    /// Names that have not come into the item stream yet.
    names_left: u32,
    /// The first name's entry, once it was read; its path is empty.
    entry: Option<Entry>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<u64, Slot>,
    bytes: usize,
}

/// All files with several names of which some names are still to come. A volume is one file system, so that a file's
/// inode number says which it is.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<Table>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The walk has met a name of a file that must be read. True if an earlier name of it is on its way, so that this
    /// one need not be read.
    pub(super) fn is_further(&self, found: &Found) -> bool {
        if !found.meta.linked {
            return false;
        }
        let mut table = self.lock();
        if table.files.contains_key(&found.meta.ino) {
            return true;
        }
        if table.files.len() < LINKED_FILES_MAX && table.bytes < LINKED_BYTES_MAX {
            table.bytes += SLOT_BYTES;
            let slot = Slot { names_left: found.links, entry: None, bytes: SLOT_BYTES };
            table.files.insert(found.meta.ino, slot);
        }
        false
    }

    /// An entry goes into the item stream: further names may be waiting for its content.
    pub(super) fn note(&self, entry: &Entry) {
        let Kind::File(content) = &entry.kind else { return };
        if !entry.meta.linked {
            return;
        }
        let table = &mut *self.lock();
        let Some(slot) = table.files.get_mut(&entry.meta.ino) else { return };
        slot.names_left = slot.names_left.saturating_sub(1);
        let state = |e: &Entry| (e.size, e.meta.mtime, e.meta.ctime);
        if slot.entry.as_ref().is_none_or(|kept| state(kept) != state(entry)) {
            let bytes = SLOT_BYTES + content_bytes(content) + attribute_bytes(entry);
            table.bytes = table.bytes - slot.bytes + bytes;
            slot.bytes = bytes;
            slot.entry = Some(Entry { path: Vec::new(), ..entry.clone() });
        }
        if slot.names_left == 0 || table.bytes > LINKED_BYTES_MAX {
            Self::drop_slot(table, entry.meta.ino);
        }
    }

    /// The entry of a further name, if the file is still as it was read.
    pub(super) fn find(&self, found: &Found) -> Option<Entry> {
        let table = self.lock();
        let first = table.files.get(&found.meta.ino)?.entry.as_ref()?;
        let same = (first.size, first.meta.mtime, first.meta.ctime)
            == (found.size, found.meta.mtime, found.meta.ctime);
        (same && !first.changed_during_read).then(|| Entry { path: found.path.clone(), ..first.clone() })
    }

    fn drop_slot(table: &mut Table, ino: u64) {
        if let Some(slot) = table.files.remove(&ino) {
            table.bytes -= slot.bytes;
        }
    }
}

fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Inline(bytes) => bytes.len(),
        Content::Extents(list) => size_of_val(&list[..]),
        Content::Segments(list) => size_of_val(&list[..]),
    }
}

fn attribute_bytes(entry: &Entry) -> usize {
    entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum()
}

#[cfg(test)]
mod tests;
