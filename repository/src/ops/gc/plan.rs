//! What a run condemns, sweeps and carries on: decisions over what was read, without IO.

use std::collections::{BTreeMap, HashSet};

use super::alarm;
use super::live::Live;
use crate::Result;
use crate::ids::{PackId, Place, Sid};
use crate::manifest::gc::{GcOpen, Relocation};
use crate::manifest::relocation;
use crate::session::Relocations;

/// G1: packs that nobody needs and nobody is still filling, and what an earlier sweep left.
pub(super) fn condemn(
    packs: &BTreeMap<PackId, u64>,
    live: &Live,
    at_work: &HashSet<Sid>,
    leftovers: &HashSet<PackId>,
) -> Vec<PackId> {
    let free = |p: &PackId| leftovers.contains(p) || !live.needs(*p) && !at_work.contains(&p.sid);
    packs.keys().copied().filter(free).collect()
}

/// G4: the condemned packs of which no live bit is left that the record's own relocations don't cover.
pub(super) fn sweep(open: &GcOpen, live: &Live) -> Vec<PackId> {
    let covered = Relocations::merged(&open.relocations);
    let free = |pack: PackId| {
        let needed = live.of(pack).map(|set| set.iter());
        needed.into_iter().flatten().all(|ordinal| covered.find(Place { pack, ordinal }).is_some())
    };
    open.condemned.iter().copied().filter(|p| free(*p)).collect()
}

/// G5: what is about to be deleted must have been condemned, and nobody may need it. The stored list may be another
/// collector's; one that breaks this is a bug or an attack.
pub(super) fn check_sweep(swept: &[PackId], open: &GcOpen, live: &Live) -> Result<()> {
    let condemned: HashSet<PackId> = open.condemned.iter().copied().collect();
    if let Some(pack) = swept.iter().find(|p| !condemned.contains(p)) {
        return Err(alarm(format!(
            "the sweep lists pack {pack}, which was not condemned; nothing is deleted"
        )));
    }
    let free: HashSet<PackId> = sweep(open, live).into_iter().collect();
    match swept.iter().find(|p| !free.contains(p)) {
        Some(pack) => {
            Err(alarm(format!("the sweep lists pack {pack}, which a snapshot needs; nothing is deleted")))
        }
        None => Ok(()),
    }
}

/// G8: the relocations that some summary of the catalogue still needs, each followed to its end: nobody may name the
/// place in the middle.
pub(super) fn merge(
    merged: &[Relocation],
    open: &GcOpen,
    swept: &[PackId],
    named: &HashSet<PackId>,
) -> Vec<Relocation> {
    let swept: HashSet<PackId> = swept.iter().copied().collect();
    let new: Vec<Relocation> = open.relocations.iter().copied().filter(|r| swept.contains(&r.pack)).collect();
    let on = Relocations::merged(&new);
    let mut out = Vec::new();
    for old in merged.iter().filter(|r| named.contains(&r.pack)) {
        if on.moves(old.to.pack) {
            out.extend(old.blobs().map(|(from, to)| Relocation::one(from, on.resolve(to))));
        } else {
            out.push(*old);
        }
    }
    out.extend(new.into_iter().filter(|r| named.contains(&r.pack)));
    relocation::joined(out)
}

#[cfg(test)]
mod tests;
