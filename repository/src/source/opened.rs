//! A regular file that is open for reading.
//!
//! Reading is by position only, so several threads may share one. Whoever has read it asks afterwards whether it changed
//! meanwhile.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, Advice, SeekFrom};
use rustix::io::{self, Errno};

use super::error::SourceError;
use super::handle;
use super::stat::{FoundKind, Stat};
use super::xattrs::{self, Xattrs};
use crate::items::entry::Meta;

/// From this size on the kernel is told that reading goes through the whole file.
const ADVISE_BYTES: u64 = 1 << 20;

/// An open regular file of the volume.
#[derive(Debug)]
pub struct OpenedFile {
    fd: OwnedFd,
    path: Vec<u8>,
    stat: Stat,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub offset: u64,
    /// How long it is; never 0.
    pub bytes: u64,
    /// False for a hole.
    pub data: bool,
}

impl OpenedFile {
    pub(super) fn new(fd: OwnedFd, stat: Stat, path: &[u8]) -> Self {
        if stat.size >= ADVISE_BYTES {
            // Advice only: a file system that does not take it reads as well.
            let _ = fs::fadvise(&fd, 0, None, Advice::Sequential);
        }
        Self { fd, path: path.to_vec(), stat }
    }

    /// The metadata as it was when the file was opened, before anything was read; without attributes. This is what a
    /// backup stores: a later change then shows at the next backup.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.stat.meta
    }

    /// The size as it was when the file was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stat.size
    }

    /// The extended attributes.
    pub fn read_xattrs(&self) -> Result<Xattrs, SourceError> {
        xattrs::of_open(self.fd.as_fd(), &self.path)
    }

    /// Appends up to `bytes` bytes from `offset` on to `out`, and says how many; fewer come only at the end of the file.
    /// The memory is not cleared first, which would cost as much as the reading.
    pub fn read_at(&self, out: &mut Vec<u8>, bytes: usize, offset: u64) -> Result<usize, SourceError> {
        read_at(&self.fd, out, bytes, offset).map_err(|e| SourceError::errno("read", &self.path, e))
    }

    /// True if size or times are no longer these: what was read may be a mixture.
    pub fn changed_since(&self, meta: &Meta, size: u64) -> Result<bool, SourceError> {
        let now = handle::stat_fd(self.fd.as_fd())
            .map_err(|e| SourceError::errno("stat", &self.path, e))?
            .ok_or_else(|| SourceError::replaced(&self.path))?;
        Ok(now.size != size || now.meta.mtime != meta.mtime || now.meta.ctime != meta.ctime)
    }

    /// Where there is data and where there are holes: all of `0..size()`, in order, without gaps. Holes are only looked
    /// for if less is allocated than the file is long.
    #[must_use]
    pub fn segments(&self) -> Segments<'_> {
        let sparse = self.stat.blocks.saturating_mul(512) < self.stat.size;
        Segments { file: self, offset: 0, known: None, sparse }
    }
}

/// Data and holes of a file, in order.
#[derive(Debug)]
pub struct Segments<'a> {
    file: &'a OpenedFile,
    offset: u64,
    /// Data begins here, as the last question told.
    known: Option<u64>,
    sparse: bool,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let (offset, size) = (self.offset, self.file.stat.size);
        if offset >= size {
            return None;
        }
        let data = match self.known.take() {
            Some(at) => at,
            None => self.data_from(offset),
        };
        let end = if data > offset {
            self.known = Some(data);
            data
        } else {
            self.hole_from(offset)
        };
        let end = end.min(size);
        self.offset = end;
        Some(Segment { offset, bytes: end - offset, data: data <= offset })
    }
}

impl Segments<'_> {
    /// Where data begins, from here on. File systems that cannot tell have data everywhere.
    fn data_from(&mut self, offset: u64) -> u64 {
        if !self.sparse {
            return offset;
        }
        match fs::seek(&self.file.fd, SeekFrom::Data(offset)) {
            Ok(at) => at.max(offset),
            // Nothing but a hole until the end.
            Err(Errno::NXIO) => self.file.stat.size,
            Err(_) => {
                self.sparse = false;
                offset
            }
        }
    }

    fn hole_from(&mut self, offset: u64) -> u64 {
        let size = self.file.stat.size;
        if !self.sparse {
            return size;
        }
        match fs::seek(&self.file.fd, SeekFrom::Hole(offset)) {
            Ok(at) if at > offset => at,
            // A hole here although data was here a moment ago: the file changes under our hands; reading is safe.
            _ => {
                self.sparse = false;
                size
            }
        }
    }
}

/// Opens what the walk found; an error if it is another file by now.
pub(super) fn open(dir: &handle::DirHandle, path: &[u8], ino: u64) -> Result<OpenedFile, SourceError> {
    let (fd, stat) =
        dir.open_any(super::found::name_of(path)).map_err(|e| SourceError::errno("open", path, e))?;
    if stat.kind != FoundKind::File || stat.meta.ino != ino {
        return Err(SourceError::replaced(path));
    }
    Ok(OpenedFile::new(fd, stat, path))
}

pub(super) fn read_at(fd: &OwnedFd, out: &mut Vec<u8>, bytes: usize, offset: u64) -> Result<usize, Errno> {
    let start = out.len();
    out.reserve_exact(bytes);
    while out.len() - start < bytes {
        let at = offset.saturating_add((out.len() - start) as u64);
        match io::pread(fd, spare_capacity(out), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    out.truncate(start + bytes);
    Ok(out.len() - start)
}

#[cfg(test)]
mod tests;
