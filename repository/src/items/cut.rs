//! Where leaves and branches of the item tree end: a keyed hash of the path decides.
//!
//! A decision looks at nothing but the entries since the last cut, and measures an entry by itself, not by how well
//! it happened to be coded against its neighbour: a change therefore moves at most the cuts around it.

use crate::items::entry::{Content, Entry, Kind};
use crate::limits;

/// The key of the path hash. It keeps tree shapes from telling names to somebody who sees sizes.
pub type TreeKey = [u8; 32];

/// Decides after which entry a leaf ends.
#[derive(Debug)]
pub struct LeafCutter {
    key: TreeKey,
    weight: usize,
    path_bytes: usize,
}

impl LeafCutter {
    /// At the beginning of a leaf.
    #[must_use]
    pub fn new(key: TreeKey) -> Self {
        Self { key, weight: 0, path_bytes: 0 }
    }

    /// Takes the next entry into account; true if the leaf ends after it.
    pub fn ends_after(&mut self, entry: &Entry) -> bool {
        let weight = weight(entry);
        self.weight += weight;
        self.path_bytes += entry.path.len();
        let forced = self.weight >= limits::LEAF_BYTES_MAX || self.path_bytes >= limits::LEAF_PATH_BYTES_MAX;
        let cut = forced || (self.weight >= limits::LEAF_BYTES_MIN && self.chosen(&entry.path, weight));
        if cut {
            self.weight = 0;
            self.path_bytes = 0;
        }
        cut
    }

    /// With a probability of `weight / LEAF_BYTES_AVG`.
    fn chosen(&self, path: &[u8], weight: usize) -> bool {
        let hash = blake3::keyed_hash(&self.key, path);
        let [a, b, c, d, ..] = *hash.as_bytes();
        u64::from(u32::from_le_bytes([a, b, c, d])) * (limits::LEAF_BYTES_AVG as u64) < (weight as u64) << 32
    }
}

/// About how many bytes an entry takes in a leaf, whatever its neighbours are.
fn weight(entry: &Entry) -> usize {
    let body = match &entry.kind {
        Kind::File(Content::Inline(bytes)) => bytes.len(),
        Kind::File(Content::Extents(extents)) => 36 * extents.len(),
        Kind::File(Content::Segments(segments)) => 32 * segments.len(),
        Kind::Symlink(target) => target.len(),
        _ => 0,
    };
    let xattrs: usize = entry.meta.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
    let xattrs = if xattrs <= limits::XATTR_SHARED_BYTES_MAX { 1 } else { xattrs };
    20 + entry.name().len() + body + xattrs
}

/// Decides whether a branch of `level` ends after its newest child: it has `children`, their last paths are
/// `path_bytes` long together, and the newest one's is `last`.
#[must_use]
pub fn branch_ends(key: &TreeKey, level: u8, children: usize, path_bytes: usize, last: &[u8]) -> bool {
    if children >= limits::BRANCH_CHILDREN_MAX
        || (children > 1 && path_bytes >= limits::BRANCH_PATH_BYTES_MAX)
    {
        return true;
    }
    // Each level looks at bits of its own: the last child of every branch below was chosen by the bits of its level.
    let at = 4 + 2 * usize::from(level);
    let hash = blake3::keyed_hash(key, last);
    let bits = hash.as_bytes().get(at..at + 2).map_or(0, |b| usize::from(b[0]) | usize::from(b[1]) << 8);
    children >= limits::BRANCH_CHILDREN_MIN && bits.is_multiple_of(limits::BRANCH_CHILDREN_AVG)
}

#[cfg(test)]
mod tests;
