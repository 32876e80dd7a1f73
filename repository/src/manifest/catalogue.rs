//! A collector's catalogue: what each snapshot needs, as the difference to the one before it of its volume; and what is
//! known of packs. It says nothing that outcomes and packs don't: a catalogue that is lost is made again from these.
//!
//! Stored in parts. The first byte tells the kind:
//!
//! - `1`, packs: for each its name (24), pack kind (0: nothing is known of it), and unless that is 0: epoch, bytes of its
//!   groups, then of its live blobs when it was last looked at: their number, stored bytes, plain bytes (varints). Packs are
//!   numbered through all parts.
//! - `2`, snapshots: volume (bytes), number of snapshots, and for each its generation (varint), sid (16) and changes (bytes).
//!   A volume may go on in the next part.
//! - `3`, figures of snapshots: for each its generation (varint), sid (16), and from its manifest: started (signed), bytes, bytes
//!   new, bytes stored (varints). They are named apart from the others: nothing but what people see rests on them.
//!
//! *Changes* are, for each pack of which the snapshot needs other blobs than the one before: the gap between the pack's number
//! and that of the one before (varint; the number itself for the first), and runs (bytes; none if nothing is needed any
//! more): for each run the gap to the one before and its length less one (varints). The first of a volume is compared with
//! nothing.

mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::summary::{OrdinalSet, PackUse};
use crate::codec::{Malformed, Reader, put_bytes, put_varint};
use crate::env::Timestamp;
use crate::ids::{Generation, PackId, Place, Sid};
use crate::limits::{OBJECT_BYTES_MAX, PACK_BLOBS_MAX};
use crate::pack::PackKind;

/// A snapshot by its name.
type Name = (Generation, Sid);

/// What is known of a pack without asking for it again. A pack never changes; what is live of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackFacts {
    /// Data or metadata.
    pub kind: PackKind,
    /// The epoch that it is sealed under.
    pub epoch: u32,
    /// Stored bytes of its groups.
    pub body_bytes: u64,
    /// Blobs that were live when it was looked at.
    pub live_blobs: u64,
    /// Stored bytes of these, about.
    pub live_bytes: u64,
    /// Plain bytes of these.
    pub live_plain: u64,
}

/// What a manifest tells of its snapshot's size: figures for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// When its walk began.
    pub started: Timestamp,
    /// Plain bytes of its files.
    pub bytes: u64,
    /// Plain bytes that were new to the repository.
    pub bytes_new: u64,
    /// Bytes put into the store for it.
    pub bytes_stored: u64,
}

/// A snapshot to be added.
#[derive(Debug)]
pub struct New {
    /// Its volume.
    pub volume: String,
    /// What its manifest tells.
    pub facts: SnapshotFacts,
    /// Its name.
    pub name: Name,
    /// What it needs, from [`Catalogue::encode_uses`].
    pub uses: Box<[u8]>,
}

#[derive(Clone, Debug)]
struct Link {
    name: Name,
    changes: Box<[u8]>,
}

/// All that collectors know of snapshots and packs.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    packs: Vec<(PackId, Option<PackFacts>)>,
    numbers: HashMap<PackId, u32>,
    volumes: BTreeMap<String, Vec<Link>>,
    names: HashSet<Name>,
    facts: HashMap<Name, SnapshotFacts>,
}

/// Runs of one pack in their stored form, by the pack's number.
type Uses<'a> = BTreeMap<u32, &'a [u8]>;

fn encode_runs(set: &OrdinalSet) -> Vec<u8> {
    let (mut out, mut end) = (Vec::new(), 0);
    for (start, n) in set.runs() {
        put_varint(&mut out, u64::from(start - end));
        put_varint(&mut out, u64::from(n - 1));
        end = start + n;
    }
    out
}

fn decode_runs(bytes: &[u8]) -> Result<OrdinalSet, Malformed> {
    let (mut r, mut set, mut end) = (Reader::new(bytes), OrdinalSet::default(), 0u32);
    while !r.is_empty() {
        let (gap, more) = (r.u32("gap")?, r.u32("length of a run")?);
        let start = end.checked_add(gap);
        let past = start.and_then(|s| s.checked_add(more)?.checked_add(1));
        let (Some(start), Some(past)) = (start, past.filter(|&p| p as usize <= PACK_BLOBS_MAX)) else {
            return Err(r.malformed("run of ordinals"));
        };
        set.insert_run(start, past - start);
        end = past;
    }
    Ok(set)
}

fn put_change(out: &mut Vec<u8>, last: &mut Option<u32>, number: u32, runs: &[u8]) {
    put_varint(out, u64::from(number - last.unwrap_or(0)));
    put_bytes(out, runs);
    *last = Some(number);
}

