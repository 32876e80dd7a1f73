//! Snapshots and the references in them.

use bytes::Bytes;
use repository::Result;
use repository::env::Timestamp;
use repository::ids::{BlobId, BlobRef, PackId, Place, Sid};
use repository::limits::PACK_BLOBS_MAX;
use repository::manifest::{Manifest, Origin, RepairMark, Summary};
use repository::ops::proofs::Health;
use repository::ops::snapshots::Snapshot;

use super::{bad, fixed};
use crate::v1;

/// A snapshot's id.
pub fn sid_from_wire(bytes: &[u8]) -> Result<Sid> {
    fixed(bytes, "snapshot id").map(Sid)
}

/// Everything but the summary.
#[must_use]
pub fn snapshot_to_wire(s: &Snapshot) -> v1::Snapshot {
    let m = &s.manifest;
    v1::Snapshot {
        id: Bytes::copy_from_slice(&s.id.0),
        volume: m.volume.clone(),
        host: m.host.clone(),
        path: m.path.clone().into(),
        started_unix_nanos: m.started.0,
        finished_unix_nanos: m.finished.0,
        parent: m.parent.map(|p| Bytes::copy_from_slice(&p.0)).unwrap_or_default(),
        tags: m.tags.clone(),
        entries: m.entries,
        files: m.files,
        bytes: m.bytes,
        bytes_new: m.bytes_new,
        bytes_stored: m.bytes_stored,
        problems: m.problems,
        changed: m.changed,
        root: Some(blob_to_wire(&m.root)),
        root_usage: Some(blob_to_wire(&m.root_usage)),
        repaired_of: m.repaired.map(|r| Bytes::copy_from_slice(&r.of.0)).unwrap_or_default(),
        repaired_lost: m.repaired.map_or(0, |r| r.lost),
        origin: m.origin.as_deref().map(origin_to_wire),
    }
}

/// The summary comes back empty.
pub fn snapshot_from_wire(s: v1::Snapshot) -> Result<Snapshot> {
    let parent = if s.parent.is_empty() { None } else { Some(sid_from_wire(&s.parent)?) };
    let repaired = match s.repaired_of.is_empty() {
        true => None,
        false => Some(RepairMark { of: sid_from_wire(&s.repaired_of)?, lost: s.repaired_lost }),
    };
    Ok(Snapshot {
        id: sid_from_wire(&s.id)?,
        manifest: Manifest {
            volume: s.volume,
            host: s.host,
            path: s.path.to_vec(),
            started: Timestamp(s.started_unix_nanos),
            finished: Timestamp(s.finished_unix_nanos),
            parent,
            tags: s.tags,
            entries: s.entries,
            files: s.files,
            bytes: s.bytes,
            bytes_new: s.bytes_new,
            bytes_stored: s.bytes_stored,
            problems: s.problems,
            changed: s.changed,
            root: blob_from_wire(s.root.as_ref())?,
            root_usage: blob_from_wire(s.root_usage.as_ref())?,
            summary: Summary::Inline(Vec::new()),
            identity: None,
            copied: None,
            repaired,
            origin: s.origin.map(|o| origin_from_wire(o).map(Box::new)).transpose()?,
        },
    })
}

/// What a volume is to its cluster.
#[must_use]
pub(super) fn origin_to_wire(o: &Origin) -> v1::Origin {
    let object = |(name, data): &(String, Vec<u8>)| v1::Attachment {
        name: name.clone(),
        data: Bytes::copy_from_slice(data),
    };
    v1::Origin {
        cluster: o.cluster.clone(),
        namespace: o.namespace.clone(),
        namespace_uid: o.namespace_uid.clone(),
        claim: o.claim.clone(),
        claim_uid: o.claim_uid.clone(),
        objects: o.objects.iter().map(object).collect(),
    }
}

/// See [`origin_to_wire`]; what is too large is refused.
pub(super) fn origin_from_wire(o: v1::Origin) -> Result<Origin> {
    let origin = Origin {
        cluster: o.cluster,
        namespace: o.namespace,
        namespace_uid: o.namespace_uid,
        claim: o.claim,
        claim_uid: o.claim_uid,
        objects: o.objects.into_iter().map(|a| (a.name, a.data.to_vec())).collect(),
    };
    origin.check().map_err(|e| bad("origin", e))?;
    Ok(origin)
}

/// What is known of a snapshot.
#[must_use]
pub fn health_to_wire((id, h): (&Sid, &Health)) -> v1::SnapshotHealth {
    v1::SnapshotHealth {
        id: Bytes::copy_from_slice(&id.0),
        verified_unix_nanos: h.verified.map(|t| t.0),
        tested_unix_nanos: h.tested.map(|t| t.0),
        problems: h.problems,
        damaged: h.damaged,
        pinned: h.pinned,
    }
}

/// See [`health_to_wire`].
pub fn health_from_wire(h: &v1::SnapshotHealth) -> Result<(Sid, Health)> {
    let health = Health {
        verified: h.verified_unix_nanos.map(Timestamp),
        tested: h.tested_unix_nanos.map(Timestamp),
        problems: h.problems,
        damaged: h.damaged,
        pinned: h.pinned,
    };
    Ok((sid_from_wire(&h.id)?, health))
}

fn blob_to_wire(b: &BlobRef) -> v1::BlobRef {
    v1::BlobRef { id: Bytes::copy_from_slice(&b.id.0), place: Some(place_to_wire(b.place)) }
}

fn blob_from_wire(b: Option<&v1::BlobRef>) -> Result<BlobRef> {
    let b = b.ok_or_else(|| bad("blob", "missing"))?;
    let place = b.place.as_ref().ok_or_else(|| bad("place", "missing"))?;
    Ok(BlobRef { id: BlobId(fixed(&b.id, "blob id")?), place: place_from_wire(place)? })
}

fn place_to_wire(p: Place) -> v1::Place {
    v1::Place { pack: pack_to_wire(p.pack), ordinal: p.ordinal }
}

fn place_from_wire(p: &v1::Place) -> Result<Place> {
    let pack = pack_from_wire(&p.pack)?;
    match usize::try_from(p.ordinal) {
        Ok(n) if n < PACK_BLOBS_MAX => Ok(Place { pack, ordinal: p.ordinal }),
        _ => Err(bad("ordinal", format!("{}; {PACK_BLOBS_MAX} blobs fit into a pack", p.ordinal))),
    }
}

pub(super) fn pack_to_wire(p: PackId) -> Bytes {
    Bytes::copy_from_slice(&p.to_bytes())
}

pub(super) fn pack_from_wire(p: &[u8]) -> Result<PackId> {
    fixed(p, "pack").map(PackId::from_bytes)
}
