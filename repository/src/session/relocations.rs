//! Where the blobs of compacted and repaired packs went.

use std::collections::{HashMap, HashSet};

use super::forbidden;
use crate::Result;
use crate::ids::{PackId, Place};
use crate::index::objects::Objects;
use crate::manifest::gc::Relocation;

/// Relocations that hold. Those of packs that the collector's `sweep` spares don't: such a pack keeps its place, and
/// the copies are garbage that goes with the next run.
#[derive(Clone, Debug, Default)]
pub struct Relocations {
    moved: HashMap<Place, Place>,
    from: HashSet<PackId>,
}

impl Relocations {
    /// Those of earlier runs (`merged`), and of the newest run those of packs that it sweeps.
    pub(super) fn new(merged: &[Relocation], newest: &[Relocation], swept: &HashSet<PackId>) -> Self {
        let newest = newest.iter().filter(|r| swept.contains(&r.pack));
        let mut relocations = Self::default();
        for r in merged.iter().chain(newest) {
            relocations.moved.insert(Place { pack: r.pack, ordinal: r.ordinal }, r.to);
            relocations.from.insert(r.pack);
        }
        relocations
    }

    /// Those of earlier runs only: what a collector resolves by while its own run is not swept.
    pub(crate) fn merged(merged: &[Relocation]) -> Self {
        Self::new(merged, &[], &HashSet::new())
    }

    /// What holds in the newest generation now. For readers that find a pack gone.
    pub async fn load_newest(objects: &Objects) -> Result<Self> {
        forbidden::load_newest_relocations(objects).await
    }

    /// Where a blob is now: a copy may have been copied again. Damaged records could lead in circles; then the place
    /// stays what it was.
    #[must_use]
    pub fn resolve(&self, place: Place) -> Place {
        let mut at = place;
        for _ in 0..=self.moved.len() {
            match self.moved.get(&at) {
                Some(next) => at = *next,
                None => return at,
            }
        }
        place
    }

    /// True if blobs of this pack were relocated: then the pack itself is deleted, or will be.
    #[must_use]
    pub fn moves(&self, pack: PackId) -> bool {
        self.from.contains(&pack)
    }

    /// True when nothing was relocated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty()
    }
}
