//! D4: real files of the machine, with their names, symlinks, modes and times.
//!
//! Only what is in the trees' top level and small enough is taken, so that one huge compiler or firmware folder doesn't
//! make up the whole set. Never follows a symlink; sockets, fifos and devices are left out.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use super::Scale;
use crate::walk;

/// A tree to copy from.
pub(super) struct Tree {
    /// Where it is.
    pub(super) from: &'static str,
    /// Its folder's name in the set.
    pub(super) name: &'static str,
    /// The largest top-level entry that is taken, at full scale.
    pub(super) entry_bytes_max: u64,
    /// All that is taken, at full scale.
    pub(super) bytes_max: u64,
}

/// What every Linux system has.
pub(super) const SYSTEM: [Tree; 2] = [
    Tree { from: "/usr/share", name: "share", entry_bytes_max: 1 << 30, bytes_max: 1 << 30 },
    Tree { from: "/usr/lib", name: "lib", entry_bytes_max: 400 << 20, bytes_max: 1 << 30 },
];

pub(super) fn make(trees: &[Tree], root: &Path, scale: Scale) -> Result<()> {
    for tree in trees {
        let target = root.join(tree.name);
        fs::create_dir(&target).with_context(|| format!("create {}", target.display()))?;
        let mut left = scale.of(tree.bytes_max);
        for name in sorted_names(Path::new(tree.from))? {
            let from = Path::new(tree.from).join(&name);
            let bytes = match total_bytes(&from) {
                Err(error) if denied(&error) => continue,
                bytes => bytes?,
            };
            if bytes <= left.min(scale.of(tree.entry_bytes_max)) {
                left -= bytes;
                copy(&from, &target.join(&name))?;
            }
        }
    }
    Ok(())
}

fn sorted_names(folder: &Path) -> Result<Vec<OsString>> {
    let list =
        || -> io::Result<Vec<_>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect() };
    let mut names = list().with_context(|| format!("list {}", folder.display()))?;
    names.sort_unstable();
    Ok(names)
}

fn total_bytes(path: &Path) -> Result<u64> {
    let meta = stat(path)?;
    Ok(if meta.is_dir() { walk::files(path)?.iter().map(|file| file.bytes).sum() } else { meta.len() })
}

fn stat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).with_context(|| format!("stat {}", path.display()))
}

/// Whether only another user may read it. Such things are left out.
fn denied(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.into_iter().any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

/// The depth is that of the machine's own system folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let meta = stat(from)?;
    if meta.is_symlink() {
        let target = fs::read_link(from).with_context(|| format!("read link {}", from.display()))?;
        return symlink(target, to).with_context(|| format!("link {}", to.display()));
    }
    if meta.is_file() {
        let copied =
            fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()));
        if copied.as_ref().is_err_and(denied) {
            return Ok(());
        }
        copied?;
    } else if meta.is_dir() {
        fs::create_dir(to).with_context(|| format!("create {}", to.display()))?;
        for name in sorted_names(from)? {
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        return Ok(());
    }
    finish(to, &meta).with_context(|| format!("set mode and time of {}", to.display()))
}

/// The owner can always read and write: the change of 1 % and the removal must work for everybody.
fn finish(to: &Path, meta: &Metadata) -> io::Result<()> {
    let owner = if meta.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(to, Permissions::from_mode(meta.permissions().mode() & 0o777 | owner))?;
    File::open(to)?.set_times(FileTimes::new().set_modified(meta.modified()?))
}
