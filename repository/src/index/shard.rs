//! A part of the index as a local file: sorted entries of 24 bytes, mapped into memory.
//!
//! | bytes | what |
//! |---|---|
//! | 64 | magic, counts, BLAKE3 of all that follows and of the counts |
//! | 24 each | entries, sorted: first half of the blob's id, pack number, ordinal (little endian) |
//! | 4 each | fan-out: for each value of the id's first bits, where its entries begin; and their number at the end |
//! | 32 each | packs: name, size |
//! | the rest | notes of the owner |
//!
//! Such a file is a cache. It is checked whole when it is opened; one that is not as it was written is refused, and the
//! owner makes it again from the store. It must never be changed in place: other processes may have it mapped.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

use sys::Mapped;
use thiserror::Error;

use super::{Entry, Prefix};
use crate::ids::{PackId, PackRef, Place};

mod merge;
pub(crate) use merge::{Source, merge};

const MAGIC: &[u8; 8] = b"HFSHARD1";
const HEADER: usize = 64;
const COUNTS: usize = 32;
const ENTRY: usize = 24;
const PACK: usize = 32;
/// Fan-out of at most 65,536: 256 KiB a shard, and windows of 1,500 entries in one of a hundred million.
const BITS_MAX: u32 = 16;

/// A file that is not a whole shard.
#[derive(Debug, Error)]
pub enum ShardError {
    /// It could not be read or written.
    #[error("index shard")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("index shard is damaged: {0}")]
    Damaged(&'static str),
}

/// An opened shard.
#[derive(Debug)]
pub(crate) struct Shard {
    map: Mapped,
    entries: usize,
    packs: usize,
    bits: u32,
    fanout_at: usize,
    packs_at: usize,
    notes_at: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

fn checksum(counts: &[u8], body: blake3::Hash) -> [u8; 32] {
    *blake3::Hasher::new().update(counts).update(body.as_bytes()).finalize().as_bytes()
}

fn bucket(prefix: &Prefix, bits: u32) -> usize {
    usize::from(u16::from_be_bytes([prefix[0], prefix[1]])) >> (BITS_MAX - bits)
}

impl Shard {
    /// Maps and checks a shard's file.
    pub(crate) fn open(file: &File) -> Result<Self, ShardError> {
        let map = Mapped::open(file)?;
        let shard = Self::parse(map).ok_or(ShardError::Damaged("its sizes don't agree"))?;
        let body = blake3::hash(&shard.map[HEADER..]);
        if shard.map[COUNTS..HEADER] != checksum(&shard.map[..COUNTS], body) {
            return Err(ShardError::Damaged("wrong checksum"));
        }
        let starts = (0..=1usize << shard.bits).map(|i| shard.start(i));
        if !starts.is_sorted() || shard.start(1 << shard.bits) != shard.entries {
            return Err(ShardError::Damaged("its fan-out is out of order"));
        }
        Ok(shard)
    }

    fn parse(map: Mapped) -> Option<Self> {
        if map.len() < HEADER || map[..8] != *MAGIC {
            return None;
        }
        let entries = usize::try_from(u64_at(&map, 8)?).ok()?;
        let packs = usize::try_from(u32_at(&map, 16)?).ok()?;
        let bits = u32_at(&map, 20).filter(|&b| b <= BITS_MAX)?;
        let notes = usize::try_from(u64_at(&map, 24)?).ok()?;
        let fanout_at = entries.checked_mul(ENTRY)?.checked_add(HEADER)?;
        let packs_at = fanout_at.checked_add(((1usize << bits) + 1) * 4)?;
        let notes_at = packs_at.checked_add(packs.checked_mul(PACK)?)?;
        (notes_at.checked_add(notes)? == map.len()).then_some(Self {
            map,
            entries,
            packs,
            bits,
            fanout_at,
            packs_at,
            notes_at,
        })
    }

    fn start(&self, bucket: usize) -> usize {
        u32_at(&self.map, self.fanout_at + bucket * 4).map_or(0, |n| n as usize)
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// The `i`th entry, of `len`.
    pub(crate) fn entry(&self, i: usize) -> Entry {
        let at = HEADER + i * ENTRY;
        let bytes = &self.map[at..at + ENTRY];
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&bytes[..16]);
        Entry { prefix, pack: u32_at(bytes, 16).unwrap_or(0), ordinal: u32_at(bytes, 20).unwrap_or(0) }
    }

