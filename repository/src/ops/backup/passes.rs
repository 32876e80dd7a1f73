//! Walks the volume until the snapshot is committed: usually once.
//!
//! The session follows the generation while the walk goes on (WR), so that no collector waits for it. Before the commit
//! all references are asked for again. Where a GC run has condemned some of them meanwhile, the tree as it was
//! written becomes the parent of another walk: what does not refer to them is taken over without being opened, and what was stored
//! is found in the session's table.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::blobs::BlobWriter;
use super::parent::Parent;
use super::{BackupReport, BackupRequest, Reading, Written, write_tree};
use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{BlobRef, Place, Sid};
use crate::limits;
use crate::manifest::summary::{self, PackUse, SummaryBuilder};
use crate::manifest::{Manifest, Summary};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task};
use crate::session::{Commit, Session};
use crate::{Error, ErrorKind, Result};

/// All passes of one backup.
pub(super) struct Passes<'b> {
    pub(super) repo: &'b Arc<Repository>,
    pub(super) request: &'b BackupRequest,
    pub(super) writer: Arc<BlobWriter>,
    /// When the first pass began.
    pub(super) started: Timestamp,
    pub(super) parent_id: Option<Sid>,
    pub(super) task: &'b Task,
}

/// A tree that is stored, and all that it needs.
struct Pass {
    reading: Arc<Reading>,
    started: Timestamp,
    written: Written,
    uses: Vec<PackUse>,
}

impl Passes<'_> {
    /// Until the snapshot is committed.
    pub(super) async fn run(self, mut parent: Option<Parent>) -> Result<BackupReport> {
        for _ in 0..limits::PASSES_MAX {
            let pass = self.write(parent.as_ref()).await?;
            if let Some(snapshot) = self.commit(&pass).await? {
                let problems = pass.written.problems;
                return Ok(BackupReport { snapshot, problems, figures: self.task.monitor.figures() });
            }
            let session = &self.writer.session;
            tracing::info!("some of what the snapshot refers to was condemned meanwhile; that is read again");
            parent = Some(Parent::draft(&pass.written, pass.started, &pass.uses, session).await?);
        }
        Err(Error::new(
            ErrorKind::Fenced,
            "GC runs condemn what this backup refers to each time that it ends",
        ))
    }

    async fn write(&self, parent: Option<&Parent>) -> Result<Pass> {
        let (packing, session) = (&self.writer.packing, &self.writer.session);
        let started = self.repo.env.now();
        let reading =
            Reading::new(self.repo, &self.writer, parent, self.request.memory_bytes_max, self.task)?;
        let follower = Follower::start(session);
        let written = write_tree(&reading, self.request, parent, self.task).await;
        follower.stop().await;
        // An upload that failed explains whatever failed after it.
        let written = written.map_err(|e| packing.take_failure().unwrap_or(e))?;
        packing.flush().await?;
        self.task.check()?;
        let uses = sum_up(reading.sink.take_summary(), session).await?;
        Ok(Pass { reading, started, written, uses })
    }

    /// W7, and WR before it. `None`: not all references hold.
    async fn commit(&self, pass: &Pass) -> Result<Option<Snapshot>> {
        let session = &self.writer.session;
        for _ in 0..limits::COMMITS_MAX {
            session.follow().await?;
            let checked = session.sid();
            if !holds(&pass.uses, session).await? {
                return Ok(None);
            }
            let summary = self.write_summary(pass).await?;
            if session.sid() != checked {
                continue;
            }
            if let Some(guard) = &self.request.guard {
                guard.ask().await?;
            }
            let manifest = self.describe(pass, summary);
            match session.commit(manifest.clone()).await? {
                Commit::Committed => return Ok(Some(Snapshot { id: checked, manifest })),
                Commit::Fenced(reason) => {
                    tracing::info!(sid = %checked, reason, "the session was fenced; it goes on under another sid");
                    session.renew().await?;
                }
            }
        }
        Err(Error::new(ErrorKind::Fenced, "the session was fenced at each try to commit"))
    }

    /// The summary, in the manifest if it is small, otherwise as blobs of its own, whose packs are stored before it counts.
    async fn write_summary(&self, pass: &Pass) -> Result<Summary> {
        let whole = summary::encode(&pass.uses);
        if whole.len() <= limits::SUMMARY_INLINE_BYTES {
            return Ok(Summary::Inline(whole));
        }
        let pieces = summary::pieces(&pass.uses);
        let mut refs: Vec<BlobRef> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            refs.push(pass.reading.sink.put_apart(piece).await?);
        }
        self.writer.packing.flush().await?;
        Ok(Summary::Pieces(refs))
    }

    fn describe(&self, pass: &Pass, summary: Summary) -> Manifest {
        let figures = self.task.monitor.figures();
        let (request, tree) = (self.request, &pass.written.tree);
        Manifest {
            volume: request.volume.clone(),
            host: request.host.clone(),
            path: request.shown.as_ref().unwrap_or(&request.root).as_os_str().as_bytes().to_vec(),
            started: self.started,
            finished: self.repo.env.now(),
            parent: self.parent_id,
            tags: request.tags.clone(),
            entries: tree.totals.entries,
            files: tree.totals.files,
            bytes: tree.totals.bytes,
            bytes_new: figures.bytes_new,
            bytes_stored: figures.bytes_stored,
            problems: pass.written.problems.count(),
            changed: pass.written.changed,
            root: tree.root.node,
            root_usage: tree.root.usage,
            summary,
            identity: pass.written.identity,
            copied: None,
            repaired: None,
            origin: request.origin.clone().map(Box::new),
        }
    }
}

/// The summary of all that was noted, with the packs' sizes; 0 for one that is gone.
pub(super) async fn sum_up(builder: SummaryBuilder, session: &Session) -> Result<Vec<PackUse>> {
    for pack in builder.packs().collect::<Vec<_>>() {
        session.pack_bytes(pack).await?;
    }
    let size_of = |pack| Some(session.known_pack_bytes(pack).unwrap_or(0));
    builder.finish(size_of).context(ErrorKind::Internal, || "sum up the packs".to_owned())
}

/// Whether all of this may be referenced by the session as it is registered now.
pub(super) async fn holds(uses: &[PackUse], session: &Session) -> Result<bool> {
    for PackUse { pack, ordinals } in uses {
        let forbidden = |ordinal| session.is_forbidden(Place { pack: pack.id, ordinal });
        let gone = session.pack_bytes(pack.id).await?.is_none();
        if gone || session.forbids_of(pack.id) && ordinals.iter().any(forbidden) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Follows the generation while a walk goes on that publishes nothing.
#[derive(Debug)]
pub(super) struct Follower {
    stopped: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Follower {
    pub(super) fn start(session: &Arc<Session>) -> Self {
        let (stopped, session) = (CancellationToken::new(), Arc::clone(session));
        let stop = stopped.clone();
        let follow = async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(limits::FOLLOW_SECONDS)) => {}
                    () = stop.cancelled() => return,
                }
                // Before the commit it is tried again, and counts.
                if let Err(e) = session.follow().await {
                    tracing::debug!(error = %e.chain(), "whether the generation has moved is not known");
                }
            }
        };
        Self { stopped, task: AbortOnDropHandle::new(tokio::spawn(follow)) }
    }

    /// Never in the middle of a rebase.
    pub(super) async fn stop(self) {
        self.stopped.cancel();
        let _ = self.task.await;
    }
}
