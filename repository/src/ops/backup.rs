//! Backs one directory tree up into the repository.
//!
//! The way of a byte: `steps` walks and merges with the parent, `small` and `large` read and cut, `blobs` looks up,
//! `packing` packs and uploads, and the item stream is written here, in order, into `sink`. The rules W1 to W7 of
//! docs/protocol.md are `session`'s; what each stage needs of them is said there.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::chunk::compare;
use crate::chunk::cutter::{ChunkerParams, Cutter};
use crate::error::Context as _;
use crate::index::Lookup;
use crate::items::entry::{Content, Entry, Kind};
use crate::items::segment::segment_places;
use crate::items::{BlobFetch, MetaSink as _, Tree, TreeWriter, Usage};
use crate::limits;
use crate::monitor::{Figures, Monitor};
use crate::ops::reader::Reader;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task};
use crate::source::{FreshRules, Rules, Walk};
use crate::{Error, ErrorKind, Result};

mod blobs;
mod commit;
mod large;
mod large_parent;
mod packing;
mod parent;
mod sink;
mod small;
mod steps;

use blobs::BlobWriter;
use sink::Sink;
use small::Done;
use steps::{Step, Walker};

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// The folder to read.
    pub root: PathBuf,
    /// The volume's name: `host:/path` unless given.
    pub volume: String,
    /// The machine that reads it.
    pub host: String,
    /// What to leave out.
    pub rules: Rules,
    /// Free labels kept in the manifest.
    pub tags: Vec<String>,
    /// Read everything, whatever the parent says.
    pub read_all: bool,
    /// zstd level, 1 to 19.
    pub zstd_level: i32,
    /// Bound on the memory of this backup, bytes.
    pub memory_bytes_max: usize,
    /// Large-file and batch work done at once; 0 derives it from the pool.
    pub readers: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The committed snapshot.
    pub snapshot: Snapshot,
    /// What could not be backed up: then the snapshot is partial.
    pub problems: Problems,
    /// Final counters.
    pub figures: Figures,
}

/// A fenced session starts again this often: it then finds all that it had uploaded.
const TRIES: u32 = 3;

/// Backs `request.root` up and commits the snapshot. `lookup` answers which blobs exist (a coordinator); without it
/// the repository's own index is used.
pub async fn backup(
    repo: &Arc<Repository>,
    request: BackupRequest,
    lookup: Option<Arc<dyn Lookup>>,
    task: &Task,
) -> Result<BackupReport> {
    if !(1..=19).contains(&request.zstd_level) {
        return Err(Error::new(
            ErrorKind::Input,
            format!("zstd level {} is not in 1 to 19", request.zstd_level),
        ));
    }
    let lookup = match lookup {
        Some(lookup) => lookup,
        None => commit::own_index(repo),
    };
    let mut tried = 1;
    loop {
        match commit::run(repo, &request, &lookup, task).await {
            Err(e) if e.kind() == ErrorKind::Fenced && tried < TRIES => tried += 1,
            other => return other.map_err(|e| e.context(format!("backup of {}", request.volume))),
        }
    }
}

/// What all parts of one backup share.
struct Reading {
    repo: Arc<Repository>,
    writer: Arc<BlobWriter>,
    sink: Sink,
    fetch: Arc<dyn BlobFetch>,
    rules: Arc<compare::Rules>,
    monitor: Arc<Monitor>,
    /// Plain bytes in flight, in KiB.
    budget: Arc<Semaphore>,
    budget_kib: u32,
    long_file: Arc<Semaphore>,
    slab_bytes: u64,
}

impl Reading {
    fn new(
        repo: &Arc<Repository>,
        writer: &Arc<BlobWriter>,
        memory_bytes: usize,
        task: &Task,
    ) -> Result<Arc<Self>> {
        let sizes = repo.keys.chunk_sizes();
        let params = ChunkerParams::new(sizes.min, sizes.avg, sizes.max)
            .context(ErrorKind::Damaged, || "the repository's chunk sizes".to_owned())?;
        let rules = compare::Rules {
            cutter: Cutter::new(params, repo.keys.chunker_key()),
            mark_key: *repo.keys.mark_key(),
            sizes: compare::Sizes::default(),
        };
        let budget_kib = u32::try_from((memory_bytes / 4).max(16 << 20) / 1024).unwrap_or(u32::MAX >> 4);
        let slab = (u64::from(budget_kib) * 1024 / 4).min(limits::SEGMENT_BYTES);
        Ok(Arc::new(Self {
            repo: Arc::clone(repo),
            writer: Arc::clone(writer),
            sink: Sink::new(writer),
            fetch: Reader::of_writer(repo, &writer.session),
            rules: Arc::new(rules),
            monitor: Arc::clone(&task.monitor),
            budget: Arc::new(Semaphore::new(budget_kib as usize)),
            budget_kib,
            long_file: Arc::new(Semaphore::new(1)),
            slab_bytes: slab / limits::PAGE_BYTES as u64 * limits::PAGE_BYTES as u64,
        }))
    }

