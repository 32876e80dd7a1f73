//! A restore's target: a folder that is written by handles only.
//!
//! Every open names one component below an open directory and refuses symlinks, so nothing is ever created, changed or
//! removed outside the target, whatever names a manifest holds and whatever links already stand in the target.
//! What a process may not set (owners, devices, some attributes) is noted and never fails an entry.

mod dirs;
mod file;
mod meta;
mod node;
mod parking;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking::Parking;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::ids::hex;
use crate::items::entry::Meta;
use crate::limits;

pub use dirs::Dir;
pub use file::{NewFile, Parked};

/// Why an entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The manifest holds a name that no entry can have.
    #[error("{0:?} is not a name of an entry")]
    BadName(String),
    /// A file, symlink or device stands where a directory should be.
    #[error("something that is not a directory stands in the way")]
    NotDirectory,
    /// A directory stands where something else should be.
    #[error("a directory stands in the way")]
    IsDirectory,
    /// The system refused.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Shorthand.
pub type TargetResult<T> = Result<T, TargetError>;

impl TargetError {
    /// The whole story on one line, for a report.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Io { what, source } => format!("{what}: {source}"),
            other => other.to_string(),
        }
    }

    /// True when the target has no space left: going on is pointless.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = [Errno::NOSPC, Errno::DQUOT].map(|e| Some(e.raw_os_error()));
        matches!(self, Self::Io { source, .. } if full.contains(&source.raw_os_error()))
    }
}

/// Adds what was tried.
fn tried<T>(what: &'static str, result: rustix::io::Result<T>) -> TargetResult<T> {
    result.map_err(|e| TargetError::Io { what, source: e.into() })
}

/// How a new entry takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The name must be free.
    New,
    /// What has the name is replaced at once, when the new entry is complete.
    Replace,
}

/// Who this process is: what the kernel gives to new entries by itself.
#[derive(Clone, Copy, Debug)]
struct Me {
    uid: u32,
    gid: u32,
    umask: u32,
}

impl Me {
    fn now() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            umask: read_umask().unwrap_or(0o777),
        }
    }
}

/// The umask, which can't be asked for without changing it for all threads.
fn read_umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// An opened target folder.
#[derive(Debug)]
pub struct Target {
    root: Arc<Dir>,
    dirs: Parking,
    me: Me,
    created: bool,
    empty: bool,
    replace: bool,
    group_of_dir: AtomicBool,
    nonce: [u8; 8],
    temporaries: AtomicU64,
}

/// What to do about things that stand where a directory should be, and how temporaries are named.
#[derive(Clone, Copy, Debug)]
pub struct TargetOptions {
    /// Replace files and links that stand where a directory should be; else they are refused.
    pub replace: bool,
    /// Random part of the names of temporaries.
    pub nonce: [u8; 8],
}

/// How everything below a directory is opened: one component, nothing followed.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn open_beneath(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<std::os::fd::OwnedFd> {
    loop {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat2(dir.as_fd(), name, flags, mode, RESOLVE) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Splits a path into its directory's path and its name, and refuses names that no entry can have.
pub fn split(path: &[u8]) -> TargetResult<(&[u8], &[u8])> {
    let bad = || TargetError::BadName(String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned());
    if path.is_empty() || path.len() > limits::PATH_BYTES_MAX || !path.split(|&b| b == b'/').all(good_name) {
        return Err(bad());
    }
    Ok(match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    })
}

