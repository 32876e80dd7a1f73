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
use crate::items::{MetaSink, NodeRef};
use crate::manifest::summary::SummaryBuilder;

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

    /// Notes a node of the parent; its places were resolved and may be used.
    pub(super) fn note_parent(&self, nodes: &[NodeRef]) {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        parents.extend(nodes.iter().flat_map(|n| [n.node, n.usage]).map(|b| (b.id, b.place)));
    }

    /// Notes blobs that the snapshot needs.
    pub(super) fn need(&self, places: impl IntoIterator<Item = Place>) -> Result<()> {
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            summary.add(place).context(ErrorKind::Damaged, || "sum up what the snapshot needs".to_owned())?;
        }
        Ok(())
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
        let blob = match known {
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
