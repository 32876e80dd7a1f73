//! GC's records, as sessions read them: `open`, `sweep` and `done` of a generation; and quarantine.

use prost::Message as _;

use super::BadRecord;
use super::relocation;
pub use super::relocation::Relocation;
use super::wire::{WireDone, WireOpen, WireQuarantine, WireSplit, WireSweep, array, generation};
use crate::ids::{Generation, PackId, Sid};

/// `g/<gen>/open`: begins a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcOpen {
    /// Packs that nobody may refer to any more.
    pub condemned: Vec<PackId>,
    /// Copies of some of their blobs.
    pub relocations: Vec<Relocation>,
}

/// `g/<gen>/sweep`: decides what is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcSweep {
    /// The packs.
    pub packs: Vec<PackId>,
}

/// `g/<gen>/done`: ends the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcDone {
    /// Outcomes of generations up to this one can't come to be any more.
    pub frozen: Generation,
    /// All snapshots up to the frozen generation that are not forgotten, sorted.
    pub catalogue: Vec<(Generation, Sid)>,
    /// Relocations of all runs that are still needed.
    pub relocations: Vec<Relocation>,
    /// The parts of the collectors' catalogue, in order. Only collectors read them.
    pub parts: Vec<PartName>,
    /// The parts of what the catalogue knows of its snapshots for people. Nothing is wrong where they are missing.
    pub figures: Vec<PartName>,
}

/// The random part of a part's name.
pub type PartName = [u8; 8];

/// What is stored in the place of a record that lies in parts.
#[must_use]
pub fn encode_split(parts: &[PartName]) -> Vec<u8> {
    WireSplit { parts: parts.concat() }.encode_to_vec()
}

/// The parts that a stored record lies in, in order; `None` if it is the record itself.
pub fn decode_split(bytes: &[u8]) -> Result<Option<Vec<PartName>>, BadRecord> {
    let wire = WireSplit::decode(bytes).map_err(|_| BadRecord("GC record"))?;
    let parts = decode_parts(&wire.parts)?;
    Ok(Some(parts).filter(|parts| !parts.is_empty()))
}

fn decode_parts(bytes: &[u8]) -> Result<Vec<PartName>, BadRecord> {
    let (parts, rest) = bytes.as_chunks::<8>();
    if rest.is_empty() { Ok(parts.to_vec()) } else { Err(BadRecord("names of parts")) }
}

/// `q/<pack>-<random>`: damaged blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The pack that holds them.
    pub pack: PackId,
    /// Their numbers; none means all of the pack.
    pub ordinals: Vec<u32>,
}

fn encode_packs(packs: &[PackId]) -> Vec<u8> {
    packs.iter().flat_map(|p| p.to_bytes()).collect()
}

fn decode_packs(bytes: &[u8]) -> Result<Vec<PackId>, BadRecord> {
    let (packs, rest) = bytes.as_chunks::<{ PackId::LEN }>();
    if rest.is_empty() {
        Ok(packs.iter().map(|p| PackId::from_bytes(*p)).collect())
    } else {
        Err(BadRecord("list of packs"))
    }
}

impl GcOpen {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let relocations = relocation::encode(&self.relocations);
        WireOpen { condemned: encode_packs(&self.condemned), relocations }.encode_to_vec()
    }

    /// Reads what [`GcOpen::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireOpen::decode(bytes).map_err(|_| BadRecord("GC open record"))?;
        let relocations = relocation::decode(&wire.relocations)?;
        Ok(Self { condemned: decode_packs(&wire.condemned)?, relocations })
    }
}

impl GcSweep {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        WireSweep { packs: encode_packs(&self.packs) }.encode_to_vec()
    }

    /// Reads what [`GcSweep::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireSweep::decode(bytes).map_err(|_| BadRecord("GC sweep record"))?;
        Ok(Self { packs: decode_packs(&wire.packs)? })
    }
}

impl GcDone {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut catalogue = Vec::with_capacity(self.catalogue.len() * 24);
        for (generation, sid) in &self.catalogue {
            catalogue.extend_from_slice(&generation.0.to_be_bytes());
            catalogue.extend_from_slice(&sid.0);
        }
        let relocations = relocation::encode(&self.relocations);
        let (parts, figures) = (self.parts.concat(), self.figures.concat());
        WireDone { frozen: self.frozen.0, catalogue, relocations, parts, figures }.encode_to_vec()
    }

    /// Reads what [`GcDone::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireDone::decode(bytes).map_err(|_| BadRecord("GC done record"))?;
        let frozen = generation(wire.frozen)?;
        let (entries, rest) = wire.catalogue.as_chunks::<24>();
        if !rest.is_empty() {
            return Err(BadRecord("catalogue"));
        }
        let mut catalogue = Vec::with_capacity(entries.len());
        for entry in entries {
            let number = u64::from_be_bytes(array(&entry[..8], "catalogue")?);
            catalogue.push((generation(number)?, Sid(array(&entry[8..], "catalogue")?)));
        }
        if !catalogue.is_sorted() || catalogue.last().is_some_and(|(g, _)| *g > frozen) {
            return Err(BadRecord("catalogue: out of order"));
        }
        let relocations = relocation::decode(&wire.relocations)?;
        let (parts, figures) = (decode_parts(&wire.parts)?, decode_parts(&wire.figures)?);
        Ok(Self { frozen, catalogue, relocations, parts, figures })
    }

    /// True if a commit of this session is void: its generation is frozen, and the catalogue lacks it (rule W7).
    #[must_use]
    pub fn is_void(&self, generation: Generation, sid: Sid) -> bool {
        generation <= self.frozen && self.catalogue.binary_search(&(generation, sid)).is_err()
    }
}

impl Quarantine {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        WireQuarantine { pack: self.pack.to_bytes().to_vec(), ordinals: self.ordinals.clone() }
            .encode_to_vec()
    }

    /// Reads what [`Quarantine::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireQuarantine::decode(bytes).map_err(|_| BadRecord("quarantine record"))?;
        Ok(Self { pack: PackId::from_bytes(array(&wire.pack, "pack name")?), ordinals: wire.ordinals })
    }
}
