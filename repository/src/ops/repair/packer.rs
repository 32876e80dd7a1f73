//! Packs of a repair: what has to be stored again, few blobs, one after the other.
//!
//! W6 as for any writer: data packs before the metadata packs that refer to them, each decoded again before it is put, and
//! deltas last.

use std::collections::HashMap;

use bytes::Bytes;

use crate::error::Context as _;
use crate::ids::{BlobId, PackId, Place};
use crate::index::DeltaPack;
use crate::limits::{GROUP_BYTES, META_PACK_BODY_BYTES, PACK_BLOBS_MAX, PACK_BODY_BYTES, SMALL_BLOB_BYTES};
use crate::ops::Repository;
use crate::pack::writer::PackBuilder;
use crate::pack::{PackKind, group};
use crate::session::Session;
use crate::{ErrorKind, Result};

/// zstd level of what is stored again.
const LEVEL: i32 = 3;

/// The open pack of one kind.
#[derive(Debug, Default)]
struct Lane {
    open: Option<PackBuilder>,
    /// Small blobs that have their numbers and wait for their group to fill.
    waiting: Vec<(BlobId, Bytes)>,
    waiting_bytes: usize,
}

/// Fills and stores packs of one session.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    repo: &'a Repository,
    session: &'a Session,
    data: Lane,
    meta: Lane,
    places: HashMap<BlobId, Place>,
    sizes: HashMap<PackId, u64>,
    unpublished: Vec<DeltaPack>,
    /// Nothing is put: names are given all the same.
    dry_run: bool,
    /// Plain bytes that were stored again, and bytes of packs.
    pub(super) bytes_new: u64,
    pub(super) bytes_stored: u64,
}

impl<'a> Packer<'a> {
    pub(super) fn new(repo: &'a Repository, session: &'a Session, dry_run: bool) -> Self {
        Self {
            repo,
            session,
            data: Lane::default(),
            meta: Lane::default(),
            places: HashMap::new(),
            sizes: HashMap::new(),
            unpublished: Vec::new(),
            dry_run,
            bytes_new: 0,
            bytes_stored: 0,
        }
    }

    /// Where this repair has stored a blob.
    pub(super) fn find(&self, id: &BlobId) -> Option<Place> {
        self.places.get(id).copied()
    }

    /// The size of a pack of this repair.
    pub(super) fn size_of(&self, pack: PackId) -> Option<u64> {
        self.sizes.get(&pack).copied()
    }

    fn lane(&mut self, kind: PackKind) -> &mut Lane {
        match kind {
            PackKind::Data => &mut self.data,
            PackKind::Meta => &mut self.meta,
        }
    }

    /// Stores a blob, once.
    pub(super) async fn store(&mut self, kind: PackKind, id: BlobId, bytes: Bytes) -> Result<Place> {
        if let Some(place) = self.find(&id) {
            return Ok(place);
        }
        let alone = bytes.len() > SMALL_BLOB_BYTES;
        if alone || self.lane(kind).waiting_bytes + bytes.len() > GROUP_BYTES {
            self.flush(kind).await?;
        }
        let (repo, session) = (self.repo, self.session);
        let body = body_bytes(kind);
        let lane = self.lane(kind);
        let builder = lane
            .open
            .get_or_insert_with(|| PackBuilder::new(&repo.keys, session.sid(), kind, &repo.env, body));
        let ordinal = u32::try_from(builder.blobs() + lane.waiting.len()).unwrap_or(u32::MAX);
        let place = Place { pack: builder.id(), ordinal };
        lane.waiting_bytes += bytes.len();
        self.bytes_new += bytes.len() as u64;
        self.lane(kind).waiting.push((id, bytes));
        self.places.insert(id, place);
        if alone {
            self.flush(kind).await?;
        }
        let full =
            self.lane(kind).open.as_ref().is_some_and(|b| b.len() >= body || b.blobs() >= PACK_BLOBS_MAX / 2);
        if full {
            self.close(kind).await?;
        }
        Ok(place)
    }

    /// Compresses what waits.
    async fn flush(&mut self, kind: PackKind) -> Result<()> {
        let lane = self.lane(kind);
        let blobs = std::mem::take(&mut lane.waiting);
        lane.waiting_bytes = 0;
        if blobs.is_empty() {
            return Ok(());
        }
        let sealed = self.repo.pool.run(move || group::build(&blobs, LEVEL)).await;
        if let Some(builder) = &mut self.lane(kind).open {
            builder.append(&sealed);
        }
        Ok(())
    }

    /// Puts the open pack; an open data pack goes before a metadata pack.
    async fn close(&mut self, kind: PackKind) -> Result<()> {
        if kind == PackKind::Meta {
            self.put_open(PackKind::Data).await?;
        }
        self.put_open(kind).await
    }

    async fn put_open(&mut self, kind: PackKind) -> Result<()> {
        self.flush(kind).await?;
        let Some(builder) = self.lane(kind).open.take() else { return Ok(()) };
        let keys = self.repo.keys.clone();
        let finished = self.repo.pool.run(move || builder.finish(&keys)).await;
        let finished = finished.context(ErrorKind::Internal, || {
            "a pack did not decode again before its upload; this machine's memory is not reliable".to_owned()
        })?;
        self.sizes.insert(finished.pack.id, finished.pack.bytes);
        self.bytes_stored += finished.pack.bytes;
        if !self.dry_run {
            self.session.put_pack(finished.pack.id, finished.bytes).await?;
            self.unpublished.push(DeltaPack::new(finished.pack, kind, &finished.footer));
        }
        Ok(())
    }

    /// Puts what is open and publishes all.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.close(PackKind::Meta).await?;
        let packs = std::mem::take(&mut self.unpublished);
        if packs.is_empty() { Ok(()) } else { self.session.publish_delta(&packs).await }
    }
}

fn body_bytes(kind: PackKind) -> usize {
    match kind {
        PackKind::Data => PACK_BODY_BYTES,
        PackKind::Meta => META_PACK_BODY_BYTES,
    }
}
