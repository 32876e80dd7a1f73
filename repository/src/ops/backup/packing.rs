//! Fills packs and uploads them, in the order that rule W6 asks for.
//!
//! 1. A pack is stored before the delta that names it.
//! 2. A metadata pack is stored after every pack that was closed before it; the open data pack is closed first.
//!
//! Each open or uploading pack holds a slot of its lane, so that memory is bounded and a slow store slows the reading.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::blobs::Table;
use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{BlobId, Place};
use crate::index::DeltaPack;
use crate::limits;
use crate::monitor::Monitor;
use crate::ops::Repository;
use crate::pack::group::{self, SealedGroup};
use crate::pack::writer::{FinishedPack, PackBuilder};
use crate::pack::{PackKind, frame};
use crate::session::Session;
use crate::{Error, ErrorKind, Result};

/// Packs of one kind.
#[derive(Debug)]
struct Lane {
    kind: PackKind,
    body_bytes: usize,
    slots: Arc<Semaphore>,
    open: tokio::sync::Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    pack: Option<(PackBuilder, OwnedSemaphorePermit)>,
    /// Metadata blobs that have their ordinals and wait for their group to fill.
    waiting: Vec<(BlobId, Bytes)>,
    waiting_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers of packs that were closed and are not stored yet.
    storing: BTreeSet<u64>,
    closed: u64,
    uploads: JoinSet<()>,
    failure: Option<Error>,
    unpublished: Vec<DeltaPack>,
}

/// The open packs of one backup, and the uploads under way.
#[derive(Debug)]
pub(super) struct Packing {
    repo: Arc<Repository>,
    session: Arc<Session>,
    table: Arc<Table>,
    monitor: Arc<Monitor>,
    zstd_level: i32,
    data: Lane,
    meta: Lane,
    state: Mutex<State>,
    stored: Notify,
    broken: CancellationToken,
    /// When the last delta was published.
    published: tokio::sync::Mutex<Timestamp>,
}

fn lane(kind: PackKind, body_bytes: usize, slots: usize) -> Lane {
    Lane { kind, body_bytes, slots: Arc::new(Semaphore::new(slots)), open: tokio::sync::Mutex::default() }
}

