//! Open directories, and the only ways to get from one to what is in it.
//!
//! Everything is reached from the volume's root by one name at a time, relative to an open directory. Nothing here
//! follows a symlink, goes up, or crosses into another mount: the volume's users may swap names while we read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::error::{SourceError, SourceErrorKind};
use super::stat::{FoundKind, Stat, WANTED};

/// The kernel may ask to try again when names move at the same moment; more often than this is a real error.
const TRIES_MAX: usize = 16;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// What all handles of one walk share.
#[derive(Debug)]
struct Volume {
    dev: (u32, u32),
    mount: Option<u64>,
    /// False once the kernel, or a filter before it, refused openat2.
    openat2: AtomicBool,
}

/// An open directory of a volume.
#[derive(Debug)]
pub struct DirHandle {
    fd: OwnedFd,
    ino: u64,
    volume: Arc<Volume>,
}

impl DirHandle {
    /// Opens the root. The path to it is the caller's and is followed as the system does.
    pub(super) fn open_root(root: &Path, openat2: bool) -> Result<(Self, Stat), SourceError> {
        let what = || format!("open {}", root.display());
        let fd = fs::openat(CWD, root, DIRECTORY, Mode::empty())
            .map_err(|e| SourceError::errno("open", root.as_os_str().as_encoded_bytes(), e))?;
        let stat = stat_fd(fd.as_fd())
            .map_err(|e| SourceError::io(what(), e.into()))?
            .ok_or_else(|| SourceError::new(SourceErrorKind::Io, what()))?;
        let volume = Volume { dev: stat.dev, mount: stat.mount, openat2: AtomicBool::new(openat2) };
        Ok((Self { fd, ino: stat.meta.ino, volume: Arc::new(volume) }, stat))
    }

    /// The open directory itself.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its inode number.
    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    /// Stats what has this name here, without following it; `Ok(None)` for a type that does not exist. The empty name
    /// is the directory itself.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Errno> {
        if name.is_empty() {
            return stat_fd(self.fd());
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(Stat::new(&fs::statx(&self.fd, name, flags, WANTED)?).map(|stat| self.own_links(stat)))
    }

    /// Inode numbers say which names are one file only within a device. Overlays show files of several.
    fn own_links(&self, mut stat: Stat) -> Stat {
        stat.meta.linked &= stat.dev == self.volume.dev;
        stat
    }

    /// True for what does not belong to the volume: the root of another mount, or of another file system.
    pub(super) fn is_foreign(&self, stat: &Stat) -> bool {
        let other_mount = matches!((stat.mount, self.volume.mount), (Some(a), Some(b)) if a != b);
        // Overlays give files the device of their layer; only a directory's tells.
        other_mount || (stat.kind == FoundKind::Directory && stat.dev != self.volume.dev)
    }

    /// Opens a directory in this one.
    pub(super) fn open_dir(&self, name: &[u8]) -> Result<Self, Errno> {
        let fd = self.open_noatime(name, DIRECTORY)?;
        let stat = stat_fd(fd.as_fd())?.ok_or(Errno::NOTDIR)?;
        if self.is_foreign(&stat) {
            return Err(Errno::XDEV);
        }
        Ok(Self { fd, ino: stat.meta.ino, volume: Arc::clone(&self.volume) })
    }

    /// Opens a file in this directory for reading, whatever kind of thing it has become, without waiting for it.
    pub(super) fn open_any(&self, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = self.open_noatime(name, flags)?;
        let stat = stat_fd(fd.as_fd())?.ok_or(Errno::NXIO)?;
        if self.is_foreign(&stat) {
            return Err(Errno::XDEV);
        }
        Ok((fd, self.own_links(stat)))
    }

    /// Opens without leaving a mark, where we may: only owner and root can.
    fn open_noatime(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.open_one(name, flags | OFlags::NOATIME) {
            Err(Errno::PERM) => self.open_one(name, flags),
            other => other,
        }
    }

    fn open_one(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        debug_assert!(!name.contains(&b'/'), "one name at a time");
        let flags = flags | OFlags::NOFOLLOW;
        let mut tries = 0;
        while self.volume.openat2.load(Ordering::Relaxed) {
            match fs::openat2(&self.fd, name, flags, Mode::empty(), BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
                // Old kernels do not know the call; filters of container runtimes say EPERM, and so does the file.
                Err(Errno::NOSYS) => self.volume.openat2.store(false, Ordering::Relaxed),
                Err(Errno::PERM) => {
                    let fd = fs::openat(&self.fd, name, flags, Mode::empty())?;
                    self.volume.openat2.store(false, Ordering::Relaxed);
                    return Ok(fd);
                }
                other => return other,
            }
        }
        // One name, not followed: the same, but for mounts, which callers see by the stat of what was opened.
        fs::openat(&self.fd, name, flags, Mode::empty())
    }
}

/// Stats an open file.
pub(super) fn stat_fd(fd: BorrowedFd<'_>) -> Result<Option<Stat>, Errno> {
    fs::statx(fd, c"", AtFlags::EMPTY_PATH, WANTED).map(|s| Stat::new(&s))
}

/// What tells this directory from every other that ever had its path: its inode number and when it was made. They stay
/// what they are when the volume is mounted elsewhere or cloned block by block, and differ where it was made anew and
/// filled from a copy. `None` where the file system does not tell.
pub(super) fn identity(dir: &DirHandle) -> Result<Option<[u8; 16]>, Errno> {
    let wanted = WANTED | StatxFlags::BTIME;
    let s = fs::statx(&dir.fd, c"", AtFlags::EMPTY_PATH, wanted)?;
    if s.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return Ok(None);
    }
    let magic = fs::fstatfs(&dir.fd)?.f_type as u64 & 0xffff_ffff;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&magic.to_le_bytes()).update(&s.stx_ino.to_le_bytes());
    hasher.update(&s.stx_btime.tv_sec.to_le_bytes()).update(&s.stx_btime.tv_nsec.to_le_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Ok(Some(out))
}

/// True if the file system of this directory keeps everything in memory: there, times say nothing about mapped writes.
pub(super) fn is_memory_fs(dir: &DirHandle) -> Result<bool, Errno> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    const HUGETLBFS: u64 = 0x9584_58f6;
    // The field's type and sign differ between architectures; the magic is 32 bits.
    let magic = fs::fstatfs(&dir.fd)?.f_type as u64 & 0xffff_ffff;
    Ok([TMPFS, RAMFS, HUGETLBFS].contains(&magic))
}
