//! Reads batches of small files: whole, on a blocking thread, then hashed, looked up and packed together.

use std::sync::Arc;

use bytes::Bytes;

use super::Reading;
use super::steps::{Item, chain};
use crate::error::Context as _;
use crate::ids::BlobId;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind, Meta};
use crate::limits;
use crate::source::{Found, OpenedFile, SourceError, SourceErrorKind};
use crate::{ErrorKind, Result};

/// What became of an entry.
#[derive(Debug)]
pub(super) enum Done {
    /// It goes into the item stream.
    Entry(Entry),
    /// It has the content of the first name, which comes before it.
    Further(Found),
    /// It could not be backed up.
    Problem { path: Vec<u8>, what: String },
}

/// A small file as it was read.
#[derive(Debug)]
struct Read {
    path: Vec<u8>,
    meta: Meta,
    size: u64,
    changed: bool,
    /// All data, without holes.
    data: Bytes,
    /// Lengths in the file; `true` for data.
    stretches: Vec<(u64, bool)>,
}

#[derive(Debug)]
enum Now {
    Done(Done),
    Read(Read),
    /// It has grown beyond a small file.
    Large(Found),
    Gone,
}

/// Reads and stores a batch; the entries in their order.
pub(super) async fn read_batch(reading: &Arc<Reading>, items: Vec<Item>, bytes: usize) -> Result<Vec<Done>> {
    let nothing_to_read = !items.iter().any(|i| matches!(i, Item::Read(_)));
    if nothing_to_read {
        return Ok(items.into_iter().filter_map(finish_ready).collect());
    }
    let _memory = reading.memory(bytes).await?;
    let this = Arc::clone(reading);
    let work = move || items.into_iter().map(|item| this.read_item(item)).collect::<Vec<_>>();
    let read =
        tokio::task::spawn_blocking(work).await.context(ErrorKind::Internal, || "read files".to_owned())?;
    let mut done = store(reading, read).await?;
    for slot in &mut done {
        if let Now::Large(found) = slot {
            let found = found.clone();
            *slot = super::large::read_large(reading, found, None).await?.map_or(Now::Gone, Now::Done);
        }
    }
    Ok(done.into_iter().filter_map(|d| if let Now::Done(d) = d { Some(d) } else { None }).collect())
}

fn finish_ready(item: Item) -> Option<Done> {
    match item {
        Item::Ready(entry) => Some(Done::Entry(entry)),
        Item::Further(found) => Some(Done::Further(found)),
        Item::Problem { path, what } => Some(Done::Problem { path, what }),
        Item::Read(_) => None,
    }
}

impl Reading {
    fn read_item(&self, item: Item) -> Now {
        let found = match item {
            Item::Read(found) => found,
            other => return finish_ready(other).map_or(Now::Gone, Now::Done),
        };
        match self.read_whole(&found) {
            Ok(now) => now,
            Err(e) if e.kind() == SourceErrorKind::Vanished => Now::Gone,
            Err(e) => Now::Done(Done::Problem { path: found.path, what: chain(&e) }),
        }
    }

    /// Reads a file, again if it changes meanwhile.
    fn read_whole(&self, found: &Found) -> Result<Now, SourceError> {
        for tried in 1.. {
            let file = open(found)?;
            self.monitor.files_opened.add(1);
            if file.size() > limits::LARGE_FILE_BYTES {
                return Ok(Now::Large(found.clone()));
            }
            let mut read = read_once(&file, &found.path)?;
            self.monitor.bytes_read.add(read.data.len() as u64);
            let short = read.stretches.iter().map(|s| s.0).sum::<u64>() != read.size;
            let changed = short || file.changed_since(&read.meta, read.size)?;
            if !changed || tried >= limits::CHANGED_READS_MAX {
                read.changed = changed;
                read.size = read.stretches.iter().map(|s| s.0).sum();
                self.monitor.bytes_done.add(found.size);
                return Ok(Now::Read(read));
            }
        }
        unreachable!("the loop ends at the last try")
    }
}

/// Opens what the walk found; something that took its name meanwhile is looked at once more.
pub(super) fn open(found: &Found) -> Result<OpenedFile, SourceError> {
    match found.open_file() {
        Err(e) if e.kind() == SourceErrorKind::Replaced => found.restat()?.open_file(),
        other => other,
    }
}

fn read_once(file: &OpenedFile, path: &[u8]) -> Result<Read, SourceError> {
    let mut meta = file.meta().clone();
    meta.xattrs = file.read_xattrs()?;
    let mut data = Vec::with_capacity(usize::try_from(file.size()).unwrap_or(0));
    let mut stretches = Vec::new();
    for segment in file.segments() {
        if !segment.data {
            stretches.push((segment.bytes, false));
            continue;
        }
        let n = file.read_at(&mut data, usize::try_from(segment.bytes).unwrap_or(0), segment.offset)?;
        if n > 0 {
            stretches.push((n as u64, true));
        }
        if (n as u64) < segment.bytes {
            break;
        }
    }
    let data = Bytes::from(data);
    Ok(Read { path: path.to_vec(), meta, size: file.size(), changed: false, data, stretches })
}

/// Hashes and stores what was read, all files of the batch together.
async fn store(reading: &Arc<Reading>, read: Vec<Now>) -> Result<Vec<Now>> {
    let keys = Arc::clone(&reading.repo.keys);
    let hash = move || {
        let mut blobs = Vec::new();
        for now in &read {
            if let Now::Read(r) = now
                && needs_blob(r)
            {
                blobs.push((keys.blob_id(&r.data), r.data.clone()));
            }
        }
        (read, blobs)
    };
    let (read, blobs): (Vec<Now>, Vec<(BlobId, Bytes)>) = reading.repo.pool.run(hash).await;
    let mut refs = reading.writer.store(&blobs).await?.into_iter();
    let finish = |now: Now| match now {
        Now::Read(read) => {
            let blob = if needs_blob(&read) { refs.next() } else { None };
            let mut at = 0u32;
            let extent = |(bytes, is_data): (u64, bool)| {
                let data = match blob {
                    _ if !is_data => ExtentData::Hole,
                    Some(blob) => ExtentData::Slice(blob, at),
                    None => ExtentData::Zeros,
                };
                at += if is_data { u32::try_from(bytes).expect("small files are small") } else { 0 };
                Extent { bytes, data }
            };
            let content = match is_inline(&read) {
                true => Content::Inline(read.data.clone()),
                false => Content::Extents(read.stretches.iter().copied().map(extent).collect()),
            };
            let Read { path, meta, size, changed, .. } = read;
            let kind = Kind::File(content);
            Now::Done(Done::Entry(Entry { path, meta, size, changed_during_read: changed, kind }))
        }
        other => other,
    };
    Ok(read.into_iter().map(finish).collect())
}

/// Only of empty files: whoever may read metadata, as a writer's credential may, must not read what files hold.
fn is_inline(read: &Read) -> bool {
    read.size == 0
}

fn needs_blob(read: &Read) -> bool {
    !is_inline(read) && !crate::chunk::marks::is_zero(&read.data)
}
