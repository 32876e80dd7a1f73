//! A folder as a store: atomic, durable, and safe between processes and machines that share it.
//!
//! A key is the path below the root. An object is written under `.tmp/`, synced, and hard-linked to its name: the link
//! fails if the name is taken, whoever took it, and shows the object whole or not at all. Then the folder is synced,
//! and so is every folder above it that this process has not synced yet. Nothing is ever renamed over a name.
//!
//! All paths are opened relative to the root's handle: if the disk is unmounted or the folder replaced, requests fail
//! instead of filling what lies beneath.

mod walk;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::{
    Key, Listed, Op, Put, Store, StoreError, StoreErrorKind, StoreResult, beyond_end, check_prefix,
    check_range,
};
use crate::env::{Env, Timestamp};
use crate::ids::hex;
use crate::limits::PACK_BYTES_MAX;

use self::walk::Walk;

/// The folder of unfinished files. No key may begin with it.
const TEMP: &str = ".tmp";
/// Unfinished files older than this belong to nobody any more.
const TEMP_SECONDS_MAX: i64 = 24 * 3600;
/// Folders known to be durable are remembered up to this number.
const FOLDERS_MAX: usize = 16 << 10;

/// A store in a folder.
#[derive(Clone, Debug)]
pub struct FileStore(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    root: OwnedFd,
    env: Env,
    /// Folders whose entry in their parent is synced.
    durable: Mutex<HashSet<String>>,
}

impl FileStore {
    /// Opens an existing folder, and removes what writers that died long ago left in it.
    pub fn open(path: &Path, env: &Env) -> StoreResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| {
            let what = match e {
                Errno::NOENT => "the folder does not exist",
                Errno::NOTDIR => "is not a folder",
                _ => "can't open the folder",
            };
            map_error(Op::List, &path.display().to_string(), what, e)
        })?;
        let folder = Folder { path: path.to_owned(), root, env: env.clone(), durable: Mutex::default() };
        folder.clean();
        Ok(Self(Arc::new(folder)))
    }

    /// Opens a folder, which is made, durably, where it does not exist.
    pub fn create(path: &Path, env: &Env) -> StoreResult<Self> {
        make_folders(path).map_err(|e| {
            let kind = kind_of_io(&e);
            StoreError::new(kind, Op::Put, path.display(), "can't make the folder").caused_by(e)
        })?;
        Self::open(path, env)
    }

    async fn run<T: Send + 'static>(
        &self,
        op: Op,
        work: impl FnOnce(&Folder) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let folder = self.0.clone();
        let path = folder.path.clone();
        tokio::task::spawn_blocking(move || work(&folder)).await.unwrap_or_else(|e| {
            Err(StoreError::new(StoreErrorKind::Fatal, op, path.display(), "was interrupted").caused_by(e))
        })
    }
}

/// Makes the folders of a path and syncs the parents of those that were missing.
fn make_folders(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.parent().is_some() => {
            make_folders(parent)?;
            std::fs::create_dir(path)?;
        }
        Err(_) if path.is_dir() => return Ok(()),
        Err(e) => return Err(e),
    }
    File::open(parent)?.sync_all()
}

/// What a failed system call means to the caller.
fn kind_of(errno: Errno) -> StoreErrorKind {
    match errno {
        Errno::NOENT => StoreErrorKind::NotFound,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => StoreErrorKind::Full,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => StoreErrorKind::Denied,
        Errno::INTR
        | Errno::AGAIN
        | Errno::TIMEDOUT
        | Errno::STALE
        | Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM => StoreErrorKind::Transient,
        _ => StoreErrorKind::Fatal,
    }
}

fn kind_of_io(error: &std::io::Error) -> StoreErrorKind {
    Errno::from_io_error(error).map_or(StoreErrorKind::Fatal, kind_of)
}

fn map_error(op: Op, key: &str, what: &str, errno: Errno) -> StoreError {
    let kind = kind_of(errno);
    let what = if kind == StoreErrorKind::Full { "no space is left on the disk" } else { what };
    StoreError::new(kind, op, key, what).caused_by(std::io::Error::from(errno))
}

fn map_io(op: Op, key: &Key, what: &str, error: std::io::Error) -> StoreError {
    let kind = kind_of_io(&error);
    let what = if kind == StoreErrorKind::Full { "no space is left on the disk" } else { what };
    StoreError::new(kind, op, key, what).caused_by(error)
}

/// A put finds nothing missing: it makes the folders that it needs. If the root itself is gone, so is the store.
fn put_failed(key: &Key, what: &str, errno: Errno) -> StoreError {
    match map_error(Op::Put, key.as_str(), what, errno) {
        e if e.kind == StoreErrorKind::NotFound => {
            StoreError { kind: StoreErrorKind::Fatal, what: "the store's folder is gone".to_owned(), ..e }
        }
        e => e,
    }
}

