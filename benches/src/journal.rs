//! The old bytes of what a change is about to overwrite, kept beside the set until the change is taken back.
//!
//! 1. The journal is whole and on disk under its name before the first byte of the set changes.
//! 2. It goes only after all old bytes are back and on disk.
//!
//! So after a crash at any moment either there is no journal and no change, or the journal has all that is needed, and
//! taking back twice does no harm: every record was taken from the unchanged set.

use std::fs::{self, File, FileTimes};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

const MAGIC: &[u8; 8] = b"HFBENCH1";
const HASH_BYTES: usize = blake3::OUT_LEN;

/// A part of a file, to be saved from `offset` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Path below the set's folder.
    pub path: PathBuf,
    /// The first byte that will change.
    pub offset: u64,
    /// How many bytes will change. What lies past the end of the file needs no saving.
    pub bytes: u64,
}

/// What a file was before.
struct Record {
    path: PathBuf,
    modified: SystemTime,
    file_bytes: u64,
    offset: u64,
    old: Vec<u8>,
}

/// Where the journal of the set in `folder` is.
#[must_use]
pub fn path_of(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".journal");
    folder.with_file_name(name)
}

/// Whether a change of the set in `folder` was begun and not taken back.
pub fn exists(folder: &Path) -> Result<bool> {
    let path = path_of(folder);
    path.try_exists().with_context(|| format!("stat {}", path.display()))
}

/// Saves the `parts` of the set in `folder`. After this returns, they may change.
pub fn save(folder: &Path, parts: &[Part]) -> Result<()> {
    let path = path_of(folder);
    ensure!(!exists(folder)?, "{}: the set is changed already; revert it first", path.display());
    let partial = path.with_extension("journal-partial");
    write(&partial, folder, parts).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, &path).with_context(|| format!("rename {}", partial.display()))?;
    sync_parent(&path)
}

fn write(partial: &Path, folder: &Path, parts: &[Part]) -> Result<()> {
    let file = File::create(partial)?;
    let mut out = Hashed { out: BufWriter::new(&file), hasher: blake3::Hasher::new() };
    out.put(MAGIC)?;
    for part in parts {
        let place = folder.join(&part.path);
        let record = read_record(folder, part).with_context(|| format!("save {}", place.display()))?;
        let since = record.modified.duration_since(UNIX_EPOCH).context("time before 1970")?;
        let path = record.path.as_os_str().as_bytes();
        out.put(&(path.len() as u64).to_le_bytes())?;
        out.put(path)?;
        out.put(&since.as_secs().to_le_bytes())?;
        out.put(&u64::from(since.subsec_nanos()).to_le_bytes())?;
        out.put(&record.file_bytes.to_le_bytes())?;
        out.put(&record.offset.to_le_bytes())?;
        out.put(&(record.old.len() as u64).to_le_bytes())?;
        out.put(&record.old)?;
    }
    let hash = out.hasher.finalize();
    out.out.write_all(hash.as_bytes())?;
    out.out.flush()?;
    drop(out);
    file.sync_all()?;
    Ok(())
}

fn read_record(folder: &Path, part: &Part) -> Result<Record> {
    let file = File::open(folder.join(&part.path))?;
    let meta = file.metadata()?;
    let bytes = part.bytes.min(meta.len().saturating_sub(part.offset));
    let mut old = vec![0; bytes as usize];
    file.read_exact_at(&mut old, part.offset)?;
    let (path, offset) = (part.path.clone(), part.offset);
    Ok(Record { path, modified: meta.modified()?, file_bytes: meta.len(), offset, old })
}

/// Puts the set in `folder` back to what it was, times of change included. False if there was nothing to take back.
pub fn revert(folder: &Path) -> Result<bool> {
    let path = path_of(folder);
    let mut content = Vec::new();
    match File::open(&path) {
        Ok(mut file) => file.read_to_end(&mut content).with_context(|| format!("read {}", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    let records = parse(&content).with_context(|| format!("read {}", path.display()))?;
    for (i, record) in records.iter().enumerate() {
        // A database's thousands of records are of one file: it is closed once, not once for each of them.
        let last = records.get(i + 1).is_none_or(|next| next.path != record.path);
        put_back(folder, record, last).with_context(|| format!("revert {}", record.path.display()))?;
    }
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    sync_parent(&path)?;
    Ok(true)
}

fn put_back(folder: &Path, record: &Record, last_of_file: bool) -> Result<()> {
    let file = File::options().write(true).open(folder.join(&record.path))?;
    file.write_all_at(&record.old, record.offset)?;
    if last_of_file {
        file.set_len(record.file_bytes)?;
        file.set_times(FileTimes::new().set_modified(record.modified))?;
        file.sync_all()?;
    }
    Ok(())
}

fn parse(content: &[u8]) -> Result<Vec<Record>> {
    let (content, hash) = content.split_last_chunk::<HASH_BYTES>().context("too short")?;
    ensure!(blake3::hash(content) == *hash, "damaged: its hash differs");
    let Some(mut rest) = content.strip_prefix(MAGIC) else { bail!("not a journal of this version") };
    let mut records = Vec::new();
    while !rest.is_empty() {
        let bytes = number(&mut rest)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(take(&mut rest, bytes)?.to_vec()));
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{}: not a path below the set", path.display());
        let (seconds, nanos) = (number(&mut rest)?, number(&mut rest)?);
        let since = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        let modified = UNIX_EPOCH.checked_add(since).context("time out of range")?;
        let (file_bytes, offset) = (number(&mut rest)?, number(&mut rest)?);
        let bytes = number(&mut rest)?;
        let old = take(&mut rest, bytes)?.to_vec();
        records.push(Record { path, modified, file_bytes, offset, old });
    }
    Ok(records)
}

fn number(rest: &mut &[u8]) -> Result<u64> {
    let (bytes, tail) = rest.split_first_chunk::<8>().context("cut short")?;
    *rest = tail;
    Ok(u64::from_le_bytes(*bytes))
}

fn take<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8]> {
    let end = usize::try_from(bytes).context("too long")?;
    let (taken, tail) = rest.split_at_checked(end).context("cut short")?;
    *rest = tail;
    Ok(taken)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = || File::open(parent)?.sync_all();
    sync().with_context(|| format!("sync {}", parent.display()))
}

/// Hashes what it writes.
struct Hashed<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests;
