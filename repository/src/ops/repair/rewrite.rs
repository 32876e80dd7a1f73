//! Writes a snapshot's tree again, entry by entry: where what it refers to may not be referenced any more, its usages name what may
//! be instead (`mend`), and what is lost is left out and named.

use super::mend::Mender;
use super::salvage::{Gap, Piece, Salvage};
use crate::error::Context as _;
use crate::ids::{BlobRef, Place};
use crate::items::entry::{Content, Entry, ExtentData, Kind, Meta, SegmentRef};
use crate::items::reader::decode_usage;
use crate::items::segment::put_segment;
use crate::items::{Tree, TreeWriter};
use crate::limits::{SEGMENT_BYTES, SUMMARY_INLINE_BYTES};
use crate::manifest::{Manifest, Summary, summary};
use crate::ops::restore::pass::parse;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task};
use crate::pack::PackKind;
use crate::session::Session;
use crate::{Error, ErrorKind, Result};

/// Writes all of a snapshot again for this session, and gives the manifest of the copy: it names only what the session may refer
/// to, and what was condemned and can still be read is stored again. Fails with `Refused` if anything is lost. The session
/// should have seen all packs.
pub(crate) async fn whole(
    repo: &Repository,
    session: &Session,
    snapshot: &Snapshot,
    task: &Task,
) -> Result<Manifest> {
    let mut mender = Mender::new(repo, session, false).await?;
    let mut lost = Problems::default();
    let tree = write(repo, &mut mender, (snapshot, &[]), &mut lost, task).await?;
    if let Some(first) = lost.kept().first() {
        let (count, path) = (lost.count(), String::from_utf8_lossy(&first.path));
        let what = format!("{count} parts of it are gone, the first of them at {path:?}: {}", first.what);
        return Err(Error::new(ErrorKind::Refused, what));
    }
    mender.finish_copy(&snapshot.manifest, tree).await
}

/// Writes the copy's tree.
pub(super) async fn write(
    repo: &Repository,
    mender: &mut Mender<'_>,
    (snapshot, neighbours): (&Snapshot, &[Snapshot]),
    lost: &mut Problems,
    task: &Task,
) -> Result<Tree> {
    let mut writer = TreeWriter::new(repo.keys.tree_key());
    let mut salvage = Salvage::new(snapshot, neighbours);
    let mut above = Directories::default();
    while let Some(piece) = salvage.next(mender).await? {
        task.check()?;
        let entries = match piece {
            Piece::Entries(entries) => entries,
            Piece::Lost(gap) => {
                let first = gap.after.clone().unwrap_or_default();
                lost.push(&first, describe_gap(&gap));
                continue;
            }
        };
        for entry in entries {
            task.monitor.entries.add(1);
            let path = entry.path.clone();
            let Some(mended) = mend(mender, entry).await? else {
                task.monitor.entries_failed.add(1);
                lost.push(&path, "its content is lost: left out");
                continue;
            };
            for missing in above.enter(&mended) {
                lost.push(&missing.path, "the directory's metadata is lost: owner and mode are not known");
                writer.push(mender, &missing).await?;
            }
            need_all(mender, &mended)?;
            writer.push(mender, &mended).await?;
        }
    }
    writer.finish(mender).await
}

fn describe_gap(gap: &Gap) -> String {
    let name = |path: &Option<Vec<u8>>| match path.as_deref() {
        None => None,
        Some(b"") => Some("the top directory".to_owned()),
        Some(path) => Some(String::from_utf8_lossy(path).into_owned()),
    };
    let entries = gap.entries;
    match (name(&gap.after), name(&gap.last)) {
        (Some(a), Some(b)) => format!("{entries} entries behind {a} up to {b} are lost"),
        (None, Some(b)) => format!("{entries} entries up to {b} are lost"),
        (Some(a), None) => format!("{entries} entries behind {a} are lost"),
        (None, None) => format!("{entries} entries are lost"),
    }
}

/// The directories above the last entry: a lost one gets a stand-in, so that what is below it can be restored.
#[derive(Default)]
struct Directories(Vec<Vec<u8>>);

