//! Where metadata of a backup goes, and what is noted of it: the snapshot's summary, and the parent's nodes.
//!
//! The parent's nodes are known without any lookup: an unchanged leaf costs no request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::blobs::BlobWriter;
use crate::Result;
use crate::error::{Context as _, ErrorKind};
use crate::ids::{BlobId, BlobRef, Place};
use crate::items::MetaSink;
use crate::manifest::summary::{PackUse, SummaryBuilder};

/// Stores metadata, and notes every place that the snapshot needs.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    writer: Arc<BlobWriter>,
    parents: Arc<Mutex<HashMap<BlobId, Place>>>,
    summary: Arc<Mutex<SummaryBuilder>>,
}

impl Sink {
    pub(super) fn new(writer: &Arc<BlobWriter>) -> Self {
        Self { writer: Arc::clone(writer), parents: Arc::default(), summary: Arc::default() }
    }

    /// Notes nodes of the parent; their places were resolved and may be used.
    pub(super) fn note_parent(&self, nodes: impl IntoIterator<Item = BlobRef>) {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        parents.extend(nodes.into_iter().map(|b| (b.id, b.place)));
    }

    /// Notes blobs that the snapshot needs.
    pub(super) fn need(&self, places: impl IntoIterator<Item = Place>) -> Result<()> {
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            summary.add(place).context(ErrorKind::Damaged, || "sum up what the snapshot needs".to_owned())?;
        }
        Ok(())
    }

    /// Notes all of these.
    pub(super) fn need_all(&self, needed: SummaryBuilder) -> Result<()> {
        let bad = || "sum up what the snapshot needs".to_owned();
        let uses = needed.finish(|_| Some(0)).context(ErrorKind::Damaged, bad)?;
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        let add = |u: &PackUse| summary.add_use(u.pack.id, &u.ordinals);
        uses.iter().try_for_each(add).context(ErrorKind::Damaged, bad)
    }

    /// All that was noted.
    pub(super) fn take_summary(&self) -> SummaryBuilder {
        std::mem::take(&mut self.summary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores a metadata blob without noting it as needed.
    pub(super) async fn put_apart(&self, plain: Vec<u8>) -> Result<BlobRef> {
        self.writer.store_meta(plain).await
    }
}

#[async_trait]
impl MetaSink for Sink {
    async fn put(&mut self, plain: Vec<u8>) -> Result<BlobRef> {
        let id = self.writer.repo.keys.blob_id(&plain);
        let known = self.parents.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        let blob = match known.filter(|&place| !self.writer.session.is_forbidden(place)) {
            Some(place) => {
                self.writer.count_found(plain.len());
                BlobRef { id, place }
            }
            None => self.writer.store_meta(plain).await?,
        };
        self.need([blob.place])?;
        Ok(blob)
    }
}
