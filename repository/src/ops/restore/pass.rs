//! The first pass over the item stream: makes entries, gathers what files want of packs into windows, and carries
//! each window out. Memory is bounded by the window; one large file may span many.

use std::sync::Arc;

use futures::StreamExt as _;

use super::entries::{Todo, enter};
use super::fetch::{self, Sink};
use super::plan::{Plan, Want};
use super::select::Selection;
use super::state::{FileJob, State};
use crate::chunk;
use crate::error::Context as _;
use crate::ids::{BlobRef, Place};
use crate::items::entry::{Content, Entry, Extent, ExtentData, SegmentRef};
use crate::items::{BlobFetch, TreeReader, segment};
use crate::ops::browse::leaves_or_damage;
use crate::ops::reader::{Reader, is_damage};
use crate::{Error, ErrorKind, Result, limits};

/// Memory that one want takes while a window is carried out.
const WANT_BYTES: usize = 160;
/// Memory that one file takes, besides its path.
const FILE_BYTES: usize = 400;

/// Everything that the pass needs.
pub(crate) struct Pass {
    /// Reads data and metadata.
    pub reader: Arc<Reader>,
    /// Where to, and what came of it.
    pub state: Arc<State>,
    /// Which entries.
    pub selection: Selection,
    /// Bound on a window's lists.
    pub window_bytes_max: usize,
    /// Batches read at once.
    pub at_once: usize,
}

/// Files and what they want, until it is read.
#[derive(Debug, Default)]
struct Window {
    plan: Plan,
    files: Vec<Arc<FileJob>>,
    /// Files that are planned and wait for nothing.
    ready: Vec<Arc<FileJob>>,
    bytes: usize,
}

impl Pass {
    /// Runs it.
    pub(crate) async fn run(&self, tree: &TreeReader) -> Result<()> {
        let mut leaves = leaves_or_damage(tree, self.selection.range());
        let mut window = Window::default();
        while let Some(leaf) = leaves.next().await {
            self.state.check()?;
            let entries = match leaf? {
                Ok(leaf) => self.choose(leaf.entries),
                Err(damage) => {
                    self.state.failed(b"", format!("entries are lost: {}", damage.chain()));
                    continue;
                }
            };
            let state = Arc::clone(&self.state);
            for todo in blocking(move || enter(&state, entries)).await? {
                window = self.add(window, todo).await?;
                if window.bytes >= self.window_bytes_max {
                    self.carry_out(std::mem::take(&mut window), None).await?;
                }
            }
        }
        self.carry_out(window, None).await
    }

    fn choose(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let whole = self.selection.is_all();
        let chosen = entries.into_iter().filter(|e| self.selection.picks(e)).filter_map(|mut e| {
            e.path = self.selection.place(&e.path)?;
            if !whole {
                self.state.task.monitor.bytes_total.add(e.size);
            }
            Some(e)
        });
        chosen.collect()
    }

    async fn add(&self, mut window: Window, todo: Todo) -> Result<Window> {
        let Todo { job, content } = todo;
        match content {
            Content::Inline(_) => {
                return Err(Error::new(ErrorKind::Internal, "inline content needs no packs"));
            }
            Content::Extents(list) => {
                let file = window.join(&job);
                window.want(&self.state, file, 0, list.into_iter());
            }
            Content::Segments(list) => match self.add_segments(window, &job, list).await? {
                (changed, true) => window = changed,
                (changed, false) => return Ok(changed),
            },
        }
        if !job.whole && !job.is_planned() {
            window.ready.push(job);
        }
        Ok(window)
    }

    /// Plans a large file segment by segment; false if one of them is lost, and the file with it.
    async fn add_segments(
        &self,
        mut window: Window,
        job: &Arc<FileJob>,
        list: Vec<SegmentRef>,
    ) -> Result<(Window, bool)> {
        let mut file = window.join(job);
        let mut at = 0;
        let mut segments = segment::segments(Arc::clone(&self.reader) as Arc<dyn BlobFetch>, list);
        while let Some(read) = segments.next().await {
            self.state.check()?;
            let parsed = match read.and_then(|(bytes, places)| parse(&bytes, &places, job.size - at)) {
                Ok(parsed) => parsed,
                Err(e) if is_damage(&e) => {
                    let (state, lost) = (Arc::clone(&self.state), Arc::clone(job));
                    blocking(move || lost.lost(&state, &e)).await?;
                    return Ok((window, false));
                }
                Err(e) => return Err(e),
            };
            window.want(&self.state, file, at, parsed.extents());
            at += parsed.bytes();
            if window.bytes >= self.window_bytes_max {
                self.carry_out(std::mem::take(&mut window), Some(job)).await?;
                file = window.join(job);
            }
        }
        Ok((window, true))
    }

    async fn carry_out(&self, window: Window, unfinished: Option<&Arc<FileJob>>) -> Result<()> {
        let Window { plan, files, ready, .. } = window;
        let sink = Arc::new(Writer { state: Arc::clone(&self.state), files });
        if plan.len() > 0 {
            fetch::run(&self.reader, plan, &sink, self.at_once, &self.state.task).await?;
        }
        let (state, unfinished) = (Arc::clone(&self.state), unfinished.map(|job| job.path.clone()));
        blocking(move || {
            ready.iter().for_each(|job| job.one_less(&state));
            state.make_links(unfinished.as_deref());
        })
        .await?;
        self.state.check()
    }
}

impl Window {
    /// The file's number in this window.
    fn join(&mut self, job: &Arc<FileJob>) -> u32 {
        self.bytes += FILE_BYTES + job.path.len();
        self.files.push(Arc::clone(job));
        u32::try_from(self.files.len() - 1).expect("a window is bounded")
    }

    fn want(&mut self, state: &State, file: u32, mut at: u64, extents: impl Iterator<Item = Extent>) {
        let before = self.plan.len();
        for extent in extents {
            match (extent.data, u32::try_from(extent.bytes)) {
                (ExtentData::Slice(blob, from), Ok(bytes)) => self.plan.push(file, at, blob, from, bytes),
                // Readers of extents refuse slices longer than a blob.
                (ExtentData::Slice(..), Err(_)) => {}
                (ExtentData::Hole | ExtentData::Zeros, _) => state.task.monitor.bytes_done.add(extent.bytes),
            }
            at += extent.bytes;
        }
        let wants = self.plan.len() - before;
        self.bytes += wants * WANT_BYTES;
        self.files[file as usize].expect(wants as u64);
    }
}

/// Reads a segment; it must describe as much of the file as its place in it says.
pub(crate) fn parse(bytes: &[u8], places: &[Place], bytes_left: u64) -> Result<chunk::segment::Segment> {
    let parsed =
        chunk::segment::decode(bytes, places).context(ErrorKind::Damaged, || "segment".to_owned())?;
    if parsed.bytes() == bytes_left.min(limits::SEGMENT_BYTES) {
        Ok(parsed)
    } else {
        Err(Error::new(ErrorKind::Damaged, "a segment has the wrong length"))
    }
}

/// Runs work that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context(ErrorKind::Internal, || "blocking work".to_owned())
}

/// Writes slices into files.
struct Writer {
    state: Arc<State>,
    files: Vec<Arc<FileJob>>,
}

impl Sink for Writer {
    fn take(&self, want: &Want, bytes: &[u8]) {
        self.files[want.file as usize].write(&self.state, want.at, bytes);
    }

    fn lost(&self, want: &Want, _: &BlobRef, error: &Error) {
        self.files[want.file as usize].lost(&self.state, error);
    }

    fn check(&self) -> Result<()> {
        self.state.check()
    }
}
