//! The index: which blob lies in which pack.
//!
//! Stored as *deltas* (lists of packs and their blobs, `delta`), read into an [`Index`]: a table in memory (`table`)
//! that overflows into sorted, memory-mapped files (`shard`). Collectors gather deltas into sorted objects (`stored`). [`LocalIndex`] keeps one for a process, in step with the
//! store. Answers are hints, and nothing here may decide that a blob can be referenced: that is rule W5, in `session`.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::Result;
use crate::ids::{BlobId, PackId, Place};

pub mod delta;
mod local;
mod lookup;
pub mod objects;
pub mod shard;
pub mod stored;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use delta::DeltaPack;
pub use local::{LocalIndex, LocalOptions, Refreshed};
pub use lookup::Index;

/// Answers where blobs lie: the repository's own index, or a coordinator. Answers are hints: a pack that they name
/// counts only once it was seen to exist (rule W5 of docs/protocol.md).
#[async_trait]
pub trait Lookup: Send + Sync + std::fmt::Debug {
    /// The place of each id, in order; `None` where it is not known.
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>>;

    /// Another place of a blob, in none of these packs, as far as is known without asking anybody.
    fn find_besides(&self, _id: &BlobId, _packs: &HashSet<PackId>) -> Option<Place> {
        None
    }
}

/// What the index compares of a blob's id. Half of it is enough: a wrong answer would need two of the domain's blobs
/// that agree in 128 bits of a keyed hash, and readers check the whole id of all that they decode.
pub(crate) type Prefix = [u8; 16];

/// The first half of an id.
pub(crate) fn prefix(id: &BlobId) -> Prefix {
    let mut out = [0; 16];
    out.copy_from_slice(&id.0[..16]);
    out
}

/// One blob: its id's first half, its pack's number in the table of packs beside it, and its number in the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) prefix: Prefix,
    pub(crate) pack: u32,
    pub(crate) ordinal: u32,
}

#[cfg(test)]
mod tests;
