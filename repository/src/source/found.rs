//! One thing that a walk found, and what can be asked of it later.
//!
//! A `Found` keeps the directory open that it lies in, so that it can be asked although the directory was renamed or
//! replaced meanwhile. Whoever queues many of them bounds how many.

use std::sync::Arc;

use rustix::fs;
use rustix::io::Errno;

use super::error::{SourceError, SourceErrorKind, show_path};
use super::fresh::{FreshRules, is_due, unchanged};
use super::handle::DirHandle;
use super::opened::{self, OpenedFile};
use super::stat::{FoundKind, Stat};
use super::xattrs::{self, Xattrs};
use crate::items::entry::{Entry, Kind, Meta};
use crate::limits::SYMLINK_BYTES_MAX;

/// One thing that a walk found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Path below the root; empty for the root.
    pub path: Vec<u8>,
    /// Its metadata, without extended attributes.
    pub meta: Meta,
    /// Size of a regular file; 0 for everything else.
    pub size: u64,
    /// What it is.
    pub kind: FoundKind,
    /// How many names it has, here and elsewhere.
    pub links: u32,
    /// Another file system is mounted on this directory: it counts as empty.
    pub mount_point: bool,
    dir: Arc<DirHandle>,
}

impl Found {
    pub(super) fn new(path: Vec<u8>, stat: Stat, mount_point: bool, dir: Arc<DirHandle>) -> Self {
        let Stat { meta, kind, size, links, .. } = stat;
        Self { path, meta, size, kind, links, mount_point, dir }
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        name_of(&self.path)
    }

    /// Opens a regular file; `Replaced` if something else has its name by now.
    pub fn open_file(&self) -> Result<OpenedFile, SourceError> {
        opened::open(&self.dir, &self.path, self.meta.ino)
    }

    /// Looks again: what has this name now.
    pub fn restat(&self) -> Result<Self, SourceError> {
        let stat = self.dir.stat(self.name()).map_err(|e| SourceError::errno("stat", &self.path, e))?;
        let stat = stat.ok_or_else(|| {
            SourceError::new(SourceErrorKind::Io, format!("{} is of no known type", show_path(&self.path)))
        })?;
        let mount_point = !self.path.is_empty() && self.dir.is_foreign(&stat);
        Ok(Self::new(self.path.clone(), stat, mount_point, Arc::clone(&self.dir)))
    }

    /// The extended attributes. Of a file that is open anyway, ask [`OpenedFile::read_xattrs`]. What is mounted on a
    /// mount point is not asked.
    pub fn read_xattrs(&self) -> Result<Xattrs, SourceError> {
        if self.mount_point {
            return Ok(Vec::new());
        }
        xattrs::of_name(&self.dir, self.name(), &self.path)
    }

    /// The target of a symlink.
    pub fn read_link(&self) -> Result<Vec<u8>, SourceError> {
        let target = fs::readlinkat(self.dir.fd(), self.name(), Vec::new()).map_err(|e| match e {
            // No symlink any more.
            Errno::INVAL => SourceError::replaced(&self.path),
            e => SourceError::errno("read the link", &self.path, e),
        })?;
        let target = target.into_bytes();
        if target.len() > SYMLINK_BYTES_MAX {
            let what = format!("the target of {} exceeds {SYMLINK_BYTES_MAX} bytes", show_path(&self.path));
            return Err(SourceError::new(SourceErrorKind::TooLarge, what));
        }
        Ok(target)
    }

    /// The kind as it is stored, with a symlink's target; nothing for regular files, whose content is to be read.
    pub fn read_kind(&self) -> Result<Option<Kind>, SourceError> {
        Ok(Some(match self.kind {
            FoundKind::File => return Ok(None),
            FoundKind::Directory => Kind::Directory,
            FoundKind::Symlink => Kind::Symlink(self.read_link()?),
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::Socket => Kind::Socket,
            FoundKind::CharDevice(major, minor) => Kind::CharDevice(major, minor),
            FoundKind::BlockDevice(major, minor) => Kind::BlockDevice(major, minor),
        }))
    }

    /// True if everything of the parent's entry (content, target, attributes) still holds, so that nothing needs to be
    /// read: see [`unchanged`].
    #[must_use]
    pub fn is_unchanged(&self, parent: &Entry, rules: &FreshRules) -> bool {
        let same_kind = match (&parent.kind, self.kind) {
            (Kind::File(_), FoundKind::File)
            | (Kind::Directory, FoundKind::Directory)
            | (Kind::Symlink(_), FoundKind::Symlink)
            | (Kind::Fifo, FoundKind::Fifo)
            | (Kind::Socket, FoundKind::Socket) => true,
            (Kind::CharDevice(a, b), FoundKind::CharDevice(c, d))
            | (Kind::BlockDevice(a, b), FoundKind::BlockDevice(c, d)) => (*a, *b) == (c, d),
            _ => false,
        };
        let due = self.kind == FoundKind::File && is_due(&self.path, rules);
        same_kind && !due && unchanged(parent, &self.meta, self.size, rules)
    }
}

pub(super) fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(&[])
}
