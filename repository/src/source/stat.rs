//! One statx, as our values.

use rustix::fs::{FileType, Statx, StatxFlags, StatxTimestamp};

use crate::env::Timestamp;
use crate::items::entry::Meta;

/// What kind of thing was found; content and symlink targets are read when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A unix socket.
    Socket,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
}

/// What a walk asks of every entry.
pub(super) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// All that we keep of a statx.
#[derive(Clone, Debug)]
pub(super) struct Stat {
    pub(super) meta: Meta,
    pub(super) kind: FoundKind,
    /// Of a regular file; 0 for everything else.
    pub(super) size: u64,
    /// Allocated, in units of 512 bytes.
    pub(super) blocks: u64,
    pub(super) dev: (u32, u32),
    /// How many names it has.
    pub(super) links: u32,
    /// The mount, where the kernel tells it (5.8 and later).
    pub(super) mount: Option<u64>,
}

impl Stat {
    /// Nothing for a type that Linux does not have.
    pub(super) fn new(s: &Statx) -> Option<Self> {
        let mode = u32::from(s.stx_mode);
        let kind = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => FoundKind::File,
            FileType::Directory => FoundKind::Directory,
            FileType::Symlink => FoundKind::Symlink,
            FileType::Fifo => FoundKind::Fifo,
            FileType::Socket => FoundKind::Socket,
            FileType::CharacterDevice => FoundKind::CharDevice(s.stx_rdev_major, s.stx_rdev_minor),
            FileType::BlockDevice => FoundKind::BlockDevice(s.stx_rdev_major, s.stx_rdev_minor),
            FileType::Unknown => return None,
        };
        let meta = Meta {
            mode: mode & 0o7777,
            uid: s.stx_uid,
            gid: s.stx_gid,
            mtime: timestamp(&s.stx_mtime),
            ctime: timestamp(&s.stx_ctime),
            ino: s.stx_ino,
            linked: s.stx_nlink > 1 && kind != FoundKind::Directory,
            xattrs: Vec::new(),
        };
        Some(Self {
            meta,
            kind,
            size: if kind == FoundKind::File { s.stx_size } else { 0 },
            blocks: s.stx_blocks,
            dev: (s.stx_dev_major, s.stx_dev_minor),
            links: s.stx_nlink,
            mount: (s.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(s.stx_mnt_id),
        })
    }
}

fn timestamp(t: &StatxTimestamp) -> Timestamp {
    Timestamp::from_parts(t.tv_sec, t.tv_nsec)
}
