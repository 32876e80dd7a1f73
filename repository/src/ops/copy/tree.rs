//! One snapshot's tree: what is as it was in the earlier snapshot is taken over from that one's copy, the rest is brought over.
//!
//! Leaves that both snapshots of the source have are not read: their entries come from the copy. Entries of other leaves
//! are compared with the earlier snapshot's by ids. Leaves are worked on several at once, and written in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::blobs::Bridge;
use super::segments::Taken;
use super::walk::{LeafName, LeafWalk, Step, read_leaf};
use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef};
use crate::items::entry::{Content, Entry, ExtentData, Kind, SegmentRef, path_cmp};
use crate::items::range::Range;
use crate::items::{BlobFetch, NodeRef, Tree, TreeReader, TreeWriter};
use crate::limits::{COPY_LEAVES_AT_ONCE, SEGMENT_BYTES};
use crate::ops::Problems;
use crate::ops::reader::is_damage;
use crate::{Error, ErrorKind, Result};

/// An earlier snapshot of the source, and its copy in the target.
pub(super) struct Earlier {
    pub(super) source: NodeRef,
    pub(super) target: NodeRef,
    /// Reads the target.
    pub(super) fetch: Arc<dyn BlobFetch>,
}

/// An entry of the source, and what the earlier snapshot and its copy have in its place.
struct Paired {
    entry: Entry,
    old: Option<(Entry, Entry)>,
}

/// A path, and why what is there is lost.
type Lost = (Vec<u8>, String);
/// What came of an entry: its copy, or why it is lost.
type Done = std::result::Result<Entry, Lost>;

/// A tree that was written.
pub(super) struct Written {
    pub(super) tree: Tree,
    /// What is lost, by path.
    pub(super) lost: Problems,
}

/// The source's earlier tree and its copy, side by side with the tree that is copied. Both only go forward.
struct Pairs {
    source: Arc<dyn BlobFetch>,
    walk: Option<LeafWalk>,
    ahead: VecDeque<LeafName>,
    copies: std::iter::Peekable<std::vec::IntoIter<Entry>>,
    leaves: Option<BoxStream<'static, Result<crate::items::reader::Leaf>>>,
    /// Entries of the earlier leaf that was read last.
    read: Option<(BlobId, HashMap<Vec<u8>, Entry>)>,
}

/// Copies the tree below `root`.
pub(super) async fn copy_tree(
    bridge: &Arc<Bridge>,
    root: NodeRef,
    earlier: Option<Earlier>,
) -> Result<Written> {
    let fetch = Arc::clone(&bridge.source) as Arc<dyn BlobFetch>;
    let target: Option<Arc<dyn BlobFetch>> = earlier.as_ref().map(|e| Arc::clone(&e.fetch));
    let mut pairs = Pairs::new(&fetch, earlier);
    let mut walk = LeafWalk::new(Arc::clone(&fetch), root);
    let mut out = Output::new(bridge);
    while let Some(step) = walk.next().await? {
        bridge.task.check()?;
        let leaf = match step {
            Step::Leaf(leaf) => leaf,
            Step::Lost { last, entries, why } => {
                out.lose(last, entries, &why).await?;
                continue;
            }
        };
        let this = (Arc::clone(bridge), Arc::clone(&fetch), target.clone());
        if let Some(copies) = pairs.find_copy(&leaf).await? {
            out.spawn(async move {
                let (bridge, fetch, target) = this;
                if let Some(target) = &target
                    && let Some(done) = take_over(&bridge, &**target, copies).await?
                {
                    return Ok(done);
                }
                let entries = read_leaf(&*fetch, &leaf).await;
                match losing(&leaf, entries)? {
                    Ok(entries) => {
                        let pairs = entries.into_iter().map(|entry| Paired { entry, old: None }).collect();
                        copy_entries(&bridge, None, pairs).await
                    }
                    Err(lost) => Ok(vec![Err(lost)]),
                }
            })
            .await?;
            continue;
        }
        let entries = match losing(&leaf, read_leaf(&*fetch, &leaf).await)? {
            Ok(entries) => entries,
            Err((last, why)) => {
                out.lose(last, leaf.told.as_ref().map_or(0, |c| c.entries), &why).await?;
                continue;
            }
        };
        let paired = pairs.pair(entries).await?;
        out.spawn(async move { copy_entries(&this.0, this.2.as_deref(), paired).await }).await?;
    }
    out.finish().await
}

