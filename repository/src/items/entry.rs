//! One entry of a volume's tree, as plain values.
//!
//! Paths are bytes relative to the volume's root, without a leading `/`; the root itself has the empty path.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::env::Timestamp;
use crate::ids::BlobRef;

/// What kind of thing an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link and its target, as bytes.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A unix socket: kept as an entry, restored as a socket node.
    Socket,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
}

/// What lies in a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves (up to `limits::INLINE_BYTES`; also the empty file).
    Inline(Bytes),
    /// All extents, for files up to `limits::LARGE_FILE_BYTES`.
    Extents(Vec<Extent>),
    /// Segment blobs, one for each `limits::SEGMENT_BYTES` of the file, in order.
    Segments(Vec<SegmentRef>),
}

/// A segment blob, and the blob that lists the places of what the segment refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// The segment: extents and marks. Its id is part of the item stream.
    pub segment: BlobRef,
    /// The segment's usage: places of its blobs. Not part of the stream (it may change by compaction).
    pub usage: BlobRef,
}

/// A stretch of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in the file; never 0.
    pub bytes: u64,
    /// What is there.
    pub data: ExtentData,
}

/// What is in an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentData {
    /// Not allocated; reads as zeros.
    Hole,
    /// Allocated zeros.
    Zeros,
    /// A slice of a blob, from this offset on.
    Slice(BlobRef, u32),
}

/// Metadata of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Timestamp,
    /// Time of the last change of the inode: never restored, used to recognise unchanged files.
    pub ctime: Timestamp,
    /// Inode number: to recognise unchanged files, and hard links.
    pub ino: u64,
    /// True for a file, device, fifo, socket or symlink with more than one name: entries of one snapshot with
    /// the same `ino` and this flag are one thing.
    pub linked: bool,
    /// Extended attributes with their full names (`user.x`, `system.posix_acl_access`, ...), sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root, bytes; empty for the root.
    pub path: Vec<u8>,
    /// Its metadata.
    pub meta: Meta,
    /// Size of a regular file's content; 0 for everything else.
    pub size: u64,
    /// The file kept changing while it was read; what is stored is a mixture.
    pub changed_during_read: bool,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or(&[])
    }

    /// The blobs (data and segments, not usage) that the entry itself refers to, in order.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> + '_ {
        let (extents, segments): (&[Extent], &[SegmentRef]) = match &self.kind {
            Kind::File(Content::Extents(e)) => (e, &[]),
            Kind::File(Content::Segments(s)) => (&[], s),
            _ => (&[], &[]),
        };
        let slices = extents.iter().filter_map(|e| match e.data {
            ExtentData::Slice(blob, _) => Some(blob),
            _ => None,
        });
        slices.chain(segments.iter().map(|s| s.segment))
    }
}

/// The order of the item stream: by path component, bytewise, so that `a/b` comes before `a.txt`, as in a walk.
#[must_use]
pub fn path_cmp(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |c: &u8| if *c == b'/' { 0u16 } else { u16::from(*c) + 1 };
    a.iter().map(rank).cmp(b.iter().map(rank))
}
