//! The stored form of a catalogue. What comes from the store is checked here, once.

use super::{Catalogue, Link, decode_runs};
use crate::codec::{Malformed, Reader, put_bytes, put_signed, put_varint};
use crate::env::Timestamp;
use crate::ids::{Generation, PackId, Sid};
use crate::limits::{CATALOGUE_PART_BYTES, OBJECT_BYTES_MAX};
use crate::manifest::catalogue::{PackFacts, SnapshotFacts};
use crate::pack::PackKind;

impl Catalogue {
    /// The stored form: parts of about [`CATALOGUE_PART_BYTES`], to be read in their order.
    #[must_use]
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let mut parts = Parts::default();
        parts.begin(KIND_PACKS);
        for (pack, facts) in &self.packs {
            parts.cut(KIND_PACKS);
            parts.open.extend_from_slice(&pack.to_bytes());
            parts.open.push(facts.map_or(0, |f| f.kind as u8));
            if let Some(f) = facts {
                let all = [u64::from(f.epoch), f.body_bytes, f.live_blobs, f.live_bytes, f.live_plain];
                all.into_iter().for_each(|n| put_varint(&mut parts.open, n));
            }
        }
        parts.begin(KIND_SNAPSHOTS);
        for (volume, chain) in &self.volumes {
            let mut links = &chain[..];
            while !links.is_empty() {
                parts.cut(KIND_SNAPSHOTS);
                let mut bytes = 0;
                let fits = |link: &&Link| {
                    bytes += link.changes.len() + 32;
                    bytes <= CATALOGUE_PART_BYTES
                };
                let count = links.iter().take_while(fits).count().max(1);
                let (now, rest) = links.split_at(count);
                put_bytes(&mut parts.open, volume.as_bytes());
                put_varint(&mut parts.open, now.len() as u64);
                for link in now {
                    put_varint(&mut parts.open, link.name.0.0);
                    parts.open.extend_from_slice(&link.name.1.0);
                    put_bytes(&mut parts.open, &link.changes);
                }
                links = rest;
            }
        }
        parts.finish()
    }

    /// The stored form of what is known of snapshots for people, in such parts too. They are read behind the others.
    #[must_use]
    pub fn encode_facts(&self) -> Vec<Vec<u8>> {
        let mut parts = Parts::default();
        parts.begin(KIND_FACTS);
        let names = self.volumes.values().flatten().map(|link| link.name);
        for ((generation, sid), f) in names.filter_map(|name| Some((name, self.facts.get(&name)?))) {
            parts.cut(KIND_FACTS);
            put_varint(&mut parts.open, generation.0);
            parts.open.extend_from_slice(&sid.0);
            put_signed(&mut parts.open, f.started.0);
            [f.bytes, f.bytes_new, f.bytes_stored].into_iter().for_each(|n| put_varint(&mut parts.open, n));
        }
        parts.finish()
    }

    /// Reads the next part. Parts come in their order.
    pub fn decode_part(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut r = Reader::new(bytes);
        match r.byte("kind of part")? {
            KIND_PACKS => self.decode_packs(&mut r),
            KIND_SNAPSHOTS => self.decode_snapshots(&mut r),
            KIND_FACTS => self.decode_facts(&mut r),
            _ => Err(r.malformed("kind of part")),
        }
    }

    fn decode_packs(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        while !r.is_empty() {
            let pack = PackId::from_bytes(r.array("pack name")?);
            let facts = match r.byte("pack kind")? {
                0 => None,
                kind => Some(PackFacts {
                    kind: PackKind::from_byte(kind).ok_or(r.malformed("pack kind"))?,
                    epoch: r.u32("epoch")?,
                    body_bytes: r.varint("bytes of groups")?,
                    live_blobs: r.varint("live blobs")?,
                    live_bytes: r.varint("live bytes")?,
                    live_plain: r.varint("live plain bytes")?,
                }),
            };
            let number = self.number(pack) as usize;
            if number + 1 != self.packs.len() {
                return Err(r.malformed("pack name: twice"));
            }
            self.packs[number].1 = facts;
        }
        Ok(())
    }

    fn decode_snapshots(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        while !r.is_empty() {
            let volume = std::str::from_utf8(r.bytes(OBJECT_BYTES_MAX, "volume")?);
            let volume = volume.map_err(|_| r.malformed("volume"))?.to_owned();
            let mut links = Vec::new();
            for _ in 0..r.count(18, "number of snapshots")? {
                let generation = Generation(r.varint("generation")?);
                let name = (generation, Sid(r.array("session id")?));
                let changes = r.bytes(OBJECT_BYTES_MAX, "changes")?;
                self.check_changes(changes)?;
                if !self.names.insert(name) {
                    return Err(r.malformed("snapshot: twice"));
                }
                links.push(Link { name, changes: changes.into() });
            }
            self.volumes.entry(volume).or_default().extend(links);
        }
        Ok(())
    }

    fn decode_facts(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        while !r.is_empty() {
            let generation = Generation(r.varint("generation")?);
            let name = (generation, Sid(r.array("session id")?));
            let facts = SnapshotFacts {
                started: Timestamp(r.signed("start")?),
                bytes: r.varint("bytes")?,
                bytes_new: r.varint("new bytes")?,
                bytes_stored: r.varint("stored bytes")?,
            };
            if !self.names.contains(&name) || self.facts.insert(name, facts).is_some() {
                return Err(r.malformed("snapshot of figures"));
            }
        }
        Ok(())
    }

    fn check_changes(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut r, mut number) = (Reader::new(bytes), None);
        while !r.is_empty() {
            let gap = r.u32("pack number")?;
            let next = number.map_or(Some(gap), |n: u32| n.checked_add(gap).filter(|_| gap > 0));
            number = next.filter(|&n| (n as usize) < self.packs.len());
            if number.is_none() {
                return Err(r.malformed("pack number"));
            }
            decode_runs(r.bytes(OBJECT_BYTES_MAX, "runs")?)?;
        }
        Ok(())
    }
}

const KIND_PACKS: u8 = 1;
const KIND_SNAPSHOTS: u8 = 2;
const KIND_FACTS: u8 = 3;

/// Parts as they fill.
#[derive(Default)]
struct Parts {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Parts {
    fn begin(&mut self, kind: u8) {
        if self.open.len() > 1 {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open = vec![kind];
    }

    /// Begins another part if this one is full.
    fn cut(&mut self, kind: u8) {
        if self.open.len() >= CATALOGUE_PART_BYTES {
            self.begin(kind);
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.begin(0);
        self.done
    }
}
