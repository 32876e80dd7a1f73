//! Where blobs of compacted and repaired packs went, in runs: neighbours mostly stay neighbours.
//!
//! Stored as: number of new packs · their names (24) · then for each old pack: name (24) · number of runs, and for each
//! the gap to the one before, its length less one, the number of the new pack, and the first ordinal there (varints).

use std::collections::BTreeMap;

use super::BadRecord;
use super::wire::place;
use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{PackId, Place};
use crate::limits::PACK_BLOBS_MAX;

/// A run of blobs that moved together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relocation {
    /// The pack that they were in.
    pub pack: PackId,
    /// The number of the first one there.
    pub ordinal: u32,
    /// How many; never 0.
    pub count: u32,
    /// Where the first one is now; the others follow it.
    pub to: Place,
}

impl Relocation {
    /// The same for one blob.
    #[must_use]
    pub fn one(from: Place, to: Place) -> Self {
        Self { pack: from.pack, ordinal: from.ordinal, count: 1, to }
    }

    /// Every blob with its old and new place.
    pub fn blobs(self) -> impl Iterator<Item = (Place, Place)> {
        (0..self.count).map(move |i| {
            let old = Place { pack: self.pack, ordinal: self.ordinal.saturating_add(i) };
            (old, Place { pack: self.to.pack, ordinal: self.to.ordinal.saturating_add(i) })
        })
    }

    /// True if `next` begins where this one ends, in the old pack and in the new one.
    fn meets(&self, next: &Self) -> bool {
        let end = |at: u32| at.checked_add(self.count);
        (self.pack, self.to.pack) == (next.pack, next.to.pack)
            && end(self.ordinal) == Some(next.ordinal)
            && end(self.to.ordinal) == Some(next.to.ordinal)
    }
}

/// Sorts, and makes one run of those that meet.
#[must_use]
pub fn joined(mut relocations: Vec<Relocation>) -> Vec<Relocation> {
    relocations.sort_unstable();
    relocations.dedup();
    let mut out: Vec<Relocation> = Vec::new();
    for next in relocations {
        match out.last_mut() {
            Some(last) if last.meets(&next) => last.count += next.count,
            _ => out.push(next),
        }
    }
    out
}

/// The stored form of sorted relocations.
pub(super) fn encode(relocations: &[Relocation]) -> Vec<u8> {
    let mut out = Vec::new();
    if relocations.is_empty() {
        return out;
    }
    let mut packs: BTreeMap<PackId, u64> = relocations.iter().map(|r| (r.to.pack, 0)).collect();
    put_varint(&mut out, packs.len() as u64);
    for ((pack, number), n) in packs.iter_mut().zip(0..) {
        out.extend_from_slice(&pack.to_bytes());
        *number = n;
    }
    for same in relocations.chunk_by(|a, b| a.pack == b.pack) {
        out.extend_from_slice(&same[0].pack.to_bytes());
        put_varint(&mut out, same.len() as u64);
        let mut end = 0;
        for r in same {
            put_varint(&mut out, u64::from(r.ordinal - end));
            put_varint(&mut out, u64::from(r.count - 1));
            put_varint(&mut out, packs[&r.to.pack]);
            put_varint(&mut out, u64::from(r.to.ordinal));
            end = r.ordinal + r.count;
        }
    }
    out
}

/// Reads what [`encode`] wrote. No run reaches beyond any pack's bounds.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Relocation>, BadRecord> {
    const WHAT: &str = "relocations";
    let read = || -> Result<Option<Vec<Relocation>>, Malformed> {
        let (mut r, mut out) = (Reader::new(bytes), Vec::new());
        if r.is_empty() {
            return Ok(Some(out));
        }
        let packs = r.count(PackId::LEN, WHAT)?;
        let packs = (0..packs)
            .map(|_| Ok(PackId::from_bytes(r.array(WHAT)?)))
            .collect::<Result<Vec<_>, Malformed>>()?;
        while !r.is_empty() {
            let pack = PackId::from_bytes(r.array(WHAT)?);
            let mut end = 0u32;
            for _ in 0..r.count(4, WHAT)? {
                let (gap, more) = (r.u32(WHAT)?, r.u32(WHAT)?);
                let to = packs.get(r.u32(WHAT)? as usize).copied();
                let to = to.and_then(|to| place(to, r.u32(WHAT).ok()?).ok());
                let (Some(ordinal), Some(count), Some(to)) = (end.checked_add(gap), more.checked_add(1), to)
                else {
                    return Ok(None);
                };
                let fits = |at: u32| at.checked_add(count).filter(|&end| end as usize <= PACK_BLOBS_MAX);
                let (Some(past), Some(_)) = (fits(ordinal), fits(to.ordinal)) else { return Ok(None) };
                end = past;
                out.push(Relocation { pack, ordinal, count, to });
            }
        }
        Ok(Some(out))
    };
    read().ok().flatten().ok_or(BadRecord(WHAT))
}

#[cfg(test)]
mod tests;
