//! Small repositories for tests, made by hand: every blob lies where the test wants it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::Result;
use crate::chunk::marks;
use crate::chunk::segment::{self, Segment, SegmentBlob, Stretch, StretchData};
use crate::env::{Env, Timestamp};
use crate::ids::{BlobRef, DomainName, Generation, PackRef, Place, Sid};
use crate::items::cut::TreeKey;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind, Meta, path_cmp};
use crate::items::segment::put_segment;
use crate::items::{MetaSink, TreeWriter};
use crate::keys::Credential;
use crate::layout::ObjectKind;
use crate::limits;
use crate::manifest::record::Outcome;
use crate::manifest::summary::{self, SummaryBuilder};
use crate::manifest::{Manifest, Summary};
use crate::ops::init::{InitOptions, init};
use crate::ops::snapshots::Snapshot;
use crate::ops::{OpenOptions, Repository};
use crate::pack::writer::PackBuilder;
use crate::pack::{PackKind, group};
use crate::store::{RemoteStore, Store};

/// A pack being filled.
struct Packer {
    repo: Arc<Repository>,
    open: PackBuilder,
    kind: PackKind,
    done: Vec<PackRef>,
}

fn builder(repo: &Repository, kind: PackKind) -> PackBuilder {
    PackBuilder::new(&repo.keys, Sid([1; 16]), kind, &repo.env, 1 << 20)
}

impl Packer {
    fn new(repo: &Arc<Repository>, kind: PackKind) -> Self {
        Self { repo: Arc::clone(repo), open: builder(repo, kind), kind, done: Vec::new() }
    }

    fn group(&mut self, blobs: &[&[u8]]) -> Vec<BlobRef> {
        let blobs: Vec<_> =
            blobs.iter().map(|b| (self.repo.keys.blob_id(b), Bytes::copy_from_slice(b))).collect();
        let first = self.open.append(&group::build(&blobs, 1));
        let place = |i: usize| Place { pack: self.open.id(), ordinal: first + i as u32 };
        blobs.iter().enumerate().map(|(i, (id, _))| BlobRef { id: *id, place: place(i) }).collect()
    }

    async fn close(&mut self) {
        let open = std::mem::replace(&mut self.open, builder(&self.repo, self.kind));
        if !open.is_empty() {
            let pack = open.finish(&self.repo.keys).unwrap();
            self.repo.store.put_new(&self.repo.layout.pack(pack.pack.id), pack.bytes).await.unwrap();
            self.done.push(pack.pack);
        }
    }
}

#[async_trait]
impl MetaSink for Packer {
    async fn put(&mut self, plain: Vec<u8>) -> Result<BlobRef> {
        Ok(self.group(&[&plain])[0])
    }
}

/// Collects a snapshot.
pub(crate) struct Sample {
    pub(crate) repo: Arc<Repository>,
    data: Packer,
    meta: Packer,
    entries: Vec<Entry>,
}

/// A repository in memory, empty.
pub(crate) async fn repository() -> Arc<Repository> {
    let store: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    open_in(store).await
}

fn credential() -> Credential {
    Credential::KeyFile(Zeroizing::new([3; 32]))
}

async fn open(store: Arc<dyn Store>) -> Arc<Repository> {
    let domain = DomainName::default_domain();
    let options =
        OpenOptions { domain, credential: credential(), cache_dir: None, remote: false, cpu_threads: 1 };
    Repository::open(store, options, Env::system()).await.unwrap()
}

/// A repository in this store, empty.
pub(crate) async fn open_in(store: Arc<dyn Store>) -> Arc<Repository> {
    let options = InitOptions { domain: DomainName::default_domain(), credentials: vec![credential()] };
    init(Arc::clone(&store), options, &Env::system()).await.unwrap();
    open(store).await
}

/// The same repository without anything in its caches.
pub(crate) async fn reopen(repo: &Repository) -> Arc<Repository> {
    open(Arc::clone(&repo.store)).await
}

/// Bytes that don't compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Metadata that this process may set.
pub(crate) fn meta(mode: u32) -> Meta {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Meta { mode, uid, gid, mtime: Timestamp(1_600_000_000_987_654_321), ..Meta::default() }
}

