//! One session of a backup, from registration to outcome.

use std::sync::Arc;
use std::time::Duration;

use super::blobs::{BlobWriter, Table};
use super::packing::Packing;
use super::parent::ParentSnapshot;
use super::reuse::Trusted;
use super::{BackupReport, BackupRequest, Reading, Written, write_tree};
use crate::error::Context as _;
use crate::index::{LocalIndex, LocalOptions, Lookup};
use crate::limits;
use crate::manifest::{Manifest, Summary, summary};
use crate::ops::kept::Kept;
use crate::ops::reader::Reader;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task};
use crate::session::{Session, Who};
use crate::{Error, ErrorKind, Result};

/// How old the view of other writers' deltas may get, seconds.
const INDEX_REFRESH_SECONDS: u64 = 30;

/// The repository's own index, read from its deltas when it is first asked.
pub(super) fn own_index(repo: &Arc<Repository>) -> Arc<LocalIndex> {
    let cache_dir = repo.cache_dir.as_ref().map(|dir| dir.join("index"));
    let options = LocalOptions { cache_dir, refresh_seconds: INDEX_REFRESH_SECONDS };
    Arc::new(LocalIndex::open(repo.objects(), options))
}

/// Registers, backs up, and commits; on failure the session is closed, so that no collector waits for it.
pub(super) async fn run(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    lookup: &Arc<dyn Lookup>,
    task: &Task,
) -> Result<BackupReport> {
    let who = Who::writer(&request.host, &request.volume);
    let session = Arc::new(in_time(Session::open(repo.objects(), &who), task).await?);
    let table = Arc::new(Table::new());
    let slots = request.memory_bytes_max * 3 / 8 / limits::PACK_BODY_BYTES;
    let packing = Packing::new(repo, &session, &table, &task.monitor, (request.zstd_level, slots));
    let done = in_time(run_session(repo, request, lookup, &packing, task), task).await;
    if let Err(e) = &done
        && e.kind() != ErrorKind::Fenced
    {
        // The error that counts is the first one; an open session is merely fenced later.
        let closing = async {
            packing.give_up().await;
            let _ = session.abort(&e.chain()).await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(limits::STOP_SECONDS), closing).await;
    }
    done
}

/// The work; or, when somebody asked to stop and it did not end by itself soon, no more waiting: a store may hang.
async fn in_time<T>(work: impl Future<Output = Result<T>>, task: &Task) -> Result<T> {
    let late = async {
        task.cancel.cancelled().await;
        tokio::time::sleep(Duration::from_secs(limits::STOP_SECONDS)).await;
    };
    tokio::select! {
        done = work => done,
        () = late => Err(Error::new(ErrorKind::Cancelled, "cancelled")),
    }
}

async fn run_session(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    lookup: &Arc<dyn Lookup>,
    packing: &Arc<Packing>,
    task: &Task,
) -> Result<BackupReport> {
    let started = repo.env.now();
    let (session, table) = (packing.session(), packing.table());
    let (parent, trusted) = find_parent(repo, request, session).await?;
    let writer = Arc::new(BlobWriter {
        repo: Arc::clone(repo),
        session: Arc::clone(session),
        table: Arc::clone(table),
        packing: Arc::clone(packing),
        lookup: Arc::clone(lookup),
        monitor: Arc::clone(&task.monitor),
        zstd_level: request.zstd_level,
        kept: Kept::of(repo),
        trusted,
    });
    let reading = Reading::new(repo, &writer, request.memory_bytes_max, task)?;
    let written = write_tree(&reading, request, parent.as_ref(), task).await;
    // An upload that failed explains whatever failed after it.
    let written = written.map_err(|e| packing.take_failure().unwrap_or(e))?;
    packing.flush().await?;
    task.check()?;
    let summary = write_summary(&reading, packing).await?;
    let manifest = describe(&reading, request, started, parent.as_ref(), &written, summary);
    session.commit(manifest.clone()).await?.or_error()?;
    let snapshot = Snapshot { id: session.sid(), manifest };
    Ok(BackupReport { snapshot, problems: written.problems, figures: task.monitor.figures() })
}

/// W4: the parent, its outcome and the absence of its forget marker come from the store.
async fn find_parent(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    session: &Session,
) -> Result<(Option<ParentSnapshot>, Trusted)> {
    let found = session.find_parent(&request.volume, repo.cache_dir.as_deref()).await?;
    let Some((id, manifest)) = found else {
        return Ok((None, Trusted::load(repo, request.reuse, &[], session).await?));
    };
    let snapshot = Snapshot { id, manifest };
    let uses = summary::load(&snapshot.manifest.summary, &*Reader::of_writer(repo, session)).await?;
    let trusted = Trusted::load(repo, request.reuse, &uses, session).await?;
    Ok((Some(ParentSnapshot::check(snapshot, &uses, session).await?), trusted))
}

/// The summary, in the manifest if it is small, otherwise as blobs of its own, whose packs are stored before it counts.
async fn write_summary(reading: &Arc<Reading>, packing: &Arc<Packing>) -> Result<Summary> {
    let builder = reading.sink.take_summary();
    let session = &reading.writer.session;
    let size_of = |pack| {
        let own = reading.writer.table.size_of(pack);
        own.or_else(|| session.known_pack_bytes(pack))
    };
    let uses = builder.finish(size_of).context(ErrorKind::Internal, || "sum up the packs".to_owned())?;
    let whole = summary::encode(&uses);
    if whole.len() <= limits::SUMMARY_INLINE_BYTES {
        return Ok(Summary::Inline(whole));
    }
    let pieces = summary::pieces(&uses);
    let mut refs = Vec::with_capacity(pieces.len());
    for piece in pieces {
        refs.push(reading.sink.put_apart(piece).await?);
    }
    packing.flush().await?;
    Ok(Summary::Pieces(refs))
}

fn describe(
    reading: &Reading,
    request: &BackupRequest,
    started: crate::env::Timestamp,
    parent: Option<&ParentSnapshot>,
    written: &Written,
    summary: Summary,
) -> Manifest {
    let figures = reading.monitor.figures();
    let totals = written.tree.totals;
    Manifest {
        volume: request.volume.clone(),
        host: request.host.clone(),
        path: std::os::unix::ffi::OsStrExt::as_bytes(request.root.as_os_str()).to_vec(),
        started,
        finished: reading.repo.env.now(),
        parent: parent.map(|p| p.snapshot.id),
        tags: request.tags.clone(),
        entries: totals.entries,
        files: totals.files,
        bytes: totals.bytes,
        bytes_new: figures.bytes_new,
        bytes_stored: figures.bytes_stored,
        problems: written.problems.count(),
        changed: written.changed,
        root: written.tree.root.node,
        root_usage: written.tree.root.usage,
        summary,
        identity: written.identity,
        copied: None,
    }
}
