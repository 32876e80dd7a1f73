//! Whose a blob is: for each pack, stretches of ordinals that all belong to the same.
//!
//! A blob belongs to one snapshot and one volume, or is shared. A pack is written by one session, so that stretches are
//! few; at worst there are as many as blobs. A piece of a summary that several snapshots have in common is looked at twice
//! at most, so that work does not grow with snapshots times blobs.

use std::collections::{BTreeMap, HashMap};

use crate::ids::{BlobId, PackId, Place};
use crate::manifest::summary::OrdinalSet;
use crate::session::Relocations;

/// Belongs to several.
pub(super) const SHARED: u32 = u32::MAX;

/// Numbers of the snapshot and the volume that a blob belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) snapshot: u32,
    pub(super) volume: u32,
}

impl Owner {
    fn join(self, other: Self) -> Self {
        let one = |a: u32, b: u32| if a == b { a } else { SHARED };
        Self { snapshot: one(self.snapshot, other.snapshot), volume: one(self.volume, other.volume) }
    }
}

/// Ordinals from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) owner: Owner,
}

/// All that is needed, and by whom.
#[derive(Debug, Default)]
pub(super) struct Owners {
    packs: BTreeMap<PackId, Vec<Stretch>>,
    pieces: HashMap<BlobId, Owner>,
}

impl Owners {
    /// Whether a piece of a summary has to be looked at for this owner; notes that it was.
    pub(super) fn needs_piece(&mut self, piece: BlobId, owner: Owner) -> bool {
        let before = self.pieces.get(&piece).copied();
        let joined = before.map_or(owner, |b| b.join(owner));
        self.pieces.insert(piece, joined);
        before != Some(joined)
    }

    /// Adds one blob, at its resolved place.
    pub(super) fn add(&mut self, place: Place, owner: Owner) {
        self.add_run(place.pack, place.ordinal, 1, owner);
    }

    /// Adds what is needed of a pack.
    pub(super) fn add_set(
        &mut self,
        pack: PackId,
        ordinals: &OrdinalSet,
        relocations: &Relocations,
        owner: Owner,
    ) {
        if relocations.moves(pack) {
            for ordinal in ordinals.iter() {
                self.add(relocations.resolve(Place { pack, ordinal }), owner);
            }
        } else {
            ordinals.runs().for_each(|(start, n)| self.add_run(pack, start, n, owner));
        }
    }

    fn add_run(&mut self, pack: PackId, start: u32, n: u32, owner: Owner) {
        let list = self.packs.entry(pack).or_default();
        let new = Stretch { start, end: start.saturating_add(n), owner };
        let from = list.partition_point(|s| s.end < new.start);
        let to = list.partition_point(|s| s.start <= new.end);
        let laid = lay_over(&list[from..to], new);
        if laid != list[from..to] {
            list.splice(from..to, laid);
        }
    }

    /// All packs of which anything is needed.
    pub(super) fn packs(&self) -> impl Iterator<Item = (PackId, &[Stretch])> {
        self.packs.iter().map(|(id, list)| (*id, list.as_slice()))
    }

    /// True if a blob is needed.
    pub(super) fn has(&self, place: Place) -> bool {
        let list = self.packs.get(&place.pack).map_or(&[][..], Vec::as_slice);
        let at = list.partition_point(|s| s.end <= place.ordinal);
        list.get(at).is_some_and(|s| s.start <= place.ordinal)
    }
}

/// `old` stretches, ascending, with `new` over them: where both are, their owners are joined.
fn lay_over(old: &[Stretch], new: Stretch) -> Vec<Stretch> {
    let (mut out, mut at): (Vec<Stretch>, u32) = (Vec::with_capacity(old.len() + 2), new.start);
    for &s in old {
        push(&mut out, Stretch { start: at, end: s.start.min(new.end), ..new });
        push(&mut out, Stretch { end: s.end.min(new.start), ..s });
        let (low, high) = (s.start.max(new.start), s.end.min(new.end));
        push(&mut out, Stretch { start: low, end: high, owner: s.owner.join(new.owner) });
        push(&mut out, Stretch { start: s.start.max(new.end), ..s });
        at = at.max(s.end.min(new.end));
    }
    push(&mut out, Stretch { start: at, ..new });
    out
}

fn push(out: &mut Vec<Stretch>, s: Stretch) {
    if s.start >= s.end {
        return;
    }
    match out.last_mut() {
        Some(last) if last.end == s.start && last.owner == s.owner => last.end = s.end,
        _ => out.push(s),
    }
}

#[cfg(test)]
mod tests;
