//! The largest changes between two snapshots: how many bytes of each file lie in blobs that the older one does not need.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;

use super::owners::{Owner, Owners};
use super::top::{Folders, Ranked, Top};
use crate::ids::{PackId, Place};
use crate::items::BlobFetch;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind, SegmentRef};
use crate::items::segment;
use crate::manifest::summary::{self, OrdinalSet};
use crate::ops::browse::{self, Change};
use crate::ops::reader::Reader;
use crate::ops::restore::pass::parse;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task};
use crate::session::Relocations;
use crate::{Result, limits};

/// What the newer of two snapshots brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// Plain bytes of files that lie in blobs that the older snapshot does not need, each blob counted for the first
    /// file that has it.
    pub bytes_new: u64,
    /// Entries that only the newer one has, only the older one has, and that have other content.
    pub added: u64,
    /// Only in the older one.
    pub removed: u64,
    /// Other content.
    pub changed: u64,
    /// Plain bytes of files that only the older one has.
    pub bytes_removed: u64,
    /// Files with most new bytes, largest first.
    pub files: Vec<Ranked>,
    /// Folders with most new bytes below them, largest first.
    pub folders: Vec<Ranked>,
}

/// Compares two snapshots; `most` files and folders are named.
pub async fn between(
    repo: &Arc<Repository>,
    (older, newer): (&Snapshot, &Snapshot),
    most: usize,
    task: &Task,
) -> Result<Between> {
    let reader = Reader::unregistered(repo);
    let relocations = Relocations::load_newest(&repo.objects()).await?;
    let mut old = Owners::default();
    for needed in summary::load(&older.manifest.summary, &*reader).await? {
        old.add_set(needed.pack.id, &needed.ordinals, &relocations, Owner { snapshot: 0, volume: 0 });
    }
    let mut news = News { reader, relocations, old, counted: HashMap::new() };
    let (mut out, mut top, mut folders) = (Between::default(), Top::new(most), Folders::new(most));
    let mut changes = browse::diff(repo, older, newer);
    while let Some(change) = changes.next().await {
        task.check()?;
        let entry = match change? {
            Change::Removed(entry) => {
                out.removed += 1;
                out.bytes_removed = out.bytes_removed.saturating_add(entry.size);
                continue;
            }
            Change::Added(entry) => {
                out.added += 1;
                entry
            }
            Change::Changed(_, entry, true) => {
                out.changed += 1;
                *entry
            }
            Change::Changed(_, _, false) => continue,
        };
        let bytes = news.bytes_of(&entry).await?;
        out.bytes_new = out.bytes_new.saturating_add(bytes);
        top.add(&entry.path, bytes);
        if entry.kind != Kind::Directory {
            folders.add(&entry.path, bytes);
        }
    }
    (out.files, out.folders) = (top.finish(), folders.finish());
    Ok(out)
}

/// Tells new blobs from old ones.
struct News {
    reader: Arc<Reader>,
    relocations: Relocations,
    old: Owners,
    /// New blobs that were counted for an earlier file.
    counted: HashMap<PackId, OrdinalSet>,
}

impl News {
    async fn bytes_of(&mut self, entry: &Entry) -> Result<u64> {
        match &entry.kind {
            Kind::File(Content::Inline(bytes)) => Ok(bytes.len() as u64),
            Kind::File(Content::Extents(extents)) => Ok(self.extents(extents.iter().copied())),
            Kind::File(Content::Segments(segments)) => self.segments(segments, entry.size).await,
            _ => Ok(0),
        }
    }

    fn extents(&mut self, extents: impl Iterator<Item = Extent>) -> u64 {
        let (mut bytes, mut seen) = (0, Vec::new());
        for extent in extents {
            let ExtentData::Slice(blob, _) = extent.data else { continue };
            let place = self.relocations.resolve(blob.place);
            let counted = self.counted.get(&place.pack).is_some_and(|c| c.contains(place.ordinal));
            if !counted && !self.old.has(place) {
                bytes += extent.bytes;
                seen.push(place);
            }
        }
        for Place { pack, ordinal } in seen {
            self.counted.entry(pack).or_default().insert(ordinal);
        }
        bytes
    }

    /// A segment that the older snapshot needs holds nothing new, and is not read.
    async fn segments(&mut self, segments: &[SegmentRef], size: u64) -> Result<u64> {
        let mut bytes = 0;
        for (i, s) in segments.iter().enumerate() {
            if self.old.has(self.relocations.resolve(s.segment.place)) {
                continue;
            }
            let fetch: &dyn BlobFetch = &*self.reader;
            let (stored, places) = segment::read_segment(fetch, *s).await?;
            let left = size.saturating_sub(i as u64 * limits::SEGMENT_BYTES);
            let parsed = parse(&stored, &places, left)?;
            bytes += self.extents(parsed.extents().collect::<Vec<_>>().into_iter());
        }
        Ok(bytes)
    }
}
