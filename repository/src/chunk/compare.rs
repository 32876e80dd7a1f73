//! Compares a slab of a large file by position with what the parent snapshot says about the same pages.
//!
//! `compare` is all of the work that threads can do for different slabs at once: marks, the comparison, and
//! speculative cuts of what has changed at length. What follows from it, in order, decides `file`.
//! An equal mark only counts where the parent's page has the same length and lies wholly in its segment.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{BlobId, Place};
use crate::limits;

use super::cutter::Cutter;
use super::marks::{self, Mark, ZERO_MARK};
use super::parallel::{self, speculate};
use super::segment::{Segment, SegmentBlob, Stretch, StretchData};

const PAGE: usize = limits::PAGE_BYTES;

/// The sizes by which large files are taken apart. Tests use smaller ones than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// What a segment describes; whole pages.
    pub segment_bytes: u64,
    /// Changed runs from this length on are cut by content.
    pub long_run_bytes: u64,
    /// Runs of zero pages from this length on end a changed run, so that they are never cut or stored.
    pub long_zero_bytes: u64,
    /// Gathered pages make chunks up to this size.
    pub gather_bytes: usize,
    /// A changed file may store this much of little-used blobs again, however little of it changed.
    pub again_bytes_min: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment_bytes: limits::SEGMENT_BYTES,
            long_run_bytes: limits::LONG_RUN_BYTES as u64,
            long_zero_bytes: limits::LONG_ZERO_BYTES as u64,
            gather_bytes: limits::GATHER_BYTES,
            again_bytes_min: limits::AGAIN_BYTES_MIN,
        }
    }
}

/// All that decides how a file is taken apart; shared by the files of a domain.
#[derive(Debug)]
pub struct Rules {
    /// Cuts by content.
    pub cutter: Cutter,
    /// Keys the marks.
    pub mark_key: [u8; 32],
    /// The sizes.
    pub sizes: Sizes,
}

/// A piece of a file as it was read.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes.
    Data(Bytes),
    /// This many bytes that are not allocated.
    Hole(u64),
}

/// A parent's segment, ready to be compared with.
#[derive(Debug)]
pub struct Parent {
    segment: Segment,
    /// Where each stretch starts, from the segment's start on.
    starts: Vec<u64>,
    /// For each blob of the segment: the file uses less than half of it.
    little: Vec<bool>,
    /// For each blob of the segment: it may not be referred to any more. Empty: all may.
    lost: Vec<bool>,
}

impl Parent {
    /// Of the parent's segment and those beside it, which tell how much of its blobs the file used.
    ///
    /// Neighbours are enough: a file's blobs are cut from it in one stretch or gathered within a segment, so that
    /// almost all that it uses of one lies in two segments. What is used farther away (of content that occurs twice)
    /// is overlooked, and may at worst be stored once more, within the bound.
    #[must_use]
    pub fn new(before: Option<&Segment>, segment: Segment, after: Option<&Segment>) -> Self {
        let mut used: HashMap<BlobId, u64> = segment.blobs().iter().map(|b| (b.blob.id, 0)).collect();
        for near in [before, Some(&segment), after].into_iter().flatten() {
            for stretch in near.stretches() {
                if let StretchData::Slice(number, _) = stretch.data
                    && let Some(sum) = used.get_mut(&near.blobs()[number as usize].blob.id)
                {
                    *sum += stretch.bytes;
                }
            }
        }
        let little = segment.blobs().iter().map(|b| used[&b.blob.id] * 2 < u64::from(b.bytes)).collect();
        let starts = segment.stretches().iter().scan(0, |at, s| {
            let start = *at;
            *at += s.bytes;
            Some(start)
        });
        Self { starts: starts.collect(), little, lost: Vec::new(), segment }
    }

    /// Without the blobs that `is_lost` names: pages of these count as changed.
    #[must_use]
    pub fn without(mut self, is_lost: impl Fn(Place) -> bool) -> Self {
        self.lost = self.segment.blobs().iter().map(|b| is_lost(b.blob.place)).collect();
        if !self.lost.contains(&true) {
            self.lost = Vec::new();
        }
        self
    }

    /// True if the parent's page has the same length and mark.
    fn is_equal(&self, page: usize, len: usize, mark: &Mark) -> bool {
        let left = self.segment.bytes().saturating_sub((page * PAGE) as u64);
        let from = (page * PAGE) as u64;
        self.segment.marks().get(page) == Some(mark)
            && left.min(PAGE as u64) == len as u64
            && !self.any_blob(from, from + len as u64, &self.lost)
    }

