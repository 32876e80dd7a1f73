//! Which blobs of which packs are needed: one bit a blob, for any number of snapshots.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::ids::{PackId, Place};
use crate::manifest::summary::OrdinalSet;
use crate::session::Relocations;

/// The live bits.
#[derive(Debug, Default)]
pub(super) struct Live(BTreeMap<PackId, OrdinalSet>);

impl Live {
    /// Adds one blob.
    pub(super) fn add(&mut self, place: Place) {
        self.0.entry(place.pack).or_default().insert(place.ordinal);
    }

    /// Adds what is needed of a pack, where it is now.
    pub(super) fn add_set(&mut self, pack: PackId, needed: OrdinalSet, relocations: &Relocations) {
        if relocations.moves(pack) {
            for ordinal in needed.iter() {
                self.add(relocations.resolve(Place { pack, ordinal }));
            }
            return;
        }
        match self.0.entry(pack) {
            Entry::Vacant(slot) => {
                slot.insert(needed);
            }
            Entry::Occupied(slot) => {
                let set = slot.into_mut();
                needed.runs().for_each(|(start, n)| set.insert_run(start, n));
            }
        }
    }

    /// What is needed of a pack.
    pub(super) fn of(&self, pack: PackId) -> Option<&OrdinalSet> {
        self.0.get(&pack)
    }

    /// About how many of a pack's bytes nobody needs, as far as the live bits tell: blobs behind the last one that is needed
    /// are not known of.
    pub(super) fn waste_of(&self, pack: PackId, bytes: u64) -> u64 {
        let Some((set, last)) = self.of(pack).and_then(|set| Some((set, set.last()?))) else { return bytes };
        let all = u64::from(last) + 1;
        bytes / all * (all - set.len().min(all))
    }

    /// True if anything of the pack is needed.
    pub(super) fn needs(&self, pack: PackId) -> bool {
        self.0.contains_key(&pack)
    }
}