    /// Waits for a share of the memory budget.
    async fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.budget_kib);
        let share = Arc::clone(&self.budget).acquire_many_owned(kib).await;
        share.context(ErrorKind::Internal, || "the memory budget is closed".to_owned())
    }

    /// Waits until no other long file is being read.
    async fn alone(&self) -> Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.long_file).acquire_owned().await;
        turn.context(ErrorKind::Internal, || "the turn is closed".to_owned())
    }
}

/// What the tree came to.
struct Written {
    tree: Tree,
    problems: Problems,
    changed: u64,
}

/// Walks and reads the whole volume and writes its item stream.
async fn write_tree(
    reading: &Arc<Reading>,
    request: &BackupRequest,
    parent: Option<&parent::ParentSnapshot>,
    task: &Task,
) -> Result<Written> {
    let readers = if request.readers == 0 { reading.repo.pool.threads() * 2 + 2 } else { request.readers };
    let (steps, walker) = start_walk(reading, request, parent).await?;
    let steps = futures::stream::unfold(steps, |mut rx| async move { rx.recv().await.map(|s| (s, rx)) });
    let mut done = Box::pin(steps.map(|step| process(reading, step)).buffered(readers));
    let mut writer = TreeWriter::new(reading.repo.keys.tree_key());
    let mut sink = reading.sink.clone();
    let (mut problems, mut changed) = (Problems::default(), 0);
    loop {
        let batch = tokio::select! {
            batch = done.next() => batch,
            () = task.cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "cancelled")),
            e = reading.writer.packing.failed() => return Err(e),
        };
        let Some(batch) = batch else { break };
        for one in batch? {
            match one {
                Done::Entry(entry) => {
                    if entry.changed_during_read {
                        changed += 1;
                    }
                    sink.need(entry.blobs().map(|b| b.place))?;
                    writer.push(&mut sink, &entry).await?;
                }
                Done::Problem { path, what } => {
                    reading.monitor.entries_failed.add(1);
                    problems.push(&path, what);
                }
            }
        }
    }
    drop(done);
    walker.await.context(ErrorKind::Internal, || "walk".to_owned())?;
    let tree = writer.finish(&mut sink).await?;
    Ok(Written { tree, problems, changed })
}

type Steps = mpsc::Receiver<Result<Step>>;

async fn start_walk(
    reading: &Arc<Reading>,
    request: &BackupRequest,
    parent: Option<&parent::ParentSnapshot>,
) -> Result<(Steps, AbortOnDropHandle<()>)> {
    let (root, rules) = (request.root.clone(), request.rules.clone());
    let open = move || -> Result<(Walk, bool)> {
        let walk = Walk::open(&root, &rules)?;
        let memory_fs = walk.is_memory_fs()?;
        Ok((walk, memory_fs))
    };
    let (walk, memory_fs) = tokio::task::spawn_blocking(open)
        .await
        .context(ErrorKind::Internal, || "open the volume".to_owned())??;
    let fresh = parent.map(|p| FreshRules {
        parent_started: p.snapshot.manifest.started,
        now: reading.repo.env.now(),
        memory_fs,
        read_all: request.read_all,
    });
    let leaves = parent.map(|p| p.stream_leaves(reading));
    let suspects = parent.map(|p| Arc::clone(&p.suspects)).unwrap_or_default();
    let (tx, rx) = mpsc::channel(4);
    let monitor = Arc::clone(&reading.monitor);
    let run = move || {
        let may_keep = |entry: &Entry| suspects.may_keep(entry);
        let parent = steps::Parent::new(leaves);
        Walker { walk, parent, fresh, may_keep: &may_keep, monitor: &monitor, steps: tx }.run();
    };
    Ok((rx, AbortOnDropHandle::new(tokio::task::spawn_blocking(run))))
}

async fn process(reading: &Arc<Reading>, step: Result<Step>) -> Result<Vec<Done>> {
    match step? {
        Step::Batch(items, bytes) => {
            let mut done = small::read_batch(reading, items, bytes).await?;
            for one in &mut done {
                if let Done::Entry(entry) = one {
                    need_segments(reading, entry).await?;
                }
            }
            Ok(done)
        }
        Step::Large(large) => {
            let (found, old) = *large;
            Ok(large::read_large(reading, found, old).await?.into_iter().collect())
        }
    }
}

/// Of a large file that is taken over: notes what its segments refer to, which the item stream does not say. Where a
/// GC run moved any of it, the segment gets a usage that says where it is now: a relocation is kept only as long as
/// some summary names the old pack.
async fn need_segments(reading: &Arc<Reading>, entry: &mut Entry) -> Result<()> {
    let Kind::File(Content::Segments(segments)) = &mut entry.kind else { return Ok(()) };
    for segment in segments {
        let mut places = segment_places(&*reading.fetch, *segment).await?;
        let mut moved = false;
        for place in &mut places {
            let now = reading.writer.session.resolve(*place);
            moved |= std::mem::replace(place, now) != now;
        }
        reading.sink.need(places.iter().copied())?;
        if moved {
            let usage = Usage { places, nested: Vec::new() };
            segment.usage = reading.sink.clone().put(usage.encode()).await?;
        } else {
            reading.sink.need([segment.usage.place])?;
        }
    }
    Ok(())
}
