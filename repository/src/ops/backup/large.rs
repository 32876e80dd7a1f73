//! Reads a large file: slab after slab, compared with its parent by position, new chunks stored while the next slabs
//! are read.
//!
//! Bytes in flight are bounded by the backup's memory budget: a slab holds its share until its last chunk is stored.
//! Only one file longer than a slab is read at a time, since such a file needs several shares at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesOrdered, StreamExt as _, TryStreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::Reading;
use super::large_parent::ParentFeed;
use super::small::{Done, open};
use super::steps::chain;
use crate::chunk::compare::{self, Compared, Piece};
use crate::chunk::file::{Chunk, FileCounts, FilePlan, SegmentDraft, Step};
use crate::chunk::segment::{self, SegmentBlob};
use crate::error::Context as _;
use crate::items::entry::{Content, Entry, Kind, Meta, SegmentRef};
use crate::items::segment::put_segment;
use crate::limits::{self, PAGE_BYTES};
use crate::source::{Found, OpenedFile, SourceErrorKind};
use crate::{Error, ErrorKind, Result};

/// Slabs that are read and compared at once.
const SLABS_AHEAD: usize = 2;
/// A file that keeps changing is read this often at most: a second reading of a large one costs much.
const READS_MAX: u32 = 2;

/// Reads and stores a large file. `None` if it has vanished.
pub(super) async fn read_large(
    reading: &Arc<Reading>,
    found: Found,
    old: Option<Entry>,
) -> Result<Option<Done>> {
    let mut tried = 1;
    loop {
        let path = found.path.clone();
        match read_once(reading, &found, old.as_ref(), tried).await {
            Ok(Some(entry)) => return Ok(Some(Done::Entry(entry))),
            Ok(None) => tried += 1,
            Err(Failure::Source(e)) if e.kind() == SourceErrorKind::Vanished => return Ok(None),
            Err(Failure::Source(e)) => return Ok(Some(Done::Problem { path, what: chain(&e) })),
            Err(Failure::Other(e)) => return Err(e),
        }
    }
}

enum Failure {
    /// This file can't be read.
    Source(crate::source::SourceError),
    /// The backup can't go on.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

/// `None` if the file changed meanwhile and should be read once more.
async fn read_once(
    reading: &Arc<Reading>,
    found: &Found,
    old: Option<&Entry>,
    tried: u32,
) -> Result<Option<Entry>, Failure> {
    let (file, meta, pieces) = open_and_map(reading, found).await?;
    let size = file.size();
    let _alone = if size > reading.slab_bytes { Some(reading.alone().await?) } else { None };
    let old_segments = match old.map(|o| &o.kind) {
        Some(Kind::File(Content::Segments(segments))) => segments.clone(),
        _ => Vec::new(),
    };
    let mut work = Work::new(reading, !old_segments.is_empty());
    let feed = ParentFeed::new(reading, old_segments);
    let compared = stream::try_unfold((feed, pieces.into_iter()), |(mut feed, mut pieces)| async move {
        let Some(piece) = pieces.next() else { return Ok::<_, Error>(None) };
        let parent = feed.get(piece.offset / limits::SEGMENT_BYTES).await?;
        Ok(Some(((piece, parent), (feed, pieces))))
    });
    let compared = compared.map_ok(|(piece, parent)| {
        let (reading, file) = (Arc::clone(reading), Arc::clone(&file));
        async move { read_and_compare(&reading, file, piece, parent).await }
    });
    let mut compared = Box::pin(compared.map_err(Failure::from).try_buffered(SLABS_AHEAD));
    let mut short = false;
    while let Some((slab, was_short)) = compared.try_next().await? {
        short |= was_short;
        reading.monitor.bytes_done.add(slab.bytes());
        work.push(slab).await?;
    }
    let (segments, counts) = work.finish().await?;
    reading.monitor.bytes_rewritten.add(counts.bytes_again);
    let check = {
        let (file, meta) = (Arc::clone(&file), meta.clone());
        move || file.changed_since(&meta, size)
    };
    let changed =
        tokio::task::spawn_blocking(check).await.context(ErrorKind::Internal, || "stat".to_owned())?;
    let changed = short || changed.map_err(Failure::Source)?;
    if changed && tried < READS_MAX {
        return Ok(None);
    }
    let kind = Kind::File(Content::Segments(segments));
    Ok(Some(Entry { path: found.path.clone(), meta, size, changed_during_read: changed, kind }))
}

/// A piece of the file to read: whole pages within one segment, but for the file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    offset: u64,
    bytes: u64,
    hole: bool,
}

