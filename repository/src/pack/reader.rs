//! Reads blobs back from stored packs by ranged reads of whole frames.
//!
//! Every frame is authenticated and every blob's id checked, on every path. Footers and recently decoded groups are
//! kept in small caches; nothing is ever trusted because it came from a cache.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::footer::{Footer, GroupInfo};
use super::frame::{
    Frames, PackError, PackKind, SEALED_FRAME_BYTES, Shape, TAIL_LEN, TRAILER_LEN, TRAILER_MAGIC,
};
use super::group;
use crate::cpu::Pool;
use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef, PackId};
use crate::keys::stored::refresh;
use crate::keys::{DomainKeys, KeyError};
use crate::layout::Layout;
use crate::limits::FRAME_BYTES;
use crate::store::{Key, Store, StoreError, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// What the first read of a pack asks for: the tail and, for most packs, the whole footer.
const TAIL_READ_BYTES: u64 = 192 << 10;
/// Two needed ranges with a smaller gap are read as one.
const MERGE_GAP_BYTES: u64 = 256 << 10;
/// One merged read is not longer than this.
const READ_BYTES_MAX: u64 = 8 << 20;
/// When one blob is asked for, groups up to here are read along: metadata is read in order.
const READ_AHEAD_BYTES: u64 = 512 << 10;
/// Decoded groups kept.
const GROUP_CACHE_BYTES: usize = 24 << 20;
/// Blobs in kept footers.
const FOOTER_CACHE_BLOBS: usize = 400_000;

/// A decoded group.
#[derive(Clone, Debug)]
pub struct GroupData {
    /// Its number in the pack.
    pub group: u32,
    /// Ordinal of its first blob.
    pub first_ordinal: u32,
    /// Its blobs, in order; every id was checked.
    pub blobs: Vec<(BlobId, Bytes)>,
}

/// What a pack is, and what it holds.
#[derive(Clone, Debug)]
pub struct Described {
    /// Data or metadata.
    pub kind: PackKind,
    /// The epoch whose key it is sealed under.
    pub epoch: u32,
    /// Its groups and blobs.
    pub footer: Arc<Footer>,
}

/// An opened pack.
#[derive(Debug)]
struct OpenPack {
    id: PackId,
    kind: PackKind,
    epoch: u32,
    shape: Shape,
    frames: Frames,
    footer: Arc<Footer>,
}

/// Reads blobs. Shared by all who read from one domain.
#[derive(Debug)]
pub struct BlobReader {
    store: Arc<dyn Store>,
    layout: Layout,
    keys: Arc<DomainKeys>,
    pool: Pool,
    packs: Mutex<Cache<PackId, Arc<OpenPack>>>,
    groups: Mutex<Cache<(PackId, u32), Arc<GroupData>>>,
}

impl BlobReader {
    /// Reads from this domain of this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, layout: Layout, keys: Arc<DomainKeys>, pool: Pool) -> Self {
        let packs = Mutex::new(Cache::new(FOOTER_CACHE_BLOBS));
        let groups = Mutex::new(Cache::new(GROUP_CACHE_BYTES));
        Self { store, layout, keys, pool, packs, groups }
    }

    /// Keeps only this part of what one reader may keep in memory: for one of so many in a process.
    #[must_use]
    pub fn one_of(mut self, readers: usize) -> Self {
        let readers = readers.max(1);
        self.packs = Mutex::new(Cache::new(FOOTER_CACHE_BLOBS / readers));
        self.groups = Mutex::new(Cache::new(GROUP_CACHE_BYTES / readers));
        self
    }

    /// The footer of a pack. Fails with `NotFound` where the pack is gone, `Damaged` where it is not what was stored.
    pub async fn footer(&self, pack: PackId) -> Result<Arc<Footer>> {
        Ok(Arc::clone(&self.open(pack).await?.footer))
    }

    /// The same with what else the pack says of itself; one request, or none for one that was opened lately.
    pub async fn describe(&self, pack: PackId) -> Result<Described> {
        let open = self.open(pack).await?;
        Ok(Described { kind: open.kind, epoch: open.epoch, footer: Arc::clone(&open.footer) })
    }

    /// One blob's bytes.
    pub async fn get(&self, blob: BlobRef) -> Result<Bytes> {
        let open = self.open(blob.place.pack).await?;
        let info = open.footer.blobs.get(blob.place.ordinal as usize).filter(|b| b.id == blob.id);
        let Some(info) = info else {
            let what = format!("{}: has no blob {} at {}", self.name(&open), blob.id, blob.place.ordinal);
            return Err(Error::new(ErrorKind::Damaged, what));
        };
        let cached = lock(&self.groups).get(&(open.id, info.group));
        let data = match cached {
            Some(data) => data,
            // Damage of a group that was only read along must not hide a healthy one.
            None => match self.read_along(&open, info.group, READ_AHEAD_BYTES).await {
                Err(e) if e.kind() == ErrorKind::Damaged => self.read_along(&open, info.group, 0).await?,
                other => other?,
            },
        };
        let at = (blob.place.ordinal - data.first_ordinal) as usize;
        data.blobs.get(at).map(|(_, bytes)| bytes.clone()).ok_or_else(|| internal("a group lacks its blob"))
    }

    /// Several groups of a pack (any order, no repeats needed), with as few reads as sensible. They are not cached.
    pub async fn read_groups(&self, pack: PackId, groups: &[u32]) -> Result<Vec<GroupData>> {
        let open = self.open(pack).await?;
        let mut wanted: Vec<u32> = groups.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut out = Vec::with_capacity(wanted.len());
        for run in self.runs(&open, &wanted)? {
            match self.read_run(&open, run.clone()).await {
                // Damage that lies between groups is not theirs.
                Err(e) if e.kind() == ErrorKind::Damaged && run.len() > 1 => {
                    for number in run {
                        out.extend(self.read_run(&open, vec![number]).await?);
                    }
                }
                read => out.extend(read?),
            }
        }
        Ok(out)
    }

    /// Reads what lies behind the groups: padding, footer and trailer, which no read of groups proves.
    pub async fn check_end(&self, pack: PackId) -> Result<()> {
        let open = self.open(pack).await?;
        let body = open.footer.body_len();
        if body == open.shape.plain_len {
            return Ok(());
        }
        let frames = open.shape.frames_of(&(body..open.shape.plain_len));
        let key = self.layout.pack(open.id);
        let sealed = self.read(&key, open.shape.stored(&frames)).await?;
        let work = move || open.frames.open_all(open.shape, frames.start, &sealed).map(drop);
        self.pool.run(work).await.context(ErrorKind::Damaged, || key.to_string())
    }

    async fn read_along(&self, open: &Arc<OpenPack>, group: u32, ahead: u64) -> Result<Arc<GroupData>> {
        let first = open.footer.groups[group as usize].at;
        let more = open.footer.groups.iter().enumerate().skip(group as usize + 1);
        let near = more.take_while(|(_, g)| g.at + u64::from(g.stored) <= first + ahead);
        let mut wanted = vec![group];
        wanted.extend(near.filter_map(|(i, _)| u32::try_from(i).ok()));
        let mut found = None;
        for data in self.read_run(open, wanted).await? {
            let number = data.group;
            let bytes = data.blobs.iter().map(|(_, b)| b.len() + 64).sum();
            let data = Arc::new(data);
            lock(&self.groups).put((open.id, number), Arc::clone(&data), bytes);
            if number == group {
                found = Some(data);
            }
        }
        found.ok_or_else(|| internal("a read did not bring what it was made for"))
    }

    /// Cuts sorted group numbers into runs that are read at once.
    fn runs(&self, open: &OpenPack, wanted: &[u32]) -> Result<Vec<Vec<u32>>> {
        let mut runs: Vec<Vec<u32>> = Vec::new();
        let (mut start, mut end) = (0, 0);
        for &number in wanted {
            let group = open.footer.groups.get(number as usize).ok_or_else(|| {
                Error::new(ErrorKind::Damaged, format!("{}: has no group {number}", self.name(open)))
            })?;
            let group_end = group.at + u64::from(group.stored);
            match runs.last_mut() {
                Some(run) if group.at <= end + MERGE_GAP_BYTES && group_end - start <= READ_BYTES_MAX => {
                    run.push(number);
                }
                _ => {
                    runs.push(vec![number]);
                    start = group.at;
                }
            }
            end = group_end;
        }
        Ok(runs)
    }

    async fn read_run(&self, open: &Arc<OpenPack>, run: Vec<u32>) -> Result<Vec<GroupData>> {
        let groups: Vec<(u32, GroupInfo)> =
            run.iter().map(|&n| (n, open.footer.groups[n as usize])).collect();
        let (Some((_, first)), Some((_, last))) = (groups.first(), groups.last()) else {
            return Ok(Vec::new());
        };
        let plain = first.at..last.at + u64::from(last.stored);
        let frames = open.shape.frames_of(&plain);
        let key = self.layout.pack(open.id);
        let sealed = self.read(&key, open.shape.stored(&frames)).await?;
        let (open, keys) = (Arc::clone(open), Arc::clone(&self.keys));
        let work = move || decode_run(&open, &keys, frames.start, &sealed, &groups);
        self.pool.run(work).await.context(ErrorKind::Damaged, || key.to_string())
    }

    async fn open(&self, id: PackId) -> Result<Arc<OpenPack>> {
        if let Some(open) = lock(&self.packs).get(&id) {
            return Ok(open);
        }
        match self.open_anew(id).await {
            // An epoch that was added since these keys were read: no damage before they are read again.
            Err(e) if lacks_epoch(&e) && refresh(&*self.store, &self.layout, &self.keys).await? => {
                self.open_anew(id).await
            }
            other => other,
        }
    }

    async fn open_anew(&self, id: PackId) -> Result<Arc<OpenPack>> {
        let key = self.layout.pack(id);
        let damaged = |e: PackError| {
            let is_role = matches!(e, PackError::Key(KeyError::WriterOnly));
            let kind = if is_role { ErrorKind::Key } else { ErrorKind::Damaged };
            Error::with_source(kind, key.to_string(), e)
        };
        let (bytes, size) =
            self.store.get_tail(&key, TAIL_READ_BYTES).await.map_err(|e| read_error(&key, e))?;
        let shape = Shape::of(size).ok_or_else(|| damaged(PackError::NotAPack))?;
        // The read may begin within a frame: only whole ones can be opened.
        let missing = size.saturating_sub(bytes.len() as u64);
        let first =
            u32::try_from(missing.div_ceil(SEALED_FRAME_BYTES as u64)).unwrap_or(u32::MAX).min(shape.frames);
        let skip = usize::try_from(shape.stored(&(first..first)).start.saturating_sub(missing)).unwrap_or(0);
        let bytes = bytes.slice(skip.min(bytes.len())..);
        let (sealed, tail) = bytes.split_at(bytes.len().saturating_sub(TAIL_LEN));
        let tail: &[u8; TAIL_LEN] = tail.try_into().map_err(|_| damaged(PackError::NotAPack))?;
        let epoch = Frames::epoch_of(tail);
        let (frames, kind) = Frames::open(&self.keys, id, tail).map_err(damaged)?;
        // Only the footer's own frames are opened: a damaged one that merely came along is its groups' loss alone.
        let trailer = shape.frames_of(&(shape.plain_len - TRAILER_LEN as u64..shape.plain_len)).start;
        let came = |from: u32| {
            let skip = from.checked_sub(first).map(|n| n as usize * SEALED_FRAME_BYTES);
            skip.and_then(|n| sealed.get(n..)).ok_or_else(|| damaged(PackError::NotAPack))
        };
        let mut plain = frames.open_all(shape, trailer, came(trailer)?).map_err(damaged)?;
        let needed = (footer_len(&plain).map_err(damaged)? + TRAILER_LEN) as u64;
        let start =
            shape.plain_len.checked_sub(needed).ok_or(PackError::Content("trailer")).map_err(damaged)?;
        let start = shape.frames_of(&(start..shape.plain_len)).start;
        if start < trailer {
            let mut sealed = Vec::new();
            if start < first {
                sealed.extend_from_slice(&self.read(&key, shape.stored(&(start..first))).await?);
            }
            let come = came(start.max(first))?;
            sealed.extend_from_slice(&come[..(trailer - start.max(first)) as usize * SEALED_FRAME_BYTES]);
            let mut longer = frames.open_all(shape, start, &sealed).map_err(damaged)?;
            longer.extend_from_slice(&plain);
            plain = longer;
        }
        let footer = Arc::new(footer_of(&plain).map_err(damaged)?);
        if footer.body_len() + needed > shape.plain_len {
            return Err(damaged(PackError::Content("footer")));
        }
        let weight = footer.blobs.len() + 16;
        let open = Arc::new(OpenPack { id, kind, epoch, shape, frames, footer });
        lock(&self.packs).put(id, Arc::clone(&open), weight);
        Ok(open)
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(key, range).await.map_err(|e| read_error(key, e))
    }

    fn name(&self, open: &OpenPack) -> String {
        self.layout.pack(open.id).to_string()
    }
}