/// True for what can be the name of one entry.
fn good_name(name: &[u8]) -> bool {
    let length = 1..=limits::NAME_BYTES_MAX;
    length.contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

impl Target {
    /// Opens the folder, and makes it if its parent exists. The given path itself may lead through symlinks: it is
    /// the user's word; nothing below it is.
    pub fn open(path: &Path, options: TargetOptions) -> io::Result<Self> {
        let me = Me::now();
        let created = match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(e.into()),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let empty = created || is_empty(&fd)?;
        let group_of_dir = AtomicBool::new(false);
        let root = Arc::new(Dir::root(fd, me)?);
        let temporaries = AtomicU64::new(0);
        let (TargetOptions { replace, nonce }, dirs) = (options, Parking::default());
        Ok(Self { root, dirs, me, created, empty, replace, group_of_dir, nonce, temporaries })
    }

    /// True when opening made the folder.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.created
    }

    /// True when nothing was in the folder as it was opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// What stands at `path`, symlinks not followed.
    pub fn find(&self, path: &[u8]) -> TargetResult<Option<Stat>> {
        let (dir, name) = split(path)?;
        let dir = self.dir(dir)?;
        match rustix::fs::statat(dir.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => tried("look up", Err(e)),
        }
    }

    /// The target of the symlink at `path`.
    pub fn read_link(&self, path: &[u8]) -> TargetResult<Vec<u8>> {
        let (dir, name) = split(path)?;
        let dir = self.dir(dir)?;
        Ok(tried("read link", rustix::fs::readlinkat(dir.fd(), name, Vec::new()))?.into_bytes())
    }

    /// Sets a directory's final metadata; the empty path is the target itself. Call it when nothing more will be made
    /// in the directory. What could not be set is noted.
    pub fn finish_dir(&self, path: &[u8], meta: &Meta, notes: &mut Vec<String>) -> TargetResult<()> {
        let dir = self.dir(path)?;
        if !self.empty
            && let Err(e) = self.remove_leftovers(&dir, notes)
        {
            notes.push(format!("list it: {e}"));
        }
        let stat = tried("look up", rustix::fs::fstat(dir.fd()))?;
        let have = meta::Have {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: Some(stat.st_mode & 0o7777),
            acl: dir.acl(),
            old_xattrs: !self.empty,
        };
        meta::apply(dir.fd(), have, meta, notes);
        Ok(())
    }

    /// Waits until everything in the target's file system is on its disk. A write that fails there has no other way to
    /// be noticed.
    pub fn sync(&self) -> TargetResult<()> {
        tried("write to the disk", rustix::fs::syncfs(self.root.fd()))
    }

    fn temporary(&self) -> Vec<u8> {
        let n = self.temporaries.fetch_add(1, Ordering::Relaxed);
        format!("{TEMPORARY}{}-{n}", hex(&self.nonce)).into_bytes()
    }

    /// Removes what a restore that was killed left in a directory.
    fn remove_leftovers(&self, dir: &Dir, notes: &mut Vec<String>) -> io::Result<()> {
        let mut left = Vec::new();
        for entry in rustix::fs::Dir::read_from(dir.fd())? {
            let name = entry?.file_name().to_bytes().to_vec();
            if is_temporary(&name) && !name[TEMPORARY.len()..].starts_with(hex(&self.nonce).as_bytes()) {
                left.push(name);
            }
        }
        for name in left {
            if let Err(e) = rustix::fs::unlinkat(dir.fd(), name.as_slice(), AtFlags::empty()) {
                let name = String::from_utf8_lossy(&name);
                notes.push(format!(
                    "{name}, left by a restore that was killed, stays: {}",
                    io::Error::from(e)
                ));
            }
        }
        Ok(())
    }

    /// Moves a finished temporary over what has the name.
    fn put_in_place(dir: &Dir, temporary: &[u8], name: &[u8]) -> TargetResult<()> {
        match rustix::fs::renameat(dir.fd(), temporary, dir.fd(), name) {
            Ok(()) => Ok(()),
            Err(e) => {
                // The entry's own error matters; a temporary that can't be removed changes nothing about it.
                let _ = rustix::fs::unlinkat(dir.fd(), temporary, AtFlags::empty());
                if e == Errno::ISDIR { Err(TargetError::IsDirectory) } else { tried("replace", Err(e)) }
            }
        }
    }
}

/// What the names of temporaries begin with; 16 hexadecimal digits, `-` and a number follow.
const TEMPORARY: &str = ".holdfast-";

/// True for the name of a file that a restore has not finished: it runs, or was killed.
#[must_use]
pub fn is_temporary(name: &[u8]) -> bool {
    let rest = name.strip_prefix(TEMPORARY.as_bytes()).and_then(|rest| rest.split_at_checked(16));
    rest.is_some_and(|(nonce, number)| {
        let digits = number.strip_prefix(b"-").unwrap_or_default();
        nonce.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
    })
}

fn is_empty(fd: impl AsFd) -> io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(fd)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The kind of thing a stat describes.
#[must_use]
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests;
