//! The usage of a metadata blob: where the blobs lie that it refers to.
//!
//! A leaf, branch or segment holds ids only, so that it stays the same wherever its blobs lie. Its usage, a blob of
//! its own beside it, lists the places of its references in their order; where a reference itself has references
//! (a child of a branch, a segment of a file) also that blob's usage. All that a snapshot needs is therefore found
//! by reading usages alone.
//!
//! Consecutive blobs of one pack cost next to nothing: places are stored as runs.

use hashbrown::HashMap;

use crate::codec::{Malformed, Reader, put_signed, put_varint};
use crate::ids::{BlobId, BlobRef, PackId, Place};
use crate::limits;

const MAGIC: u8 = b'U';
const VERSION: u8 = 1;

/// A metadata blob that has references, and the blob that lists their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeRef {
    /// The leaf or branch.
    pub node: BlobRef,
    /// Its usage.
    pub usage: BlobRef,
}

/// Where the references of a metadata blob lie.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// The place of each reference, in order.
    pub places: Vec<Place>,
    /// The usage of each reference that has references itself, in order.
    pub nested: Vec<BlobRef>,
}

impl Usage {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut runs = RunEncoder::default();
        for place in self.places.iter().chain(self.nested.iter().map(|b| &b.place)) {
            runs.push(place);
        }
        runs.flush();
        let mut out =
            Vec::with_capacity(16 + runs.packs.len() * PackId::LEN + runs.out.len() + self.nested.len() * 32);
        out.extend_from_slice(&[MAGIC, VERSION]);
        put_varint(&mut out, runs.packs.len() as u64);
        for pack in &runs.packs {
            out.extend_from_slice(&pack.to_bytes());
        }
        put_varint(&mut out, self.places.len() as u64);
        put_varint(&mut out, self.nested.len() as u64);
        out.extend_from_slice(&runs.out);
        for blob in &self.nested {
            out.extend_from_slice(&blob.id.0);
        }
        out
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        if r.array("usage header")? != [MAGIC, VERSION] {
            return Err(Malformed { what: "usage header", at: 0 });
        }
        let packs = decode_packs(&mut r)?;
        let places_count = r.varint("usage places")?;
        let nested_count = r.count(32, "usage nested")?;
        let all = usize::try_from(places_count).ok().and_then(|n| n.checked_add(nested_count));
        let all = all
            .filter(|&n| n <= 2 * (limits::NODE_REFS_MAX + limits::LEAF_ENTRIES_MAX))
            .ok_or(r.malformed("usage places"))?;
        let mut places = decode_runs(&mut r, &packs, all)?;
        let nested_places = places.split_off(all - nested_count);
        let mut nested = Vec::with_capacity(nested_count);
        for place in nested_places {
            nested.push(BlobRef { id: BlobId(r.array("usage nested")?), place });
        }
        r.end("usage end")?;
        Ok(Self { places, nested })
    }
}

fn decode_packs(r: &mut Reader<'_>) -> Result<Vec<PackId>, Malformed> {
    let count = r.count(PackId::LEN, "usage packs")?;
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        packs.push(PackId::from_bytes(r.array("usage pack")?));
    }
    Ok(packs)
}

/// Runs of consecutive ordinals: `length - 1` and whether the pack changes; then the pack; then how far the first
/// ordinal lies from where the last run in that pack ended.
#[derive(Default)]
struct RunEncoder {
    packs: Vec<PackId>,
    numbers: HashMap<PackId, usize>,
    /// For each pack, the ordinal after its last run.
    next: Vec<u32>,
    /// Pack number, first ordinal, length.
    run: Option<(usize, u32, u32)>,
    /// Pack of the run written last.
    pack: usize,
    out: Vec<u8>,
}

impl RunEncoder {
    fn push(&mut self, place: &Place) {
        if let Some((number, first, length)) = &mut self.run
            && self.packs[*number] == place.pack
            && first.checked_add(*length) == Some(place.ordinal)
        {
            *length += 1;
            return;
        }
        self.flush();
        let number = *self.numbers.entry(place.pack).or_insert_with(|| {
            self.packs.push(place.pack);
            self.next.push(0);
            self.packs.len() - 1
        });
        self.run = Some((number, place.ordinal, 1));
    }

    fn flush(&mut self) {
        let Some((number, first, length)) = self.run.take() else { return };
        put_varint(&mut self.out, u64::from(length - 1) << 1 | u64::from(number != self.pack));
        if number != self.pack {
            put_varint(&mut self.out, number as u64);
            self.pack = number;
        }
        put_signed(&mut self.out, i64::from(first) - i64::from(self.next[number]));
        self.next[number] = first.saturating_add(length);
    }
}

fn decode_runs(r: &mut Reader<'_>, packs: &[PackId], all: usize) -> Result<Vec<Place>, Malformed> {
    let mut places = Vec::with_capacity(all.min(4096));
    let mut next = vec![0i64; packs.len()];
    let mut number = 0;
    while places.len() < all {
        let head = r.varint("usage run")?;
        if head & 1 == 1 {
            number = r.u32("usage run pack")? as usize;
        }
        let pack = *packs.get(number).ok_or(r.malformed("usage run pack"))?;
        let first = next[number].checked_add(r.signed("usage ordinal")?);
        let first = first.and_then(|n| u32::try_from(n).ok()).ok_or(r.malformed("usage ordinal"))?;
        let length = usize::try_from((head >> 1) + 1).ok().filter(|&n| n <= all - places.len());
        let length = length.ok_or(r.malformed("usage run"))?;
        if first as usize + length > limits::PACK_BLOBS_MAX {
            return Err(r.malformed("usage ordinal"));
        }
        next[number] = i64::from(first) + length as i64;
        places.extend((first..).take(length).map(|ordinal| Place { pack, ordinal }));
    }
    Ok(places)
}

#[cfg(test)]
mod tests;