/// The changes of a link, which were checked when they were read or made.
fn changes(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let (mut r, mut number) = (Reader::new(bytes), 0u32);
    std::iter::from_fn(move || {
        if r.is_empty() {
            return None;
        }
        number = number.checked_add(r.u32("pack number").ok()?)?;
        Some((number, r.bytes(OBJECT_BYTES_MAX, "runs").ok()?))
    })
}

fn apply<'a>(uses: &mut Uses<'a>, link: &'a Link, mut touched: impl FnMut(u32)) {
    for (number, runs) in changes(&link.changes) {
        if runs.is_empty() {
            uses.remove(&number);
        } else {
            uses.insert(number, runs);
        }
        touched(number);
    }
}

/// What leads from one to the other, looking at these packs only.
fn difference(before: &Uses<'_>, after: &Uses<'_>, packs: impl IntoIterator<Item = u32>) -> Box<[u8]> {
    let (mut out, mut last) = (Vec::new(), None);
    for number in packs {
        let (old, new) = (before.get(&number), after.get(&number));
        if old != new {
            put_change(&mut out, &mut last, number, new.copied().unwrap_or_default());
        }
    }
    out.into_boxed_slice()
}

impl Catalogue {
    /// True if it has this snapshot.
    #[must_use]
    pub fn contains(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    /// How many snapshots it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Packs by their numbers.
    #[must_use]
    pub fn packs(&self) -> &[(PackId, Option<PackFacts>)] {
        &self.packs
    }

    /// What is known of a pack.
    #[must_use]
    pub fn facts(&self, pack: PackId) -> Option<PackFacts> {
        self.packs.get(*self.numbers.get(&pack)? as usize)?.1
    }

    /// Keeps what was learnt of a pack.
    pub fn set_facts(&mut self, pack: PackId, facts: PackFacts) {
        let number = self.number(pack);
        self.packs[number as usize].1 = Some(facts);
    }

    /// What a snapshot's manifest tells; `None` also where an older catalogue has its needs only.
    #[must_use]
    pub fn snapshot_facts(&self, name: &Name) -> Option<SnapshotFacts> {
        self.facts.get(name).copied()
    }

    fn number(&mut self, pack: PackId) -> u32 {
        let next = u32::try_from(self.packs.len()).expect("a repository has fewer than 2^32 packs");
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.packs.push((pack, None));
        }
        number
    }

    /// The needs of a snapshot, those of its summary's own pieces included, as [`Catalogue::add`] takes them.
    pub fn encode_uses(&mut self, uses: &[PackUse], pieces: &[Place]) -> Box<[u8]> {
        let mut all: BTreeMap<u32, OrdinalSet> = BTreeMap::new();
        for u in uses {
            let number = self.number(u.pack.id);
            all.insert(number, u.ordinals.clone());
        }
        for piece in pieces {
            let number = self.number(piece.pack);
            all.entry(number).or_default().insert(piece.ordinal);
        }
        let (mut out, mut last) = (Vec::new(), None);
        for (number, set) in &all {
            put_change(&mut out, &mut last, *number, &encode_runs(set));
        }
        out.into_boxed_slice()
    }

    /// Adds snapshots behind those that their volumes have; among each other they are sorted by time, so that neighbours
    /// differ little. Those that it has already are left out.
    pub fn add(&mut self, mut new: Vec<New>) {
        new.sort_by(|a, b| (&a.volume, a.facts.started, a.name).cmp(&(&b.volume, b.facts.started, b.name)));
        for of_volume in new.chunk_by(|a, b| a.volume == b.volume) {
            let chain = self.volumes.entry(of_volume[0].volume.clone()).or_default();
            let mut added = Vec::new();
            let mut before = Uses::new();
            chain.iter().for_each(|link| apply(&mut before, link, |_| ()));
            for snapshot in of_volume {
                if !self.names.insert(snapshot.name) {
                    continue;
                }
                self.facts.insert(snapshot.name, snapshot.facts);
                let after: Uses<'_> = changes(&snapshot.uses).collect();
                let packs: BTreeSet<u32> = before.keys().chain(after.keys()).copied().collect();
                added.push(Link { name: snapshot.name, changes: difference(&before, &after, packs) });
                before = after;
            }
            chain.extend(added);
        }
    }

