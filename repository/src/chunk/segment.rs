//! The segment blob: extents and marks of `limits::SEGMENT_BYTES` of a large file.
//!
//! After many versions nearly every page of a busy file is an extent of its own, so an extent costs few bytes: blobs
//! are numbers in the segment's table, in order of first use; lengths count pages where they can; offsets are told
//! as the difference from where the blob would go on. Places are never in the segment (compaction moves blobs):
//! `items` keeps them beside it, in the table's order. Marks that the extents imply are left out.
//!
//! Stored form: `"HS"`, version 1; varint bytes; varint count of blobs, each id (32) and varint length; varint count
//! of extents, each varint `length << 2 | kind` and what the kind adds; then 16 bytes for each page that is not
//! wholly hole or zeros. `length` is `pages << 1`, or `bytes << 1 | 1`. Kinds: 0 hole, 1 zeros, 2 slice that begins
//! where the last slice of that blob ended (signed varint: blob number less the last one), 3 slice (the same, then
//! signed varint: offset less where the blob would be, had it gone on at its place in the file since its last slice).

use std::collections::HashMap;

use crate::codec::{Malformed, Reader, put_signed, put_varint};
use crate::ids::{BlobId, BlobRef, Place};
use crate::items::entry::{Extent, ExtentData};
use crate::limits;

use super::marks::{Mark, ZERO_MARK};

const MAGIC: &[u8] = b"HS\x01";
const PAGE: u64 = limits::PAGE_BYTES as u64;

/// A blob that a segment refers to, and how long all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentBlob {
    /// Id and place.
    pub blob: BlobRef,
    /// Its length; never 0.
    pub bytes: u32,
}

/// A stretch of the segment. `B` says which blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<B> {
    /// Length; never 0.
    pub bytes: u64,
    /// What is there.
    pub data: StretchData<B>,
}

/// What is in a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StretchData<B> {
    /// Not allocated.
    Hole,
    /// Allocated zeros.
    Zeros,
    /// A slice of a blob, from this offset on.
    Slice(B, u32),
}

impl<B: PartialEq + Copy> Stretch<B> {
    /// Appends to `list`, as part of the last stretch where that goes on.
    pub fn append(self, list: &mut Vec<Self>) {
        if let Some(last) = list.last_mut() {
            let goes_on = match (last.data, self.data) {
                (StretchData::Slice(a, at), StretchData::Slice(b, from)) => {
                    a == b && u64::from(at) + last.bytes == u64::from(from)
                }
                (a, b) => a == b,
            };
            if goes_on {
                last.bytes += self.bytes;
                return;
            }
        }
        if self.bytes > 0 {
            list.push(self);
        }
    }
}

/// What one segment says; always consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Segment {
    bytes: u64,
    blobs: Vec<SegmentBlob>,
    stretches: Vec<Stretch<u32>>,
    marks: Vec<Mark>,
}

impl Segment {
    /// Of these stretches and marks of the file's pages, one for each page.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = Stretch<SegmentBlob>>, marks: Vec<Mark>) -> Self {
        let (mut numbers, mut out) = (HashMap::new(), Self { marks, ..Self::default() });
        for part in parts {
            out.bytes += part.bytes;
            let data = match part.data {
                StretchData::Hole => StretchData::Hole,
                StretchData::Zeros => StretchData::Zeros,
                StretchData::Slice(blob, offset) => {
                    let number = *numbers.entry(blob.blob.id).or_insert_with(|| {
                        out.blobs.push(blob);
                        u32::try_from(out.blobs.len() - 1).expect("a segment has few blobs")
                    });
                    StretchData::Slice(number, offset)
                }
            };
            Stretch { bytes: part.bytes, data }.append(&mut out.stretches);
        }
        assert_eq!(out.marks.len() as u64, out.bytes.div_ceil(PAGE), "a mark for each page");
        out
    }

    /// Bytes of the file that it describes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The distinct blobs that it refers to, in order of first use.
    #[must_use]
    pub fn blobs(&self) -> &[SegmentBlob] {
        &self.blobs
    }

    /// The stretches, with blobs as numbers in `blobs`.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch<u32>] {
        &self.stretches
    }

    /// The marks of its pages.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The extents, as an entry has them.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.stretches.iter().map(|s| {
            let data = match s.data {
                StretchData::Hole => ExtentData::Hole,
                StretchData::Zeros => ExtentData::Zeros,
                StretchData::Slice(number, offset) => {
                    ExtentData::Slice(self.blobs[number as usize].blob, offset)
                }
            };
            Extent { bytes: s.bytes, data }
        })
    }
}

