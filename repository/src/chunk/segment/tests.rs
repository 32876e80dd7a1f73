//! Segments come back as they were, stay small, and bad bytes are refused.

use super::*;
use crate::ids::{PackId, Sid};
use proptest::prelude::*;

fn place(n: u8) -> Place {
    Place { pack: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, ordinal: u32::from(n) }
}

fn blob(n: u8, bytes: u32) -> SegmentBlob {
    SegmentBlob { blob: BlobRef { id: BlobId([n; 32]), place: place(n) }, bytes }
}

fn slice(bytes: u64, n: u8, blob_bytes: u32, offset: u32) -> Stretch<SegmentBlob> {
    Stretch { bytes, data: StretchData::Slice(blob(n, blob_bytes), offset) }
}

fn zeros(bytes: u64) -> Stretch<SegmentBlob> {
    Stretch { bytes, data: StretchData::Zeros }
}

fn hole(bytes: u64) -> Stretch<SegmentBlob> {
    Stretch { bytes, data: StretchData::Hole }
}

/// A segment whose marks are what its stretches allow.
fn segment(parts: &[Stretch<SegmentBlob>]) -> Segment {
    let bytes: u64 = parts.iter().map(|p| p.bytes).sum();
    let mut out = Segment::new(parts.iter().copied(), vec![ZERO_MARK; bytes.div_ceil(PAGE) as usize]);
    let implied = implied_marks(&out.stretches, out.marks.len());
    for (i, mark) in out.marks.iter_mut().enumerate().filter(|(i, _)| !implied[*i]) {
        *mark = [i as u8 | 1; 16];
    }
    out
}

fn places(segment: &Segment) -> Vec<Place> {
    segment.blobs().iter().map(|b| b.blob.place).collect()
}

fn check(parts: &[Stretch<SegmentBlob>]) -> Vec<u8> {
    let segment = segment(parts);
    let bytes = encode(&segment);
    assert_eq!(decode(&bytes, &places(&segment)), Ok(segment));
    bytes
}

#[test]
fn segments_come_back() {
    check(&[]);
    check(&[hole(limits::SEGMENT_BYTES)]);
    check(&[zeros(100)]);
    check(&[
        slice(70_000, 1, 1 << 20, 5),
        zeros(PAGE),
        slice(20, 2, 20, 0),
        hole(1 << 20),
        slice(7, 1, 1 << 20, 0),
    ]);
}

#[test]
fn the_stored_form_is_golden() {
    let bytes =
        check(&[slice(PAGE, 1, 50_000, 0), slice(100, 2, 300, 7), slice(PAGE, 1, 50_000, 20_000), zeros(1)]);
    let table = format!("02{}d08603{}ac02", "01".repeat(32), "02".repeat(32));
    let extents = "040a00a706020e0b01f8360d";
    let marks = format!("{}{}{}", "01".repeat(16), "01".repeat(16), "03".repeat(16));
    assert_eq!(crate::ids::hex(&bytes), format!("485301e58002{table}{extents}{marks}"));
}

#[test]
fn adjacent_slices_are_one_extent() {
    let s = segment(&[
        slice(10, 1, 100, 0),
        slice(20, 1, 100, 10),
        zeros(5),
        zeros(5),
        hole(1),
        slice(9, 1, 100, 30),
    ]);
    let got: Vec<_> = s.extents().map(|e| (e.bytes, e.data)).collect();
    let b = blob(1, 100).blob;
    let slice = ExtentData::Slice;
    assert_eq!(got, [(30, slice(b, 0)), (10, ExtentData::Zeros), (1, ExtentData::Hole), (9, slice(b, 30))]);
    assert_eq!(s.blobs().len(), 1);
}

#[test]
fn extents_cost_few_bytes() {
    // A cut blob of which every second page was gathered into another.
    let parts: Vec<_> = (0..64u32)
        .map(|i| {
            if i % 2 == 0 {
                slice(PAGE, 1, 1 << 20, 77 + i * 16384)
            } else {
                slice(PAGE, 2, 1 << 20, i / 2 * 16384)
            }
        })
        .collect();
    let bytes = check(&parts);
    let rest = bytes.len() - 64 * 16 - 2 * 35;
    assert!(rest <= 64 * 3 + 20, "{rest} bytes for 64 extents");
    assert!(check(&[hole(limits::SEGMENT_BYTES)]).len() < 16);
}

#[test]
fn lies_are_refused() {
    let refused = |bytes: &[u8], places: &[Place]| decode(bytes, places).unwrap_err().what;
    let segment = segment(&[slice(PAGE, 1, 50_000, 0), zeros(1)]);
    let good = encode(&segment);
    assert_eq!(refused(b"HS\x02", &[]), "segment magic");
    assert_eq!(refused(&good, &[]), "segment blob count");
    assert_eq!(refused(&good[..good.len() - 1], &places(&segment)), "segment mark");
    assert_eq!(refused(&[&good[..], b"x"].concat(), &places(&segment)), "segment end");
    let mut long = MAGIC.to_vec();
    put_varint(&mut long, limits::SEGMENT_BYTES + 1);
    assert_eq!(refused(&long, &[]), "segment length");
    // A slice that goes beyond its blob.
    let mut beyond = segment.clone();
    beyond.blobs[0].bytes = 10_000;
    assert_eq!(refused(&encode(&beyond), &places(&beyond)), "segment extent");
    // Extents shorter than the segment, and a blob that nothing uses.
    let mut short = segment.clone();
    short.stretches.pop();
    assert_eq!(refused(&encode(&short), &places(&short)), "segment extents");
    let mut unused = segment;
    unused.blobs.push(blob(9, 5));
    assert_eq!(refused(&encode(&unused), &places(&unused)), "segment extents");
}

fn any_stretch() -> impl Strategy<Value = Stretch<SegmentBlob>> {
    let bytes = prop_oneof![1u64..70_000, (1u64..10).prop_map(|n| n * PAGE)];
    (bytes, 0u8..8, 0u32..100_000).prop_map(|(bytes, n, offset)| match n {
        6 => hole(bytes),
        7 => zeros(bytes),
        n => slice(bytes, n, 300_000, offset),
    })
}

proptest! {
    #[test]
    fn any_segment_comes_back(parts in proptest::collection::vec(any_stretch(), 0..60)) {
        check(&parts);
    }

    #[test]
    fn flipped_bytes_never_panic(
        parts in proptest::collection::vec(any_stretch(), 0..20),
        flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
    ) {
        let segment = segment(&parts);
        let mut bytes = encode(&segment);
        for (at, with) in flips {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= with;
        }
        if let Ok(found) = decode(&bytes, &places(&segment)) {
            prop_assert_eq!(found.extents().map(|e| e.bytes).sum::<u64>(), found.bytes());
            prop_assert_eq!(found.marks().len() as u64, found.bytes().div_ceil(PAGE));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), n in 0usize..3) {
        let _ = decode(&[MAGIC, &bytes].concat(), &vec![place(1); n]);
        let _ = decode(&bytes, &vec![place(1); n]);
    }
}
