//! Stored forms as protobuf messages. Field numbers are never reused; absent fields have their type's empty value.
//!
//! Only this module and the conversions beside it know these types.

use prost::{Message, Oneof};

use super::origin::WireOrigin;
use super::{BadRecord, CopiedFrom, Manifest, RepairMark, Summary};
use crate::env::Timestamp;
use crate::ids::{BlobId, BlobRef, Generation, PackId, Place, RepoId, Sid};
use crate::limits::PACK_BLOBS_MAX;

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireBlobRef {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pack: Vec<u8>,
    #[prost(uint32, tag = "3")]
    ordinal: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireManifest {
    #[prost(string, tag = "1")]
    volume: String,
    #[prost(string, tag = "2")]
    host: String,
    #[prost(bytes = "vec", tag = "3")]
    path: Vec<u8>,
    #[prost(sint64, tag = "4")]
    started: i64,
    #[prost(sint64, tag = "5")]
    finished: i64,
    #[prost(bytes = "vec", optional, tag = "6")]
    parent: Option<Vec<u8>>,
    #[prost(string, repeated, tag = "7")]
    tags: Vec<String>,
    #[prost(uint64, tag = "8")]
    entries: u64,
    #[prost(uint64, tag = "9")]
    files: u64,
    #[prost(uint64, tag = "10")]
    bytes: u64,
    #[prost(uint64, tag = "11")]
    bytes_new: u64,
    #[prost(uint64, tag = "12")]
    bytes_stored: u64,
    #[prost(uint64, tag = "13")]
    problems: u64,
    #[prost(uint64, tag = "14")]
    changed: u64,
    #[prost(message, optional, tag = "15")]
    root: Option<WireBlobRef>,
    #[prost(message, optional, tag = "16")]
    root_usage: Option<WireBlobRef>,
    #[prost(bytes = "vec", optional, tag = "17")]
    summary: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "18")]
    summary_pieces: Vec<WireBlobRef>,
    #[prost(bytes = "vec", optional, tag = "19")]
    identity: Option<Vec<u8>>,
    #[prost(message, optional, tag = "20")]
    copied: Option<WireCopiedFrom>,
    #[prost(message, optional, tag = "21")]
    repaired: Option<WireRepaired>,
    #[prost(message, optional, tag = "22")]
    origin: Option<WireOrigin>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireRepaired {
    #[prost(bytes = "vec", tag = "1")]
    of: Vec<u8>,
    #[prost(uint64, tag = "2")]
    lost: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireCopiedFrom {
    #[prost(bytes = "vec", tag = "1")]
    repository: Vec<u8>,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(bytes = "vec", tag = "3")]
    snapshot: Vec<u8>,
    #[prost(uint64, tag = "4")]
    lost: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireOutcome {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) nonce: Vec<u8>,
    #[prost(oneof = "WireEnd", tags = "2, 3")]
    pub(super) end: Option<WireEnd>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum WireEnd {
    #[prost(message, boxed, tag = "2")]
    Committed(Box<WireManifest>),
    #[prost(string, tag = "3")]
    Aborted(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireRegistration {
    #[prost(uint64, tag = "1")]
    pub(super) generation: u64,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(string, tag = "3")]
    pub(super) node: String,
    #[prost(string, tag = "4")]
    pub(super) volume: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(super) carries: Vec<Vec<u8>>,
    #[prost(sint64, tag = "6")]
    pub(super) started: i64,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(super) snapshot: Option<Vec<u8>>,
}

/// `condemned`: 24 bytes a pack. `relocations`: see `gc`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireOpen {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) condemned: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) relocations: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSweep {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) packs: Vec<u8>,
}

/// `catalogue`: 24 bytes a snapshot, generation (big endian) and sid.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireDone {
    #[prost(uint64, tag = "1")]
    pub(super) frozen: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) catalogue: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) relocations: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parts: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) figures: Vec<u8>,
}

/// Stands for a GC record that lies in parts, 8 bytes a name. No record has this field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSplit {
    #[prost(bytes = "vec", tag = "15")]
    pub(super) parts: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireMark {
    #[prost(int64, tag = "1")]
    pub(super) at: i64,
    #[prost(string, tag = "2")]
    pub(super) by: String,
    #[prost(string, tag = "3")]
    pub(super) why: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireQuarantine {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) pack: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) ordinals: Vec<u32>,
}

pub(super) fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], BadRecord> {
    bytes.try_into().map_err(|_| BadRecord(what))
}

