//! Restore tests: the newest snapshots of the volumes that were tested longest ago are restored into a scratch folder, compared
//! with what the snapshot says, and deleted again.
//!
//! What was written is read back from the scratch folder, and each slice of it must have the id of its blob. The scratch
//! never fills the disk: the room is looked at first, and what is larger than the room or the budget is tested by a sample
//! of its files.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::Context as _;
use crate::ids::{BlobRef, hex};
use crate::items::entry::{Content, Entry, ExtentData, Kind};
use crate::items::range::Range;
use crate::items::{BlobFetch, segment};
use crate::limits::{RESTORE_TEST_FILES_MAX, RESTORE_TEST_ROOM_PERCENT, SEGMENT_BYTES};
use crate::manifest::audit::{Event, Tested};
use crate::manifest::proof::{Proofs, TestProof};
use crate::ops::reader::{Reader, is_damage};
use crate::ops::restore::pass::{blocking, parse};
use crate::ops::restore::{Existing, RestoreRequest, restore};
use crate::ops::snapshots::Snapshot;
use crate::ops::verify::{Level, verify};
use crate::ops::{Problems, Repository, Task, audit, browse, proofs};
use crate::{Error, ErrorKind, Result};

/// How to test.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// A folder for the scratch; a folder of our own in it is made and deleted.
    pub scratch: PathBuf,
    /// At most so many bytes are restored; of what is larger a sample.
    pub bytes_max: u64,
    /// Compare all of the snapshot with this folder too.
    pub against: Option<PathBuf>,
    /// Bound on the memory of the restore, bytes.
    pub memory_bytes_max: usize,
    /// Who tests, for the audit.
    pub by: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct TestReport {
    /// Files that were restored and compared.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Only a sample was restored.
    pub sampled: bool,
    /// What failed.
    pub problems: Problems,
    /// How the folder that was given differs from the snapshot.
    pub differences: Problems,
}

/// The newest snapshot of each volume, the least recently tested volumes first, at most `volumes_max`. `named` narrows the
/// choice; a volume without a snapshot fails.
pub async fn choose(
    repo: &Repository,
    all: &[Snapshot],
    named: &[String],
    volumes_max: usize,
) -> Result<Vec<Snapshot>> {
    let mut newest: BTreeMap<&str, &Snapshot> = BTreeMap::new();
    for snapshot in all {
        let slot = newest.entry(&snapshot.manifest.volume).or_insert(snapshot);
        if slot.manifest.started <= snapshot.manifest.started {
            *slot = snapshot;
        }
    }
    if let Some(missing) = named.iter().find(|v| !newest.contains_key(v.as_str())) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot of volume {missing}")));
    }
    let proofs = proofs::load(repo).await?;
    let mut chosen: Vec<&Snapshot> = newest
        .into_iter()
        .filter(|(volume, _)| named.is_empty() || named.iter().any(|n| n == volume))
        .map(|(_, snapshot)| snapshot)
        .collect();
    chosen.sort_by_key(|s| (proofs.tests.get(&s.manifest.volume).map(|t| t.at), s.manifest.started));
    chosen.truncate(volumes_max);
    Ok(chosen.into_iter().cloned().collect())
}

/// Tests one snapshot and records what came of it. Failures of the restore are in the report; only what keeps the test from
/// being made fails it.
pub async fn test(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    request: &TestRequest,
    task: &Task,
) -> Result<TestReport> {
    let room = room(&request.scratch)?;
    let budget = request.bytes_max.min(room);
    let sampled = snapshot.manifest.bytes > budget;
    let files = if sampled { Some(sample(repo, snapshot, budget, task).await?) } else { None };
    let name = format!("holdfast-restore-test-{}", hex(&repo.env.random::<8>()));
    let target = request.scratch.join(name);
    let made = in_scratch(repo, snapshot, (request, files.as_deref(), &target), task).await;
    let cleaned = {
        let target = target.clone();
        blocking(move || remove(&target)).await?
    };
    let mut report = made?;
    report.sampled = sampled;
    cleaned.context(ErrorKind::Target, || format!("delete {}", target.display()))?;
    record(repo, snapshot, request, &report).await?;
    Ok(report)
}

