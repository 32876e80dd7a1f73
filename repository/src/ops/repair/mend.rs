//! What may be referenced instead of what a damaged snapshot refers to: the blob itself, another copy, or one that is stored
//! again.
//!
//! Rule W5 decides what may stay as it is. What it rules out and what can still be read is stored again; only what can neither
//! be referenced nor read is lost.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::packer::Packer;
use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef, PackId, Place};
use crate::index::{LocalIndex, LocalOptions};
use crate::items::MetaSink;
use crate::manifest::summary::SummaryBuilder;
use crate::ops::Repository;
use crate::ops::reader::{Reader, is_damage};
use crate::pack::PackKind;
use crate::session::Session;
use crate::{ErrorKind, Result};

/// Other copies of one blob that are tried.
const COPIES_MAX: usize = 4;

/// One repair's view of what is there.
pub(super) struct Mender<'a> {
    repo: &'a Repository,
    session: &'a Session,
    pub(super) reader: Arc<Reader>,
    index: LocalIndex,
    pub(super) packer: Packer<'a>,
    /// Where blobs went that can't stay; `None` if they are lost.
    moved: HashMap<Place, Option<Place>>,
    pub(super) summary: SummaryBuilder,
    /// Something could not stay as it is.
    pub(super) touched: bool,
}

impl<'a> Mender<'a> {
    /// Reads the index. All packs should have been seen by the session.
    pub(super) async fn new(repo: &'a Repository, session: &'a Session, dry_run: bool) -> Result<Self> {
        let cache_dir = repo.cache_dir.as_ref().map(|dir| dir.join("index"));
        let index = LocalIndex::open(repo.objects(), LocalOptions { cache_dir, refresh_seconds: 0 });
        for damaged in index.refresh().await?.damaged {
            tracing::warn!(error = %damaged.chain(), "an index object is not readable: `holdfast repair index` helps");
        }
        Ok(Self {
            repo,
            session,
            reader: Reader::of_repair(repo, session),
            index,
            packer: Packer::new(repo, session, dry_run),
            moved: HashMap::new(),
            summary: SummaryBuilder::default(),
            touched: false,
        })
    }

    /// Adds a place to what the repaired snapshot needs.
    pub(super) fn need(&mut self, place: Place) -> Result<()> {
        self.summary.add(place).context(ErrorKind::Damaged, || "sum up the packs".to_owned())
    }

    /// The bytes of a blob, from wherever they can be had; `None` if they are lost.
    pub(super) async fn bytes(&mut self, blob: BlobRef) -> Result<Option<Bytes>> {
        let at = self.session.resolve(blob.place);
        let read = self.reader.read(blob).await;
        match read {
            Ok(bytes) => {
                self.touched |= !self.session.may_use(at).await?;
                return Ok(Some(bytes));
            }
            Err(e) if is_damage(&e) => self.touched = true,
            Err(e) => return Err(e),
        }
        for other in self.others(blob.id, at) {
            match self.reader.read(BlobRef { id: blob.id, place: other }).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(e) if is_damage(&e) => {}
                Err(e) => return Err(e),
            }
        }
        self.moved.insert(at, None);
        Ok(None)
    }

    /// Other places of a blob by what the index says.
    fn others(&self, id: BlobId, at: Place) -> Vec<Place> {
        let mut found = Vec::new();
        let mut packs = vec![at.pack];
        while found.len() < COPIES_MAX {
            let next = self.index.find_where(&[id], |pack| !packs.contains(&pack));
            let Some(place) = next.into_iter().flatten().next() else { break };
            packs.push(place.pack);
            let place = self.session.resolve(place);
            if place != at {
                found.push(place);
            }
        }
        found
    }

    /// Where the index knows these blobs; `None` if it lacks one.
    pub(super) fn find_all(&self, ids: &[BlobId]) -> Option<Vec<Place>> {
        let found = self.index.find_where(ids, |_| true);
        found.into_iter().map(|place| place.map(|p| self.session.resolve(p))).collect()
    }

    /// Where a blob may be referenced from now on; `None` if it is lost.
    pub(super) async fn place(&mut self, blob: BlobRef, kind: PackKind) -> Result<Option<Place>> {
        let at = self.session.resolve(blob.place);
        if let Some(known) = self.moved.get(&at) {
            return Ok(*known);
        }
        if self.session.may_use(at).await? {
            return Ok(Some(at));
        }
        self.touched = true;
        let mut to = self.packer.find(&blob.id);
        for other in self.others(blob.id, at) {
            if to.is_some() {
                break;
            }
            // The index proves nothing: what an old snapshot is led to is read once.
            if self.session.may_use(other).await? {
                match self.reader.read(BlobRef { id: blob.id, place: other }).await {
                    Ok(_) => to = Some(other),
                    Err(e) if is_damage(&e) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        if to.is_none() {
            to = match self.bytes(blob).await? {
                Some(bytes) => Some(self.packer.store(kind, blob.id, bytes).await?),
                None => None,
            };
        }
        self.moved.insert(at, to);
        Ok(to)
    }

    /// The size of a pack that the session has seen.
    pub(super) async fn pack_bytes(&self, pack: PackId) -> Result<Option<u64>> {
        self.session.pack_bytes(pack).await
    }

    /// The id of a piece of metadata.
    pub(super) fn blob_id(&self, plain: &[u8]) -> BlobId {
        self.repo.keys.blob_id(plain)
    }

    /// True if this place may stay in what is taken over as it is.
    pub(super) async fn stays(&mut self, blob: BlobRef) -> Result<bool> {
        Ok(self.place(blob, PackKind::Meta).await? == Some(blob.place))
    }
}

#[async_trait]
impl MetaSink for Mender<'_> {
    async fn put(&mut self, plain: Vec<u8>) -> Result<BlobRef> {
        let id = self.repo.keys.blob_id(&plain);
        let mut place = self.packer.find(&id);
        if place.is_none() {
            let found = self.index.find_where(&[id], |_| true).into_iter().flatten().next();
            if let Some(at) = found.map(|p| self.session.resolve(p)) {
                let lost = self.moved.get(&at).is_some_and(|to| *to != Some(at));
                if !lost && self.session.may_use(at).await? {
                    // A tree that is made to be sound is not built on hearsay.
                    let read = self.reader.read(BlobRef { id, place: at }).await;
                    place = read.is_ok().then_some(at);
                }
            }
        }
        let place = match place {
            Some(place) => place,
            None => self.packer.store(PackKind::Meta, id, Bytes::from(plain)).await?,
        };
        self.need(place)?;
        Ok(BlobRef { id, place })
    }
}
