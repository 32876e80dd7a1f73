//! Takes a large file apart into chunks to store and segments that describe it, slab after slab, in bounded memory.
//!
//! The rules, which tests cite by number:
//! 1. A page equal to the parent's at the same place keeps the parent's extents, whatever blobs these point into.
//! 2. Holes stay holes and zero pages become zeros, neither is stored. Only fewer than `long_zero_bytes` of zeros
//!    inside a changed run that is cut by content stay part of its chunks: cuts then don't depend on where pages begin.
//! 3. A run of changed pages (with few zeros between) shorter than `long_run_bytes` is *gathered*: its pages go, in
//!    order, into chunks of up to `gather_bytes`, which end with the segment at the latest.
//! 4. A longer run, and every run of a file without a parent, is *cut* by content, on across the borders of segments.
//! 5. Equal pages in a blob of which the parent uses less than half are stored again as if they had changed, so that
//!    old blobs don't keep much more space than is live. How much is bounded: nothing before the first changed page,
//!    then `limits::AGAIN_SHARE` times what has changed so far, but at least `again_bytes_min`. What the bound leaves,
//!    the next version takes up. Use is counted in the parent (a version late, which changes little) and over
//!    neighbouring segments.
//!
//! What is undecided stays in memory: at most `long_run_bytes` of a run that may become long, then at most the greatest
//! chunk and the slab that ends it. Nothing here knows ids: chunks have numbers, and the caller, who hashes and stores
//! them, turns a `SegmentDraft` into a `Segment`.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{self, PAGE_BYTES};

use super::compare::{Compared, Page, Rules};
use super::parallel::Joiner;
use super::segment::{Stretch, StretchData};

mod draft;

use draft::Drafter;
pub use draft::{DraftBlob, SegmentDraft};

/// Why a chunk ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Cut by content: other files and versions may well have it.
    Cut,
    /// Gathered pages: hardly anything else has it.
    Gathered,
}

/// Bytes to hash, look up and store.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its number within the file.
    pub seq: u64,
    /// Its bytes. A cut chunk may share the memory of its slab.
    pub bytes: Bytes,
    /// Why it ends where it does.
    pub kind: ChunkKind,
}

/// What came out of one slab: chunks first, then segments that refer to these or earlier ones.
#[derive(Debug, Default)]
pub struct Step {
    /// Chunks to store, to be looked up by their numbers.
    pub chunks: Vec<Chunk>,
    /// Segments that are complete but for the ids of chunks.
    pub segments: Vec<SegmentDraft>,
}

/// What happened to the bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Different from the parent (all of it, without one), holes and zeros aside.
    pub bytes_changed: u64,
    /// Equal to the parent but stored again, because they lay in little-used blobs.
    pub bytes_again: u64,
}

/// A page of a slab.
#[derive(Debug)]
struct Cell {
    slab: Arc<Compared>,
    page: usize,
}

impl Cell {
    fn state(&self) -> Page {
        self.slab.pages[self.page]
    }

    fn bytes(&self) -> u64 {
        self.slab.page_len(self.page) as u64
    }

    /// Where the page lies in the slab's bytes.
    fn range(&self) -> (usize, usize) {
        let from = self.page * PAGE_BYTES;
        (from, from + self.slab.page_len(self.page))
    }
}

/// Changed pages that follow each other.
#[derive(Debug)]
enum Run {
    /// May still turn out to be long.
    Undecided { cells: Vec<Cell>, bytes: u64 },
    /// Is cut by content.
    Long(Joiner),
}

/// Takes one file apart.
#[derive(Debug)]
pub struct FilePlan {
    rules: Arc<Rules>,
    has_parent: bool,
    /// Where the next slab begins.
    at: u64,
    run: Option<Run>,
    /// Zero pages behind the run: part of it, if it goes on before they are many.
    zeros: Vec<Cell>,
    zeros_bytes: u64,
    drafter: Drafter,
    counts: FileCounts,
}

impl FilePlan {
    /// For a file that the parent snapshot has as a large file too, or not.
    #[must_use]
    pub fn new(rules: Arc<Rules>, has_parent: bool) -> Self {
        let drafter = Drafter::new(rules.sizes.segment_bytes, rules.sizes.gather_bytes);
        Self {
            rules,
            has_parent,
            at: 0,
            run: None,
            zeros: Vec::new(),
            zeros_bytes: 0,
            drafter,
            counts: FileCounts::default(),
        }
    }