    /// The parent's stretches of `from..to`, cut to it.
    pub fn stretches(&self, from: u64, to: u64) -> impl Iterator<Item = Stretch<SegmentBlob>> + '_ {
        let first = self.starts.partition_point(|&start| start <= from).saturating_sub(1);
        let near = self.segment.stretches()[first..].iter().zip(&self.starts[first..]);
        near.take_while(move |(_, start)| **start < to).map(move |(stretch, &start)| {
            let (cut_from, cut_to) = (start.max(from), (start + stretch.bytes).min(to));
            let data = match stretch.data {
                StretchData::Hole => StretchData::Hole,
                StretchData::Zeros => StretchData::Zeros,
                StretchData::Slice(number, offset) => {
                    let skipped = u32::try_from(cut_from - start).expect("a slice is shorter than its blob");
                    StretchData::Slice(self.segment.blobs()[number as usize], offset + skipped)
                }
            };
            Stretch { bytes: cut_to - cut_from, data }
        })
    }

    /// True if `from..to` refers to a blob of which the file uses less than half.
    #[must_use]
    pub fn is_little_used(&self, from: u64, to: u64) -> bool {
        self.any_blob(from, to, &self.little)
    }

    /// True if `from..to` refers to a blob that is marked.
    fn any_blob(&self, from: u64, to: u64, marked: &[bool]) -> bool {
        if marked.is_empty() {
            return false;
        }
        let first = self.starts.partition_point(|&start| start <= from).saturating_sub(1);
        let near = self.segment.stretches()[first..].iter().zip(&self.starts[first..]);
        near.take_while(|(_, start)| **start < to).any(|(stretch, _)| match stretch.data {
            StretchData::Slice(number, _) => marked[number as usize],
            _ => false,
        })
    }
}

/// What a comparison finds out about a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Not allocated.
    Hole,
    /// Zeros, and the parent has something else there (or a hole).
    Zeros,
    /// Zeros, as in the parent.
    EqualZeros,
    /// As in the parent.
    Equal,
    /// Has to be stored, or found.
    Changed,
}

/// A slab of a file after the comparison.
#[derive(Debug)]
pub struct Compared {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) slab: Arc<parallel::Slab>,
    pub(super) pages: Vec<Page>,
    pub(super) marks: Vec<Mark>,
    pub(super) parent: Option<Arc<Parent>>,
}

impl Compared {
    /// Bytes of the file that it covers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Length of a page.
    pub(super) fn page_len(&self, page: usize) -> usize {
        let left = self.bytes - (page * PAGE) as u64;
        usize::try_from(left).map_or(PAGE, |left| left.min(PAGE))
    }
}

/// Compares the piece at `offset` of a file with `parent`, which describes the same segment, if there was one.
///
/// The piece begins at a page and does not cross the end of its segment; it ends at a page's end unless the file does
/// (a caller widens data over holes that are not whole pages).
#[must_use]
pub fn compare(rules: &Rules, offset: u64, piece: Piece, parent: Option<Arc<Parent>>) -> Compared {
    let segment_bytes = rules.sizes.segment_bytes;
    let (bytes, data) = match piece {
        Piece::Data(data) => (data.len() as u64, Some(data)),
        Piece::Hole(bytes) => (bytes, None),
    };
    let within = offset % segment_bytes;
    assert!(
        offset.is_multiple_of(PAGE as u64) && within + bytes <= segment_bytes,
        "a slab is pages of one segment"
    );
    let first = (within / PAGE as u64) as usize;
    let Some(data) = data else {
        let count = bytes.div_ceil(PAGE as u64) as usize;
        let (pages, marks) = (vec![Page::Hole; count], vec![ZERO_MARK; count]);
        return Compared { offset, bytes, slab: Arc::default(), pages, marks, parent };
    };
    let marks = marks::marks(&rules.mark_key, &data);
    let judge = |(i, page): (usize, &[u8])| page_state(parent.as_deref(), first + i, page.len(), &marks[i]);
    let pages: Vec<Page> = data.chunks(PAGE).enumerate().map(judge).collect();
    let spans = long_runs(&rules.sizes, &pages, parent.is_some())
        .into_iter()
        .flat_map(|(from, to)| speculate(&rules.cutter, &data[..data.len().min(to * PAGE)], from * PAGE))
        .collect();
    Compared { offset, bytes, slab: Arc::new(parallel::Slab { bytes: data, spans }), pages, marks, parent }
}

fn page_state(parent: Option<&Parent>, page: usize, len: usize, mark: &Mark) -> Page {
    let equal = parent.filter(|p| p.is_equal(page, len, mark));
    if *mark != ZERO_MARK {
        return if equal.is_some() { Page::Equal } else { Page::Changed };
    }
    let from = (page * PAGE) as u64;
    let was_hole = |p: &Parent| p.stretches(from, from + len as u64).any(|s| s.data == StretchData::Hole);
    if equal.is_some_and(|p| !was_hole(p)) { Page::EqualZeros } else { Page::Zeros }
}

/// The runs of pages `from..to` worth speculating on: all without a parent, otherwise those that are long by themselves.
fn long_runs(sizes: &Sizes, pages: &[Page], has_parent: bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let zeros_max = (sizes.long_zero_bytes as usize).div_ceil(PAGE);
    // True while nothing but few zeros lies between here and the end of the last run.
    let mut open = false;
    for (i, page) in pages.iter().enumerate() {
        match page {
            Page::Changed => match runs.last_mut() {
                Some(last) if open && i - last.1 < zeros_max => last.1 = i + 1,
                _ => runs.push((i, i + 1)),
            },
            Page::Zeros | Page::EqualZeros => {}
            Page::Hole | Page::Equal => open = false,
        }
        open |= *page == Page::Changed;
    }
    runs.retain(|(from, to)| !has_parent || ((to - from) * PAGE) as u64 >= sizes.long_run_bytes);
    runs
}

#[cfg(test)]
mod tests;
