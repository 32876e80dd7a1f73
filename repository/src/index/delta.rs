//! Index deltas as stored: the packs that a session has put, and the blobs in each, in the order of their ordinals.
//!
//! A delta is published after its packs and names nothing else. It proves nothing later on: a pack may be gone when
//! its delta is read.

use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{BlobId, PackId, PackRef};
use crate::limits::{INDEX_DELTA_BYTES, PACK_BLOBS_MAX, PACK_BYTES_MAX};
use crate::pack::{Footer, PackKind};

/// One pack of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaPack {
    /// The pack.
    pub pack: PackRef,
    /// What its blobs are.
    pub kind: PackKind,
    /// Its blobs; the position is the ordinal.
    pub blobs: Vec<BlobId>,
}

/// Smallest stored form of a pack without blobs: id, size, kind, count.
const PACK_BYTES_MIN: usize = PackId::LEN + 3;

impl DeltaPack {
    /// What a delta says of a pack with this footer.
    #[must_use]
    pub fn new(pack: PackRef, kind: PackKind, footer: &Footer) -> Self {
        Self { pack, kind, blobs: footer.blobs.iter().map(|b| b.id).collect() }
    }

    fn encoded_bytes(&self) -> usize {
        PACK_BYTES_MIN + 16 + self.blobs.len() * 32
    }
}

/// The stored form (before sealing).
#[must_use]
pub fn encode(packs: &[DeltaPack]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + packs.iter().map(DeltaPack::encoded_bytes).sum::<usize>());
    put_varint(&mut out, packs.len() as u64);
    for p in packs {
        out.extend_from_slice(&p.pack.id.to_bytes());
        put_varint(&mut out, p.pack.bytes);
        out.push(p.kind as u8);
        put_varint(&mut out, p.blobs.len() as u64);
        for id in &p.blobs {
            out.extend_from_slice(&id.0);
        }
    }
    out
}

/// Reads what [`encode`] wrote. Bytes that no writer makes are refused.
pub fn decode(bytes: &[u8]) -> Result<Vec<DeltaPack>, Malformed> {
    let mut r = Reader::new(bytes);
    let count = r.count(PACK_BYTES_MIN, "number of packs")?;
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let id = PackId::from_bytes(r.array("pack name")?);
        let size = r.varint("pack size")?;
        if size > PACK_BYTES_MAX {
            return Err(r.malformed("pack size"));
        }
        let kind = PackKind::from_byte(r.byte("pack kind")?).ok_or(r.malformed("pack kind"))?;
        let blobs = r.count(32, "number of blobs")?;
        if blobs > PACK_BLOBS_MAX {
            return Err(r.malformed("number of blobs"));
        }
        let blobs = (0..blobs).map(|_| r.array("blob id").map(BlobId)).collect::<Result<_, _>>()?;
        packs.push(DeltaPack { pack: PackRef { id, bytes: size }, kind, blobs });
    }
    r.end("end of delta")?;
    Ok(packs)
}

/// Cuts a list of packs into deltas of bounded size, so that readers hold little at once.
#[must_use]
pub fn split(packs: &[DeltaPack]) -> Vec<&[DeltaPack]> {
    let (mut out, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, p) in packs.iter().enumerate() {
        if i > start && bytes + p.encoded_bytes() > INDEX_DELTA_BYTES {
            out.push(&packs[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += p.encoded_bytes();
    }
    if start < packs.len() {
        out.push(&packs[start..]);
    }
    out
}

#[cfg(test)]
mod tests;
