//! One entry of a volume's tree, as plain values.
//!
//! Paths are bytes relative to the volume's root, without a leading `/`; the root itself has the empty path.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::env::Timestamp;
use crate::ids::BlobRef;
use crate::limits;

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
    let rank = |c: u8| if c == b'/' { 0 } else { u16::from(c) + 1 };
    match a.iter().zip(b).find(|(x, y)| x != y) {
        Some((&x, &y)) => rank(x).cmp(&rank(y)),
        None => a.len().cmp(&b.len()),
    }
}

/// Says what is wrong with a path that can't be stored: components must be real names, so that joining them below a
/// folder never leaves it.
pub fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.len() > limits::PATH_BYTES_MAX {
        return Err("path too long");
    }
    if path.is_empty() { Ok(()) } else { path.split(|&b| b == b'/').try_for_each(check_name) }
}

/// Says what is wrong with a name that can't be one component of a path.
pub fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" => Err("empty name in path"),
        b"." | b".." => Err("dot name in path"),
        _ if name.len() > limits::NAME_BYTES_MAX => Err("name too long"),
        _ if name.iter().any(|&b| b == 0 || b == b'/') => Err("bad byte in name"),
        _ => Ok(()),
    }
}

/// Says what is wrong with extended attributes that can't be stored.
pub fn check_xattrs(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), &'static str> {
    if xattrs.windows(2).any(|w| w[0].0 >= w[1].0) {
        return Err("attributes out of order");
    }
    if xattrs.iter().any(|(n, _)| n.is_empty() || n.len() > limits::NAME_BYTES_MAX || n.contains(&0)) {
        return Err("bad attribute name");
    }
    let bytes: usize = xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
    if bytes > limits::XATTR_BYTES_MAX { Err("attributes too large") } else { Ok(()) }
}

/// Says what is wrong with extents that don't describe `size` bytes.
pub fn check_extents(extents: &[Extent], size: u64) -> Result<(), &'static str> {
    let mut sum = 0u64;
    for extent in extents {
        if extent.bytes == 0 {
            return Err("empty extent");
        }
        if let ExtentData::Slice(_, offset) = extent.data
            && extent.bytes.saturating_add(u64::from(offset)) > limits::BLOB_BYTES_MAX as u64
        {
            return Err("slice beyond its blob");
        }
        sum = sum.checked_add(extent.bytes).ok_or("extents too long")?;
    }
    if sum == size { Ok(()) } else { Err("extents do not add up to the size") }
}

impl Content {
    /// Says what is wrong with content that does not describe `size` bytes.
    pub fn check(&self, size: u64) -> Result<(), &'static str> {
        if size > limits::FILE_BYTES_MAX {
            return Err("file too large");
        }
        match self {
            Self::Inline(bytes) if bytes.len() > limits::INLINE_BYTES => Err("inline content too long"),
            Self::Inline(bytes) if bytes.len() as u64 != size => {
                Err("inline content is not as long as the file")
            }
            Self::Inline(_) => Ok(()),
            Self::Extents(extents) => check_extents(extents, size),
            Self::Segments(list) if list.len() as u64 != size.div_ceil(limits::SEGMENT_BYTES) => {
                Err("wrong number of segments")
            }
            Self::Segments(_) => Ok(()),
        }
    }
}

impl Entry {
    /// Says what is wrong with an entry that can't be stored.
    pub fn check(&self) -> Result<(), &'static str> {
        check_path(&self.path)?;
        check_xattrs(&self.meta.xattrs)?;
        match &self.kind {
            Kind::File(content) => content.check(self.size),
            _ if self.size != 0 => Err("only files have a size"),
            Kind::Symlink(target) => check_target(target),
            _ => Ok(()),
        }
    }
}

/// Says what is wrong with the target of a symlink that can't be stored.
pub fn check_target(target: &[u8]) -> Result<(), &'static str> {
    if target.len() > limits::SYMLINK_BYTES_MAX || target.contains(&0) {
        Err("bad symlink target")
    } else {
        Ok(())
    }
}
