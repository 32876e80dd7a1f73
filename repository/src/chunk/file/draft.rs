//! Segments in the making: stretches in the file's order, cut at the borders of segments, and the gathered chunk.
//!
//! Decides nothing about pages. A gathered chunk ends with its segment, so that only a cut one lies in two.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use crate::limits::PAGE_BYTES;

use super::super::marks::Mark;
use super::super::segment::{Segment, SegmentBlob, Stretch, StretchData};
use super::{Chunk, ChunkKind, Step};

/// What a draft refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftBlob {
    /// A blob of the parent.
    Old(SegmentBlob),
    /// The chunk of this number.
    New(u64),
}

/// A segment that is complete but for the ids of its new chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDraft {
    /// Its number within the file.
    pub index: u64,
    /// Its stretches.
    pub stretches: Vec<Stretch<DraftBlob>>,
    /// The marks of its pages.
    pub marks: Vec<Mark>,
    /// No later segment refers to a chunk with a smaller number.
    pub done_before: u64,
}

impl SegmentDraft {
    /// The segment, once `find` knows the blobs of all its chunks. Otherwise, the number that it does not know.
    pub fn finish(self, mut find: impl FnMut(u64) -> Option<SegmentBlob>) -> Result<Segment, u64> {
        let mut stretches = Vec::with_capacity(self.stretches.len());
        for stretch in self.stretches {
            let data = match stretch.data {
                StretchData::Hole => StretchData::Hole,
                StretchData::Zeros => StretchData::Zeros,
                StretchData::Slice(DraftBlob::Old(blob), offset) => StretchData::Slice(blob, offset),
                StretchData::Slice(DraftBlob::New(seq), offset) => {
                    StretchData::Slice(find(seq).ok_or(seq)?, offset)
                }
            };
            stretches.push(Stretch { bytes: stretch.bytes, data });
        }
        Ok(Segment::new(stretches, self.marks))
    }
}

/// A stretch of the parent, as part of a draft.
pub(super) fn old(stretch: Stretch<SegmentBlob>) -> Stretch<DraftBlob> {
    let data = match stretch.data {
        StretchData::Hole => StretchData::Hole,
        StretchData::Zeros => StretchData::Zeros,
        StretchData::Slice(blob, offset) => StretchData::Slice(DraftBlob::Old(blob), offset),
    };
    Stretch { bytes: stretch.bytes, data }
}

/// The chunk that is being gathered.
#[derive(Debug)]
struct Gather {
    seq: u64,
    bytes: Vec<u8>,
}

/// Writes drafts.
#[derive(Debug)]
pub(super) struct Drafter {
    segment_bytes: u64,
    gather_bytes: usize,
    index: u64,
    /// Bytes of the open segment so far.
    filled: u64,
    stretches: Vec<Stretch<DraftBlob>>,
    /// Marks of the open segment and of what comes behind it.
    marks: VecDeque<Mark>,
    gather: Option<Gather>,
    next_seq: u64,
    step: Step,
}

impl Drafter {
    pub(super) fn new(segment_bytes: u64, gather_bytes: usize) -> Self {
        assert!(
            segment_bytes > 0 && segment_bytes.is_multiple_of(PAGE_BYTES as u64),
            "segments are whole pages"
        );
        Self {
            segment_bytes,
            gather_bytes,
            index: 0,
            filled: 0,
            stretches: Vec::new(),
            marks: VecDeque::new(),
            gather: None,
            next_seq: 0,
            step: Step::default(),
        }
    }

    /// The marks of the pages that follow.
    pub(super) fn marks(&mut self, marks: &[Mark]) {
        self.marks.extend(marks);
    }

    /// What has become complete since the last call.
    pub(super) fn take_step(&mut self) -> Step {
        mem::take(&mut self.step)
    }

    /// Appends a stretch, cut at the border of the segment.
    pub(super) fn add(&mut self, stretch: Stretch<DraftBlob>) {
        let (mut bytes, mut data) = (stretch.bytes, stretch.data);
        while bytes > 0 {
            let fits = bytes.min(self.segment_bytes - self.filled);
            Stretch { bytes: fits, data }.append(&mut self.stretches);
            self.filled += fits;
            bytes -= fits;
            if let StretchData::Slice(_, offset) = &mut data {
                *offset += u32::try_from(fits).expect("a slice is shorter than its blob");
            }
            if self.filled == self.segment_bytes {
                let goes_on = match data {
                    StretchData::Slice(DraftBlob::New(seq), _) if bytes > 0 => Some(seq),
                    _ => None,
                };
                self.close(goes_on);
            }
        }
    }

    /// A chunk that was cut by content.
    pub(super) fn cut(&mut self, bytes: Bytes) {
        let (seq, len) = (self.seq(), bytes.len() as u64);
        self.step.chunks.push(Chunk { seq, bytes, kind: ChunkKind::Cut });
        self.add(Stretch { bytes: len, data: StretchData::Slice(DraftBlob::New(seq), 0) });
    }

    /// A page to be stored with others.
    pub(super) fn gather(&mut self, page: &[u8]) {
        if self.gather.as_ref().is_some_and(|g| g.bytes.len() + page.len() > self.gather_bytes) {
            self.flush();
        }
        let next = self.next_seq;
        let gather = self.gather.get_or_insert_with(|| Gather { seq: next, bytes: Vec::new() });
        self.next_seq = next.max(gather.seq + 1);
        let offset = u32::try_from(gather.bytes.len()).expect("a gathered chunk is small");
        gather.bytes.extend_from_slice(page);
        let data = StretchData::Slice(DraftBlob::New(gather.seq), offset);
        self.add(Stretch { bytes: page.len() as u64, data });
    }

    /// Ends the last segment.
    pub(super) fn end(&mut self) {
        if self.filled > 0 {
            self.close(None);
        }
    }

    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    fn flush(&mut self) {
        if let Some(Gather { seq, bytes }) = self.gather.take() {
            self.step.chunks.push(Chunk { seq, bytes: Bytes::from(bytes), kind: ChunkKind::Gathered });
        }
    }

    /// Ends the open segment; `goes_on` is the chunk that lies in the next one too.
    fn close(&mut self, goes_on: Option<u64>) {
        self.flush();
        let pages = self.filled.div_ceil(PAGE_BYTES as u64) as usize;
        self.step.segments.push(SegmentDraft {
            index: self.index,
            stretches: mem::take(&mut self.stretches),
            marks: self.marks.drain(..pages).collect(),
            done_before: goes_on.unwrap_or(self.next_seq),
        });
        self.index += 1;
        self.filled = 0;
    }
}