pub(super) fn generation(n: u64) -> Result<Generation, BadRecord> {
    if n <= Generation::MAX.0 { Ok(Generation(n)) } else { Err(BadRecord("generation")) }
}

/// A blob's number as it may be.
pub(super) fn place(pack: PackId, ordinal: u32) -> Result<Place, BadRecord> {
    if ordinal as usize >= PACK_BLOBS_MAX {
        Err(BadRecord("place of a blob"))
    } else {
        Ok(Place { pack, ordinal })
    }
}

impl From<&BlobRef> for WireBlobRef {
    fn from(b: &BlobRef) -> Self {
        Self { id: b.id.0.to_vec(), pack: b.place.pack.to_bytes().to_vec(), ordinal: b.place.ordinal }
    }
}

impl WireBlobRef {
    fn check(&self) -> Result<BlobRef, BadRecord> {
        let pack = PackId::from_bytes(array(&self.pack, "pack name")?);
        let place = place(pack, self.ordinal)?;
        Ok(BlobRef { id: BlobId(array(&self.id, "blob id")?), place })
    }
}

impl From<&Manifest> for WireManifest {
    fn from(m: &Manifest) -> Self {
        let (summary, pieces) = match &m.summary {
            Summary::Inline(bytes) => (Some(bytes.clone()), Vec::new()),
            Summary::Pieces(pieces) => (None, pieces.iter().map(Into::into).collect()),
        };
        Self {
            volume: m.volume.clone(),
            host: m.host.clone(),
            path: m.path.clone(),
            started: m.started.0,
            finished: m.finished.0,
            parent: m.parent.map(|p| p.0.to_vec()),
            tags: m.tags.clone(),
            entries: m.entries,
            files: m.files,
            bytes: m.bytes,
            bytes_new: m.bytes_new,
            bytes_stored: m.bytes_stored,
            problems: m.problems,
            changed: m.changed,
            root: Some((&m.root).into()),
            root_usage: Some((&m.root_usage).into()),
            summary,
            summary_pieces: pieces,
            identity: m.identity.map(|i| i.to_vec()),
            copied: m.copied.as_ref().map(|c| WireCopiedFrom {
                repository: c.repository.0.to_vec(),
                domain: c.domain.clone(),
                snapshot: c.snapshot.0.to_vec(),
                lost: c.lost,
            }),
            repaired: m.repaired.map(|r| WireRepaired { of: r.of.0.to_vec(), lost: r.lost }),
            origin: m.origin.as_deref().map(Into::into),
        }
    }
}

impl WireCopiedFrom {
    fn check(self) -> Result<CopiedFrom, BadRecord> {
        Ok(CopiedFrom {
            repository: RepoId(array(&self.repository, "repository that a copy is of")?),
            domain: self.domain,
            snapshot: Sid(array(&self.snapshot, "snapshot that a copy is of")?),
            lost: self.lost,
        })
    }
}

impl WireManifest {
    pub(super) fn check(self) -> Result<Manifest, BadRecord> {
        let blob = |b: Option<WireBlobRef>| b.ok_or(BadRecord("manifest: no root"))?.check();
        let summary = match (self.summary, self.summary_pieces) {
            (Some(bytes), pieces) if pieces.is_empty() => {
                super::summary::decode(&bytes).map_err(|_| BadRecord("summary"))?;
                Summary::Inline(bytes)
            }
            (None, pieces) if !pieces.is_empty() => {
                Summary::Pieces(pieces.iter().map(WireBlobRef::check).collect::<Result<_, _>>()?)
            }
            _ => return Err(BadRecord("summary: neither inline nor in pieces")),
        };
        Ok(Manifest {
            volume: self.volume,
            host: self.host,
            path: self.path,
            started: Timestamp(self.started),
            finished: Timestamp(self.finished),
            parent: self.parent.map(|p| array(&p, "parent").map(Sid)).transpose()?,
            tags: self.tags,
            entries: self.entries,
            files: self.files,
            bytes: self.bytes,
            bytes_new: self.bytes_new,
            bytes_stored: self.bytes_stored,
            problems: self.problems,
            changed: self.changed,
            root: blob(self.root)?,
            root_usage: blob(self.root_usage)?,
            summary,
            identity: self.identity.map(|i| array(&i, "identity of the folder")).transpose()?,
            copied: self.copied.map(WireCopiedFrom::check).transpose()?,
            repaired: match self.repaired {
                Some(r) => Some(RepairMark { of: array(&r.of, "repaired snapshot").map(Sid)?, lost: r.lost }),
                None => None,
            },
            origin: self.origin.map(|o| o.check().map(Box::new)).transpose()?,
        })
    }
}