impl Sample {
    pub(crate) fn new(repo: &Arc<Repository>) -> Self {
        let (data, meta) = (Packer::new(repo, PackKind::Data), Packer::new(repo, PackKind::Meta));
        let mut sample = Self { repo: Arc::clone(repo), data, meta, entries: Vec::new() };
        sample.entry("", self::meta(0o755), 0, Kind::Directory);
        sample
    }

    /// Stores blobs as one group.
    pub(crate) fn group(&mut self, blobs: &[&[u8]]) -> Vec<BlobRef> {
        self.data.group(blobs)
    }

    /// Later blobs go into another pack.
    pub(crate) async fn next_pack(&mut self) {
        self.data.close().await;
    }

    pub(crate) fn entry(&mut self, path: &str, meta: Meta, size: u64, kind: Kind) -> &mut Entry {
        let path = path.as_bytes().to_vec();
        self.entries.push(Entry { path, meta, size, changed_during_read: false, kind });
        self.entries.last_mut().unwrap()
    }

    pub(crate) fn dir(&mut self, path: &str) {
        self.entry(path, meta(0o750), 0, Kind::Directory);
    }

    /// A file of one blob in a group of its own (or inline, where it is tiny).
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) -> &mut Entry {
        let size = bytes.len() as u64;
        let content = if bytes.len() <= limits::INLINE_BYTES {
            Content::Inline(Bytes::copy_from_slice(bytes))
        } else {
            let blob = self.group(&[bytes])[0];
            Content::Extents(vec![Extent { bytes: size, data: ExtentData::Slice(blob, 0) }])
        };
        self.entry(path, meta(0o640), size, Kind::File(content))
    }

    /// A file of these extents.
    pub(crate) fn extents(&mut self, path: &str, extents: Vec<Extent>) {
        let size = extents.iter().map(|e| e.bytes).sum();
        self.entry(path, meta(0o640), size, Kind::File(Content::Extents(extents)));
    }

    /// A large file: every mebibyte a blob of its own, or a hole where it is zeros.
    pub(crate) async fn large(&mut self, path: &str, bytes: &[u8]) {
        let mut list = Vec::new();
        for part in bytes.chunks(limits::SEGMENT_BYTES as usize) {
            let stretch = |piece: &[u8], data: &mut Packer| {
                let bytes = piece.len() as u64;
                if piece.iter().all(|&b| b == 0) {
                    return Stretch { bytes, data: StretchData::Hole };
                }
                let blob = SegmentBlob { blob: data.group(&[piece])[0], bytes: piece.len() as u32 };
                Stretch { bytes, data: StretchData::Slice(blob, 0) }
            };
            let stretches: Vec<_> = part.chunks(1 << 20).map(|p| stretch(p, &mut self.data)).collect();
            let segment = Segment::new(stretches, marks::marks(self.repo.keys.mark_key(), part));
            let places = segment.blobs().iter().map(|b| b.blob.place).collect();
            list.push(put_segment(&mut self.meta, segment::encode(&segment), places).await.unwrap());
            self.next_pack().await;
        }
        self.entry(path, meta(0o600), bytes.len() as u64, Kind::File(Content::Segments(list)));
    }

    /// Writes the tree and makes the snapshot.
    pub(crate) async fn finish(mut self) -> Snapshot {
        self.entries.sort_by(|a, b| path_cmp(&a.path, &b.path));
        let key: TreeKey = self.repo.keys.tree_key();
        let mut writer = TreeWriter::new(key);
        for entry in &self.entries {
            writer.push(&mut self.meta, entry).await.unwrap();
        }
        let tree = writer.finish(&mut self.meta).await.unwrap();
        self.data.close().await;
        self.meta.close().await;
        let packs = [self.data.done, self.meta.done].concat();
        let mut uses = SummaryBuilder::default();
        let reader = crate::items::TreeReader::new(self.repo.reader(), tree.root);
        reader.places(&mut |place| uses.add(place).unwrap()).await.unwrap();
        let uses = uses.finish(|id| packs.iter().find(|p| p.id == id).map(|p| p.bytes)).unwrap();
        let manifest = Manifest {
            volume: "host:/v".to_owned(),
            host: "host".to_owned(),
            path: b"/v".to_vec(),
            started: Timestamp(1),
            finished: Timestamp(2),
            parent: None,
            tags: Vec::new(),
            entries: self.entries.len() as u64,
            files: 0,
            bytes: self.entries.iter().map(|e| e.size).sum(),
            bytes_new: 0,
            bytes_stored: 0,
            problems: 0,
            changed: 0,
            root: tree.root.node,
            root_usage: tree.root.usage,
            summary: Summary::Inline(summary::encode(&uses)),
            identity: None,
            copied: None,
            repaired: None,
            origin: None,
        };
        let (objects, id) = (self.repo.objects(), Sid([9; 16]));
        let key = objects.layout.outcome(Generation(0), id);
        let outcome = Outcome::Committed { nonce: [0; 16], manifest: Box::new(manifest.clone()) };
        let sealed = objects.seal(ObjectKind::Outcome, &key, &outcome.encode());
        objects.put_own(&key, &sealed).await.unwrap();
        Snapshot { id, manifest }
    }
}

