//! Sets an entry's metadata in the order in which nothing undoes what came before.
//!
//! 1. owner and group: changing them takes setuid, setgid and capabilities away
//! 2. plain attributes: a user may set them only while the mode still allows writing
//! 3. mode; setuid and setgid only when the owner they speak of was set
//! 4. ACLs: they refine the mode
//! 5. times, which all of the above would move

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::env::Timestamp;
use crate::items::entry::Meta;

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// What an entry has already: what need not be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Have {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its mode, if it is known for sure.
    pub mode: Option<u32>,
    /// It may have an ACL from its directory.
    pub acl: bool,
    /// It may have attributes from before.
    pub old_xattrs: bool,
}

/// How an entry is reached: an open file, or a handle that only names it (links, devices).
#[derive(Clone, Copy, Debug)]
enum Handle<'a> {
    Open(BorrowedFd<'a>),
    Name(&'a OwnedFd, bool),
}

/// Sets everything on an open file or directory.
pub(super) fn apply(fd: BorrowedFd<'_>, have: Have, meta: &Meta, notes: &mut Vec<String>) {
    apply_to(Handle::Open(fd), have, meta, notes);
}

/// Sets everything but times on something that must not be opened. `fd` is from `O_PATH`.
pub(super) fn apply_unopened(fd: &OwnedFd, is_link: bool, have: Have, meta: &Meta, notes: &mut Vec<String>) {
    apply_to(Handle::Name(fd, is_link), have, meta, notes);
}

fn apply_to(handle: Handle<'_>, have: Have, meta: &Meta, notes: &mut Vec<String>) {
    let owned = set_owner(handle, have, meta, notes);
    if have.old_xattrs {
        remove_other_xattrs(handle, meta, notes);
    }
    for (name, value) in meta.xattrs.iter().filter(|(name, _)| !is_acl(name)) {
        note_xattr(name, handle.set_xattr(name, value), notes);
    }
    let mode = if owned { meta.mode } else { meta.mode & 0o1777 };
    if mode != meta.mode {
        notes.push("setuid and setgid are left out: the owner could not be set".to_owned());
    }
    // Taking ownership may have changed the mode; what the kernel did to it is not guessed.
    let same = have.mode == Some(mode) && (have.uid, have.gid) == (meta.uid, meta.gid) && !have.acl;
    if !same {
        note(&format!("set mode {mode:o}"), handle.chmod(mode), notes);
    }
    if have.acl && !meta.xattrs.iter().any(|(name, _)| name == ACLS[0]) {
        // What it does not have need not be removed.
        let _ = handle.remove_xattr(ACLS[0]);
    }
    if have.acl && !meta.xattrs.iter().any(|(name, _)| name == ACLS[1]) {
        let _ = handle.remove_xattr(ACLS[1]);
    }
    for (name, value) in meta.xattrs.iter().filter(|(name, _)| is_acl(name)) {
        note_xattr(name, handle.set_xattr(name, value), notes);
    }
    if let Handle::Open(fd) = handle {
        note("set times", rustix::fs::futimens(fd, &times(meta.mtime)), notes);
    }
}

/// The times to set: the access time stays as it is.
pub(super) fn times(mtime: Timestamp) -> Timestamps {
    let last_modification = Timespec { tv_sec: mtime.seconds(), tv_nsec: mtime.subsec_nanos().into() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access, last_modification }
}

/// Adds one line when something could not be set.
pub(super) fn note(what: &str, result: rustix::io::Result<()>, notes: &mut Vec<String>) {
    if let Err(e) = result {
        notes.push(format!("{what}: {}", std::io::Error::from(e)));
    }
}

fn note_xattr(name: &[u8], result: rustix::io::Result<()>, notes: &mut Vec<String>) {
    if result.is_err() {
        note(&format!("set attribute {}", String::from_utf8_lossy(name)), result, notes);
    }
}

fn is_acl(name: &[u8]) -> bool {
    ACLS.contains(&name)
}

/// True when owner and group are as they should be.
fn set_owner(handle: Handle<'_>, have: Have, meta: &Meta, notes: &mut Vec<String>) -> bool {
    if (have.uid, have.gid) == (meta.uid, meta.gid) {
        return true;
    }
    let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    let both = handle.chown(uid, gid);
    if both == Err(Errno::PERM) && have.gid != meta.gid {
        // A user may not give files away, but may choose among the own groups.
        let _ = handle.chown(None, gid);
    }
    note(&format!("set owner {}:{}", meta.uid, meta.gid), both, notes);
    both.is_ok()
}

/// Removes user attributes and ACLs that the entry should not have.
fn remove_other_xattrs(handle: Handle<'_>, meta: &Meta, notes: &mut Vec<String>) {
    let Ok(names) = handle.list_xattrs() else { return };
    for name in names.split(|&b| b == 0) {
        let ours = name.starts_with(b"user.") || is_acl(name);
        if ours && !meta.xattrs.iter().any(|(wanted, _)| wanted == name) {
            let result = handle.remove_xattr(name);
            note(&format!("remove attribute {}", String::from_utf8_lossy(name)), result, notes);
        }
    }
}

fn by_proc(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl Handle<'_> {
    fn chown(self, uid: Option<Uid>, gid: Option<Gid>) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Self::Name(fd, _) => rustix::fs::chownat(fd.as_fd(), "", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    fn chmod(self, mode: u32) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)),
            // Links have no mode of their own.
            Self::Name(_, true) => Ok(()),
            Self::Name(fd, false) => rustix::fs::chmod(by_proc(fd), Mode::from_raw_mode(mode)),
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Name(fd, _) => rustix::fs::setxattr(by_proc(fd), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(self, name: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Name(fd, _) => rustix::fs::removexattr(by_proc(fd), name),
        }
    }

    fn list_xattrs(self) -> rustix::io::Result<Vec<u8>> {
        let mut names = vec![0; 64 << 10];
        let bytes = match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, &mut names[..])?,
            Self::Name(fd, _) => rustix::fs::listxattr(by_proc(fd), &mut names[..])?,
        };
        names.truncate(bytes);
        Ok(names)
    }
}
