//! Manifests: all that one snapshot consists of; and the small records of sessions and of GC.
//!
//! Everything here is plain values with an encoding (`wire`: protobuf, so that records can grow). Stored bytes are
//! hostile: a record that decodes is valid in itself, and whether it is true is the caller's to find out.

pub use origin::Origin;
use thiserror::Error;

use crate::env::Timestamp;
use crate::ids::{BlobRef, RepoId, Sid};

pub mod audit;
pub mod catalogue;
pub mod gc;
pub mod origin;
pub mod proof;
pub mod record;
pub mod relocation;
pub mod summary;
mod wire;

/// Bytes that are no valid record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed {0}")]
pub struct BadRecord(pub(crate) &'static str);

/// All that one snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The volume's name.
    pub volume: String,
    /// The machine that read it.
    pub host: String,
    /// The folder that was read, as bytes.
    pub path: Vec<u8>,
    /// When the walk began.
    pub started: Timestamp,
    /// When the commit was written.
    pub finished: Timestamp,
    /// The snapshot that unchanged entries were taken from.
    pub parent: Option<Sid>,
    /// Free labels.
    pub tags: Vec<String>,
    /// Entries of all kinds.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Plain bytes of regular files.
    pub bytes: u64,
    /// Plain bytes that were new to the repository.
    pub bytes_new: u64,
    /// Bytes put into the store by this session before its commit.
    pub bytes_stored: u64,
    /// Entries that could not be read; 0 means that the snapshot is complete.
    pub problems: u64,
    /// Files that changed while they were read.
    pub changed: u64,
    /// The item tree's root.
    pub root: BlobRef,
    /// The root's usage.
    pub root_usage: BlobRef,
    /// Which blobs of which packs the snapshot needs.
    pub summary: Summary,
    /// What tells the folder that was read from another one under its path, where the file system says it.
    pub identity: Option<[u8; 16]>,
    /// Where it was copied from; none of a backup.
    pub copied: Option<CopiedFrom>,
    /// Set if it is the repaired copy of a damaged snapshot.
    pub repaired: Option<RepairMark>,
    /// What the volume was to its cluster; none outside of one. Boxed: few repositories' snapshots are all in memory at once and
    /// have it whole.
    pub origin: Option<Box<Origin>>,
}

/// Marks the repaired copy of a damaged snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairMark {
    /// The snapshot that was damaged.
    pub of: Sid,
    /// Paths and ranges of paths that are lost, also by earlier repairs.
    pub lost: u64,
}

/// The snapshot of another repository (or domain) that a snapshot is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFrom {
    /// The repository.
    pub repository: RepoId,
    /// The domain there.
    pub domain: String,
    /// The snapshot there.
    pub snapshot: Sid,
    /// How many things were damaged there and are missing in the copy; part of the copy's `problems`.
    pub lost: u64,
}

/// The blobs that a snapshot needs.
///
/// A summary names all of them but its own pieces, which can't name themselves: whoever asks what a snapshot needs
/// adds [`Summary::pieces`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Summary {
    /// Small: in the manifest itself (encoded `PackUse` list).
    Inline(Vec<u8>),
    /// Large: pieces stored as metadata blobs.
    Pieces(Vec<BlobRef>),
}

impl Summary {
    /// The metadata blobs that hold it; none when it lies in the manifest.
    #[must_use]
    pub fn pieces(&self) -> &[BlobRef] {
        match self {
            Self::Inline(_) => &[],
            Self::Pieces(pieces) => pieces,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
