//! Entries of all kinds for tests, and a store of metadata blobs in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::env::Timestamp;
use crate::ids::{BlobId, BlobRef, PackId, Place, Sid};
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind, Meta, SegmentRef};
use crate::items::reader::BlobFetch;
use crate::items::writer::MetaSink;
use crate::{Error, ErrorKind, Result, limits};

pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

/// A blob of pack `n`.
pub(crate) fn blob(n: u8, ordinal: u32) -> BlobRef {
    let id = *blake3::hash(&[&[n][..], &ordinal.to_le_bytes()].concat()).as_bytes();
    BlobRef { id: BlobId(id), place: Place { pack: pack(n), ordinal } }
}

/// A regular file of one blob.
pub(crate) fn file(path: &str, n: u32) -> Entry {
    let time = 1_700_000_000_000_000_000 + i64::from(n) * 1_234_567;
    let meta = Meta {
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime: Timestamp(time - 5_000_000_000),
        ctime: Timestamp(time),
        ino: 10_000 + u64::from(n),
        ..Meta::default()
    };
    let bytes = 3000 + u64::from(n % 5000);
    let extent = Extent { bytes, data: ExtentData::Slice(blob(1, n), 0) };
    let kind = Kind::File(Content::Extents(vec![extent]));
    Entry { path: path.as_bytes().to_vec(), meta, size: bytes, changed_during_read: false, kind }
}

pub(crate) fn directory(path: &str, n: u32) -> Entry {
    Entry { size: 0, kind: Kind::Directory, ..file(path, n) }
}

/// A root and `folders` folders of `files` files each, in order.
pub(crate) fn tree(folders: u32, files: u32) -> Vec<Entry> {
    let mut entries = vec![directory("", 0)];
    for d in 0..folders {
        let folder = format!("folder-{d:05}");
        entries.push(directory(&folder, d * (files + 1)));
        entries
            .extend((0..files).map(|f| file(&format!("{folder}/file-{f:05}.txt"), d * (files + 1) + f + 1)));
    }
    entries
}

fn any_blob() -> impl Strategy<Value = BlobRef> {
    (0u8..4, 0u32..2000).prop_map(|(n, ordinal)| blob(n, ordinal))
}

fn any_extent() -> impl Strategy<Value = Extent> {
    let bytes = 1u64..100_000;
    let slice = (any_blob(), prop_oneof![Just(0u32), 1u32..1000]);
    let slice = slice.prop_map(|(b, offset)| ExtentData::Slice(b, offset));
    let data = prop_oneof![Just(ExtentData::Hole), Just(ExtentData::Zeros), slice];
    (bytes, data).prop_map(|(bytes, data)| Extent { bytes, data })
}

/// Kinds with the sizes that go with them.
pub(crate) fn any_kind() -> impl Strategy<Value = (Kind, u64)> {
    let inline = vec(any::<u8>(), 0..=limits::INLINE_BYTES)
        .prop_map(|b| (Kind::File(Content::Inline(Bytes::from(b.clone()))), b.len() as u64));
    let extents = vec(any_extent(), 0..6).prop_map(|list| {
        let size = list.iter().map(|e| e.bytes).sum();
        (Kind::File(Content::Extents(list)), size)
    });
    let pair = (any_blob(), any_blob()).prop_map(|(segment, usage)| SegmentRef { segment, usage });
    let segments = vec(pair, 1..5).prop_map(|list| {
        let size = (list.len() as u64 - 1) * limits::SEGMENT_BYTES + 1;
        (Kind::File(Content::Segments(list)), size)
    });
    prop_oneof![
        inline,
        extents,
        segments,
        Just((Kind::Directory, 0)),
        vec(1u8..=255, 0..40).prop_map(|t| (Kind::Symlink(t), 0)),
        Just((Kind::Fifo, 0)),
        Just((Kind::Socket, 0)),
        any::<(u32, u32)>().prop_map(|(a, b)| (Kind::CharDevice(a, b), 0)),
        any::<(u32, u32)>().prop_map(|(a, b)| (Kind::BlockDevice(a, b), 0)),
    ]
}

fn any_meta() -> impl Strategy<Value = Meta> {
    let time = prop_oneof![any::<i64>(), (-4i64..4).prop_map(|s| s * 1_000_000_000), Just(5)];
    let xattrs = btree_map(vec(1u8..=255, 1..12), vec(any::<u8>(), 0..200), 0..5);
    let owner = (0u32..0o10000, prop_oneof![0u32..3, any::<u32>()], 0u32..3);
    (owner, time.clone(), time, any::<u64>(), any::<bool>(), xattrs).prop_map(
        |((mode, uid, gid), mtime, ctime, ino, linked, xattrs)| Meta {
            mode,
            uid,
            gid,
            mtime: Timestamp(mtime),
            ctime: Timestamp(ctime),
            ino,
            linked,
            xattrs: xattrs.into_iter().collect(),
        },
    )
}

/// Paths of short names of few letters, so that they share much, some of them not UTF-8.
fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(0xffu8), Just(b'!'), Just(b' ')];
    vec(vec(letter, 1..4), 0..5)
        .prop_map(|names| names.join(&b'/'))
        .prop_filter("no dot names", |p| crate::items::entry::check_path(p).is_ok())
}

/// Entries of all kinds, in order.
pub(crate) fn any_entries(max: usize) -> impl Strategy<Value = Vec<Entry>> {
    let entry = (any_path(), any_meta(), any_kind(), any::<bool>()).prop_map(
        |(path, meta, (kind, size), changed)| Entry { path, meta, size, changed_during_read: changed, kind },
    );
    vec(entry, 0..max).prop_map(|mut entries| {
        entries.sort_by(|a, b| crate::items::entry::path_cmp(&a.path, &b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        entries
    })
}

/// Stores metadata blobs in memory, each once, in pack 9.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) blobs: Mutex<BTreeMap<BlobId, (u32, Bytes)>>,
    pub(crate) gets: AtomicUsize,
}

impl Memory {
    pub(crate) fn count(&self) -> usize {
        self.blobs.lock().unwrap().len()
    }

    /// Puts `bytes` in the place of the blob `id`, as a store that lies would.
    pub(crate) fn forge(&self, id: BlobId, bytes: Vec<u8>) {
        self.blobs.lock().unwrap().get_mut(&id).unwrap().1 = Bytes::from(bytes);
    }

    pub(crate) fn bytes(&self, id: BlobId) -> Bytes {
        self.blobs.lock().unwrap()[&id].1.clone()
    }

    pub(crate) fn gets(&self) -> usize {
        self.gets.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl MetaSink for &Memory {
    async fn put(&mut self, plain: Vec<u8>) -> Result<BlobRef> {
        let id = BlobId(*blake3::hash(&plain).as_bytes());
        let mut blobs = self.blobs.lock().unwrap();
        let new = blobs.len() as u32;
        let ordinal = blobs.entry(id).or_insert((new, Bytes::from(plain))).0;
        Ok(BlobRef { id, place: Place { pack: pack(9), ordinal } })
    }
}

#[async_trait]
impl BlobFetch for Memory {
    async fn get(&self, blob: BlobRef) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let blobs = self.blobs.lock().unwrap();
        match blobs.get(&blob.id) {
            Some((ordinal, bytes)) if *ordinal == blob.place.ordinal => Ok(bytes.clone()),
            _ => Err(Error::new(ErrorKind::Damaged, format!("blob {} is not there", blob.id))),
        }
    }
}