/// True where a key ring that is newer might help.
fn lacks_epoch(e: &Error) -> bool {
    let source = std::error::Error::source(e).and_then(|e| e.downcast_ref::<PackError>());
    matches!(source, Some(PackError::Key(KeyError::NoEpoch(_))))
}

fn read_error(key: &Key, e: StoreError) -> Error {
    let kind = if e.kind == StoreErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Store };
    Error::with_source(kind, format!("read pack {key}"), e)
}

fn decode_run(
    open: &OpenPack,
    keys: &DomainKeys,
    first_frame: u32,
    sealed: &[u8],
    groups: &[(u32, GroupInfo)],
) -> Result<Vec<GroupData>, PackError> {
    let plain = open.frames.open_all(open.shape, first_frame, sealed)?;
    let start = u64::from(first_frame) * FRAME_BYTES as u64;
    let mut out = Vec::with_capacity(groups.len());
    for (number, info) in groups {
        let at = usize::try_from(info.at - start).map_err(|_| PackError::Content("group"))?;
        let stored = plain.get(at..at + info.stored as usize).ok_or(PackError::Content("group"))?;
        let blobs = group::open(keys, info, open.footer.blobs_of(info), stored)?;
        out.push(GroupData { group: *number, first_ordinal: info.first_ordinal, blobs });
    }
    Ok(out)
}