async fn open_and_map(
    reading: &Arc<Reading>,
    found: &Found,
) -> Result<(Arc<OpenedFile>, Meta, Vec<Range>), Failure> {
    let (this, found) = (Arc::clone(reading), found.clone());
    let work = move || {
        let file = open(&found)?;
        this.monitor.files_opened.add(1);
        let mut meta = file.meta().clone();
        meta.xattrs = file.read_xattrs()?;
        let holes: Vec<(u64, u64)> =
            file.segments().filter(|s| !s.data).map(|s| (s.offset, s.offset + s.bytes)).collect();
        let pieces = plan_pieces(file.size(), &holes, this.slab_bytes);
        Ok((Arc::new(file), meta, pieces))
    };
    let done =
        tokio::task::spawn_blocking(work).await.context(ErrorKind::Internal, || "open a file".to_owned())?;
    done.map_err(Failure::Source)
}

/// Cuts a file into pieces. Holes count only as whole pages (and to the very end of the file).
fn plan_pieces(size: u64, holes: &[(u64, u64)], slab_bytes: u64) -> Vec<Range> {
    const PAGE: u64 = PAGE_BYTES as u64;
    let mut out = Vec::new();
    let mut add = |mut from: u64, to: u64, hole: bool| {
        while from < to {
            let segment_end = (from / limits::SEGMENT_BYTES + 1) * limits::SEGMENT_BYTES;
            let end = if hole { to.min(segment_end) } else { to.min(segment_end).min(from + slab_bytes) };
            out.push(Range { offset: from, bytes: end - from, hole });
            from = end;
        }
    };
    let mut at = 0;
    for &(start, end) in holes {
        let start = start.next_multiple_of(PAGE).max(at);
        let end = if end >= size { size } else { end / PAGE * PAGE };
        if start < end {
            add(at, start, false);
            add(start, end, true);
            at = end;
        }
    }
    add(at, size, false);
    out
}

/// A slab's bytes together with its share of the memory budget.
struct Held {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn read_and_compare(
    reading: &Arc<Reading>,
    file: Arc<OpenedFile>,
    range: Range,
    parent: Option<Arc<compare::Parent>>,
) -> Result<(Compared, bool), Failure> {
    let rules = Arc::clone(&reading.rules);
    if range.hole {
        let (offset, bytes) = (range.offset, range.bytes);
        let work = move || compare::compare(&rules, offset, Piece::Hole(bytes), parent);
        return Ok((reading.repo.pool.run(work).await, false));
    }
    let bytes = usize::try_from(range.bytes).context(ErrorKind::Internal, || "slab".to_owned())?;
    let share = reading.memory(bytes).await?;
    let read = move || {
        let mut buffer = Vec::with_capacity(bytes);
        let n = file.read_at(&mut buffer, bytes, range.offset)?;
        // What is missing at the end is zero; the file counts as changed then.
        buffer.resize(bytes, 0);
        Ok((buffer, n))
    };
    let read =
        tokio::task::spawn_blocking(read).await.context(ErrorKind::Internal, || "read a file".to_owned())?;
    let (buffer, n) = read.map_err(Failure::Source)?;
    reading.monitor.bytes_read.add(n as u64);
    let data = Bytes::from_owner(Held { bytes: buffer, _share: share });
    let work = move || compare::compare(&rules, range.offset, Piece::Data(data), parent);
    Ok((reading.repo.pool.run(work).await, n < bytes))
}

/// One file being taken apart: chunks on their way into packs, segments that wait for them.
struct Work {
    reading: Arc<Reading>,
    plan: FilePlan,
    storing: FuturesOrdered<BoxFuture<'static, Result<(u64, SegmentBlob)>>>,
    storing_max: usize,
    stored: HashMap<u64, SegmentBlob>,
    /// How many chunks were begun, and how many of them, in the same order, are stored.
    begun: u64,
    done: u64,
    /// Drafts, each with how many chunks must be stored first.
    drafts: VecDeque<(u64, SegmentDraft)>,
    segments: Vec<SegmentRef>,
}

impl Work {
    fn new(reading: &Arc<Reading>, has_parent: bool) -> Self {
        Self {
            reading: Arc::clone(reading),
            plan: FilePlan::new(Arc::clone(&reading.rules), has_parent),
            storing: FuturesOrdered::new(),
            storing_max: reading.repo.pool.threads() * 2 + 2,
            stored: HashMap::new(),
            begun: 0,
            done: 0,
            drafts: VecDeque::new(),
            segments: Vec::new(),
        }
    }

