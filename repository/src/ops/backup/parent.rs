//! The parent snapshot of a backup: its entries as a stream, and what of it may still be referenced.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::Reading;
use crate::Result;
use crate::ids::{PackId, Place};
use crate::items::entry::{Content, Entry, ExtentData, Kind};
use crate::items::range::Range;
use crate::items::reader::Leaf;
use crate::items::{NodeRef, TreeReader};
use crate::manifest::summary::PackUse;
use crate::ops::snapshots::Snapshot;
use crate::session::Session;

/// Leaves of the parent that are read ahead of the walk.
const LEAVES_QUEUED: usize = 4;

/// The snapshot that unchanged entries are taken from.
#[derive(Debug)]
pub(super) struct ParentSnapshot {
    pub(super) snapshot: Snapshot,
    pub(super) suspects: Arc<Suspects>,
}

/// Packs of the parent of which not all may be referenced any more.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashSet<PackId>);

impl Suspects {
    /// False if the entry refers to a suspect pack, or may do so out of sight: then it is read as if it had changed.
    pub(super) fn may_keep(&self, entry: &Entry) -> bool {
        self.0.is_empty()
            || match &entry.kind {
                Kind::File(Content::Segments(_)) => false,
                _ => entry.blobs().all(|b| !self.0.contains(&b.place.pack)),
            }
    }
}

impl ParentSnapshot {
    /// With the parent's summary, which once resolved shows that its packs exist (rule W5). Packs that its blobs were
    /// relocated to are asked for.
    pub(super) async fn check(snapshot: Snapshot, uses: &[PackUse], session: &Session) -> Result<Self> {
        let mut suspects = HashSet::new();
        if session.forbids_nothing() && !session.has_relocations() {
            session.note_exists(uses.iter().map(|u| u.pack));
            return Ok(Self { snapshot, suspects: Arc::default() });
        }
        for PackUse { pack, ordinals } in uses {
            let (mut moved, mut stays) = (false, false);
            for ordinal in ordinals.runs().flat_map(|(start, n)| start..start + n) {
                let place = Place { pack: pack.id, ordinal };
                let now = session.resolve(place);
                moved |= now != place;
                stays |= now == place;
                if session.is_forbidden(now) || (now != place && !session.may_use(now).await?) {
                    suspects.insert(now.pack);
                }
            }
            // A pack of which blobs went elsewhere may be gone by now; that counts if some are needed of it still.
            if !moved {
                session.note_exists([*pack]);
            } else if stays && session.pack_bytes(pack.id).await?.is_none() {
                suspects.insert(pack.id);
            }
        }
        Ok(Self { snapshot, suspects: Arc::new(Suspects(suspects)) })
    }

    /// Reads the parent's item stream ahead of the walk.
    pub(super) fn stream_leaves(&self, reading: &Arc<Reading>) -> mpsc::Receiver<Result<Leaf>> {
        let manifest = &self.snapshot.manifest;
        let root = NodeRef { node: manifest.root, usage: manifest.root_usage };
        let mut leaves = TreeReader::new(Arc::clone(&reading.fetch), root).leaves(Range::All);
        let (tx, rx) = mpsc::channel(LEAVES_QUEUED);
        let (reading, suspects) = (Arc::clone(reading), Arc::clone(&self.suspects));
        // Ends with its receiver: every send fails then.
        tokio::spawn(async move {
            while let Some(leaf) = leaves.next().await {
                let leaf = leaf.map(|leaf| resolve(leaf, &reading.writer.session));
                if let Ok(leaf) = &leaf {
                    let usable = |n: &&NodeRef| !suspects.0.contains(&n.node.place.pack);
                    let usable = leaf.nodes.iter().filter(usable).copied().collect::<Vec<_>>();
                    reading.sink.note_parent(&usable);
                }
                if tx.send(leaf).await.is_err() {
                    return;
                }
            }
        });
        rx
    }
}

/// Follows relocations in all that a leaf says.
fn resolve(mut leaf: Leaf, session: &Session) -> Leaf {
    if !session.has_relocations() {
        return leaf;
    }
    for node in &mut leaf.nodes {
        node.node.place = session.resolve(node.node.place);
        node.usage.place = session.resolve(node.usage.place);
    }
    for entry in &mut leaf.entries {
        match &mut entry.kind {
            Kind::File(Content::Extents(extents)) => {
                for extent in extents {
                    if let ExtentData::Slice(blob, _) = &mut extent.data {
                        blob.place = session.resolve(blob.place);
                    }
                }
            }
            Kind::File(Content::Segments(segments)) => {
                for s in segments {
                    s.segment.place = session.resolve(s.segment.place);
                    s.usage.place = session.resolve(s.usage.place);
                }
            }
            _ => {}
        }
    }
    leaf
}