impl Packing {
    /// `data_slots` packs of data may be open or on their way at once.
    pub(super) fn new(
        repo: &Arc<Repository>,
        session: &Arc<Session>,
        table: &Arc<Table>,
        monitor: &Arc<Monitor>,
        (zstd_level, data_slots): (i32, usize),
    ) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            session: Arc::clone(session),
            table: Arc::clone(table),
            monitor: Arc::clone(monitor),
            zstd_level,
            data: lane(PackKind::Data, limits::PACK_BODY_BYTES, data_slots.max(2)),
            meta: lane(PackKind::Meta, limits::META_PACK_BODY_BYTES, 2),
            state: Mutex::default(),
            stored: Notify::new(),
            broken: CancellationToken::new(),
            published: tokio::sync::Mutex::new(repo.env.now()),
        })
    }

    /// The session that the packs belong to.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Where their blobs are.
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first failure of an upload, once; it explains all that came after.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Waits for a failure of an upload.
    pub(super) async fn failed(&self) -> Error {
        self.broken.cancelled().await;
        Error::new(ErrorKind::Store, "an upload failed")
    }

    /// Appends groups of file content.
    pub(super) async fn append_data(self: &Arc<Self>, groups: Vec<SealedGroup>) -> Result<()> {
        let mut open = self.data.open.lock().await;
        for group in groups {
            self.append(&self.data, &mut open, &group).await?;
        }
        Ok(())
    }

    /// Gives a metadata blob its place; its group is compressed and appended when it is full.
    pub(super) async fn append_meta(self: &Arc<Self>, id: BlobId, bytes: Bytes) -> Result<()> {
        let mut open = self.meta.open.lock().await;
        let builder = self.builder(&self.meta, &mut open).await?;
        let (pack, filled) = (builder.id(), builder.blobs());
        let ordinal = u32::try_from(filled + open.waiting.len())
            .context(ErrorKind::Internal, || "ordinal".to_owned())?;
        let place = Place { pack, ordinal };
        open.waiting_bytes += bytes.len();
        open.waiting.push((id, bytes));
        self.table.placed(std::iter::once((id, place)));
        if open.waiting_bytes >= limits::GROUP_BYTES {
            self.flush_waiting(&mut open).await?;
        }
        Ok(())
    }

    async fn flush_waiting(self: &Arc<Self>, open: &mut Open) -> Result<()> {
        let blobs = std::mem::take(&mut open.waiting);
        open.waiting_bytes = 0;
        if blobs.is_empty() {
            return Ok(());
        }
        let level = self.zstd_level;
        let group = self.repo.pool.run(move || group::build(&blobs, level)).await;
        self.append(&self.meta, open, &group).await
    }

    /// The open pack of a lane; a new one waits for a slot.
    async fn builder<'o>(&self, lane: &Lane, open: &'o mut Open) -> Result<&'o mut PackBuilder> {
        if open.pack.is_none() {
            let slot = Arc::clone(&lane.slots).acquire_owned();
            let slot = tokio::select! {
                slot = slot => slot.context(ErrorKind::Internal, || "the slots are closed".to_owned())?,
                e = self.failed() => return Err(e),
            };
            let sid = self.session.sid();
            let builder = PackBuilder::new(&self.repo.keys, sid, lane.kind, &self.repo.env, lane.body_bytes);
            open.pack = Some((builder, slot));
        }
        match &mut open.pack {
            Some((builder, _)) => Ok(builder),
            None => Err(Error::new(ErrorKind::Internal, "no open pack")),
        }
    }

    async fn append(self: &Arc<Self>, lane: &Lane, open: &mut Open, group: &SealedGroup) -> Result<()> {
        let builder = self.builder(lane, open).await?;
        let pack = builder.id();
        let first = builder.append(group);
        let full = builder.len() >= lane.body_bytes || builder.blobs() >= limits::PACK_BLOBS_MAX / 2;
        let blobs = group.blobs.iter().zip(first..);
        self.table.placed(blobs.map(|((id, _), ordinal)| (*id, Place { pack, ordinal })));
        if full {
            if lane.kind == PackKind::Meta {
                self.close_data().await;
            }
            self.close(lane, open);
        }
        Ok(())
    }

    /// Hands the open pack over to its upload.
    fn close(self: &Arc<Self>, lane: &Lane, open: &mut Open) {
        let Some((builder, slot)) = open.pack.take().filter(|(b, _)| !b.is_empty()) else { return };
        let mut state = self.state();
        state.closed += 1;
        let number = state.closed;
        state.storing.insert(number);
        let this = Arc::clone(self);
        let kind = lane.kind;
        state.uploads.spawn(async move {
            if let Err(e) = this.upload(builder, number, kind).await {
                this.state().failure.get_or_insert(e);
                this.broken.cancel();
            }
            drop(slot);
        });
    }

    async fn close_data(self: &Arc<Self>) {
        let mut open = self.data.open.lock().await;
        self.close(&self.data, &mut open);
    }

    async fn upload(self: &Arc<Self>, builder: PackBuilder, number: u64, kind: PackKind) -> Result<()> {
        let keys = Arc::clone(&self.repo.keys);
        let id = builder.id();
        let finished = self.repo.pool.run(move || builder.finish(&keys)).await;
        let finished = finished.map_err(|e| damaged_in_memory(id, e))?;
        self.table.finished(finished.pack, &finished.footer)?;
        if kind == PackKind::Meta {
            self.wait_for_earlier(number).await?;
        }
        let FinishedPack { pack, bytes, footer, .. } = finished;
        self.session.put_pack(pack.id, bytes).await?;
        self.monitor.packs.add(1);
        self.monitor.bytes_stored.add(pack.bytes);
        let due = {
            let mut state = self.state();
            state.storing.remove(&number);
            state.unpublished.push(DeltaPack::new(pack, kind, &footer));
            state.unpublished.len()
        };
        self.stored.notify_waiters();
        self.publish_if_due(due).await
    }

    async fn wait_for_earlier(&self, number: u64) -> Result<()> {
        loop {
            let stored = self.stored.notified();
            if self.state().storing.first().is_none_or(|&n| n >= number) {
                return Ok(());
            }
            tokio::select! {
                () = stored => {}
                e = self.failed() => return Err(e),
            }
        }
    }

    async fn publish_if_due(&self, packs: usize) -> Result<()> {
        let (last, now) = (*self.published.lock().await, self.repo.env.now());
        // A clock that was set back makes a delta due too.
        let old = now < last || now >= last.plus_seconds(limits::DELTA_SECONDS);
        if packs < limits::DELTA_PACKS && !old {
            return Ok(());
        }
        self.publish().await?;
        // A collector may have begun, and waits for this session until it notices.
        self.session.follow().await.map(drop)
    }

    /// Publishes an index delta of all packs that were stored since the last one.
    async fn publish(&self) -> Result<()> {
        let mut published = self.published.lock().await;
        let packs = std::mem::take(&mut self.state().unpublished);
        if packs.is_empty() {
            return Ok(());
        }
        self.session.publish_delta(&packs).await?;
        *published = self.repo.env.now();
        Ok(())
    }

    /// Ends without a snapshot. What is stored is published, so that the next backup finds it; if that fails, it will
    /// merely be stored again.
    pub(super) async fn give_up(&self) {
        let mut uploads = std::mem::take(&mut self.state().uploads);
        // Those that are about to end may; the others are dropped.
        let ending = async { while uploads.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(limits::STOP_SECONDS / 2), ending).await;
        drop(uploads);
        if let Err(e) = self.publish().await {
            tracing::debug!(error = %e.chain(), "what was stored could not be published");
        }
    }

    /// Closes all packs, waits until they are stored, and publishes the last delta.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<()> {
        self.close_data().await;
        {
            let mut open = self.meta.open.lock().await;
            self.flush_waiting(&mut open).await?;
            self.close(&self.meta, &mut open);
        }
        let mut uploads = std::mem::take(&mut self.state().uploads);
        while let Some(done) = uploads.join_next().await {
            done.context(ErrorKind::Internal, || "upload a pack".to_owned())?;
        }
        match self.take_failure() {
            Some(e) => Err(e),
            None => self.publish().await,
        }
    }
}

fn damaged_in_memory(id: crate::ids::PackId, e: frame::PackError) -> Error {
    let what =
        format!("pack {id} did not decode again before its upload; this machine's memory is not reliable");
    Error::with_source(ErrorKind::Internal, what, e)
}
