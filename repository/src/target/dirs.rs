//! Directories of the target: made and opened one component at a time, from the nearest open one.
//!
//! A symlink or file that stands where a directory should be is never followed: it is replaced or refused.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Me, Target, TargetError, TargetResult, open_beneath, split, tried};

/// The extended attribute that gives new entries of a directory their ACL.
const DEFAULT_ACL: &str = "system.posix_acl_default";
const SETGID: u32 = 0o2000;

/// An open directory, and what new entries in it get by themselves.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    gid: u32,
    acl: bool,
}

impl Dir {
    pub(super) fn root(fd: OwnedFd, me: Me) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        let gid = if stat.st_mode & SETGID == 0 { me.gid } else { stat.st_gid };
        let acl = has_default_acl(&fd);
        Ok(Self { fd, gid, acl })
    }

    /// Its handle.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The group that new entries get.
    pub(super) fn gid(&self) -> u32 {
        self.gid
    }

    /// True when new entries get an ACL.
    pub(super) fn acl(&self) -> bool {
        self.acl
    }
}

fn has_default_acl(fd: impl AsFd) -> bool {
    rustix::fs::fgetxattr(fd, DEFAULT_ACL, &mut [0u8; 0][..]).is_ok_and(|bytes| bytes > 0)
}

impl Target {
    /// The directory at `path`, made with all above it where it is missing. The empty path is the target itself.
    pub fn dir(&self, path: &[u8]) -> TargetResult<Arc<Dir>> {
        self.walk(path, false)
    }

    /// Makes the directory at `path`, or takes the one that is there.
    pub fn make_dir(&self, path: &[u8]) -> TargetResult<()> {
        self.walk(path, true).map(drop)
    }

    /// Closes a directory that is not needed any more.
    pub fn forget_dir(&self, path: &[u8]) {
        self.dirs.forget(path);
    }

    fn walk(&self, path: &[u8], expect_missing: bool) -> TargetResult<Arc<Dir>> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(dir) = self.dirs.find(path) {
            return Ok(dir);
        }
        split(path)?;
        // Up to the nearest open directory, then down again.
        let mut ends = vec![path.len()];
        let mut at = Arc::clone(&self.root);
        while let Some(slash) = path[..ends[ends.len() - 1]].iter().rposition(|&b| b == b'/') {
            if let Some(dir) = self.dirs.find(&path[..slash]) {
                at = dir;
                break;
            }
            ends.push(slash);
        }
        for end in ends.into_iter().rev() {
            let (_, name) = split(&path[..end])?;
            at = Arc::new(self.open_child(&at, name, expect_missing && end == path.len())?);
            self.dirs.put(&path[..end], &at);
        }
        Ok(at)
    }

    /// Opens one directory, or makes it. `expect_missing` only says what is tried first.
    fn open_child(&self, parent: &Dir, name: &[u8], expect_missing: bool) -> TargetResult<Dir> {
        let mut created = expect_missing && make(parent, name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        // Each round either opens, or changes what stood in the way; somebody else may interfere a few times.
        for _ in 0..4 {
            match open_beneath(parent.fd(), name, flags, Mode::empty()) {
                Ok(fd) => return self.take(parent, fd, created),
                Err(Errno::NOENT) => created = make(parent, name)?,
                Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) if self.replace => {
                    tried(
                        "remove what stands in the way",
                        rustix::fs::unlinkat(parent.fd(), name, AtFlags::empty()),
                    )?;
                    created = make(parent, name)?;
                }
                Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Err(TargetError::NotDirectory),
                Err(Errno::ACCESS) if self.unlock(parent, name) => {}
                Err(e) => return tried("open directory", Err(e)),
            }
        }
        tried("open directory", Err(Errno::AGAIN))
    }

    fn take(&self, parent: &Dir, fd: OwnedFd, created: bool) -> TargetResult<Dir> {
        let stat = tried("look up", rustix::fs::fstat(&fd))?;
        let setgid = stat.st_mode & SETGID != 0;
        if created && !setgid && stat.st_gid != self.me.gid {
            self.group_of_dir.store(true, Ordering::Relaxed);
        }
        let from_dir = setgid || self.group_of_dir.load(Ordering::Relaxed);
        if !created && stat.st_uid == self.me.uid && stat.st_mode & 0o700 != 0o700 {
            // Its metadata is set again when it is finished; until then entries must be made in it.
            let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode((stat.st_mode & 0o7777) | 0o700));
        }
        let acl = if created { parent.acl } else { has_default_acl(&fd) };
        Ok(Dir { gid: if from_dir { stat.st_gid } else { self.me.gid }, fd, acl })
    }

    /// Gives us back the right to enter a directory of our own, left locked by an earlier restore.
    fn unlock(&self, parent: &Dir, name: &[u8]) -> bool {
        let Ok(fd) = open_beneath(parent.fd(), name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) else {
            return false;
        };
        let Ok(stat) = rustix::fs::fstat(&fd) else { return false };
        let locked = stat.st_uid == self.me.uid && stat.st_mode & 0o700 != 0o700;
        let mode = Mode::from_raw_mode((stat.st_mode & 0o7777) | 0o700);
        locked && rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode).is_ok()
    }
}

/// Makes a directory that only we can use; false if something has the name.
fn make(parent: &Dir, name: &[u8]) -> TargetResult<bool> {
    match rustix::fs::mkdirat(parent.fd(), name, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => tried("make directory", Err(e)),
    }
}
