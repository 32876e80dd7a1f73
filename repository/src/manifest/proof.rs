//! Proofs, `a/v/<moment>-<random>`: which packs and snapshots were verified when, and which volumes' restores were tested.
//!
//! One record for each piece of work; newer statements win, so that any number of records says one thing, and old records
//! are folded into newer ones. What is lost of them is proven again.

use std::collections::BTreeMap;

use prost::Message;

use super::BadRecord;
use super::wire::array;
use crate::codec::{Malformed, Reader, put_signed, put_varint};
use crate::env::Timestamp;
use crate::ids::{PackId, Sid};

/// What was found of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackProof {
    /// When it was read.
    pub at: Timestamp,
    /// Blobs of it that are damaged; [`PackProof::WHOLE`] if nothing of it can be read.
    pub damaged: u32,
}

impl PackProof {
    /// Nothing of the pack can be read.
    pub const WHOLE: u32 = u32::MAX;
}

/// What was found of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProof {
    /// When all of it was read.
    pub at: Timestamp,
    /// Damage and differences.
    pub problems: u64,
}

/// What came of a restore test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestProof {
    /// When it ended.
    pub at: Timestamp,
    /// The snapshot that was restored.
    pub snapshot: Sid,
    /// What failed.
    pub problems: u64,
}

/// All that was proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Of packs.
    pub packs: BTreeMap<PackId, PackProof>,
    /// Of snapshots that were verified in full.
    pub snapshots: BTreeMap<Sid, SnapshotProof>,
    /// The newest restore test of each volume.
    pub tests: BTreeMap<String, TestProof>,
}

#[derive(Clone, PartialEq, Message)]
struct WireProofs {
    #[prost(bytes = "vec", tag = "1")]
    packs: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    snapshots: Vec<WireSnapshot>,
    #[prost(message, repeated, tag = "3")]
    tests: Vec<WireTest>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSnapshot {
    #[prost(bytes = "vec", tag = "1")]
    snapshot: Vec<u8>,
    #[prost(sint64, tag = "2")]
    at: i64,
    #[prost(uint64, tag = "3")]
    problems: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireTest {
    #[prost(string, tag = "1")]
    volume: String,
    #[prost(bytes = "vec", tag = "2")]
    snapshot: Vec<u8>,
    #[prost(sint64, tag = "3")]
    at: i64,
    #[prost(uint64, tag = "4")]
    problems: u64,
}

/// Adds a statement if it is the newest of its thing.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, at: impl Fn(&V) -> Timestamp) {
    let slot = map.entry(key);
    match slot {
        std::collections::btree_map::Entry::Vacant(slot) => drop(slot.insert(value)),
        std::collections::btree_map::Entry::Occupied(mut slot) => {
            if at(slot.get()) <= at(&value) {
                slot.insert(value);
            }
        }
    }
}

impl Proofs {
    /// True if they say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.snapshots.is_empty() && self.tests.is_empty()
    }

    /// Adds what others say; of two statements about one thing the newer one stays.
    pub fn merge(&mut self, other: Self) {
        other.packs.into_iter().for_each(|(k, v)| put(&mut self.packs, k, v, |p| p.at));
        other.snapshots.into_iter().for_each(|(k, v)| put(&mut self.snapshots, k, v, |p| p.at));
        other.tests.into_iter().for_each(|(k, v)| put(&mut self.tests, k, v, |p| p.at));
    }

    /// Cuts them into parts of at most so many packs, so that each fits into one object.
    #[must_use]
    pub fn parts(mut self, packs_max: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        while self.packs.len() > packs_max {
            let Some(at) = self.packs.keys().nth(packs_max).copied() else { break };
            let rest = self.packs.split_off(&at);
            parts.push(Self { packs: std::mem::replace(&mut self.packs, rest), ..Self::default() });
        }
        parts.push(self);
        parts
    }

    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut packs = Vec::with_capacity(self.packs.len() * 36);
        for (pack, proof) in &self.packs {
            packs.extend_from_slice(&pack.to_bytes());
            put_signed(&mut packs, proof.at.0);
            put_varint(&mut packs, u64::from(proof.damaged));
        }
        let snapshot = |(sid, p): (&Sid, &SnapshotProof)| WireSnapshot {
            snapshot: sid.0.to_vec(),
            at: p.at.0,
            problems: p.problems,
        };
        let test = |(volume, p): (&String, &TestProof)| WireTest {
            volume: volume.clone(),
            snapshot: p.snapshot.0.to_vec(),
            at: p.at.0,
            problems: p.problems,
        };
        let snapshots = self.snapshots.iter().map(snapshot).collect();
        WireProofs { packs, snapshots, tests: self.tests.iter().map(test).collect() }.encode_to_vec()
    }

    /// Reads what [`Proofs::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireProofs::decode(bytes).map_err(|_| BadRecord("proofs"))?;
        let mut proofs = Self { packs: decode_packs(&wire.packs)?, ..Self::default() };
        for s in wire.snapshots {
            let proof = SnapshotProof { at: Timestamp(s.at), problems: s.problems };
            proofs.snapshots.insert(Sid(array(&s.snapshot, "proofs: snapshot")?), proof);
        }
        for t in wire.tests {
            let snapshot = Sid(array(&t.snapshot, "proofs: snapshot")?);
            let proof = TestProof { at: Timestamp(t.at), snapshot, problems: t.problems };
            proofs.tests.insert(t.volume, proof);
        }
        Ok(proofs)
    }
}

fn decode_packs(bytes: &[u8]) -> Result<BTreeMap<PackId, PackProof>, BadRecord> {
    const WHAT: &str = "proofs of packs";
    let read = || -> Result<BTreeMap<PackId, PackProof>, Malformed> {
        let (mut r, mut packs) = (Reader::new(bytes), BTreeMap::new());
        while !r.is_empty() {
            let pack = PackId::from_bytes(r.array(WHAT)?);
            let at = Timestamp(r.signed(WHAT)?);
            packs.insert(pack, PackProof { at, damaged: r.u32(WHAT)? });
        }
        Ok(packs)
    };
    read().map_err(|_| BadRecord(WHAT))
}
