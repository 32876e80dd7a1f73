//! A live folder beside a snapshot: names, kinds, metadata and bytes are compared entry by entry, in stream order.
//!
//! Everything is opened relative to the folder's handle; no symlink is followed. Memory is that of the names in the
//! directories on the way down.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Findings, lock};
use crate::env::Timestamp;
use crate::items::entry::{Entry, Kind};

/// Bytes compared at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A directory on the way down, and the names in it that the snapshot has not shown yet.
#[derive(Debug)]
struct Open {
    path: Vec<u8>,
    names: HashSet<Vec<u8>>,
}

/// The live folder.
#[derive(Debug)]
pub(super) struct Live {
    root: OwnedFd,
    stack: Mutex<Vec<Open>>,
}

/// What is left to compare of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Nothing: it is no file, or differs already.
    Nothing,
    /// The bytes.
    Content,
}

impl Live {
    /// Opens the folder.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { root, stack: Mutex::default() })
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(self.root.as_fd(), path, flags, Mode::empty(), resolve)
    }

    /// Compares everything but a file's bytes. Entries must come in stream order.
    pub(super) fn compare(&self, entry: &Entry, findings: &Findings) -> Compared {
        self.step(entry, findings);
        let fd = match self.open_at(&entry.path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                findings.add(&entry.path, "only in the snapshot");
                return Compared::Nothing;
            }
            Err(e) => {
                findings.add(&entry.path, format!("open: {}", std::io::Error::from(e)));
                return Compared::Nothing;
            }
        };
        let differences = match rustix::fs::fstat(&fd) {
            Ok(stat) => differences(entry, &fd, &stat),
            Err(e) => vec![format!("look up: {}", std::io::Error::from(e))],
        };
        if !differences.is_empty() {
            findings.add(&entry.path, differences.join("; "));
        }
        let same_size = !differences.iter().any(|d| d.starts_with("kind") || d.starts_with("size"));
        if matches!(entry.kind, Kind::File(_)) && same_size { Compared::Content } else { Compared::Nothing }
    }

    /// Keeps the names of open directories: what is left in one at its end is only in the folder.
    fn step(&self, entry: &Entry, findings: &Findings) {
        let mut stack = lock(&self.stack);
        while let Some(top) = stack.last() {
            let below = entry.path.strip_prefix(top.path.as_slice());
            if top.path.is_empty() || below.is_some_and(|rest| rest.first() == Some(&b'/')) {
                break;
            }
            stack.pop().into_iter().for_each(|open| open.end(findings));
        }
        if let Some(top) = stack.last_mut() {
            top.names.remove(entry.name());
        }
        if entry.kind != Kind::Directory {
            return;
        }
        // What can't be opened is named where it is compared.
        if let Ok(names) = self.names(&entry.path) {
            stack.push(Open { path: entry.path.clone(), names });
        }
    }

    fn names(&self, path: &[u8]) -> rustix::io::Result<HashSet<Vec<u8>>> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = HashSet::new();
        for entry in rustix::fs::Dir::new(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.insert(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Ends the comparison: names what is left.
    pub(super) fn end(&self, findings: &Findings) {
        while let Some(open) = lock(&self.stack).pop() {
            open.end(findings);
        }
    }

    /// What differs, if the live file does not have these bytes at `at`.
    pub(super) fn compare_bytes(&self, path: &[u8], at: u64, bytes: &[u8]) -> Option<String> {
        self.compare_pieces(path, at, bytes.len() as u64, |offset, piece| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let expected = bytes.get(start..start.saturating_add(piece.len())).unwrap_or(&[]);
            expected.iter().zip(piece).position(|(a, b)| a != b)
        })
    }

    /// What differs, if the live file does not have zeros there.
    pub(super) fn compare_zeros(&self, path: &[u8], at: u64, bytes: u64) -> Option<String> {
        self.compare_pieces(path, at, bytes, |_, piece| piece.iter().position(|&b| b != 0))
    }

    fn compare_pieces(
        &self,
        path: &[u8],
        at: u64,
        bytes: u64,
        differs: impl Fn(u64, &[u8]) -> Option<usize>,
    ) -> Option<String> {
        let failed = |e: Errno| Some(format!("read: {}", std::io::Error::from(e)));
        let fd = match self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(e) => return failed(e),
        };
        let mut buffer = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES))];
        let mut done = 0;
        while done < bytes {
            let n = (bytes - done).min(buffer.len() as u64);
            let piece = &mut buffer[..usize::try_from(n).unwrap_or(0)];
            match rustix::io::pread(&fd, &mut *piece, at + done) {
                Ok(0) => return Some(format!("content ends at byte {}", at + done)),
                Ok(n) => {
                    if let Some(i) = differs(done, &piece[..n]) {
                        return Some(format!("content differs at byte {}", at + done + i as u64));
                    }
                    done += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return failed(e),
            }
        }
        None
    }
}

impl Open {
    fn end(self, findings: &Findings) {
        let mut names: Vec<_> = self.names.into_iter().collect();
        names.sort_unstable();
        for name in names {
            let path = if self.path.is_empty() { name } else { [&self.path[..], b"/", &name[..]].concat() };
            findings.add(&path, "only in the folder");
        }
    }
}

/// What differs but the bytes.
fn differences(entry: &Entry, fd: &OwnedFd, stat: &Stat) -> Vec<String> {
    let meta = &entry.meta;
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != file_type(&entry.kind) {
        return vec![format!("kind: {:?} instead of {:?}", found, file_type(&entry.kind))];
    }
    let mut out = Vec::new();
    let is_link = found == FileType::Symlink;
    let mode = stat.st_mode & 0o7777;
    if !is_link && mode != meta.mode {
        out.push(format!("mode: {mode:o} instead of {:o}", meta.mode));
    }
    if (stat.st_uid, stat.st_gid) != (meta.uid, meta.gid) {
        out.push(format!("owner: {}:{} instead of {}:{}", stat.st_uid, stat.st_gid, meta.uid, meta.gid));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if found == FileType::RegularFile && size != entry.size {
        out.push(format!("size: {size} instead of {}", entry.size));
    }
    if Timestamp::from_parts(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)) != meta.mtime {
        out.push("time of last change".to_owned());
    }
    match &entry.kind {
        Kind::Symlink(target) => match rustix::fs::readlinkat(fd, "", Vec::new()) {
            Ok(found) if found.as_bytes() == target => {}
            _ => out.push("target of the link".to_owned()),
        },
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor)
            if stat.st_rdev != rustix::fs::makedev(*major, *minor) =>
        {
            out.push("device number".to_owned());
        }
        _ => {}
    }
    if !is_link {
        compare_xattrs(entry, fd, &mut out);
    }
    out
}

fn compare_xattrs(entry: &Entry, fd: &OwnedFd, out: &mut Vec<String>) {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let show = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    for (name, value) in &entry.meta.xattrs {
        let mut found = vec![0; value.len() + 1];
        match rustix::fs::getxattr(&path, name.as_slice(), &mut found[..]) {
            Ok(n) if found[..n] == value[..] => {}
            _ => out.push(format!("attribute {}", show(name))),
        }
    }
    let mut names = vec![0; 64 << 10];
    let n = rustix::fs::listxattr(&path, &mut names[..]).unwrap_or(0);
    for name in names[..n].split(|&b| b == 0) {
        let known = entry.meta.xattrs.iter().any(|(stored, _)| stored == name);
        if !known && (name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")) {
            out.push(format!("attribute {} is only in the folder", show(name)));
        }
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice(..) => FileType::CharacterDevice,
        Kind::BlockDevice(..) => FileType::BlockDevice,
    }
}