/// Damage as a loss.
fn losing(leaf: &LeafName, read: Result<Vec<Entry>>) -> Result<std::result::Result<Vec<Entry>, Lost>> {
    match read {
        Ok(entries) => Ok(Ok(entries)),
        Err(e) if is_damage(&e) => match &leaf.told {
            Some(child) => Ok(Err((child.last.clone(), lost_text(child.entries, &e.chain())))),
            // All of the tree: there is nothing to go on with.
            None => Err(e),
        },
        Err(e) => Err(e),
    }
}

fn lost_text(entries: u64, why: &str) -> String {
    format!("{entries} entries up to here are lost: {why}")
}

impl Pairs {
    fn new(source: &Arc<dyn BlobFetch>, earlier: Option<Earlier>) -> Self {
        let walk = earlier.as_ref().map(|e| LeafWalk::new(Arc::clone(source), e.source));
        let leaves = earlier.map(|e| TreeReader::new(e.fetch, e.target).leaves(Range::All));
        let (source, copies) = (Arc::clone(source), Vec::new().into_iter().peekable());
        Self { source, walk, ahead: VecDeque::new(), copies, leaves, read: None }
    }

    /// Loads names of earlier leaves until one reaches `path`. Damage ends the earlier tree: then all is brought over anew.
    async fn look_ahead(&mut self, path: &[u8]) -> Result<()> {
        let reaches = |leaf: &LeafName| leaf.told.as_ref().is_none_or(|c| path_cmp(&c.last, path).is_ge());
        while self.ahead.back().is_none_or(|last| !reaches(last)) {
            let Some(walk) = &mut self.walk else { return Ok(()) };
            match walk.next().await {
                Ok(Some(Step::Leaf(leaf))) => self.ahead.push_back(*leaf),
                Ok(Some(Step::Lost { .. })) => {}
                Ok(None) => self.walk = None,
                Err(e) if is_damage(&e) => self.walk = None,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn forget_up_to(&mut self, after: Option<&[u8]>) {
        let Some(after) = after else { return };
        let past = |leaf: &LeafName| leaf.told.as_ref().is_some_and(|c| path_cmp(&c.last, after).is_le());
        while self.ahead.front().is_some_and(past) {
            self.ahead.pop_front();
        }
    }

    /// The copies of all entries of a leaf that the earlier snapshot has too.
    async fn find_copy(&mut self, leaf: &LeafName) -> Result<Option<Vec<Entry>>> {
        self.forget_up_to(leaf.after.as_deref());
        let Some(told) = &leaf.told else {
            // A tree of one leaf: it is read, and compared entry by entry.
            self.look_ahead(b"").await?;
            return Ok(None);
        };
        self.look_ahead(&told.last).await?;
        let same = self.ahead.iter().find(|old| old.node.node.id == leaf.node.node.id).cloned();
        let Some(old) = same else { return Ok(None) };
        let copies = self.copies_between(old.after.as_deref(), &told.last).await?;
        let whole =
            copies.len() as u64 == told.entries && copies.last().is_some_and(|last| last.path == told.last);
        Ok(whole.then_some(copies))
    }

    /// Copied entries after `after` and up to `last`; those before are skipped.
    async fn copies_between(&mut self, after: Option<&[u8]>, last: &[u8]) -> Result<Vec<Entry>> {
        let mut out = Vec::new();
        while let Some(entry) = self.next_copy_up_to(last).await? {
            if after.is_none_or(|after| path_cmp(&entry.path, after).is_gt()) {
                out.push(entry);
            }
        }
        Ok(out)
    }

    async fn next_copy_up_to(&mut self, last: &[u8]) -> Result<Option<Entry>> {
        loop {
            if let Some(next) = self.copies.peek() {
                let wanted = path_cmp(&next.path, last).is_le();
                return Ok(if wanted { self.copies.next() } else { None });
            }
            let Some(leaves) = &mut self.leaves else { return Ok(None) };
            match leaves.next().await {
                Some(Ok(leaf)) => self.copies = leaf.entries.into_iter().peekable(),
                None => self.leaves = None,
                Some(Err(e)) if is_damage(&e) => self.leaves = None,
                Some(Err(e)) => return Err(e),
            }
        }
    }

    /// What the earlier snapshot and its copy have in the place of each entry.
    async fn pair(&mut self, entries: Vec<Entry>) -> Result<Vec<Paired>> {
        let mut out = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut copy = None;
            while let Some(next) = self.next_copy_up_to(&entry.path).await? {
                copy = Some(next).filter(|c| c.path == entry.path);
            }
            let old = match copy {
                Some(copy) => self.find_old(&entry.path).await?.map(|old| (old, copy)),
                None => None,
            };
            out.push(Paired { entry, old });
        }
        Ok(out)
    }

    async fn find_old(&mut self, path: &[u8]) -> Result<Option<Entry>> {
        self.look_ahead(path).await?;
        let holds = |l: &&LeafName| l.told.as_ref().is_none_or(|c| path_cmp(&c.last, path).is_ge());
        let Some(leaf) = self.ahead.iter().find(holds).cloned() else { return Ok(None) };
        let id = leaf.node.node.id;
        if self.read.as_ref().is_none_or(|(read, _)| *read != id) {
            let entries = match read_leaf(&*self.source, &leaf).await {
                Ok(entries) => entries,
                Err(e) if is_damage(&e) => Vec::new(),
                Err(e) => return Err(e),
            };
            self.read = Some((id, entries.into_iter().map(|e| (e.path.clone(), e)).collect()));
        }
        Ok(self.read.as_ref().and_then(|(_, entries)| entries.get(path)).cloned())
    }
}

/// Leaves on their way, and the tree that they are written to.
struct Output<'b> {
    bridge: &'b Arc<Bridge>,
    running: VecDeque<AbortOnDropHandle<Result<Vec<Done>>>>,
    writer: TreeWriter,
    lost: Problems,
}

impl<'b> Output<'b> {
    fn new(bridge: &'b Arc<Bridge>) -> Self {
        let writer = TreeWriter::new(bridge.target.repo().keys.tree_key());
        Self { bridge, running: VecDeque::new(), writer, lost: Problems::default() }
    }

