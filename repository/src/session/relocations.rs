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
pub struct Relocations(HashMap<Place, Place>);

impl Relocations {
    /// Those of earlier runs (`merged`), and of the newest run those of packs that it sweeps.
    pub(super) fn new(merged: &[Relocation], newest: &[Relocation], swept: &HashSet<PackId>) -> Self {
        let newest = newest.iter().filter(|r| swept.contains(&r.pack));
        let pairs = merged.iter().chain(newest).map(|r| (Place { pack: r.pack, ordinal: r.ordinal }, r.to));
        Self(pairs.collect())
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
        for _ in 0..=self.0.len() {
            match self.0.get(&at) {
                Some(next) => at = *next,
                None => return at,
            }
        }
        place
    }

    /// True when nothing was relocated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
