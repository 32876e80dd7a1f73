//! Leaves of the item stream: a run of entries in path order as one blob.
//!
//! ```text
//! 'L' 1, varint entries, varint references, a row for each entry, the 32-byte ids of all references in order
//! row:  byte kind and flags, byte form, path against the row before (shared length, rest), [owner], ctime against
//!       the row before, [mtime], inode against the row before, [attributes], what the kind needs
//! ```
//! Mode and owner, and small sets of attributes, are stored once a leaf and numbered. Ids stand together at the end:
//! they don't compress, the rows do. Places are never here but in the leaf's usage.

mod decode;
mod encode;

pub use decode::{decode, references};
pub use encode::{LeafEncoder, LeafTotals};

const MAGIC: u8 = b'L';
const VERSION: u8 = 1;

// Kinds, in the low four bits of a row's first byte.
const KIND_INLINE: u8 = 0;
const KIND_EXTENTS: u8 = 1;
const KIND_SEGMENTS: u8 = 2;
const KIND_DIRECTORY: u8 = 3;
const KIND_SYMLINK: u8 = 4;
const KIND_FIFO: u8 = 5;
const KIND_SOCKET: u8 = 6;
const KIND_CHAR: u8 = 7;
const KIND_BLOCK: u8 = 8;
const KIND_MASK: u8 = 0x0f;
const FLAG_LINKED: u8 = 0x10;
const FLAG_CHANGED: u8 = 0x20;
const FLAG_XATTRS: u8 = 0x40;

// Form: how the mtime is stored, and whether mode and owner are those of the row before.
const MTIME_AS_BEFORE: u8 = 0;
const MTIME_AS_CTIME: u8 = 1;
const MTIME_SECONDS: u8 = 2;
const MTIME_NANOS: u8 = 3;
const MTIME_MASK: u8 = 0x03;
const FORM_SAME_OWNER: u8 = 0x04;

// Extents: `length * 4 + tag`.
const EXTENT_HOLE: u64 = 0;
const EXTENT_ZEROS: u64 = 1;
const EXTENT_BLOB: u64 = 2;
const EXTENT_SLICE: u64 = 3;

const NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests;