impl Directories {
    /// The stand-ins that have to come before this entry.
    fn enter(&mut self, entry: &Entry) -> Vec<Entry> {
        self.0.retain(|dir| dir.is_empty() || is_below(&entry.path, dir));
        let mut missing = Vec::new();
        if !entry.path.is_empty() {
            let ends = entry.path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
            for end in std::iter::once(0).chain(ends) {
                let dir = entry.path[..end].to_vec();
                if !self.0.contains(&dir) {
                    missing.push(stand_in(dir.clone()));
                    self.0.push(dir);
                }
            }
        }
        if entry.kind == Kind::Directory {
            self.0.push(entry.path.clone());
        }
        missing
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Only its owner, whoever restores, may enter it.
fn stand_in(path: Vec<u8>) -> Entry {
    let meta = Meta { mode: 0o700, ..Meta::default() };
    Entry { path, meta, size: 0, changed_during_read: false, kind: Kind::Directory }
}

fn need_all(mender: &mut Mender<'_>, entry: &Entry) -> Result<()> {
    let places: Vec<Place> = entry.blobs().map(|b| b.place).collect();
    places.into_iter().try_for_each(|place| mender.need(place))
}

/// The entry with all that it refers to where it may be referenced; `None` if something of it is lost.
async fn mend(mender: &mut Mender<'_>, mut entry: Entry) -> Result<Option<Entry>> {
    match &mut entry.kind {
        Kind::File(Content::Extents(extents)) => {
            for extent in extents {
                let ExtentData::Slice(blob, _) = &mut extent.data else { continue };
                let Some(place) = mender.place(*blob, PackKind::Data).await? else { return Ok(None) };
                blob.place = place;
            }
        }
        Kind::File(Content::Segments(segments)) => {
            let mut left = entry.size;
            for segment in segments {
                let Some(mended) = mend_segment(mender, *segment, left).await? else { return Ok(None) };
                *segment = mended;
                left = left.saturating_sub(SEGMENT_BYTES);
            }
        }
        _ => {}
    }
    Ok(Some(entry))
}

async fn mend_segment(mender: &mut Mender<'_>, of: SegmentRef, left: u64) -> Result<Option<SegmentRef>> {
    let Some(bytes) = mender.bytes(of.segment).await? else { return Ok(None) };
    let Some(usage) = mender.bytes(of.usage).await? else { return Ok(None) };
    let Ok(usage) = decode_usage(of.usage.id, &usage) else { return Ok(None) };
    let Ok(segment) = parse(&bytes, &usage.places, left) else { return Ok(None) };
    let (mut places, mut same) = (Vec::with_capacity(usage.places.len()), true);
    for blob in segment.blobs() {
        let Some(place) = mender.place(blob.blob, PackKind::Data).await? else { return Ok(None) };
        same &= place == blob.blob.place;
        places.push(place);
        mender.need(place)?;
    }
    if same && mender.stays(of.segment).await? && mender.stays(of.usage).await? {
        mender.need(of.segment.place)?;
        mender.need(of.usage.place)?;
        return Ok(Some(of));
    }
    put_segment(mender, bytes.to_vec(), places).await.map(Some)
}

impl Mender<'_> {
    /// Stores what is open, and gives the manifest of a copy with this tree: all but the tree is that of the original.
    pub(super) async fn finish_copy(&mut self, original: &Manifest, tree: Tree) -> Result<Manifest> {
        self.packer.finish().await?;
        let (summary, totals) = (self.finish_summary().await?, tree.totals);
        Ok(Manifest {
            entries: totals.entries,
            files: totals.files,
            bytes: totals.bytes,
            root: tree.root.node,
            root_usage: tree.root.usage,
            summary,
            ..original.clone()
        })
    }

    /// The summary, in the manifest if it is small.
    async fn finish_summary(&mut self) -> Result<Summary> {
        let builder = std::mem::take(&mut self.summary);
        let mut sizes = std::collections::HashMap::new();
        for pack in builder.packs() {
            let own = self.packer.size_of(pack);
            let size = match own {
                Some(size) => Some(size),
                None => self.pack_bytes(pack).await?,
            };
            sizes.extend(size.map(|size| (pack, size)));
        }
        let uses = builder.finish(|pack| sizes.get(&pack).copied());
        let uses = uses.context(ErrorKind::Internal, || "sum up the packs".to_owned())?;
        let whole = summary::encode(&uses);
        if whole.len() <= SUMMARY_INLINE_BYTES {
            return Ok(Summary::Inline(whole));
        }
        let mut refs = Vec::new();
        for piece in summary::pieces(&uses) {
            let id = self.blob_id(&piece);
            let place = self.packer.store(PackKind::Meta, id, piece.into()).await?;
            refs.push(BlobRef { id, place });
        }
        self.packer.finish().await?;
        Ok(Summary::Pieces(refs))
    }
}