async fn in_scratch(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    (request, files, target): (&TestRequest, Option<&[String]>, &Path),
    task: &Task,
) -> Result<TestReport> {
    if files.is_some_and(<[String]>::is_empty) {
        let what = format!(
            "no file of {} fits into the scratch folder {} or the budget",
            snapshot.manifest.volume,
            request.scratch.display()
        );
        return Err(Error::new(ErrorKind::Target, what));
    }
    let restore_request = RestoreRequest {
        snapshot: snapshot.clone(),
        path: Vec::new(),
        patterns: files.map(<[String]>::to_vec).unwrap_or_default(),
        target: target.to_path_buf(),
        existing: Existing::Fail,
        memory_bytes_max: request.memory_bytes_max,
    };
    let mut report = TestReport::default();
    let restored = restore(repo, restore_request, task).await?;
    report.problems.merge(restored.problems);
    compare_all(repo, snapshot, target, (&mut report, files.is_some()), task).await?;
    if let Some(folder) = &request.against {
        let level = Level::Against(folder.clone());
        report.differences = verify(repo, snapshot, &level, task).await?.problems;
    }
    Ok(report)
}

/// Bytes that may be put below this folder.
fn room(scratch: &Path) -> Result<u64> {
    let what = || format!("look at the scratch folder {}", scratch.display());
    let stat = rustix::fs::statvfs(scratch).context(ErrorKind::Target, what)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(free / 100 * RESTORE_TEST_ROOM_PERCENT)
}

/// Files of the snapshot, spread over all of it, that fit into the budget; as patterns that match just them.
async fn sample(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    budget: u64,
    task: &Task,
) -> Result<Vec<String>> {
    let seed = repo.env.random::<8>();
    let mut entries = browse::list(repo, snapshot, b"", true);
    // The files with the smallest keyed hashes: any file may be among them, whatever its path.
    let mut chosen: BTreeMap<[u8; 8], (String, u64)> = BTreeMap::new();
    let mut bytes = 0u64;
    while let Some(entry) = entries.try_next().await? {
        task.check()?;
        let Some(pattern) = pattern(&entry).filter(|_| entry.size <= budget) else { continue };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed).update(&entry.path);
        let mut rank = [0; 8];
        rank.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        bytes += entry.size;
        chosen.insert(rank, (pattern, entry.size));
        while bytes > budget || chosen.len() > RESTORE_TEST_FILES_MAX {
            let Some((_, (_, size))) = chosen.pop_last() else { break };
            bytes -= size;
        }
    }
    Ok(chosen.into_values().map(|(pattern, _)| pattern).collect())
}

/// A pattern for just this file. Names that are no text can't be chosen by patterns, and names of hard links bring others.
fn pattern(entry: &Entry) -> Option<String> {
    if !matches!(entry.kind, Kind::File(_)) || entry.meta.linked {
        return None;
    }
    let path = std::str::from_utf8(&entry.path).ok()?;
    if path.contains(['\n', '\r']) || path.ends_with(' ') {
        return None;
    }
    let mut out = String::from("/");
    for c in path.chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ']' | '!' | '#' | '{' | '}') {
            out.push('\\');
        }
        out.push(c);
    }
    Some(out)
}

/// Reads back what was restored. Of a whole restore, every file must be there.
async fn compare_all(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    target: &Path,
    (report, sampled): (&mut TestReport, bool),
    task: &Task,
) -> Result<()> {
    let reader = Reader::unregistered(repo);
    let named: std::collections::HashSet<Vec<u8>> =
        report.problems.kept().iter().map(|p| p.path.clone()).collect();
    let tree = browse::tree_of(&reader, snapshot);
    let mut leaves = browse::leaves_or_damage(&tree, Range::All);
    while let Some(leaf) = leaves.next().await {
        task.check()?;
        // What is damaged of the tree, the restore has named.
        let Ok(leaf) = leaf? else { continue };
        for entry in leaf.entries {
            let Kind::File(content) = entry.kind.clone() else { continue };
            let path =
                target.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.path));
            let opened = blocking(move || std::fs::File::open(path)).await?;
            match opened {
                Ok(file) => {
                    report.files += 1;
                    report.bytes += entry.size;
                    let compared = compare(repo, &reader, Arc::new(file), (content, entry.size)).await;
                    match compared {
                        Ok(None) => {}
                        Ok(Some(what)) => report.problems.push(&entry.path, what),
                        Err(e) if is_damage(&e) => report.problems.push(&entry.path, e.chain()),
                        Err(e) => return Err(e),
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    if !sampled && !named.contains(&entry.path) {
                        report.problems.push(&entry.path, "was not restored");
                    }
                }
                Err(e) => report.problems.push(&entry.path, format!("read it back: {e}")),
            }
        }
    }
    Ok(())
}