/// Where the blobs of a segment would go on, for short offsets. Both sides of the format do the same steps.
struct Offsets {
    /// For each blob: end of its last slice, and its offset less the place in the segment.
    blobs: Vec<(i64, i64)>,
    last: u32,
}

impl Offsets {
    fn new() -> Self {
        Self { blobs: Vec::new(), last: 0 }
    }

    /// Where blob `number` goes on: after its last slice, and at its place in the segment.
    fn expected(&self, number: u32, at: u64) -> (i64, i64) {
        match self.blobs.get(number as usize) {
            Some(&(end, shift)) => (end, at.cast_signed() + shift),
            None => (0, 0),
        }
    }

    fn used(&mut self, number: u32, at: u64, offset: u32, bytes: u64) {
        let now = (i64::from(offset) + bytes.cast_signed(), i64::from(offset) - at.cast_signed());
        match self.blobs.get_mut(number as usize) {
            Some(blob) => *blob = now,
            None => self.blobs.push(now),
        }
        self.last = number;
    }
}

/// The stored form.
#[must_use]
pub fn encode(segment: &Segment) -> Vec<u8> {
    let mut out = Vec::with_capacity(
        64 + segment.blobs.len() * 36 + segment.stretches.len() * 6 + segment.marks.len() * 16,
    );
    out.extend_from_slice(MAGIC);
    put_varint(&mut out, segment.bytes);
    put_varint(&mut out, segment.blobs.len() as u64);
    for blob in &segment.blobs {
        out.extend_from_slice(&blob.blob.id.0);
        put_varint(&mut out, u64::from(blob.bytes));
    }
    put_varint(&mut out, segment.stretches.len() as u64);
    let (mut offsets, mut at) = (Offsets::new(), 0);
    for stretch in &segment.stretches {
        put_stretch(&mut out, stretch, at, &mut offsets);
        at += stretch.bytes;
    }
    let implied = implied_marks(&segment.stretches, segment.marks.len());
    for (mark, _) in segment.marks.iter().zip(implied).filter(|(_, implied)| !implied) {
        out.extend_from_slice(mark);
    }
    out
}

fn put_stretch(out: &mut Vec<u8>, stretch: &Stretch<u32>, at: u64, offsets: &mut Offsets) {
    let length = if stretch.bytes.is_multiple_of(PAGE) {
        (stretch.bytes / PAGE) << 1
    } else {
        (stretch.bytes << 1) | 1
    };
    let (number, offset) = match stretch.data {
        StretchData::Hole => return put_varint(out, length << 2),
        StretchData::Zeros => return put_varint(out, (length << 2) | 1),
        StretchData::Slice(number, offset) => (number, offset),
    };
    let (next, placed) = offsets.expected(number, at);
    let goes_on = i64::from(offset) == next;
    put_varint(out, (length << 2) | if goes_on { 2 } else { 3 });
    put_signed(out, i64::from(number) - i64::from(offsets.last));
    if !goes_on {
        put_signed(out, i64::from(offset) - placed);
    }
    offsets.used(number, at, offset, stretch.bytes);
}

/// For each page: whether hole and zeros cover it wholly, so that its mark is the zero mark.
fn implied_marks(stretches: &[Stretch<u32>], pages: usize) -> Vec<bool> {
    let (mut out, mut at) = (vec![true; pages], 0);
    for stretch in stretches {
        let end = at + stretch.bytes;
        if matches!(stretch.data, StretchData::Slice(..)) {
            let (first, last) = (at / PAGE, end.div_ceil(PAGE));
            out[first as usize..last as usize].fill(false);
        }
        at = end;
    }
    out
}