    async fn spawn(&mut self, work: impl Future<Output = Result<Vec<Done>>> + Send + 'static) -> Result<()> {
        self.running.push_back(AbortOnDropHandle::new(tokio::spawn(work)));
        while self.running.len() >= COPY_LEAVES_AT_ONCE {
            self.write_one().await?;
        }
        Ok(())
    }

    async fn lose(&mut self, last: Vec<u8>, entries: u64, why: &str) -> Result<()> {
        let lost = Err((last, lost_text(entries, why)));
        self.spawn(async move { Ok(vec![lost]) }).await
    }

    async fn write_one(&mut self) -> Result<()> {
        let Some(next) = self.running.pop_front() else { return Ok(()) };
        let cancelled = || Error::new(ErrorKind::Cancelled, "cancelled");
        let done = tokio::select! {
            done = next => done.context(ErrorKind::Internal, || "copy a leaf".to_owned())??,
            () = self.bridge.task.cancel.cancelled() => return Err(cancelled()),
            e = self.bridge.target.failed() => return Err(e),
        };
        let (monitor, mut sink) = (&self.bridge.task.monitor, self.bridge.target.sink());
        for one in done {
            match one {
                Ok(entry) => {
                    monitor.entries.add(1);
                    if matches!(entry.kind, Kind::File(_)) {
                        monitor.files.add(1);
                        monitor.bytes_done.add(entry.size);
                    }
                    self.bridge.target.need(entry.blobs().map(|b| b.place))?;
                    self.writer.push(&mut *sink, &entry).await?;
                }
                Err((path, why)) => {
                    monitor.entries_failed.add(1);
                    self.lost.push(&path, why);
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Written> {
        while !self.running.is_empty() {
            self.write_one().await?;
        }
        let tree = self.writer.finish(&mut *self.bridge.target.sink()).await?;
        Ok(Written { tree, lost: self.lost })
    }
}

/// Entries of the target as they are, their places resolved. `None` if any of it may not be referenced any more.
async fn take_over(
    bridge: &Bridge,
    fetch: &dyn BlobFetch,
    mut entries: Vec<Entry>,
) -> Result<Option<Vec<Done>>> {
    let mut taken: Vec<Vec<Taken>> = Vec::new();
    for entry in &mut entries {
        let Some(segments) = usable(bridge, fetch, entry).await? else { return Ok(None) };
        taken.push(segments);
    }
    let mut out = Vec::with_capacity(entries.len());
    for (mut entry, segments) in entries.into_iter().zip(taken) {
        take(bridge, &mut entry, segments).await?;
        out.push(Ok(entry));
    }
    Ok(Some(out))
}

/// Resolves what an entry of the target refers to. `None` if any of it may not be referenced; else its segments.
async fn usable(bridge: &Bridge, fetch: &dyn BlobFetch, entry: &mut Entry) -> Result<Option<Vec<Taken>>> {
    let mut taken = Vec::new();
    match &mut entry.kind {
        Kind::File(Content::Extents(extents)) => {
            for extent in extents {
                if let ExtentData::Slice(blob, _) = &mut extent.data {
                    blob.place = bridge.target.session().resolve(blob.place);
                    if !bridge.may_use(blob.place).await? {
                        return Ok(None);
                    }
                }
            }
        }
        Kind::File(Content::Segments(segments)) => {
            for segment in segments {
                let Some(one) = bridge.find_usable(fetch, *segment).await? else { return Ok(None) };
                taken.push(one);
            }
        }
        _ => {}
    }
    Ok(Some(taken))
}

async fn take(bridge: &Bridge, entry: &mut Entry, taken: Vec<Taken>) -> Result<()> {
    if let Kind::File(Content::Segments(segments)) = &mut entry.kind {
        segments.clear();
        for one in taken {
            segments.push(bridge.take(one).await?);
        }
    }
    Ok(())
}

/// Brings over what is not as it was.
async fn copy_entries(
    bridge: &Bridge,
    target: Option<&dyn BlobFetch>,
    paired: Vec<Paired>,
) -> Result<Vec<Done>> {
    let mut kept = Vec::with_capacity(paired.len());
    let mut wanted: HashMap<BlobId, BlobRef> = HashMap::new();
    for Paired { mut entry, old } in paired {
        if let (Some((old, mut copy)), Some(target)) = (old.as_ref().map(|(o, c)| (o, c.clone())), target)
            && matches!(entry.kind, Kind::File(_))
            && crate::ops::browse::same_content(old, &entry)
            && let Some(segments) = usable(bridge, target, &mut copy).await?
        {
            take(bridge, &mut copy, segments).await?;
            entry.kind = copy.kind;
            kept.push((entry, None, true));
            continue;
        }
        if let Kind::File(Content::Extents(_)) = &entry.kind {
            wanted.extend(entry.blobs().map(|b| (b.id, b)));
        }
        kept.push((entry, old, false));
    }
    let brought = bridge.bring(wanted.into_values(), None).await?;
    let mut out = Vec::with_capacity(kept.len());
    for (mut entry, old, done) in kept {
        let lost = match &mut entry.kind {
            _ if done => None,
            Kind::File(Content::Extents(extents)) => {
                let mut lost = None;
                for extent in extents {
                    let ExtentData::Slice(blob, _) = &mut extent.data else { continue };
                    match brought.get(&blob.id) {
                        Some(Ok(found)) => *blob = *found,
                        Some(Err(why)) => lost = Some(why.clone()),
                        None => lost = Some(format!("blob {} was not read", blob.id)),
                    }
                }
                lost
            }
            Kind::File(Content::Segments(segments)) => {
                let old = old.as_ref().zip(target);
                copy_segments(bridge, segments, entry.size, old).await?
            }
            _ => None,
        };
        out.push(match lost {
            None => Ok(entry),
            Some(why) => Err((entry.path, why)),
        });
    }
    Ok(out)
}

/// Copies the segments of one file in place; why it is lost, if it is.
async fn copy_segments(
    bridge: &Bridge,
    segments: &mut [SegmentRef],
    size: u64,
    old: Option<(&(Entry, Entry), &dyn BlobFetch)>,
) -> Result<Option<String>> {
    let list = |entry: &Entry| match &entry.kind {
        Kind::File(Content::Segments(list)) => list.clone(),
        _ => Vec::new(),
    };
    let (sources, copies) = old.map_or_else(Default::default, |((old, copy), _)| (list(old), list(copy)));
    for (i, segment) in segments.iter_mut().enumerate() {
        bridge.task.check()?;
        let pair = sources.get(i).copied().zip(copies.get(i).copied());
        let mut earlier = None;
        if let (Some((source, copy)), Some((_, target))) = (pair, old) {
            if source.segment.id == segment.segment.id {
                if let Some(taken) = bridge.find_usable(target, copy).await? {
                    *segment = bridge.take(taken).await?;
                    continue;
                }
            } else {
                earlier = bridge.earlier(target, (source, copy)).await?;
            }
        }
        let left = size.saturating_sub(i as u64 * SEGMENT_BYTES);
        match bridge.segment(*segment, left, earlier).await? {
            Ok(copied) => *segment = copied,
            Err(why) => return Ok(Some(why)),
        }
    }
    Ok(None)
}
