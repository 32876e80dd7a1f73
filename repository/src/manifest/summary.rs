//! Which blobs of which packs a snapshot needs: for each pack a set of ordinals.
//!
//! Stored as, for each pack in order of names: name (24) · size · number of runs · for each run the gap to the one
//! before and its length less one (varints). A large summary is cut into pieces at packs that their ids choose, so that
//! the next snapshot's pieces are mostly the same blobs.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Summary;
use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{PackId, PackRef, Place};
use crate::items::BlobFetch;
use crate::limits::{
    PACK_BLOBS_MAX, PACK_BYTES_MAX, RECORD_FETCHES, SUMMARY_PIECE_BYTES_AVG, SUMMARY_PIECE_BYTES_MAX,
    SUMMARY_PIECE_BYTES_MIN,
};
use crate::{Error, ErrorKind, Result};

mod set;
pub use set::OrdinalSet;

/// The blobs that are needed of one pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackUse {
    /// The pack.
    pub pack: PackRef,
    /// Ordinals of its blobs; never empty.
    pub ordinals: OrdinalSet,
}

/// A needed pack that can't be named: its size is not known, or its metadata names blobs beyond any pack's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pack {pack} can't be in a summary: {why}")]
pub struct BadUse {
    pack: PackId,
    why: &'static str,
}

/// Collects the places of all blobs that a snapshot needs, in any order. Memory is bounded by the packs that they lie
/// in: at most one bit for each blob there.
#[derive(Clone, Debug, Default)]
pub struct SummaryBuilder {
    packs: BTreeMap<PackId, OrdinalSet>,
}

impl SummaryBuilder {
    fn pack(&mut self, pack: PackId, last: u32) -> Result<&mut OrdinalSet, BadUse> {
        if last as usize >= PACK_BLOBS_MAX {
            return Err(BadUse { pack, why: "a blob beyond any pack's bounds" });
        }
        Ok(self.packs.entry(pack).or_default())
    }

    /// Adds one blob.
    pub fn add(&mut self, place: Place) -> Result<(), BadUse> {
        self.pack(place.pack, place.ordinal)?.insert(place.ordinal);
        Ok(())
    }

    /// Adds all that is needed of a pack.
    pub fn add_use(&mut self, pack: PackId, ordinals: &OrdinalSet) -> Result<(), BadUse> {
        let Some(last) = ordinals.last() else { return Ok(()) };
        let set = self.pack(pack, last)?;
        ordinals.runs().for_each(|(start, n)| set.insert_run(start, n));
        Ok(())
    }

    /// The packs so far.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.packs.keys().copied()
    }

    /// All packs with what is needed of them, in order of names. `bytes` knows the packs' sizes: the session has put
    /// them or seen them.
    pub fn finish(self, mut bytes: impl FnMut(PackId) -> Option<u64>) -> Result<Vec<PackUse>, BadUse> {
        let name = |(id, ordinals)| match bytes(id) {
            Some(bytes) if bytes <= PACK_BYTES_MAX => Ok(PackUse { pack: PackRef { id, bytes }, ordinals }),
            Some(_) => Err(BadUse { pack: id, why: "it is larger than any pack" }),
            None => Err(BadUse { pack: id, why: "its size is not known" }),
        };
        self.packs.into_iter().map(name).collect()
    }
}

/// The stored form as one.
#[must_use]
pub fn encode(uses: &[PackUse]) -> Vec<u8> {
    let mut out = Vec::new();
    uses.iter().for_each(|u| encode_one(&mut out, u));
    out
}

/// The stored form, in pieces that each decode alone.
#[must_use]
pub fn pieces(uses: &[PackUse]) -> Vec<Vec<u8>> {
    let (mut out, mut piece) = (Vec::new(), Vec::new());
    for u in uses {
        let before = piece.len();
        encode_one(&mut piece, u);
        let long = piece.len() >= SUMMARY_PIECE_BYTES_MAX;
        if long || (piece.len() >= SUMMARY_PIECE_BYTES_MIN && is_end(u.pack.id, piece.len() - before)) {
            out.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        out.push(piece);
    }
    out
}

/// Whether a pack of which the stored form has these many bytes ends a piece: names are random, so their own bits decide.
fn is_end(id: PackId, bytes: usize) -> bool {
    let mut random = [0; 4];
    random.copy_from_slice(&id.rnd[4..]);
    let share = (bytes as u64) << 32;
    u64::from(u32::from_le_bytes(random)) < share / SUMMARY_PIECE_BYTES_AVG as u64
}

fn encode_one(out: &mut Vec<u8>, u: &PackUse) {
    out.extend_from_slice(&u.pack.id.to_bytes());
    put_varint(out, u.pack.bytes);
    put_varint(out, u.ordinals.runs().count() as u64);
    let mut end = 0;
    for (start, n) in u.ordinals.runs() {
        put_varint(out, u64::from(start - end));
        put_varint(out, u64::from(n - 1));
        end = start + n;
    }
}

/// All that a snapshot needs, but for the pieces of the summary itself.
pub async fn load(summary: &Summary, fetch: &dyn BlobFetch) -> Result<Vec<PackUse>> {
    let damaged = |e: Malformed| Error::with_source(ErrorKind::Damaged, "read a snapshot's summary", e);
    let pieces = match summary {
        Summary::Inline(bytes) => return decode(bytes).map_err(damaged),
        Summary::Pieces(pieces) => pieces,
    };
    let mut out: Vec<PackUse> = Vec::new();
    let reads: Vec<_> = pieces.iter().map(|p| fetch.get(*p)).collect();
    let mut read = stream::iter(reads).buffered(RECORD_FETCHES);
    while let Some(bytes) = read.try_next().await? {
        let piece = decode(&bytes).map_err(damaged)?;
        if let (Some(last), Some(first)) = (out.last(), piece.first())
            && last.pack.id >= first.pack.id
        {
            return Err(Error::new(
                ErrorKind::Damaged,
                "read a snapshot's summary: its pieces are out of order",
            ));
        }
        out.extend(piece);
    }
    Ok(out)
}

/// Reads a summary or a piece of one. Packs must be in order, each once, and none may be empty.
pub fn decode(bytes: &[u8]) -> Result<Vec<PackUse>, Malformed> {
    let mut r = Reader::new(bytes);
    let mut out: Vec<PackUse> = Vec::new();
    while !r.is_empty() {
        let id = PackId::from_bytes(r.array("pack name")?);
        let size = r.varint("pack size")?;
        if size > PACK_BYTES_MAX || out.last().is_some_and(|u| u.pack.id >= id) {
            return Err(r.malformed("pack of a summary"));
        }
        let runs = r.count(2, "number of runs")?;
        let (mut ordinals, mut end) = (OrdinalSet::default(), 0u32);
        for i in 0..runs {
            let gap = r.u32("gap")?;
            let n = r.u32("length of a run")?;
            let start = end.checked_add(gap).filter(|_| i == 0 || gap > 0);
            let past = start.and_then(|s| s.checked_add(n)?.checked_add(1));
            let (Some(start), Some(past)) = (start, past.filter(|&p| p as usize <= PACK_BLOBS_MAX)) else {
                return Err(r.malformed("run of ordinals"));
            };
            ordinals.insert_run(start, past - start);
            end = past;
        }
        if ordinals.last().is_none() {
            return Err(r.malformed("pack without blobs"));
        }
        out.push(PackUse { pack: PackRef { id, bytes: size }, ordinals });
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
