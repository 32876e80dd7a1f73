//! The parent of a backup: its entries as a stream, and what of it may still be referenced.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::{Reading, Written};
use crate::Result;
use crate::env::Timestamp;
use crate::ids::{PackId, Place};
use crate::items::entry::{Content, Entry, ExtentData, Kind};
use crate::items::range::Range;
use crate::items::reader::Leaf;
use crate::items::{NodeRef, TreeReader};
use crate::manifest::Manifest;
use crate::manifest::summary::PackUse;
use crate::ops::reader::is_damage;
use crate::session::Session;

/// Leaves of the parent that are read ahead of the walk.
const LEAVES_QUEUED: usize = 4;

/// What unchanged entries are taken from: the parent snapshot, or the tree of this backup's own pass before.
#[derive(Debug)]
pub(super) struct Parent {
    root: NodeRef,
    /// When it began to read.
    pub(super) started: Timestamp,
    pub(super) identity: Option<[u8; 16]>,
    /// It is this backup's own pass before: what it has read need not be read again for any reason but the times.
    pub(super) is_draft: bool,
    pub(super) suspects: Arc<Suspects>,
}

/// What of the parent may not be referenced any more.
#[derive(Debug)]
pub(super) struct Suspects {
    packs: HashSet<PackId>,
    session: Arc<Session>,
}

impl Suspects {
    /// Those of no parent.
    pub(super) fn none(session: &Arc<Session>) -> Arc<Self> {
        Arc::new(Self { packs: HashSet::new(), session: Arc::clone(session) })
    }

    /// True if this blob may not be referenced, as far as is known without asking.
    pub(super) fn forbid(&self, place: Place) -> bool {
        self.packs.contains(&place.pack) || self.session.is_forbidden(place)
    }

    /// False if the entry refers to a suspect: then it is read as if it had changed. What segments refer to is not seen here.
    pub(super) fn may_keep(&self, entry: &Entry) -> bool {
        self.packs.is_empty() && self.session.forbids_nothing()
            || entry.blobs().all(|b| !self.forbid(b.place))
    }
}

impl Parent {
    /// The parent snapshot, with its summary, which once resolved shows that its packs exist (rule W5). Packs that its
    /// blobs were relocated to are asked for.
    pub(super) async fn check(manifest: &Manifest, uses: &[PackUse], session: &Arc<Session>) -> Result<Self> {
        let mut suspects = HashSet::new();
        if session.forbids_nothing() && !session.has_relocations() {
            session.note_exists(uses.iter().map(|u| u.pack));
            return Ok(Self::of(manifest, suspects, session));
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
        Ok(Self::of(manifest, suspects, session))
    }

    fn of(manifest: &Manifest, packs: HashSet<PackId>, session: &Arc<Session>) -> Self {
        Self {
            root: NodeRef { node: manifest.root, usage: manifest.root_usage },
            started: manifest.started,
            identity: manifest.identity,
            is_draft: false,
            suspects: Arc::new(Suspects { packs, session: Arc::clone(session) }),
        }
    }

    /// The tree that a pass of this backup has written, of which not all may be referenced any more.
    pub(super) async fn draft(
        written: &Written,
        started: Timestamp,
        uses: &[PackUse],
        session: &Arc<Session>,
    ) -> Result<Self> {
        let mut packs = HashSet::new();
        for PackUse { pack, ordinals } in uses {
            let pack = pack.id;
            let all_stay = !session.relocations().moves(pack) && !session.forbids_of(pack);
            let ordinals = ordinals.iter().take(if all_stay { 1 } else { usize::MAX });
            for now in ordinals.map(|ordinal| session.resolve(Place { pack, ordinal })) {
                // What the session forbids it goes on forbidding by itself: the rest of such a pack may be kept.
                if !session.is_forbidden(now) && !session.may_use(now).await? {
                    packs.insert(now.pack);
                }
            }
        }
        Ok(Self {
            root: NodeRef { node: written.tree.root.node, usage: written.tree.root.usage },
            started,
            identity: written.identity,
            is_draft: true,
            suspects: Arc::new(Suspects { packs, session: Arc::clone(session) }),
        })
    }

    /// Reads the parent's item stream ahead of the walk.
    pub(super) fn stream_leaves(&self, reading: &Arc<Reading>) -> mpsc::Receiver<Result<Leaf>> {
        let mut leaves = TreeReader::new(Arc::clone(&reading.fetch), self.root).leaves(Range::All);
        let (tx, rx) = mpsc::channel(LEAVES_QUEUED);
        let reading = Arc::clone(reading);
        // Ends with its receiver: every send fails then.
        tokio::spawn(async move {
            let suspects = Arc::clone(&reading.suspects);
            while let Some(leaf) = leaves.next().await {
                let leaf = leaf.map(|leaf| resolve(leaf, &reading.writer.session));
                match &leaf {
                    Ok(leaf) => {
                        let blobs = leaf.nodes.iter().flat_map(|n| [n.node, n.usage]);
                        reading.sink.note_parent(blobs.filter(|b| !suspects.forbid(b.place)));
                    }
                    Err(e) if is_damage(e) => {
                        tracing::warn!(error = %e.chain(), "a part of the parent is not readable; its files are read again");
                        continue;
                    }
                    Err(_) => {}
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
