//! Regular files of the target: made, written by position, finished or discarded.
//!
//! A file that is not finished never keeps the name of an entry when it is dropped by `discard`; one that replaces
//! another takes the name only when it is complete.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Dir, Naming, Target, TargetError, TargetResult, meta, open_beneath, split, tried};
use crate::items::entry::Meta;

/// A file that is being written.
#[derive(Debug)]
pub struct NewFile {
    fd: OwnedFd,
    at: At,
    mode: Option<u32>,
}

/// A file that is being written, with its handle closed for now.
#[derive(Debug)]
pub struct Parked {
    dir: Vec<u8>,
    name: Vec<u8>,
    temporary: Option<Vec<u8>>,
    inode: (u64, u64),
}

/// Where a new entry lies.
#[derive(Debug)]
struct At {
    dir: Arc<Dir>,
    name: Vec<u8>,
    temporary: Option<Vec<u8>>,
}

impl At {
    fn present_name(&self) -> &[u8] {
        self.temporary.as_ref().unwrap_or(&self.name)
    }
}

impl Target {
    /// Makes the regular file at `path`, empty. With `now` it gets its final mode at once where that is safe: for
    /// files that are written and finished in one go.
    pub fn create_file(&self, path: &[u8], meta: &Meta, naming: Naming, now: bool) -> TargetResult<NewFile> {
        let (dir, name) = split(path)?;
        let dir = self.dir(dir)?;
        let ours = meta.uid == self.me.uid && meta.gid == dir.gid() && !dir.acl() && meta.xattrs.is_empty();
        let plain = meta.mode & 0o7000 == 0 && meta.mode & self.me.umask == 0;
        let mode = (now && ours && plain).then_some(meta.mode);
        let temporary = (naming == Naming::Replace).then(|| self.temporary());
        let at = At { dir, name: name.to_vec(), temporary };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let bits = Mode::from_raw_mode(mode.unwrap_or(0o600));
        let fd = tried("create", open_beneath(at.dir.fd(), at.present_name(), flags, bits))?;
        Ok(NewFile { fd, at, mode })
    }

    /// Opens a parked file again. It must still be the same one.
    pub fn resume(&self, parked: &Parked) -> TargetResult<NewFile> {
        let at = At {
            dir: self.dir(&parked.dir)?,
            name: parked.name.clone(),
            temporary: parked.temporary.clone(),
        };
        let fd =
            tried("open again", open_beneath(at.dir.fd(), at.present_name(), OFlags::WRONLY, Mode::empty()))?;
        let stat = tried("open again", rustix::fs::fstat(&fd))?;
        if (stat.st_dev, stat.st_ino) != parked.inode {
            return tried("open again", Err(Errno::STALE));
        }
        Ok(NewFile { fd, at, mode: None })
    }

    /// Removes a parked file.
    pub fn discard(&self, parked: &Parked) -> TargetResult<()> {
        let name = parked.temporary.as_ref().unwrap_or(&parked.name);
        let dir = self.dir(&parked.dir)?;
        tried("remove", rustix::fs::unlinkat(dir.fd(), name.as_slice(), AtFlags::empty()))
    }

    /// Sets the metadata of a finished file, and gives it its name.
    pub fn finish(&self, file: &NewFile, meta: &Meta, notes: &mut Vec<String>) -> TargetResult<()> {
        let NewFile { fd, at, mode } = file;
        let have = meta::Have {
            uid: self.me.uid,
            gid: at.dir.gid(),
            mode: *mode,
            acl: at.dir.acl(),
            old_xattrs: false,
        };
        meta::apply(fd.as_fd(), have, meta, notes);
        match &at.temporary {
            Some(temporary) => Self::put_in_place(&at.dir, temporary, &at.name),
            None => Ok(()),
        }
    }
}

impl NewFile {
    /// Sets the length; what is not written reads as zeros and takes no space.
    pub fn set_len(&self, bytes: u64) -> TargetResult<()> {
        tried("set length", rustix::fs::ftruncate(&self.fd, bytes))
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> TargetResult<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.fd, bytes, offset) {
                Ok(0) => return tried("write", Err(Errno::IO)),
                Ok(n) => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return tried("write", Err(e)),
            }
        }
        Ok(())
    }

    /// Closes the handle for now. `path` is the entry's path.
    pub fn park(&self, path: &[u8]) -> TargetResult<Parked> {
        let stat = tried("look up", rustix::fs::fstat(&self.fd))?;
        Ok(Parked {
            dir: split(path)?.0.to_vec(),
            name: self.at.name.clone(),
            temporary: self.at.temporary.clone(),
            inode: (stat.st_dev, stat.st_ino),
        })
    }

    /// Removes the file: nothing damaged keeps an entry's name.
    pub fn discard(&self) -> TargetResult<()> {
        match rustix::fs::unlinkat(self.at.dir.fd(), self.at.present_name(), AtFlags::empty()) {
            Err(Errno::ISDIR) => Err(TargetError::IsDirectory),
            other => tried("remove", other),
        }
    }
}
