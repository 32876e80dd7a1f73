//! G1 and G4: what all snapshots need that count.

use std::collections::HashSet;

use super::Run;
use super::live::Live;
use super::sessions::Sessions;
use crate::Result;
use crate::ids::{Generation, PackId, Sid};
use crate::manifest::catalogue::Catalogue;
use crate::manifest::summary::OrdinalSet;
use crate::session::history::Name;
use crate::session::{Relocations, forbidden};

/// What counts, and what it needs.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// The snapshots, sorted.
    pub snapshots: Vec<Name>,
    /// What they need, where it is now.
    pub live: Live,
    /// The packs that their summaries name, wherever those are now.
    pub named: HashSet<PackId>,
}

impl Run<'_> {
    /// Marks every snapshot of `sessions` that is not void, and not forgotten or held by a reader, with a base up to
    /// `base_max`. What the catalogue lacks is read.
    pub(super) async fn mark(
        &mut self,
        sessions: &Sessions,
        relocations: &Relocations,
        base_max: Option<Generation>,
    ) -> Result<Mark> {
        let done = forbidden::find_newest_done(&self.objects).await?.map(|(_, done)| done);
        let held = sessions.held();
        let counts = |&(generation, sid): &Name| {
            let void = done.as_ref().is_some_and(|d| d.is_void(generation, sid));
            base_max.is_none_or(|max| generation <= max)
                && !void
                && counts(sessions, &held, (generation, sid))
        };
        let names: Vec<Name> = sessions.outcomes.iter().copied().filter(counts).collect();
        self.complete(names.iter().copied()).await?;
        Ok(Mark::of(&self.catalogue, names, relocations))
    }
}

impl Mark {
    /// The mark of those of `names` (sorted) that the catalogue has: the others are no snapshots.
    pub(super) fn of(catalogue: &Catalogue, mut names: Vec<Name>, relocations: &Relocations) -> Self {
        names.retain(|name| catalogue.contains(name));
        let mut sets = vec![OrdinalSet::default(); catalogue.packs().len()];
        catalogue.needs(
            |name| names.binary_search(&name).is_ok(),
            |number, needed| {
                let set = &mut sets[number as usize];
                if set.is_empty() {
                    *set = needed;
                } else {
                    needed.runs().for_each(|(start, n)| set.insert_run(start, n));
                }
            },
        );
        let mut mark = Self { snapshots: names, ..Self::default() };
        for (set, &(pack, _)) in sets.into_iter().zip(catalogue.packs()) {
            if !set.is_empty() {
                mark.named.insert(pack);
                mark.live.add_set(pack, set, relocations);
            }
        }
        mark
    }

    /// G8: those that still count by now. Which outcomes are commits is known since the mark and can't change.
    pub(super) fn catalogue(&self, now: &Sessions) -> Vec<Name> {
        let held = now.held();
        self.snapshots.iter().copied().filter(|&name| counts(now, &held, name)).collect()
    }
}

fn counts(sessions: &Sessions, held: &HashSet<Sid>, name: Name) -> bool {
    !sessions.marked.contains(&name) || held.contains(&name.1)
}
