//! The part of the index that lies in memory: entries in the order of arrival, and a hash table of their numbers.

use hashbrown::HashTable;

use super::{Entry, Prefix};
use crate::ids::{BlobId, PackId, PackRef, Place};

/// Blobs of the packs that were added since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Table {
    packs: Vec<PackRef>,
    entries: Vec<Entry>,
    numbers: HashTable<u32>,
}

/// Ids are keyed hashes already: their own bytes spread evenly.
fn hash(prefix: &Prefix) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&prefix[..8]);
    u64::from_le_bytes(first)
}

impl Table {
    /// Adds a pack's blobs. The caller flushes long before the numbers run out.
    pub(crate) fn insert_pack(&mut self, pack: PackRef, blobs: &[BlobId]) {
        let number = u32::try_from(self.packs.len()).expect("flushed long before");
        self.packs.push(pack);
        for (ordinal, id) in (0u32..).zip(blobs) {
            let prefix = super::prefix(id);
            let at = u32::try_from(self.entries.len()).expect("flushed long before");
            self.entries.push(Entry { prefix, pack: number, ordinal });
            let entries = &self.entries;
            self.numbers.insert_unique(hash(&prefix), at, |&n| hash(&entries[n as usize].prefix));
        }
    }

    /// The newest place of `prefix` in a pack that `accept` takes.
    pub(crate) fn find(&self, prefix: &Prefix, accept: &mut dyn FnMut(&PackRef) -> bool) -> Option<Place> {
        let same = self.numbers.iter_hash(hash(prefix)).copied();
        let mut found: Option<u32> = None;
        for n in same {
            let entry = &self.entries[n as usize];
            if entry.prefix == *prefix
                && found.is_none_or(|f| f < n)
                && accept(&self.packs[entry.pack as usize])
            {
                found = Some(n);
            }
        }
        found.map(|n| {
            let e = self.entries[n as usize];
            Place { pack: self.packs[e.pack as usize].id, ordinal: e.ordinal }
        })
    }

    /// The entries of one pack: ordinals and ids.
    pub(crate) fn blobs_of(&self, pack: PackId) -> impl Iterator<Item = (u32, Prefix)> + '_ {
        let of = move |e: &&Entry| self.packs[e.pack as usize].id == pack;
        self.entries.iter().filter(of).map(|e| (e.ordinal, e.prefix))
    }

    /// How many blobs it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes everything out: the packs, and the entries sorted.
    pub(crate) fn take_sorted(&mut self) -> (Vec<PackRef>, Vec<Entry>) {
        self.numbers = HashTable::new();
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable();
        (std::mem::take(&mut self.packs), entries)
    }
}