/// Reads the stored form. `places` are those of its blobs, in the table's order.
pub fn decode(bytes: &[u8], places: &[Place]) -> Result<Segment, Malformed> {
    let mut r = Reader::new(bytes);
    if r.take(MAGIC.len(), "segment magic")? != MAGIC {
        return Err(Malformed { what: "segment magic", at: 0 });
    }
    let at = r.malformed("segment length");
    let bytes = r.varint("segment length")?;
    if bytes > limits::SEGMENT_BYTES {
        return Err(at);
    }
    let blobs = read_blobs(&mut r, places)?;
    let stretches = read_stretches(&mut r, bytes, &blobs)?;
    let implied = implied_marks(&stretches, bytes.div_ceil(PAGE) as usize);
    let mut marks = Vec::with_capacity(implied.len());
    for implied in implied {
        marks.push(if implied { ZERO_MARK } else { r.array("segment mark")? });
    }
    r.end("segment end")?;
    Ok(Segment { bytes, blobs, stretches, marks })
}

fn read_blobs(r: &mut Reader<'_>, places: &[Place]) -> Result<Vec<SegmentBlob>, Malformed> {
    let at = r.malformed("segment blob count");
    let count = r.count(33, "segment blob count")?;
    if count != places.len() {
        return Err(at);
    }
    let mut blobs = Vec::with_capacity(count);
    for &place in places {
        let id = BlobId(r.array("segment blob id")?);
        let at = r.malformed("segment blob length");
        let bytes = r.u32("segment blob length")?;
        if bytes == 0 || bytes as usize > limits::BLOB_BYTES_MAX {
            return Err(at);
        }
        blobs.push(SegmentBlob { blob: BlobRef { id, place }, bytes });
    }
    Ok(blobs)
}

fn read_stretches(
    r: &mut Reader<'_>,
    bytes: u64,
    blobs: &[SegmentBlob],
) -> Result<Vec<Stretch<u32>>, Malformed> {
    let count = r.count(1, "segment extent count")?;
    let mut stretches = Vec::with_capacity(count);
    let (mut offsets, mut at) = (Offsets::new(), 0);
    for _ in 0..count {
        let stretch = read_stretch(r, at, bytes, blobs, &mut offsets)?;
        at += stretch.bytes;
        stretches.push(stretch);
    }
    // A blob that nothing uses would be kept for nothing.
    if at != bytes || offsets.blobs.len() != blobs.len() {
        return Err(r.malformed("segment extents"));
    }
    Ok(stretches)
}

fn read_stretch(
    r: &mut Reader<'_>,
    at: u64,
    end: u64,
    blobs: &[SegmentBlob],
    offsets: &mut Offsets,
) -> Result<Stretch<u32>, Malformed> {
    let malformed = r.malformed("segment extent");
    let head = r.varint("segment extent")?;
    let length = head >> 2;
    let bytes = if length & 1 == 0 { (length >> 1).saturating_mul(PAGE) } else { length >> 1 };
    if bytes == 0 || bytes > end - at {
        return Err(malformed);
    }
    let kind = head & 3;
    if kind < 2 {
        let data = if kind == 0 { StretchData::Hole } else { StretchData::Zeros };
        return Ok(Stretch { bytes, data });
    }
    let delta = r.signed("segment blob number")?;
    let number =
        delta.checked_add(i64::from(offsets.last)).and_then(|n| u32::try_from(n).ok()).ok_or(malformed)?;
    // In order of first use: a number is one seen before, or the next.
    if number as usize > offsets.blobs.len() {
        return Err(malformed);
    }
    let blob = blobs.get(number as usize).ok_or(malformed)?;
    let (next, placed) = offsets.expected(number, at);
    let offset = if kind == 2 { Some(next) } else { placed.checked_add(r.signed("segment blob offset")?) };
    let offset = offset.and_then(|o| u32::try_from(o).ok()).ok_or(malformed)?;
    if u64::from(offset) + bytes > u64::from(blob.bytes) {
        return Err(malformed);
    }
    offsets.used(number, at, offset, bytes);
    Ok(Stretch { bytes, data: StretchData::Slice(number, offset) })
}

#[cfg(test)]
mod tests;
