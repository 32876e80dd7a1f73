//! Backs one directory tree up into the repository.
//!
//! The way of a byte: `steps` walks and merges with the parent, `small` and `large` read and cut, `blobs` looks up,
//! `packing` packs and uploads, and the item stream is written here, in order, into `sink`. The rules W1 to W7 of
//! docs/protocol.md are `session`'s; what each stage needs of them is said there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::chunk::compare;
use crate::chunk::cutter::{ChunkerParams, Cutter};
use crate::error::Context as _;
use crate::index::Lookup;
use crate::items::entry::Entry;
use crate::items::{BlobFetch, Tree, TreeWriter};
use crate::limits;
use crate::manifest::Origin;
use crate::monitor::{Figures, Monitor};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task, index};
use crate::source::{FreshRules, Rules, Walk};
use crate::{Error, ErrorKind, Result};

mod blobs;
mod commit;
mod large;
mod large_parent;
mod links;
mod packing;
mod parent;
mod parent_reader;
mod passes;
mod pipe;
mod reuse;
mod sink;
mod small;
mod steps;
pub(crate) mod writing;

use blobs::BlobWriter;
use links::Links;
use parent::{Parent, Suspects};
use parent_reader::ParentReader;
use pipe::Pipe;
pub use reuse::{InvalidReuse, Reuse};
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
    /// Every file is read again within so many days, whatever its times say; 0 for never.
    pub reread_days: u32,
    /// zstd level, 1 to 19.
    pub zstd_level: i32,
    /// Bound on the memory of this backup, bytes.
    pub memory_bytes_max: usize,
    /// Large-file and batch work done at once; 0 derives it from the pool.
    pub readers: usize,
    /// Whose blobs it may refer to.
    pub reuse: Reuse,
    /// What the volume is to its cluster, kept in the manifest.
    pub origin: Option<Origin>,
    /// What the manifest says as the folder's path; the root unless given.
    pub shown: Option<PathBuf>,
    /// Asked when all is read, right before the outcome is written.
    pub guard: Option<Guard>,
}

