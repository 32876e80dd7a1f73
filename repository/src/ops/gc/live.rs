//! Which blobs of which packs are needed: one bit a blob, for any number of snapshots.

use std::collections::BTreeMap;

use crate::ids::{PackId, Place};
use crate::manifest::summary::{OrdinalSet, PackUse};
use crate::session::Relocations;

/// The live bits.
#[derive(Debug, Default)]
pub(super) struct Live(BTreeMap<PackId, OrdinalSet>);

impl Live {
    /// Adds one blob.
    pub(super) fn add(&mut self, place: Place) {
        self.0.entry(place.pack).or_default().insert(place.ordinal);
    }

    /// Adds what a summary needs of a pack, where it is now.
    pub(super) fn add_use(&mut self, needed: &PackUse, relocations: &Relocations) {
        let pack = needed.pack.id;
        if relocations.moves(pack) {
            for ordinal in needed.ordinals.iter() {
                self.add(relocations.resolve(Place { pack, ordinal }));
            }
        } else {
            let set = self.0.entry(pack).or_default();
            needed.ordinals.runs().for_each(|(start, n)| set.insert_run(start, n));
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
