//! A writer's session for operations that store what they do not read from a volume: the same packs, tables and rules as a
//! backup, without its walk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::blobs::{BlobWriter, Table};
use super::packing::Packing;
use super::passes::{Follower, holds, sum_up};
use super::reuse::{Reuse, Trusted};
use super::sink::Sink;
use crate::ids::{BlobId, BlobRef, Place, Sid};
use crate::index::Lookup;
use crate::items::MetaSink;
use crate::manifest::{Manifest, Summary, summary};
use crate::monitor::Monitor;
use crate::ops::kept::Kept;
use crate::ops::{Repository, index};
use crate::session::{Session, Who};
use crate::{Error, ErrorKind, Result, limits};

/// The repository's own index, to be shared by all sessions of one operation.
pub(crate) fn index_of(repo: &Arc<Repository>) -> Arc<dyn Lookup> {
    index::open_own(repo)
}

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HowToPack {
    pub zstd_level: i32,
    /// Bound on the memory of packs on their way.
    pub memory_bytes_max: usize,
}

/// A registered writer. Ends with [`Writing::commit`] or [`Writing::give_up`].
#[derive(Debug)]
pub(crate) struct Writing {
    writer: Arc<BlobWriter>,
    sink: Sink,
    /// Keeps collectors from waiting for it (WR), until it is about to commit.
    follower: Mutex<Option<Follower>>,
}

impl Writing {
    /// Registers (W1 to W4).
    pub(crate) async fn open(
        repo: &Arc<Repository>,
        who: &Who,
        how: HowToPack,
        lookup: &Arc<dyn Lookup>,
        monitor: &Arc<Monitor>,
    ) -> Result<Self> {
        let session = Arc::new(Session::open(repo.objects(), who).await?);
        let table = Arc::new(Table::new());
        let slots = how.memory_bytes_max / limits::PACK_BODY_BYTES;
        let packing = Packing::new(repo, &session, &table, monitor, (how.zstd_level, slots));
        let trusted = Trusted::load(repo, Reuse::Any, &[], &session).await?;
        let writer = Arc::new(BlobWriter {
            repo: Arc::clone(repo),
            session,
            table,
            packing,
            lookup: Arc::clone(lookup),
            monitor: Arc::clone(monitor),
            zstd_level: how.zstd_level,
            kept: Kept::of(repo),
            trusted,
        });
        let sink = Sink::new(&writer);
        let follower = Mutex::new(Some(Follower::start(&writer.session)));
        Ok(Self { writer, sink, follower })
    }

    /// The session; of what it must not refer to, it knows.
    pub(crate) fn session(&self) -> &Session {
        &self.writer.session
    }

    /// The repository that is written to.
    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.writer.repo
    }

    /// Stores blobs of file content that belong together, or finds them; their references in order.
    pub(crate) async fn store(&self, blobs: &[(BlobId, Bytes)]) -> Result<Vec<BlobRef>> {
        self.writer.store(blobs).await
    }

    /// Where metadata goes; what is put there is noted as needed.
    pub(crate) fn sink(&self) -> Box<dyn MetaSink> {
        Box::new(self.sink.clone())
    }

    /// Notes blobs that the snapshot needs.
    pub(crate) fn need(&self, places: impl IntoIterator<Item = Place>) -> Result<()> {
        self.sink.need(places)
    }

    /// Waits for a failure of an upload.
    pub(crate) async fn failed(&self) -> Error {
        let e = self.writer.packing.failed().await;
        self.writer.packing.take_failure().unwrap_or(e)
    }

    /// Stores all that is still open, and all that the snapshot needs as its summary. Fails with `Fenced` where a GC run has
    /// condemned some of that meanwhile: start again. Commit at once afterwards.
    pub(crate) async fn finish(&self) -> Result<Summary> {
        let (packing, session) = (&self.writer.packing, &self.writer.session);
        packing.flush().await?;
        let uses = sum_up(self.sink.take_summary(), session).await?;
        let whole = summary::encode(&uses);
        let summary = if whole.len() <= limits::SUMMARY_INLINE_BYTES {
            Summary::Inline(whole)
        } else {
            let mut pieces = Vec::new();
            for piece in summary::pieces(&uses) {
                pieces.push(self.sink.put_apart(piece).await?);
            }
            packing.flush().await?;
            Summary::Pieces(pieces)
        };
        self.stop_following().await;
        // The session may have followed the generation while it stored (WR). From here on it does not.
        let pieces_hold = summary.pieces().iter().all(|p| !session.is_forbidden(p.place));
        if pieces_hold && holds(&uses, session).await? {
            return Ok(summary);
        }
        Err(Error::new(ErrorKind::Fenced, "a GC run has condemned what the snapshot refers to"))
    }

    async fn stop_following(&self) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.stop().await;
        }
    }

    /// W7. The snapshot's id.
    pub(crate) async fn commit(&self, manifest: Manifest) -> Result<Sid> {
        let id = self.writer.session.sid();
        self.writer.session.commit(manifest).await?.or_error()?;
        Ok(id)
    }

    /// Ends without a snapshot; what is stored is published, so that the next one finds it. A store that hangs is left
    /// alone.
    pub(crate) async fn give_up(&self, why: &Error) {
        let closing = async {
            self.stop_following().await;
            self.writer.packing.give_up().await;
            let _ = self.writer.session.abort(&why.chain()).await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(limits::STOP_SECONDS), closing).await;
    }
}
