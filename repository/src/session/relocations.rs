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
    /// For each pack its runs, by ordinal.
    moved: HashMap<PackId, Vec<Run>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    start: u32,
    count: u32,
    to: Place,
}

impl Relocations {
    /// Those of earlier runs (`merged`), and of the newest run those of packs that it sweeps.
    pub(super) fn new(merged: &[Relocation], newest: &[Relocation], swept: &HashSet<PackId>) -> Self {
        let newest = newest.iter().filter(|r| swept.contains(&r.pack));
        let mut moved: HashMap<PackId, Vec<Run>> = HashMap::new();
        for &Relocation { pack, ordinal, count, to } in merged.iter().chain(newest) {
            moved.entry(pack).or_default().push(Run { start: ordinal, count, to });
        }
        for runs in moved.values_mut() {
            // When the newest run is done, its own are among the merged ones.
            runs.sort_unstable();
            runs.dedup();
            runs.shrink_to_fit();
        }
        Self { moved }
    }

    /// Those of earlier runs only: what a collector resolves by while its own run is not swept.
    pub(crate) fn merged(merged: &[Relocation]) -> Self {
        Self::new(merged, &[], &HashSet::new())
    }

    /// What holds in the newest generation now. For readers that find a pack gone.
    pub async fn load_newest(objects: &Objects) -> Result<Self> {
        forbidden::load_newest_relocations(objects).await
    }

    /// Where a blob went from this place, one step.
    #[must_use]
    pub fn find(&self, place: Place) -> Option<Place> {
        let runs = self.moved.get(&place.pack)?;
        let run = runs[..runs.partition_point(|r| r.start <= place.ordinal)].last()?;
        let offset = place.ordinal - run.start;
        (offset < run.count).then(|| Place { ordinal: run.to.ordinal.saturating_add(offset), ..run.to })
    }

    /// Where a blob is now: a copy may have been copied again. Damaged records could lead in circles; then the place
    /// stays what it was.
    #[must_use]
    pub fn resolve(&self, place: Place) -> Place {
        let mut at = place;
        // Each step leads out of another pack.
        for _ in 0..=self.moved.len() {
            match self.find(at) {
                Some(next) => at = next,
                None => return at,
            }
        }
        place
    }

    /// True if blobs of this pack were relocated: then the pack itself is deleted, or will be.
    #[must_use]
    pub fn moves(&self, pack: PackId) -> bool {
        self.moved.contains_key(&pack)
    }

    /// True when nothing was relocated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty()
    }
}
