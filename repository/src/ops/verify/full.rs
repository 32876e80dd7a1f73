//! Every byte of a snapshot is read, decoded and checked against its id; damage is told by path.
//!
//! Groups are read pack by pack, as a restore does; what an earlier window has checked is not read again, as far as
//! the memory of it reaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use hashbrown::{HashMap, HashSet};

use super::live::{Compared, Live};
use super::{Findings, quick};
use crate::ids::BlobRef;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind};
use crate::items::range::Range;
use crate::items::{BlobFetch, segment};
use crate::ops::Task;
use crate::ops::browse::{self, leaves_or_damage};
use crate::ops::reader::{Reader, is_damage};
use crate::ops::restore::fetch::{self, Sink};
use crate::ops::restore::pass::{blocking, parse};
use crate::ops::restore::plan::{Plan, Want};
use crate::ops::snapshots::Snapshot;
use crate::{Error, ErrorKind, Result, limits};

/// Wants of one window: about 40 MiB of lists.
const WINDOW_WANTS: usize = 256 << 10;
/// Files of one window.
const WINDOW_FILES: usize = 128 << 10;
/// Blobs that are remembered as checked: 64 MiB.
const SEEN_MAX: usize = 2 << 20;

/// A file of a window.
#[derive(Debug)]
struct File {
    path: Vec<u8>,
    /// It was named already.
    named: AtomicBool,
    /// Its bytes are compared with the live file's.
    compared: bool,
}

/// Everything that the walk holds.
pub(super) struct Full {
    reader: Arc<Reader>,
    task: Task,
    findings: Arc<Findings>,
    live: Option<Arc<Live>>,
    plan: Plan,
    files: Vec<File>,
    keys: Vec<u128>,
    seen: HashSet<u128>,
    bad: HashMap<u128, String>,
}

/// Checks all that the snapshot holds, and compares it with a live folder if one is given.
pub(super) async fn check(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    live: Option<Live>,
    task: &Task,
    findings: &Arc<Findings>,
) -> Result<()> {
    let mut full = Full {
        reader: Arc::clone(reader),
        task: task.clone(),
        findings: Arc::clone(findings),
        live: live.map(Arc::new),
        plan: Plan::default(),
        files: Vec::new(),
        keys: Vec::new(),
        seen: HashSet::new(),
        bad: HashMap::new(),
    };
    let tree = browse::tree_of(reader, snapshot);
    let mut leaves = leaves_or_damage(&tree, Range::All);
    while let Some(leaf) = leaves.next().await {
        task.check()?;
        match leaf? {
            Ok(leaf) => full.leaf(leaf.entries).await?,
            Err(damage) => findings.add(b"", format!("entries are lost: {}", damage.chain())),
        }
    }
    full.read().await?;
    if let Some(live) = full.live.take() {
        let findings = Arc::clone(findings);
        blocking(move || live.end(&findings)).await?;
    }
    Ok(())
}

/// Every place that the item tree names must be in the summary: a collector keeps nothing else.
pub(super) async fn check_summary(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    uses: &quick::Uses,
    findings: &Findings,
) -> Result<()> {
    let (relocations, mut missing) = (reader.relocations(), 0u64);
    let mut each = |place: crate::ids::Place| {
        let place = relocations.resolve(place);
        if !uses.get(&place.pack).is_some_and(|u| u.ordinals.contains(place.ordinal)) {
            missing += 1;
        }
    };
    match browse::tree_of(reader, snapshot).places(&mut each).await {
        Ok(()) => {}
        // The walk names damage by path.
        Err(e) if is_damage(&e) => {}
        Err(e) => return Err(e),
    }
    if missing > 0 {
        findings.add(b"", format!("the summary does not list {missing} blobs that the snapshot needs"));
    }
    Ok(())
}

impl Full {
    async fn leaf(&mut self, entries: Vec<Entry>) -> Result<()> {
        let (live, findings, task) = (self.live.clone(), Arc::clone(&self.findings), self.task.clone());
        let compared = blocking(move || {
            let compare = |entry: Entry| {
                let content = live.as_ref().map_or(Compared::Nothing, |live| live.compare(&entry, &findings));
                (entry, content)
            };
            task.monitor.entries.add(entries.len() as u64);
            entries.into_iter().map(compare).collect::<Vec<_>>()
        })
        .await?;
        for (entry, compared) in compared {
            if let Kind::File(content) = entry.kind {
                self.task.monitor.files.add(1);
                let compared = compared == Compared::Content;
                self.file(entry.path, entry.size, content, compared).await?;
            }
            if self.plan.len() >= WINDOW_WANTS || self.files.len() >= WINDOW_FILES {
                self.read().await?;
            }
        }
        Ok(())
    }

    async fn file(&mut self, path: Vec<u8>, size: u64, content: Content, compared: bool) -> Result<()> {
        match content {
            Content::Inline(bytes) => {
                self.task.monitor.bytes_done.add(size);
                self.compare_now(compared, path, bytes).await
            }
            Content::Extents(list) => {
                let file = self.join(path, compared);
                self.extents(file, 0, list).await
            }
            Content::Segments(list) => {
                let mut file = self.join(path.clone(), compared);
                let mut at = 0;
                let mut segments = segment::segments(Arc::clone(&self.reader) as Arc<dyn BlobFetch>, list);
                while let Some(read) = segments.next().await {
                    self.task.check()?;
                    match read.and_then(|(bytes, places)| parse(&bytes, &places, size.saturating_sub(at))) {
                        Ok(parsed) => self.extents(file, at, parsed.extents().collect()).await?,
                        Err(e) if is_damage(&e) => self.name(file, e.chain()),
                        Err(e) => return Err(e),
                    }
                    at += limits::SEGMENT_BYTES;
                    if self.plan.len() >= WINDOW_WANTS {
                        let named = self.files[file as usize].named.load(Ordering::Relaxed);
                        let named = self.read().await? || named;
                        file = self.join(path.clone(), compared);
                        self.files[file as usize].named.store(named, Ordering::Relaxed);
                    }
                }
                Ok(())
            }
        }
    }