    async fn push(&mut self, slab: Compared) -> Result<()> {
        let step = self.plan.push(slab);
        self.take(step).await
    }

    async fn take(&mut self, step: Step) -> Result<()> {
        for chunk in step.chunks {
            self.begun += 1;
            // Spawned, so that chunks are worked on while the next slab is awaited.
            let task = AbortOnDropHandle::new(tokio::spawn(store_chunk(Arc::clone(&self.reading), chunk)));
            self.storing.push_back(Box::pin(async move {
                task.await.context(ErrorKind::Internal, || "store a chunk".to_owned())?
            }));
            while self.storing.len() >= self.storing_max {
                self.await_one().await?;
            }
        }
        self.drafts.extend(step.segments.into_iter().map(|d| (self.begun, d)));
        self.write_ready().await
    }

    async fn await_one(&mut self) -> Result<()> {
        if let Some(done) = self.storing.next().await {
            let (seq, blob) = done?;
            self.stored.insert(seq, blob);
            self.done += 1;
        }
        Ok(())
    }

    /// Writes the segments of which all chunks are stored.
    async fn write_ready(&mut self) -> Result<()> {
        while self.drafts.front().is_some_and(|(needs, _)| *needs <= self.done) {
            let Some((_, draft)) = self.drafts.pop_front() else { break };
            let done_before = draft.done_before;
            let segment = draft.finish(|seq| self.stored.get(&seq).copied());
            let segment = segment
                .map_err(|seq| Error::new(ErrorKind::Internal, format!("chunk {seq} has no place")))?;
            self.stored.retain(|seq, _| *seq >= done_before);
            let places: Vec<_> = segment.blobs().iter().map(|b| b.blob.place).collect();
            let mut sink = self.reading.sink.clone();
            sink.need(places.iter().copied())?;
            self.segments.push(put_segment(&mut sink, segment::encode(&segment), places).await?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(Vec<SegmentRef>, FileCounts)> {
        let empty = FilePlan::new(Arc::clone(&self.reading.rules), false);
        let (step, counts) = std::mem::replace(&mut self.plan, empty).finish();
        self.take(step).await?;
        while !self.storing.is_empty() {
            self.await_one().await?;
        }
        self.write_ready().await?;
        Ok((self.segments, counts))
    }
}

async fn store_chunk(reading: Arc<Reading>, chunk: Chunk) -> Result<(u64, SegmentBlob)> {
    let (keys, data) = (Arc::clone(&reading.repo.keys), chunk.bytes.clone());
    let id = reading.repo.pool.run(move || keys.blob_id(&data)).await;
    let bytes = u32::try_from(chunk.bytes.len()).context(ErrorKind::Internal, || "chunk".to_owned())?;
    let blobs = [(id, chunk.bytes)];
    let blob = reading.writer.store(&blobs).await?.pop();
    let blob = blob.ok_or_else(|| Error::new(ErrorKind::Internal, "a chunk has no place"))?;
    Ok((chunk.seq, SegmentBlob { blob, bytes }))
}

#[cfg(test)]
mod tests;
