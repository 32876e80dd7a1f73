//! Works on several steps of the walk at once, and gives what became of them in the walk's order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::mpsc;

use super::small::Done;
use super::steps::{Item, Large, Step};
use super::{Reading, large, small};
use crate::error::Context as _;
use crate::items::entry::{Content, Entry, Kind};
use crate::items::segment::segment_places;
use crate::items::{MetaSink as _, Usage};
use crate::limits;
use crate::manifest::summary::SummaryBuilder;
use crate::ops::reader::is_damage;
use crate::source::Found;
use crate::{ErrorKind, Result};

/// The steps that are worked on.
pub(super) struct Pipe {
    reading: Arc<Reading>,
    steps: mpsc::Receiver<Result<Step>>,
    ended: bool,
    running: FuturesOrdered<BoxFuture<'static, Result<Vec<Done>>>>,
    running_max: usize,
    /// What is done and was not taken yet.
    done: VecDeque<Done>,
    /// What comes next is not in `done` but runs first.
    reads_first: bool,
}

impl Pipe {
    /// Works on up to `running_max` steps at once.
    pub(super) fn new(
        reading: &Arc<Reading>,
        steps: mpsc::Receiver<Result<Step>>,
        running_max: usize,
    ) -> Self {
        Self {
            reading: Arc::clone(reading),
            steps,
            ended: false,
            running: FuturesOrdered::new(),
            running_max,
            done: VecDeque::new(),
            reads_first: false,
        }
    }

    /// What comes next in the walk's order; `None` at its end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Done>> {
        loop {
            if !self.reads_first
                && let Some(done) = self.done.pop_front()
            {
                return Ok(Some(done));
            }
            if self.ended && self.running.is_empty() {
                return Ok(None);
            }
            let takes = !self.ended && self.running.len() < self.running_max;
            tokio::select! {
                step = self.steps.recv(), if takes => match step {
                    Some(step) => {
                        let work = process(Arc::clone(&self.reading), step);
                        self.running.push_back(Box::pin(work));
                    }
                    None => self.ended = true,
                },
                Some(done) = self.running.next() => {
                    for one in done?.into_iter().rev() {
                        self.done.push_front(one);
                    }
                    self.reads_first = false;
                }
            }
        }
    }

    /// Reads a file that was to be taken over from an earlier name; its entry is what comes next.
    pub(super) fn read_now(&mut self, found: Found) {
        let step = if found.size <= limits::LARGE_FILE_BYTES {
            let bytes = usize::try_from(found.size).unwrap_or(0);
            Step::Batch(vec![Item::Read(found)], bytes)
        } else {
            Step::Large(Box::new(Large { found, old: None, unchanged: false }))
        };
        self.running.push_front(Box::pin(process(Arc::clone(&self.reading), Ok(step))));
        self.reads_first = true;
    }
}

async fn process(reading: Arc<Reading>, step: Result<Step>) -> Result<Vec<Done>> {
    match step? {
        Step::Batch(items, bytes) => small::read_batch(&reading, items, bytes).await,
        Step::Large(large) => {
            let Large { found, old, unchanged } = *large;
            if unchanged && let Some(kept) = keep(&reading, old.as_ref()).await? {
                reading.monitor.files_unchanged.add(1);
                reading.monitor.bytes_done.add(found.size);
                return Ok(vec![Done::Entry(kept)]);
            }
            Ok(large::read_large(&reading, found, old).await?.into_iter().collect())
        }
    }
}

/// A large file as it was: notes what its segments refer to, which the item stream does not say. `None` if any of that
/// may not be referenced any more, or can't be read. Where a GC run moved any of it, the segment gets a usage that says where it is now:
/// a relocation is kept only as long as some summary names the old pack.
async fn keep(reading: &Arc<Reading>, old: Option<&Entry>) -> Result<Option<Entry>> {
    let Some(mut entry) = old.cloned() else { return Ok(None) };
    let Kind::File(Content::Segments(segments)) = &mut entry.kind else { return Ok(None) };
    let (suspects, mut needed) = (&reading.suspects, SummaryBuilder::default());
    for segment in segments.iter_mut() {
        if suspects.forbid(segment.segment.place) || suspects.forbid(segment.usage.place) {
            return Ok(None);
        }
        let mut places = match segment_places(&*reading.fetch, *segment).await {
            Err(e) if is_damage(&e) => {
                tracing::warn!(error = %e.chain(), "a segment of the parent is not readable; the file is read again");
                return Ok(None);
            }
            read => read?,
        };
        let mut moved = false;
        for place in &mut places {
            let now = reading.writer.session.resolve(*place);
            moved |= std::mem::replace(place, now) != now;
        }
        if places.iter().any(|p| suspects.forbid(*p)) {
            return Ok(None);
        }
        if moved {
            let usage = Usage { places: places.clone(), nested: Vec::new() };
            segment.usage = reading.sink.clone().put(usage.encode()).await?;
        }
        for place in places.into_iter().chain([segment.usage.place]) {
            needed.add(place).context(ErrorKind::Damaged, || "sum up what a file needs".to_owned())?;
        }
    }
    reading.sink.need_all(needed)?;
    Ok(Some(entry))
}
