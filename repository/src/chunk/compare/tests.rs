//! Pages are told apart by position; use of blobs is counted over neighbours.

use super::*;
use crate::chunk::cutter::tests::{KEY, noise};
use crate::chunk::cutter::{ChunkerParams, Cutter};
use crate::ids::{BlobRef, PackId, Place, Sid};

fn rules() -> Rules {
    let params = ChunkerParams::new(32 << 10, 64 << 10, 256 << 10).unwrap();
    let sizes =
        Sizes { segment_bytes: 64 * PAGE as u64, long_run_bytes: 8 * PAGE as u64, ..Sizes::default() };
    Rules { cutter: Cutter::new(params, &KEY), mark_key: [9; 32], sizes }
}

fn slice(n: u8, blob_bytes: u32, offset: u32, bytes: u64) -> Stretch<SegmentBlob> {
    let place = Place { pack: PackId { sid: Sid([1; 16]), rnd: [1; 8] }, ordinal: 0 };
    let blob = BlobRef { id: BlobId([n; 32]), place };
    Stretch { bytes, data: StretchData::Slice(SegmentBlob { blob, bytes: blob_bytes }, offset) }
}

/// A segment that describes `data` by `parts`.
fn segment(data: &[u8], parts: &[Stretch<SegmentBlob>]) -> Segment {
    Segment::new(parts.iter().copied(), marks::marks(&rules().mark_key, data))
}

fn check(data: &[u8], parent: Option<Parent>, expected: &[Page]) {
    let found = compare(&rules(), 0, Piece::Data(Bytes::copy_from_slice(data)), parent.map(Arc::new));
    assert_eq!(found.pages, expected);
    assert_eq!(found.bytes(), data.len() as u64);
}

#[test]
fn pages_are_compared_by_position_and_length() {
    let mut data = noise(1, 4 * PAGE + 10);
    let whole = 4 * PAGE as u64 + 10;
    let parent = |d: &[u8]| Some(Parent::new(None, segment(d, &[slice(1, 1 << 20, 0, whole)]), None));
    check(&data, None, &[Page::Changed; 5]);
    check(&data, parent(&data), &[Page::Equal; 5]);
    let before = data.clone();
    data[PAGE] ^= 1;
    data[3 * PAGE..4 * PAGE].fill(0);
    check(&data, parent(&before), &[Page::Equal, Page::Changed, Page::Equal, Page::Zeros, Page::Equal]);
    check(&data, parent(&data), &[Page::Equal, Page::Equal, Page::Equal, Page::EqualZeros, Page::Equal]);
    // Shorter, longer.
    check(&before[..PAGE + 5], parent(&before), &[Page::Equal, Page::Changed]);
    let longer = [&before[..], &[1]].concat();
    check(&longer, parent(&before), &[Page::Equal, Page::Equal, Page::Equal, Page::Equal, Page::Changed]);
}

#[test]
fn zeros_of_another_length_or_in_a_hole_are_not_equal() {
    let hole = Stretch { bytes: PAGE as u64, data: StretchData::Hole };
    let zeros = Stretch { bytes: 10, data: StretchData::Zeros };
    let data = vec![0; PAGE + 10];
    let parent = || Parent::new(None, segment(&data, &[hole, zeros]), None);
    check(&data, Some(parent()), &[Page::Zeros, Page::EqualZeros]);
    check(&vec![0; PAGE + 11], Some(parent()), &[Page::Zeros, Page::Zeros]);
    let found = compare(&rules(), 0, Piece::Hole(PAGE as u64 + 10), Some(Arc::new(parent())));
    assert_eq!(found.pages, [Page::Hole; 2]);
}

#[test]
fn use_of_blobs_is_counted_in_neighbours_too() {
    let page = PAGE as u64;
    let data = noise(1, 2 * PAGE);
    let one = || segment(&data[..PAGE], &[slice(1, 65536, 0, page)]);
    let both = || segment(&data, &[slice(1, 65536, 0, page), slice(2, 32768, 0, page)]);
    let alone = Parent::new(None, both(), None);
    assert!(alone.is_little_used(0, page), "a quarter of blob 1");
    assert!(!alone.is_little_used(page, 2 * page), "half of blob 2");
    assert!(alone.is_little_used(page - 1, 2 * page));
    assert!(!Parent::new(Some(&one()), both(), None).is_little_used(0, 2 * page));
    assert!(!Parent::new(None, both(), Some(&one())).is_little_used(0, 2 * page));
}

#[test]
fn the_parents_stretches_are_cut_to_the_range() {
    let page = PAGE as u64;
    let data = noise(1, 2 * PAGE);
    let parent = Parent::new(
        None,
        segment(&data, &[slice(1, 65536, 7, 100), slice(2, 65536, 9, 2 * page - 100)]),
        None,
    );
    let cut: Vec<_> = parent.stretches(90, page).collect();
    assert_eq!(cut, [slice(1, 65536, 97, 10), slice(2, 65536, 9, page - 100)]);
    assert_eq!(
        parent.stretches(page, page + 1).collect::<Vec<_>>(),
        [slice(2, 65536, 9 + (page as u32 - 100), 1)]
    );
}

#[test]
fn only_long_changed_runs_are_cut_ahead() {
    let (c, e, z) = (Page::Changed, Page::Equal, Page::Zeros);
    let sizes = Sizes { long_run_bytes: 3 * PAGE as u64, ..Sizes::default() };
    let pages = [c, c, e, c, z, z, c, e, z, c, c, z, z, z, z, c, c, c, z];
    assert_eq!(long_runs(&sizes, &pages, true), [(3, 7), (15, 18)]);
    assert_eq!(long_runs(&sizes, &pages, false), [(0, 2), (3, 7), (9, 11), (15, 18)]);
}