/// Says what differs between a restored file and its content.
async fn compare(
    repo: &Arc<Repository>,
    reader: &Arc<Reader>,
    file: Arc<std::fs::File>,
    (content, size): (Content, u64),
) -> Result<Option<String>> {
    let is = file.metadata().map(|m| m.len());
    if is.as_ref().ok() != Some(&size) {
        return Ok(Some(format!("has {} bytes instead of {size}", is.unwrap_or_default())));
    }
    match content {
        Content::Inline(bytes) => {
            let same = blocking(move || read_at(&file, 0, bytes.len()).is_ok_and(|b| b == bytes)).await?;
            Ok((!same).then(|| "content differs".to_owned()))
        }
        Content::Extents(list) => compare_extents(repo, reader, &file, (0, list)).await,
        Content::Segments(list) => {
            let fetch = Arc::clone(reader) as Arc<dyn BlobFetch>;
            let mut segments = segment::segments(fetch, list);
            let mut at = 0;
            while let Some(read) = segments.next().await {
                let (bytes, places) = read?;
                let extents = parse(&bytes, &places, size.saturating_sub(at))?.extents().collect();
                if let Some(what) = compare_extents(repo, reader, &file, (at, extents)).await? {
                    return Ok(Some(what));
                }
                at += SEGMENT_BYTES;
            }
            Ok(None)
        }
    }
}

async fn compare_extents(
    repo: &Arc<Repository>,
    reader: &Arc<Reader>,
    file: &Arc<std::fs::File>,
    (mut at, list): (u64, Vec<crate::items::entry::Extent>),
) -> Result<Option<String>> {
    for extent in list {
        let same = match extent.data {
            ExtentData::Hole | ExtentData::Zeros => {
                let file = Arc::clone(file);
                blocking(move || are_zeros(&file, at, extent.bytes)).await?
            }
            ExtentData::Slice(blob, from) => {
                let len = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
                let (file, keys) = (Arc::clone(file), Arc::clone(&repo.keys));
                let read = blocking(move || {
                    let bytes = read_at(&file, at, len).ok()?;
                    let is_whole = from == 0 && keys.blob_id(&bytes) == blob.id;
                    Some((bytes, is_whole))
                });
                match read.await? {
                    Some((_, true)) => true,
                    Some((bytes, false)) => is_part(reader, &bytes, (blob, from)).await?,
                    None => false,
                }
            }
        };
        if !same {
            return Ok(Some(format!("content differs in the {} bytes from {at}", extent.bytes)));
        }
        at += extent.bytes;
    }
    Ok(None)
}

/// True if the bytes are this slice of the blob, where its id alone can't tell.
async fn is_part(reader: &Reader, bytes: &[u8], (blob, from): (BlobRef, u32)) -> Result<bool> {
    let whole = reader.read(blob).await?;
    let from = from as usize;
    Ok(whole.get(from..from + bytes.len()).is_some_and(|part| part == bytes))
}

fn read_at(file: &std::fs::File, at: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn are_zeros(file: &std::fs::File, mut at: u64, mut left: u64) -> bool {
    const STEP: u64 = 1 << 20;
    while left > 0 {
        let step = left.min(STEP);
        let read = read_at(file, at, usize::try_from(step).unwrap_or(0));
        if !read.is_ok_and(|bytes| bytes.iter().all(|b| *b == 0)) {
            return false;
        }
        at += step;
        left -= step;
    }
    true
}

/// Deletes the scratch. Directories may have come back without the right to enter them.
fn remove(target: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut open = vec![target.to_path_buf()];
    while let Some(dir) = open.pop() {
        let Ok(found) = std::fs::symlink_metadata(&dir) else { continue };
        if !found.is_dir() {
            continue;
        }
        let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(&dir)?.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    match std::fs::remove_dir_all(target) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

async fn record(
    repo: &Repository,
    snapshot: &Snapshot,
    request: &TestRequest,
    report: &TestReport,
) -> Result<()> {
    let volume = snapshot.manifest.volume.clone();
    let problems = report.problems.count();
    let mut all = Proofs::default();
    let proof = TestProof { at: repo.env.now(), snapshot: snapshot.id, problems };
    all.tests.insert(volume.clone(), proof);
    proofs::note(repo, &all).await?;
    let line = |p: &crate::ops::Problem| format!("{}: {}", String::from_utf8_lossy(&p.path), p.what);
    let tested = Tested {
        volume,
        snapshot: snapshot.id,
        files: report.files,
        bytes: report.bytes,
        sampled: report.sampled,
        problems,
        failed: report.problems.kept().iter().map(line).collect(),
    };
    audit::note(repo, &request.by, Event::Tested(tested)).await;
    Ok(())
}
