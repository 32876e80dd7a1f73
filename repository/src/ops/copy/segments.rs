//! Segments of large files: boundaries, extents and holes stay, ids and marks are made anew.
//!
//! Of a segment that has changed only the blobs are read that the copy of the earlier one does not have, and those whose pages
//! need new marks.

use std::collections::{HashMap, HashSet};

use crate::chunk::marks::{Mark, ZERO_MARK, mark};
use crate::chunk::segment::{self, Segment, SegmentBlob, Stretch, StretchData};
use crate::ids::{BlobId, Place};
use crate::items::entry::SegmentRef;
use crate::items::segment::{put_segment, read_segment};
use crate::items::{BlobFetch, Usage};
use crate::limits::{PAGE_BYTES, SEGMENT_BYTES};
use crate::ops::reader::is_damage;
use crate::ops::restore::pass::parse;
use crate::{Error, Result};

use super::blobs::{Bridge, Brought};

/// A segment of the source's earlier snapshot, and its copy in the target.
pub(super) struct Earlier {
    source: Segment,
    target: Segment,
}

/// A segment in the target that is taken over: its places, resolved, and whether any of them moved.
pub(super) struct Taken {
    pub(super) segment: SegmentRef,
    places: Vec<Place>,
    moved: bool,
}

impl Bridge {
    /// Whether all of a segment in the target may be referenced; `None` if not.
    pub(super) async fn find_usable(
        &self,
        fetch: &dyn BlobFetch,
        mut segment: SegmentRef,
    ) -> Result<Option<Taken>> {
        let session = self.target.session();
        segment.segment.place = session.resolve(segment.segment.place);
        segment.usage.place = session.resolve(segment.usage.place);
        let mut places = match crate::items::segment::segment_places(fetch, segment).await {
            Ok(places) => places,
            Err(e) if is_damage(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut moved = false;
        for place in &mut places {
            let now = session.resolve(*place);
            moved |= std::mem::replace(place, now) != now;
        }
        for place in places.iter().chain([&segment.segment.place, &segment.usage.place]) {
            if !self.may_use(*place).await? {
                return Ok(None);
            }
        }
        Ok(Some(Taken { segment, places, moved }))
    }

    /// Notes what a segment that is taken over needs. Where GC moved any of it, it gets a usage that says where it is now.
    pub(super) async fn take(&self, taken: Taken) -> Result<SegmentRef> {
        let Taken { mut segment, places, moved } = taken;
        self.target.need(places.iter().copied().chain([segment.segment.place]))?;
        if moved {
            segment.usage = self.target.sink().put(Usage { places, nested: Vec::new() }.encode()).await?;
        } else {
            self.target.need([segment.usage.place])?;
        }
        Ok(segment)
    }

    /// The pair of segments that a changed one is compared with; `None` where there is nothing to gain.
    pub(super) async fn earlier(
        &self,
        target: &dyn BlobFetch,
        (old, copy): (SegmentRef, SegmentRef),
    ) -> Result<Option<Earlier>> {
        let read = async {
            let (old, copy) =
                futures::try_join!(read_segment(&*self.source, old), read_segment(target, copy))?;
            Ok::<_, Error>((segment::decode(&old.0, &old.1), segment::decode(&copy.0, &copy.1)))
        };
        match read.await {
            Ok((Ok(source), Ok(target))) => {
                let same = source.stretches() == target.stretches()
                    && source.blobs().iter().map(|b| b.bytes).eq(target.blobs().iter().map(|b| b.bytes));
                Ok(same.then_some(Earlier { source, target }))
            }
            Ok(_) => Ok(None),
            Err(e) if is_damage(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Copies one segment. The inner error says why it is lost.
    pub(super) async fn segment(
        &self,
        from: SegmentRef,
        bytes_left: u64,
        earlier: Option<Earlier>,
    ) -> Result<std::result::Result<SegmentRef, String>> {
        let read = read_segment(&*self.source, from).await;
        let new = match read.and_then(|(bytes, places)| parse(&bytes, &places, bytes_left)) {
            Ok(new) => new,
            Err(e) if is_damage(&e) => return Ok(Err(e.chain())),
            Err(e) => return Err(e),
        };
        let (mut blobs, mut marks) = (HashMap::new(), known_marks(&new, None));
        if let Some(earlier) = earlier {
            blobs = self.usable_of(&earlier).await?;
            marks = known_marks(&new, Some(&earlier));
        }
        let missing = missing_blobs(&new, &blobs, &marks);
        let mut page_bytes = vec![0; if marks.contains(&None) { length(&new) } else { 0 }];
        let brought = self.read_into(&new, &missing, &mut page_bytes).await?;
        for blob in new.blobs().iter().filter(|b| missing.contains(&b.blob.id)) {
            match brought.get(&blob.blob.id) {
                Some(Ok(found)) => drop(blobs.insert(blob.blob.id, SegmentBlob { blob: *found, ..*blob })),
                Some(Err(why)) => return Ok(Err(why.clone())),
                None => return Ok(Err(format!("blob {} was not read", blob.blob.id))),
            }
        }
        let key = *self.target.repo().keys.mark_key();
        let work = move || {
            let pages = page_bytes.chunks(PAGE_BYTES).map(Some).chain(std::iter::repeat(None));
            let one = |(known, page): (Option<Mark>, Option<&[u8]>)| {
                known.unwrap_or_else(|| page.map_or(ZERO_MARK, |page| mark(&key, page)))
            };
            marks.into_iter().zip(pages).map(one).collect::<Vec<Mark>>()
        };
        let marks = self.target.repo().pool.run(work).await;
        let Some(parts) = rename(&new, &blobs) else {
            return Ok(Err("a slice is longer than its blob".to_owned()));
        };
        let copy = Segment::new(parts, marks);
        let places: Vec<Place> = copy.blobs().iter().map(|b| b.blob.place).collect();
        self.target.need(places.iter().copied())?;
        Ok(Ok(put_segment(&mut *self.target.sink(), segment::encode(&copy), places).await?))
    }

    /// Blobs of the source that the earlier copy has, as far as they may be referenced.
    async fn usable_of(&self, earlier: &Earlier) -> Result<HashMap<BlobId, SegmentBlob>> {
        let mut out = HashMap::new();
        for (old, copy) in earlier.source.blobs().iter().zip(earlier.target.blobs()) {
            let mut copy = *copy;
            copy.blob.place = self.target.session().resolve(copy.blob.place);
            if self.may_use(copy.blob.place).await? {
                out.insert(old.blob.id, copy);
            }
        }
        Ok(out)
    }

    /// Brings the missing blobs over, and lays their slices out as the file has them where marks are wanted.
    async fn read_into(
        &self,
        new: &Segment,
        missing: &HashSet<BlobId>,
        page_bytes: &mut [u8],
    ) -> Result<Brought> {
        let mut slices: HashMap<BlobId, Vec<(usize, usize, usize)>> = HashMap::new();
        let mut lengths = HashMap::new();
        let mut at = 0;
        for stretch in new.stretches() {
            let bytes = usize::try_from(stretch.bytes).unwrap_or(0);
            if let StretchData::Slice(number, from) = stretch.data {
                let blob = &new.blobs()[number as usize];
                slices.entry(blob.blob.id).or_default().push((at, from as usize, bytes));
                lengths.insert(blob.blob.id, blob.bytes as usize);
            }
            at += bytes;
        }
        let mut wrong = Vec::new();
        let wanted: Vec<_> = new.blobs().iter().map(|b| b.blob).filter(|b| missing.contains(&b.id)).collect();
        let mut lay = |id: BlobId, bytes: &bytes::Bytes| {
            if lengths.get(&id) != Some(&bytes.len()) {
                wrong.push(id);
                return;
            }
            for &(at, from, n) in slices.get(&id).into_iter().flatten() {
                let to = page_bytes.get_mut(at..at + n);
                if let (Some(to), Some(part)) = (to, bytes.get(from..from + n)) {
                    to.copy_from_slice(part);
                }
            }
        };
        // Known blobs need not be read again unless their pages are wanted.
        let mut brought = self.bring(wanted, Some(&mut lay)).await?;
        for id in wrong {
            brought.insert(id, Err(format!("blob {id} is not as long as its segment says")));
        }
        Ok(brought)
    }
}

fn length(segment: &Segment) -> usize {
    usize::try_from(segment.bytes().min(SEGMENT_BYTES)).unwrap_or(0)
}

fn page_length(segment: &Segment, page: usize) -> usize {
    length(segment).saturating_sub(page * PAGE_BYTES).min(PAGE_BYTES)
}

/// The marks in the target that are known without reading: those of zeros, and those of pages that are as they were.
fn known_marks(new: &Segment, earlier: Option<&Earlier>) -> Vec<Option<Mark>> {
    let one = |(page, own): (usize, &Mark)| {
        if *own == ZERO_MARK {
            return Some(ZERO_MARK);
        }
        let earlier = earlier?;
        let same = earlier.source.marks().get(page) == Some(own)
            && page_length(&earlier.source, page) == page_length(new, page);
        same.then(|| earlier.target.marks().get(page).copied()).flatten()
    };
    new.marks().iter().enumerate().map(one).collect()
}

/// Blobs that have to be read: those that the target lacks, and those that lie in pages without a known mark.
fn missing_blobs(
    new: &Segment,
    known: &HashMap<BlobId, SegmentBlob>,
    marks: &[Option<Mark>],
) -> HashSet<BlobId> {
    let (mut out, mut at) = (HashSet::new(), 0);
    for stretch in new.stretches() {
        let bytes = usize::try_from(stretch.bytes).unwrap_or(0);
        if let StretchData::Slice(number, _) = stretch.data {
            let id = new.blobs()[number as usize].blob.id;
            let pages = at / PAGE_BYTES..(at + bytes).div_ceil(PAGE_BYTES).min(marks.len());
            if !known.contains_key(&id) || marks[pages].contains(&None) {
                out.insert(id);
            }
        }
        at += bytes;
    }
    out
}

/// The same stretches with the target's blobs.
fn rename(new: &Segment, blobs: &HashMap<BlobId, SegmentBlob>) -> Option<Vec<Stretch<SegmentBlob>>> {
    let one = |s: &Stretch<u32>| {
        let data = match s.data {
            StretchData::Hole => StretchData::Hole,
            StretchData::Zeros => StretchData::Zeros,
            StretchData::Slice(number, from) => {
                let blob = *blobs.get(&new.blobs()[number as usize].blob.id)?;
                let fits = u64::from(from) + s.bytes <= u64::from(blob.bytes);
                StretchData::Slice(fits.then_some(blob)?, from)
            }
        };
        Some(Stretch { bytes: s.bytes, data })
    };
    new.stretches().iter().map(one).collect()
}