    /// Tells what all snapshots need that `counts` takes: packs by number, some of them often, with all or some of the blobs.
    pub fn needs(&self, mut counts: impl FnMut(Name) -> bool, mut add: impl FnMut(u32, OrdinalSet)) {
        for chain in self.volumes.values() {
            // Of a pack that did not change since the last snapshot that counts, nothing new is needed.
            let (mut uses, mut touched) = (Uses::new(), BTreeSet::new());
            for link in chain {
                apply(&mut uses, link, |number| {
                    touched.insert(number);
                });
                if counts(link.name) {
                    for number in std::mem::take(&mut touched) {
                        if let Some(set) = uses.get(&number).and_then(|runs| decode_runs(runs).ok()) {
                            add(number, set);
                        }
                    }
                }
            }
        }
    }

    /// Tells what each snapshot needs that has an owner, volume by volume. Needs of a pack that do not change from one snapshot to
    /// the next are told once for the first owner and once for another one, and then no more: they are shared.
    pub fn needs_of_each<O: Copy + Ord>(
        &self,
        mut owner_of: impl FnMut(&str, Name) -> Option<O>,
        mut add: impl FnMut(O, PackId, &OrdinalSet),
    ) {
        for (volume, chain) in &self.volumes {
            let mut uses = Uses::new();
            let mut fresh = BTreeSet::new();
            // Packs that were told for one owner so far, and of each such pack the owner.
            let (mut told, mut by) = (BTreeMap::<O, BTreeSet<u32>>::new(), HashMap::<u32, O>::new());
            for link in chain {
                apply(&mut uses, link, |number| {
                    fresh.insert(number);
                    if let Some(packs) = by.remove(&number).and_then(|owner| told.get_mut(&owner)) {
                        packs.remove(&number);
                    }
                });
                let Some(owner) = owner_of(volume, link.name) else { continue };
                let mut tell = |number: u32| {
                    if let Some(set) = uses.get(&number).and_then(|runs| decode_runs(runs).ok()) {
                        add(owner, self.packs[number as usize].0, &set);
                    }
                };
                let own = told.remove(&owner).unwrap_or_default();
                for number in std::mem::take(&mut told).into_values().flatten() {
                    by.remove(&number);
                    tell(number);
                }
                let own = told.entry(owner).or_insert(own);
                for number in std::mem::take(&mut fresh) {
                    tell(number);
                    own.insert(number);
                    by.insert(number, owner);
                }
            }
        }
    }

    /// Forgets the other snapshots. Each that stays is compared with the one that is then before it.
    pub fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        if self.names.iter().all(&keep) {
            return;
        }
        self.names.retain(&keep);
        self.facts.retain(|name, _| keep(name));
        for chain in self.volumes.values_mut() {
            let (mut kept, mut links) = (Uses::new(), Vec::new());
            let (mut uses, mut touched) = (Uses::new(), BTreeSet::new());
            for link in chain.iter() {
                apply(&mut uses, link, |number| {
                    touched.insert(number);
                });
                if keep(&link.name) {
                    let packs = std::mem::take(&mut touched);
                    links.push(Link {
                        name: link.name,
                        changes: difference(&kept, &uses, packs.iter().copied()),
                    });
                    for number in packs {
                        match uses.get(&number) {
                            Some(runs) => kept.insert(number, runs),
                            None => kept.remove(&number),
                        };
                    }
                }
            }
            *chain = links;
        }
        self.volumes.retain(|_, chain| !chain.is_empty());
    }

    /// Forgets packs that no snapshot names and `keep` does not want, if they are many.
    pub fn forget_packs(&mut self, keep: impl Fn(PackId) -> bool) {
        let mut used = vec![false; self.packs.len()];
        let links = || self.volumes.values().flatten();
        links().flat_map(|l| changes(&l.changes)).for_each(|(number, _)| used[number as usize] = true);
        for (used, (pack, facts)) in used.iter_mut().zip(&self.packs) {
            *used |= facts.is_some() && keep(*pack);
        }
        let count = used.iter().filter(|u| **u).count();
        if count * 4 >= self.packs.len() * 3 {
            return;
        }
        let mut next = 0;
        let renumbered: Vec<u32> = used
            .iter()
            .map(|used| {
                let number = next;
                next += u32::from(*used);
                number
            })
            .collect();
        for link in self.volumes.values_mut().flatten() {
            let (mut out, mut last) = (Vec::new(), None);
            for (number, runs) in changes(&link.changes) {
                put_change(&mut out, &mut last, renumbered[number as usize], runs);
            }
            link.changes = out.into_boxed_slice();
        }
        let mut used = used.into_iter();
        self.packs.retain(|_| used.next().unwrap_or(false));
        self.numbers = self.packs.iter().map(|(pack, _)| *pack).zip(0..).collect();
    }
}

#[cfg(test)]
mod tests;