/// Says whether what was read is still what should be read: a volume that was unmounted on the way leaves an empty folder behind,
/// which must not become a snapshot. It blocks; its error fails the backup.
#[derive(Clone)]
pub struct Guard(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl Guard {
    /// By this question.
    pub fn new(ask: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    async fn ask(&self) -> Result<()> {
        let ask = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || ask()).await;
        asked.context(ErrorKind::Internal, || "ask whether the volume is still there".to_owned())?
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard(..)")
    }
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
    let (lookup, own) = match lookup {
        Some(lookup) => (lookup, None),
        None => {
            let own = index::open_own(repo);
            // What is gone is found out all the same, one request a pack.
            if let Err(e) = index::drop_swept(&repo.objects(), &own).await {
                tracing::warn!(error = %e.chain(), "what GC runs deleted is not known");
            }
            (Arc::clone(&own) as Arc<dyn Lookup>, Some(own))
        }
    };
    let done = commit::run(repo, &request, &lookup, task).await;
    if let (Ok(_), Some(own)) = (&done, own) {
        // The snapshot exists whatever becomes of this: what can't be kept is read again by the next process.
        if let Ok(Err(e)) = tokio::task::spawn_blocking(move || own.save()).await {
            tracing::warn!(error = %e.chain(), "the index is not kept");
        }
    }
    done.map_err(|e| e.context(format!("backup of {}", request.volume)))
}

/// What all parts of one pass of a backup share.
struct Reading {
    repo: Arc<Repository>,
    writer: Arc<BlobWriter>,
    sink: Sink,
    fetch: Arc<dyn BlobFetch>,
    suspects: Arc<Suspects>,
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
        parent: Option<&Parent>,
        memory_bytes: usize,
        task: &Task,
    ) -> Result<Arc<Self>> {
        let suspects = parent.map(|p| Arc::clone(&p.suspects));
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
            fetch: ParentReader::new(repo, &writer.session, task),
            suspects: suspects.unwrap_or_else(|| Suspects::none(&writer.session)),
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
    identity: Option<[u8; 16]>,
}

/// Walks and reads the whole volume and writes its item stream.
async fn write_tree(
    reading: &Arc<Reading>,
    request: &BackupRequest,
    parent: Option<&Parent>,
    task: &Task,
) -> Result<Written> {
    let readers = if request.readers == 0 { reading.repo.pool.threads() * 2 + 2 } else { request.readers };
    let started = start_walk(reading, request, parent).await?;
    let mut pipe = Pipe::new(reading, started.steps, readers);
    let mut writer = TreeWriter::new(reading.repo.keys.tree_key());
    let mut sink = reading.sink.clone();
    let (mut problems, mut changed) = (Problems::default(), 0);
    loop {
        let next = tokio::select! {
            next = pipe.next() => next?,
            () = task.cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "cancelled")),
            e = reading.writer.packing.failed() => return Err(e),
        };
        let entry = match next {
            None => break,
            Some(Done::Entry(entry)) => entry,
            Some(Done::Further(found)) => match started.links.find(&found) {
                Some(entry) => {
                    reading.monitor.bytes_done.add(found.size);
                    entry
                }
                None => {
                    pipe.read_now(found);
                    continue;
                }
            },
            Some(Done::Problem { path, what }) => {
                reading.monitor.entries_failed.add(1);
                problems.push(&path, what);
                continue;
            }
        };
        changed += u64::from(entry.changed_during_read);
        started.links.note(&entry);
        sink.need(entry.blobs().map(|b| b.place))?;
        writer.push(&mut sink, &entry).await?;
    }
    drop(pipe);
    started.walker.await.context(ErrorKind::Internal, || "walk".to_owned())?;
    let tree = writer.finish(&mut sink).await?;
    Ok(Written { tree, problems, changed, identity: started.identity })
}

/// A walk that has begun.
struct Started {
    steps: mpsc::Receiver<Result<Step>>,
    links: Arc<Links>,
    identity: Option<[u8; 16]>,
    walker: AbortOnDropHandle<()>,
}

async fn start_walk(
    reading: &Arc<Reading>,
    request: &BackupRequest,
    parent: Option<&Parent>,
) -> Result<Started> {
    let (root, rules) = (request.root.clone(), request.rules.clone());
    let open = move || -> Result<_> {
        let walk = Walk::open(&root, &rules)?;
        let (memory_fs, identity) = (walk.is_memory_fs()?, walk.identity()?);
        Ok((walk, memory_fs, identity))
    };
    let (walk, memory_fs, identity) = tokio::task::spawn_blocking(open)
        .await
        .context(ErrorKind::Internal, || "open the volume".to_owned())??;
    let fresh = parent.map(|p| FreshRules {
        parent_started: p.started,
        now: reading.repo.env.now(),
        memory_fs,
        read_all: request.read_all && !p.is_draft,
        same_volume: p.identity.is_none() || p.identity == identity,
        reread_days: if p.is_draft { 0 } else { request.reread_days },
    });
    let leaves = parent.map(|p| p.stream_leaves(reading));
    let suspects = Arc::clone(&reading.suspects);
    let (tx, steps) = mpsc::channel(4);
    let (monitor, links) = (Arc::clone(&reading.monitor), Arc::new(Links::default()));
    let met = Arc::clone(&links);
    let run = move || {
        let may_keep = |entry: &Entry| suspects.may_keep(entry);
        let parent = steps::Leaves::new(leaves);
        let (links, monitor) = (&*met, &*monitor);
        Walker { walk, parent, fresh, may_keep: &may_keep, links, monitor, steps: tx }.run();
    };
    let walker = AbortOnDropHandle::new(tokio::task::spawn_blocking(run));
    Ok(Started { steps, links, identity, walker })
}