    /// Its packs, by number.
    pub(crate) fn packs(&self) -> impl Iterator<Item = PackRef> + '_ {
        (0..self.packs).filter_map(|n| self.pack(n))
    }

    /// The pack of this number.
    pub(crate) fn pack(&self, n: usize) -> Option<PackRef> {
        if n >= self.packs {
            return None;
        }
        let bytes = &self.map[self.packs_at + n * PACK..][..PACK];
        let id = PackId::from_bytes(*bytes.first_chunk()?);
        Some(PackRef { id, bytes: u64_at(bytes, PackId::LEN)? })
    }

    /// The entries of one pack: ordinals and ids. Looks at all entries.
    pub(crate) fn blobs_of(&self, pack: PackId) -> impl Iterator<Item = (u32, Prefix)> + '_ {
        let number = self.packs().position(|p| p.id == pack);
        let of = move |e: &Entry| Some(e.pack as usize) == number;
        let end = if number.is_some() { self.entries } else { 0 };
        (0..end).map(|i| self.entry(i)).filter(of).map(|e| (e.ordinal, e.prefix))
    }

    /// What its owner noted in it.
    pub(crate) fn notes(&self) -> &[u8] {
        &self.map[self.notes_at..]
    }

    /// The newest place of `prefix` in a pack that `accept` takes.
    pub(crate) fn find(&self, prefix: &Prefix, accept: &mut dyn FnMut(&PackRef) -> bool) -> Option<Place> {
        let b = bucket(prefix, self.bits);
        let (mut low, mut high) = (self.start(b), self.start(b + 1));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle).prefix < *prefix { low = middle + 1 } else { high = middle }
        }
        let mut found: Option<(u32, Place)> = None;
        for i in low..self.entries {
            let entry = self.entry(i);
            if entry.prefix != *prefix {
                break;
            }
            if let Some(pack) = self.pack(entry.pack as usize)
                && found.is_none_or(|(n, _)| n <= entry.pack)
                && accept(&pack)
            {
                found = Some((entry.pack, Place { pack: pack.id, ordinal: entry.ordinal }));
            }
        }
        found.map(|(_, place)| place)
    }
}

/// Writes a shard's file, entry by entry.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    out: BufWriter<File>,
    body: blake3::Hasher,
    bits: u32,
    fanout: Vec<u32>,
    entries: u32,
}

impl ShardWriter {
    /// Into this empty file. `entries_max` is about how many will come: it chooses the fan-out.
    pub(crate) fn create(file: File, entries_max: usize) -> Result<Self, ShardError> {
        let bits = (entries_max / 64).checked_ilog2().unwrap_or(0).min(BITS_MAX);
        let mut out = BufWriter::with_capacity(256 << 10, file);
        out.write_all(&[0; HEADER])?;
        Ok(Self { out, body: blake3::Hasher::new(), bits, fanout: vec![0; (1 << bits) + 1], entries: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ShardError> {
        self.body.update(bytes);
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Adds an entry; they come in order of their prefixes.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), ShardError> {
        self.entries =
            self.entries.checked_add(1).ok_or(ShardError::Damaged("too many entries for one file"))?;
        self.fanout[bucket(&entry.prefix, self.bits) + 1] = self.entries;
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(&entry.prefix);
        bytes[16..20].copy_from_slice(&entry.pack.to_le_bytes());
        bytes[20..].copy_from_slice(&entry.ordinal.to_le_bytes());
        self.put(&bytes)
    }

    /// Writes the rest, and gives the file back.
    pub(crate) fn finish(mut self, packs: &[PackRef], notes: &[u8]) -> Result<File, ShardError> {
        let mut end = 0;
        for at in std::mem::take(&mut self.fanout) {
            end = at.max(end);
            self.put(&end.to_le_bytes())?;
        }
        for pack in packs {
            self.put(&pack.id.to_bytes())?;
            self.put(&pack.bytes.to_le_bytes())?;
        }
        self.put(notes)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&u64::from(self.entries).to_le_bytes());
        header.extend_from_slice(&u32::try_from(packs.len()).unwrap_or(u32::MAX).to_le_bytes());
        header.extend_from_slice(&self.bits.to_le_bytes());
        header.extend_from_slice(&(notes.len() as u64).to_le_bytes());
        let sum = checksum(&header, self.body.finalize());
        header.extend_from_slice(&sum);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.into_inner().map_err(|e| ShardError::Io(e.into_error()))
    }
}

#[cfg(test)]
mod tests;