    fn join(&mut self, path: Vec<u8>, compared: bool) -> u32 {
        self.files.push(File { path, named: AtomicBool::new(false), compared });
        u32::try_from(self.files.len() - 1).expect("a window is bounded")
    }

    fn name(&self, file: u32, what: String) {
        self.files[file as usize].name(&self.findings, what);
    }

    async fn extents(&mut self, file: u32, mut at: u64, list: Vec<Extent>) -> Result<()> {
        for extent in list {
            match (extent.data, u32::try_from(extent.bytes)) {
                (ExtentData::Slice(blob, from), Ok(bytes)) => self.want(file, at, blob, (from, bytes)),
                (ExtentData::Slice(..), Err(_)) => {
                    self.name(file, "a slice is longer than any blob".to_owned());
                }
                (ExtentData::Hole | ExtentData::Zeros, _) => {
                    self.task.monitor.bytes_done.add(extent.bytes);
                    self.compare_zeros(file, at, extent.bytes).await?;
                }
            }
            at += extent.bytes;
        }
        Ok(())
    }

    fn want(&mut self, file: u32, at: u64, blob: BlobRef, (from, bytes): (u32, u32)) {
        let key = key(&blob);
        if let Some(what) = self.bad.get(&key) {
            return self.name(file, what.clone());
        }
        if self.live.is_none() && self.seen.contains(&key) {
            self.task.monitor.bytes_done.add(bytes.into());
            return;
        }
        self.plan.push(file, at, blob, from, bytes);
        self.keys.push(key);
    }

    /// Reads what the window wants. True if the last file of it was named as damaged.
    async fn read(&mut self) -> Result<bool> {
        let sink = Arc::new(Checker {
            files: std::mem::take(&mut self.files),
            findings: Arc::clone(&self.findings),
            task: self.task.clone(),
            live: self.live.clone(),
            lost: std::sync::Mutex::default(),
        });
        let plan = std::mem::take(&mut self.plan);
        if plan.len() > 0 {
            let at_once = fetch::batches_at_once(limits::MEMORY_BYTES);
            fetch::run(&self.reader, plan, &sink, at_once, &self.task).await?;
        }
        let keys = std::mem::take(&mut self.keys);
        if self.seen.len() + keys.len() <= SEEN_MAX {
            self.seen.extend(keys);
        }
        self.bad.extend(std::mem::take(&mut *super::lock(&sink.lost)));
        Ok(sink.files.last().is_some_and(|f| f.named.load(Ordering::Relaxed)))
    }

    async fn compare_now(&self, compared: bool, path: Vec<u8>, bytes: bytes::Bytes) -> Result<()> {
        let Some(live) = self.live.clone().filter(|_| compared) else { return Ok(()) };
        let findings = Arc::clone(&self.findings);
        let work = move || {
            if let Some(what) = live.compare_bytes(&path, 0, &bytes) {
                findings.add(&path, what);
            }
        };
        blocking(work).await
    }

    async fn compare_zeros(&self, file: u32, at: u64, bytes: u64) -> Result<()> {
        let file = &self.files[file as usize];
        let Some(live) = self.live.clone().filter(|_| file.compared) else { return Ok(()) };
        let path = file.path.clone();
        if let Some(what) = blocking(move || live.compare_zeros(&path, at, bytes)).await? {
            file.name(&self.findings, what);
        }
        Ok(())
    }
}

/// Tells blobs and their places apart.
fn key(blob: &BlobRef) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&blob.id.0).update(&blob.place.pack.to_bytes()).update(&blob.place.ordinal.to_le_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(out)
}

impl File {
    fn name(&self, findings: &Findings, what: String) {
        if !self.named.swap(true, Ordering::Relaxed) {
            findings.add(&self.path, what);
        }
    }
}

/// Looks at every slice that was read.
struct Checker {
    files: Vec<File>,
    findings: Arc<Findings>,
    task: Task,
    live: Option<Arc<Live>>,
    lost: std::sync::Mutex<HashMap<u128, String>>,
}

impl Sink for Checker {
    fn take(&self, want: &Want, bytes: &[u8]) {
        self.task.monitor.bytes_done.add(bytes.len() as u64);
        let file = &self.files[want.file as usize];
        let Some(live) = self.live.as_ref().filter(|_| file.compared) else { return };
        if let Some(what) = live.compare_bytes(&file.path, want.at, bytes) {
            file.name(&self.findings, what);
        }
    }

    fn lost(&self, want: &Want, blob: &BlobRef, error: &Error) {
        self.files[want.file as usize].name(&self.findings, error.chain());
        let mut lost = super::lock(&self.lost);
        if lost.len() < SEEN_MAX / 16 {
            lost.insert(key(blob), error.chain());
        }
    }

    fn check(&self) -> Result<()> {
        if self.task.cancel.is_cancelled() {
            Err(Error::new(ErrorKind::Cancelled, "cancelled"))
        } else {
            Ok(())
        }
    }
}
