//! The root of a volume, opened so that nobody can put another folder in its place.
//!
//! The base is opened as it is; below it no symlink is followed, and the mount must be the one that was found in the table of
//! mounts. A volume's users can change what is in it, and hostPath volumes may be reached through folders that others can write.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use proto::v1;
use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// Tries of a path in which names move meanwhile.
const TRIES_MAX: u32 = 16;

/// An opened root.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    base: OwnedFd,
    below: PathBuf,
    fd: OwnedFd,
    is: Identity,
    write: bool,
}

/// What tells a folder from every other at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    mount: Option<u64>,
    device: (u32, u32),
    ino: u64,
}

impl Root {
    /// Opens it for reading.
    pub(crate) fn open(root: &v1::WorkerRoot) -> Result<Self> {
        let base_path = Path::new(std::ffi::OsStr::from_bytes(&root.base));
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&root.path));
        let what = || format!("open volume {}", path.display());
        let below = path.strip_prefix(base_path).context(ErrorKind::Internal, what)?.to_owned();
        let below = if below.as_os_str().is_empty() { PathBuf::from(".") } else { below };
        let base =
            fs::openat(CWD, base_path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .context(ErrorKind::Source, || format!("open {}", base_path.display()))?;
        let fd =
            open_below(&base, &below, OFlags::RDONLY | OFlags::DIRECTORY).context(ErrorKind::Source, what)?;
        let is = identify(fd.as_fd()).context(ErrorKind::Source, what)?;
        if root.mount.is_some_and(|id| is.mount.is_some_and(|mount| mount != id)) {
            return Err(Error::new(ErrorKind::Source, format!("{}: another mount is there now", what())));
        }
        Ok(Self { path, base, below, fd, is, write: root.write })
    }

    /// Where it is, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path to it that leads to this very folder, whatever is at its own path meanwhile.
    pub(crate) fn through(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.write
    }

    /// Fails if something else, or nothing, is at its path now. Looks without opening: a confined process may.
    pub(crate) fn is_still_there(&self) -> Result<()> {
        let now = open_below(&self.base, &self.below, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|fd| identify(fd.as_fd()));
        let what = format!("volume {} left while it was read", self.path.display());
        match now {
            Ok(now) if now == self.is => Ok(()),
            Ok(_) => Err(Error::new(ErrorKind::Source, what)),
            Err(e) => Err(Error::with_source(ErrorKind::Source, what, e)),
        }
    }
}

/// Whether a folder is there, without a symlink on the way. Never opens it.
pub(crate) fn is_folder(base: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(base) else { return false };
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = fs::openat(CWD, base, flags, Mode::empty());
    opened.and_then(|base| open_below(&base, below, OFlags::PATH | OFlags::DIRECTORY)).is_ok()
}

fn open_below(base: &OwnedFd, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match fs::openat2(base, below, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
            done => return done,
        }
    }
}

fn identify(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let s = fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted)?;
    let mount = (s.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(s.stx_mnt_id);
    Ok(Identity { mount, device: (s.stx_dev_major, s.stx_dev_minor), ino: s.stx_ino })
}