    /// Takes the next slab. Only the last one of a file may end within a page.
    pub fn push(&mut self, slab: Compared) -> Step {
        assert_eq!(slab.offset, self.at, "slabs come in order");
        self.at += slab.bytes;
        self.drafter.marks(&slab.marks);
        let slab = Arc::new(slab);
        for page in 0..slab.pages.len() {
            let cell = Cell { slab: Arc::clone(&slab), page };
            match cell.state() {
                Page::Changed => {
                    self.counts.bytes_changed += cell.bytes();
                    self.extend_run(cell);
                }
                Page::Equal if self.stores_again(&cell) => {
                    self.counts.bytes_again += cell.bytes();
                    self.extend_run(cell);
                }
                Page::Zeros | Page::EqualZeros if self.run.is_some() => self.extend_zeros(cell),
                _ => {
                    self.end_run();
                    self.keep(&cell);
                }
            }
        }
        self.cut(false);
        self.drafter.take_step()
    }

    /// Ends the file: what is left of it.
    #[must_use]
    pub fn finish(mut self) -> (Step, FileCounts) {
        self.end_run();
        self.drafter.end();
        (self.drafter.take_step(), self.counts)
    }

    /// Rule 5.
    fn stores_again(&self, cell: &Cell) -> bool {
        let FileCounts { bytes_changed, bytes_again } = self.counts;
        let allowed = (bytes_changed * limits::AGAIN_SHARE).max(self.rules.sizes.again_bytes_min);
        let (from, to) = self.in_segment(cell);
        bytes_changed > 0
            && bytes_again + cell.bytes() <= allowed
            && cell.slab.parent.as_ref().is_some_and(|p| p.is_little_used(from, to))
    }

    /// Where the page lies in its segment.
    fn in_segment(&self, cell: &Cell) -> (u64, u64) {
        let from = (cell.slab.offset + cell.range().0 as u64) % self.rules.sizes.segment_bytes;
        (from, from + cell.bytes())
    }

    /// Rules 1 and 2: a page that is neither gathered nor cut.
    fn keep(&mut self, cell: &Cell) {
        let bytes = cell.bytes();
        match (cell.state(), &cell.slab.parent) {
            (Page::Hole, _) => self.drafter.add(Stretch { bytes, data: StretchData::Hole }),
            (Page::Equal | Page::EqualZeros, Some(parent)) => {
                let (from, to) = self.in_segment(cell);
                for old in parent.stretches(from, to) {
                    self.drafter.add(draft::old(old));
                }
            }
            _ => self.drafter.add(Stretch { bytes, data: StretchData::Zeros }),
        }
    }

    fn extend_run(&mut self, cell: Cell) {
        let mut run = self.run.take().unwrap_or_else(|| match self.has_parent {
            true => Run::Undecided { cells: Vec::new(), bytes: 0 },
            false => Run::Long(Joiner::default()),
        });
        self.zeros_bytes = 0;
        for cell in mem::take(&mut self.zeros).into_iter().chain([cell]) {
            run.push(cell);
        }
        self.run = Some(run.decide(self.rules.sizes.long_run_bytes));
    }

    fn extend_zeros(&mut self, cell: Cell) {
        self.zeros_bytes += cell.bytes();
        self.zeros.push(cell);
        if self.zeros_bytes >= self.rules.sizes.long_zero_bytes {
            self.end_run();
        }
    }

    /// Ends the run, if there is one, and keeps the zeros behind it.
    fn end_run(&mut self) {
        self.cut(true);
        if let Some(Run::Undecided { cells, .. }) = self.run.take() {
            for cell in cells {
                if matches!(cell.state(), Page::Zeros | Page::EqualZeros) {
                    self.keep(&cell);
                } else {
                    let (from, to) = cell.range();
                    self.drafter.gather(&cell.slab.slab.bytes[from..to]);
                }
            }
        }
        self.zeros_bytes = 0;
        for cell in mem::take(&mut self.zeros) {
            self.keep(&cell);
        }
    }

    /// Cuts off the chunks of a long run that are certain.
    fn cut(&mut self, at_end: bool) {
        if let Some(Run::Long(joiner)) = &mut self.run {
            while let Some(chunk) = joiner.next(&self.rules.cutter, at_end) {
                self.drafter.cut(chunk);
            }
        }
    }
}

impl Run {
    fn push(&mut self, cell: Cell) {
        match self {
            Self::Undecided { cells, bytes } => {
                *bytes += cell.bytes();
                cells.push(cell);
            }
            Self::Long(joiner) => {
                let (from, to) = cell.range();
                joiner.push(&cell.slab.slab, from, to);
            }
        }
    }

    /// Cuts from now on, if the run has become long.
    fn decide(self, long_run_bytes: u64) -> Self {
        match self {
            Self::Undecided { cells, bytes } if bytes >= long_run_bytes => {
                let mut long = Self::Long(Joiner::default());
                for cell in cells {
                    long.push(cell);
                }
                long
            }
            undecided_or_long => undecided_or_long,
        }
    }
}

#[cfg(test)]
mod tests;