fn footer_len(plain: &[u8]) -> Result<usize, PackError> {
    let trailer = plain.last_chunk::<TRAILER_LEN>().ok_or(PackError::Content("trailer"))?;
    let (len, magic) = trailer.split_at(4);
    match len.try_into() {
        Ok(len) if magic == TRAILER_MAGIC => Ok(u32::from_le_bytes(len) as usize),
        _ => Err(PackError::Content("trailer")),
    }
}

/// The footer at the end of a plain stream (or of enough of its end).
pub(super) fn footer_of(plain: &[u8]) -> Result<Footer, PackError> {
    let end = plain.len() - TRAILER_LEN.min(plain.len());
    let start = end.checked_sub(footer_len(plain)?).ok_or(PackError::Content("footer"))?;
    Footer::decode(&plain[start..end]).map_err(|_| PackError::Content("footer"))
}

fn internal(what: &str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what was used last, up to a total weight.
#[derive(Debug)]
struct Cache<K, V> {
    items: HashMap<K, (V, usize)>,
    order: VecDeque<K>,
    weight: usize,
    weight_max: usize,
}

impl<K: Copy + Eq + std::hash::Hash, V: Clone> Cache<K, V> {
    fn new(weight_max: usize) -> Self {
        Self { items: HashMap::new(), order: VecDeque::new(), weight: 0, weight_max }
    }

    fn get(&self, key: &K) -> Option<V> {
        self.items.get(key).map(|(v, _)| v.clone())
    }

    fn put(&mut self, key: K, value: V, weight: usize) {
        if let Some((_, old)) = self.items.insert(key, (value, weight)) {
            self.weight -= old;
            self.order.retain(|k| *k != key);
        }
        self.weight += weight;
        self.order.push_back(key);
        while self.weight > self.weight_max && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, weight)) = self.items.remove(&oldest) {
                self.weight -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests;