/// Some file systems can't sync a folder and say so; there is nothing more to be had from them.
fn sync_folder(fd: &OwnedFd) -> rustix::io::Result<()> {
    match rustix::fs::fsync(fd) {
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The folder part of a key: `default/p/ab` of `default/p/ab/x`, empty for a key of one segment.
fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Folder {
    fn open_folder(&self, folder: &str) -> rustix::io::Result<OwnedFd> {
        let path = if folder.is_empty() { "." } else { folder };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, path, flags, Mode::empty())
    }

    /// Makes the folder and those above it, and sees to it that each one's entry in its parent is durable.
    fn ensure_folder(&self, folder: &str) -> rustix::io::Result<()> {
        if folder.is_empty() || self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
            return Ok(());
        }
        let parent = folder_of(folder);
        self.ensure_folder(parent)?;
        match rustix::fs::mkdirat(&self.root, folder, Mode::from_raw_mode(0o777)) {
            // One that another process made just now may not be durable yet: synced all the same.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        sync_folder(&self.open_folder(parent)?)?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= FOLDERS_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    fn forget_folders(&self) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn exists(&self, key: &Key) -> rustix::io::Result<bool> {
        match rustix::fs::statat(&self.root, key.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn put_new(&self, key: &Key, bytes: &[u8]) -> StoreResult<Put> {
        self.check(Op::Put, key)?;
        if self.exists(key).map_err(|e| put_failed(key, "can't look for the object", e))? {
            self.sync_folder_of(key).map_err(|e| put_failed(key, "can't sync the folder", e))?;
            return Ok(Put::AlreadyExists);
        }
        let temp = self.write_temp(key, bytes)?;
        let named = self.name_temp(&temp, key);
        let unlinked = rustix::fs::unlinkat(&self.root, temp.as_str(), AtFlags::empty());
        let put = named.map_err(|e| put_failed(key, "can't name the object", e))?;
        match unlinked {
            // Gone already where it was renamed.
            Ok(()) | Err(Errno::NOENT) => Ok(put),
            Err(e) => {
                tracing::debug!(%key, error = %e, "store: a temporary file stays until it is old");
                Ok(put)
            }
        }
    }

    /// Writes and syncs the bytes under a name of their own. Leaves nothing behind when it fails.
    fn write_temp(&self, key: &Key, bytes: &[u8]) -> StoreResult<String> {
        let temp = format!("{TEMP}/{}-{}", std::process::id(), hex(&self.env.random::<12>()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&self.root, temp.as_str(), flags, Mode::from_raw_mode(0o444));
        let created = match create() {
            Err(Errno::NOENT) => {
                self.forget_folders();
                self.ensure_folder(TEMP).and_then(|()| create())
            }
            other => other,
        };
        let file = created.map_err(|e| put_failed(key, "can't create a file", e))?;
        let mut file = File::from(file);
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if let Err(e) = written {
            // Whether this works or not, the error to tell is the first one; what stays is cleaned when it is old.
            let _ = rustix::fs::unlinkat(&self.root, temp.as_str(), AtFlags::empty());
            return Err(map_io(Op::Put, key, "can't write", e));
        }
        Ok(temp)
    }

    fn name_temp(&self, temp: &str, key: &Key) -> rustix::io::Result<Put> {
        let folder = folder_of(key.as_str());
        self.ensure_folder(folder)?;
        let named = match self.link(temp, key) {
            Err(Errno::NOENT) => {
                self.forget_folders();
                self.ensure_folder(folder)?;
                self.link(temp, key)
            }
            other => other,
        };
        let put = match named {
            Ok(()) => Put::Created,
            Err(Errno::EXIST) => Put::AlreadyExists,
            Err(e) => return Err(e),
        };
        // What exists was perhaps linked just now by a process that has not synced yet; the caller will build on it.
        self.sync_folder_of(key)?;
        Ok(put)
    }

    /// Links, or renames without replacing where the file system has no hard links.
    fn link(&self, temp: &str, key: &Key) -> rustix::io::Result<()> {
        match rustix::fs::linkat(&self.root, temp, &self.root, key.as_str(), AtFlags::empty()) {
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {
                rustix::fs::renameat_with(&self.root, temp, &self.root, key.as_str(), RenameFlags::NOREPLACE)
            }
            other => other,
        }
    }

    fn sync_folder_of(&self, key: &Key) -> rustix::io::Result<()> {
        sync_folder(&self.open_folder(folder_of(key.as_str()))?)
    }

    fn open_object(&self, key: &Key) -> StoreResult<(File, u64)> {
        self.check(Op::Get, key)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.root, key.as_str(), flags, Mode::empty());
        let opened = opened.map_err(|e| match e {
            Errno::NOTDIR => map_error(Op::Get, key.as_str(), "not found", Errno::NOENT),
            Errno::NOENT => map_error(Op::Get, key.as_str(), "not found", e),
            _ => map_error(Op::Get, key.as_str(), "can't open", e),
        })?;
        let file = File::from(opened);
        let data = file.metadata().map_err(|e| map_io(Op::Get, key, "can't read the size", e))?;
        if !data.is_file() {
            return Err(StoreError::new(StoreErrorKind::NotFound, Op::Get, key, "is not a file"));
        }
        Ok((file, data.len()))
    }

    fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let (file, size) = self.open_object(key)?;
        super::check_whole(key, size)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(size).read_to_end(&mut bytes).map_err(|e| map_io(Op::Get, key, "can't read", e))?;
        if bytes.len() as u64 != size {
            return Err(StoreError::new(StoreErrorKind::Fatal, Op::Get, key, "shrank while it was read"));
        }
        Ok(bytes.into())
    }

    fn get_range(&self, key: &Key, range: &Range<u64>) -> StoreResult<Bytes> {
        let (file, size) = self.open_object(key)?;
        if range.end > size {
            return Err(beyond_end(key, range));
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        file.read_exact_at(&mut bytes, range.start).map_err(|e| map_io(Op::Get, key, "can't read", e))?;
        Ok(bytes.into())
    }

    fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        let (file, size) = self.open_object(key)?;
        let mut bytes = vec![0; usize::try_from(size.min(bytes_max).min(PACK_BYTES_MAX)).unwrap_or(0)];
        let start = size - bytes.len() as u64;
        file.read_exact_at(&mut bytes, start).map_err(|e| map_io(Op::Get, key, "can't read", e))?;
        Ok((bytes.into(), size))
    }

    fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        Ok(self.find(key)?.map(|(bytes, _)| bytes))
    }

    /// The object's size, and when it was put.
    fn find(&self, key: &Key) -> StoreResult<Option<(u64, Timestamp)>> {
        self.check(Op::Head, key)?;
        match rustix::fs::statat(&self.root, key.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_file(&stat) => {
                let recorded =
                    Timestamp::from_parts(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
                Ok(Some((u64::try_from(stat.st_size).unwrap_or(0), recorded)))
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(map_error(Op::Head, key.as_str(), "can't look for the object", e)),
        }
    }

    fn delete(&self, key: &Key) -> StoreResult<()> {
        self.check(Op::Delete, key)?;
        match rustix::fs::unlinkat(&self.root, key.as_str(), AtFlags::empty()) {
            // Synced, so that deletions reach the disk in the order in which they were asked for.
            Ok(()) => self.sync_folder_of(key),
            // A folder is no object either.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => Ok(()),
            Err(e) => Err(e),
        }
        .map_err(|e| map_error(Op::Delete, key.as_str(), "can't delete", e))
    }

    fn check(&self, op: Op, key: &Key) -> StoreResult<()> {
        if key.as_str().split('/').next() == Some(TEMP) {
            let what = format!("the folder {TEMP} of {} is for unfinished files", self.path.display());
            return Err(StoreError::new(StoreErrorKind::Fatal, op, key, what));
        }
        Ok(())
    }

    /// Removes unfinished files of writers that died. What can't be removed does no harm.
    fn clean(&self) {
        let Ok(fd) = self.open_folder(TEMP) else { return };
        let Ok(entries) = rustix::fs::Dir::read_from(&fd) else { return };
        let oldest = self.env.now().seconds().saturating_sub(TEMP_SECONDS_MAX);
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(stat) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if is_file(&stat) && stat.st_mtime < oldest {
                let _ = rustix::fs::unlinkat(&fd, name, AtFlags::empty());
            }
        }
    }
}

#[async_trait]
impl Store for FileStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        let key = key.clone();
        self.run(Op::Put, move |folder| folder.put_new(&key, &bytes)).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let key = key.clone();
        self.run(Op::Get, move |folder| folder.get(&key)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        if let Some(answer) = check_range(key, &range) {
            return answer;
        }
        let key = key.clone();
        self.run(Op::Get, move |folder| folder.get_range(&key, &range)).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        let key = key.clone();
        self.run(Op::Get, move |folder| folder.get_tail(&key, bytes_max)).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        let key = key.clone();
        self.run(Op::Head, move |folder| folder.find_size(&key)).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        if let Err(e) = check_prefix(prefix) {
            return stream::iter([Err(e)]).boxed();
        }
        let walk = Walk::new(prefix, after);
        let store = self.clone();
        stream::try_unfold((store, walk), |(store, mut walk)| async move {
            let (walk, batch) = store
                .run(Op::List, move |folder| {
                    let batch = walk.next_batch(folder)?;
                    Ok((walk, batch))
                })
                .await?;
            let more = (!batch.is_empty()).then(|| (stream::iter(batch.into_iter().map(Ok)), (store, walk)));
            Ok::<_, StoreError>(more)
        })
        .flat_map(|part| match part {
            Ok(batch) => batch.boxed(),
            Err(e) => stream::iter([Err(e)]).boxed(),
        })
        .boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let key = key.clone();
        self.run(Op::Delete, move |folder| folder.delete(&key)).await
    }
}

#[cfg(test)]
mod tests;