/// A tree with something of each kind that a user may make.
pub(crate) async fn tree(repo: &Arc<Repository>) -> (Snapshot, Vec<(String, Vec<u8>)>) {
    let mut s = Sample::new(repo);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for dir in ["a", "a/deep", "a/deep/er", "b", "empty"] {
        s.dir(dir);
    }
    for i in 0..40u64 {
        let path = format!("a/deep/f{i}");
        let bytes = noise(i, 200 + 40 * i as usize);
        s.file(&path, &bytes);
        files.push((path, bytes));
    }
    s.next_pack().await;
    // Slices of two blobs of one group, a hole between them, zeros at the end.
    let (one, two) = (noise(100, 5000), noise(101, 6000));
    let blobs = s.group(&[&one, &two]);
    let part = |bytes, data| Extent { bytes, data };
    s.extents(
        "b/mixed",
        vec![
            part(1000, ExtentData::Slice(blobs[1], 5000)),
            part(100_000, ExtentData::Hole),
            part(4000, ExtentData::Slice(blobs[0], 7)),
            part(50, ExtentData::Zeros),
        ],
    );
    files.push(("b/mixed".into(), [&two[5000..], &[0; 100_000], &one[7..4007], &[0; 50]].concat()));
    s.extents("b/hole", vec![part(1 << 20, ExtentData::Hole)]);
    files.push(("b/hole".into(), vec![0; 1 << 20]));
    let mut large = noise(102, 35 << 20);
    large[5 << 20..9 << 20].fill(0);
    s.large("b/large", &large).await;
    files.push(("b/large".into(), large));
    s.entry("b/link", meta(0o777), 0, Kind::Symlink(b"../a/deep/f1".to_vec()));
    s.entry("b/fifo", meta(0o620), 0, Kind::Fifo);
    for name in ["a/deep/er/first", "b/second", "b/third"] {
        let entry = s.file(name, &noise(103, 3000));
        (entry.meta.linked, entry.meta.ino) = (true, 77);
        files.push((name.into(), noise(103, 3000)));
    }
    files.sort();
    (s.finish().await, files)
}

/// The blobs of the file at `path`.
pub(crate) async fn blobs_of(repo: &Arc<Repository>, snapshot: &Snapshot, path: &str) -> Vec<BlobRef> {
    let tree = crate::ops::browse::tree(repo, snapshot);
    tree.find(path.as_bytes()).await.unwrap().unwrap().blobs().collect()
}

/// Replaces a stored pack by one with a flipped bit in the frame at this share of it.
pub(crate) async fn damage(repo: &Repository, place: Place, at: f64) {
    let key = repo.layout.pack(place.pack);
    let mut bytes = repo.store.get(&key).await.unwrap().to_vec();
    let at = (bytes.len() as f64 * at) as usize;
    bytes[at] ^= 1;
    repo.store.delete(&key).await.unwrap();
    repo.store.put_new(&key, Bytes::from(bytes)).await.unwrap();
}

/// All regular files below `folder` with their bytes, by path.
pub(crate) fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let mut dirs = vec![folder.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                out.push((path, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    out.sort();
    out
}
