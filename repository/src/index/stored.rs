//! The index as a collector stores it: sorted shards, and a root that lists them and the deltas that they stand for.
//!
//! A shard: number of packs · for each: name (24), size · number of entries · for each, ascending: first half of the
//! blob's id (16), number of its pack, ordinal. A root: 0 or, plus one, the generation of the root before · number of
//! packs · number of shards · for each, in the order of their entries: its random name (16), number of entries, bytes ·
//! number of deltas · for each, ascending: generation (8, big endian), sid (16), number (4, big endian). All other numbers are varints.
//!
//! Like deltas, shards prove nothing: a pack that they name may be gone.

use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{Generation, PackId, PackRef, Sid};
use crate::limits::{INDEX_SHARD_BYTES, PACK_BLOBS_MAX, PACK_BYTES_MAX};

use super::Entry;

/// A delta's name: generation, sid, number.
pub type DeltaName = (Generation, Sid, u32);

/// The stored form of a delta's name, which sorts like it.
pub(super) const NAME_BYTES: usize = 28;

/// One shard, as its root names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardName {
    /// The random part of its key.
    pub random: [u8; 16],
    /// How many entries it has.
    pub entries: u64,
    /// Its size before sealing.
    pub bytes: u64,
}

/// The root of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The root that this one was made from, with `deltas`.
    pub previous: Option<Generation>,
    /// How many packs the shards name.
    pub packs: u64,
    /// Its shards, in the order of their entries.
    pub shards: Vec<ShardName>,
    /// Deltas that the shards stand for, sorted: those that were there when it was made.
    pub deltas: Vec<DeltaName>,
}

pub(super) fn encode_name((generation, sid, n): DeltaName) -> [u8; NAME_BYTES] {
    let mut out = [0; NAME_BYTES];
    out[..8].copy_from_slice(&generation.0.to_be_bytes());
    out[8..24].copy_from_slice(&sid.0);
    out[24..].copy_from_slice(&n.to_be_bytes());
    out
}

pub(super) fn decode_name(bytes: &[u8]) -> Option<DeltaName> {
    let generation = Generation(u64::from_be_bytes(*bytes.first_chunk()?));
    let sid = Sid(*bytes.get(8..)?.first_chunk()?);
    Some((generation, sid, u32::from_be_bytes(*bytes.get(24..)?.first_chunk()?)))
}

impl Root {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.previous.map_or(0, |g| g.0 + 1));
        put_varint(&mut out, self.packs);
        put_varint(&mut out, self.shards.len() as u64);
        for shard in &self.shards {
            out.extend_from_slice(&shard.random);
            put_varint(&mut out, shard.entries);
            put_varint(&mut out, shard.bytes);
        }
        put_varint(&mut out, self.deltas.len() as u64);
        self.deltas.iter().for_each(|d| out.extend_from_slice(&encode_name(*d)));
        out
    }

    /// Reads what [`Root::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let previous = r.varint("root before")?.checked_sub(1).map(Generation);
        let packs = r.varint("number of packs")?;
        let shards = (0..r.count(18, "number of shards")?)
            .map(|_| {
                let random = r.array("name of a shard")?;
                let (entries, bytes) = (r.varint("number of entries")?, r.varint("size of a shard")?);
                Ok(ShardName { random, entries, bytes })
            })
            .collect::<Result<_, Malformed>>()?;
        let mut deltas: Vec<DeltaName> = Vec::new();
        for _ in 0..r.count(NAME_BYTES, "number of deltas")? {
            let name = decode_name(r.take(NAME_BYTES, "name of a delta")?);
            let name = name.filter(|n| deltas.last().is_none_or(|last| last < n));
            deltas.push(name.ok_or(r.malformed("name of a delta"))?);
        }
        r.end("end of the root")?;
        Ok(Self { previous, packs, shards, deltas })
    }

    /// True if the shards stand for this delta.
    #[must_use]
    pub fn covers(&self, delta: &DeltaName) -> bool {
        self.deltas.binary_search(delta).is_ok()
    }

    /// How many entries the shards have.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.shards.iter().fold(0, |sum, s| sum.saturating_add(s.entries))
    }

    /// The size of all shards.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shards.iter().fold(0, |sum, s| sum.saturating_add(s.bytes))
    }
}

/// Fills one shard after the other.
#[derive(Debug, Default)]
pub(super) struct ShardBuilder {
    packs: Vec<PackRef>,
    numbers: std::collections::HashMap<PackId, u32>,
    body: Vec<u8>,
    entries: u64,
}

impl ShardBuilder {
    /// Adds an entry of this pack; they come sorted.
    pub(super) fn push(&mut self, entry: &Entry, pack: PackRef) {
        let packs = &mut self.packs;
        let number = *self.numbers.entry(pack.id).or_insert_with(|| {
            packs.push(pack);
            u32::try_from(packs.len() - 1).unwrap_or(u32::MAX)
        });
        self.body.extend_from_slice(&entry.prefix);
        put_varint(&mut self.body, u64::from(number));
        put_varint(&mut self.body, u64::from(entry.ordinal));
        self.entries += 1;
    }

    /// True when it has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.body.len() + self.packs.len() * (PackId::LEN + 5) >= INDEX_SHARD_BYTES
    }

    /// The stored form (before sealing) and how many entries it has, if there are any; empty again afterwards.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        let this = std::mem::take(self);
        if this.entries == 0 {
            return None;
        }
        let mut out = Vec::with_capacity(this.body.len() + this.packs.len() * (PackId::LEN + 5) + 16);
        put_varint(&mut out, this.packs.len() as u64);
        for pack in &this.packs {
            out.extend_from_slice(&pack.id.to_bytes());
            put_varint(&mut out, pack.bytes);
        }
        put_varint(&mut out, this.entries);
        out.extend_from_slice(&this.body);
        Some((out, this.entries))
    }
}

/// Reads a shard: its packs, and its entries with numbers into these.
pub(super) fn decode_shard(bytes: &[u8]) -> Result<(Vec<PackRef>, Vec<Entry>), Malformed> {
    let mut r = Reader::new(bytes);
    let packs = (0..r.count(PackId::LEN + 1, "number of packs")?)
        .map(|_| {
            let id = PackId::from_bytes(r.array("pack name")?);
            let bytes = r.varint("pack size")?;
            if bytes > PACK_BYTES_MAX { Err(r.malformed("pack size")) } else { Ok(PackRef { id, bytes }) }
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    let count = r.count(18, "number of entries")?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let prefix = r.array("blob id")?;
        let (pack, ordinal) = (r.u32("number of a pack")?, r.u32("ordinal")?);
        let in_order = entries.last().is_none_or(|last| last.prefix <= prefix);
        if !in_order || pack as usize >= packs.len() || ordinal as usize >= PACK_BLOBS_MAX {
            return Err(r.malformed("entry of a shard"));
        }
        entries.push(Entry { prefix, pack, ordinal });
    }
    r.end("end of the shard")?;
    Ok((packs, entries))
}

#[cfg(test)]
mod tests;
