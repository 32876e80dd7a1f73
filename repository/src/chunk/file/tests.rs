//! Files come back byte for byte after any change, and neither store nor keep much more than changed and lives.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::*;
use crate::chunk::compare::{Parent, Piece, Sizes, compare};
use crate::chunk::cutter::tests::{KEY, dull, noise};
use crate::chunk::cutter::{ChunkerParams, Cutter};
use crate::chunk::segment::{self, Segment, SegmentBlob};
use crate::ids::{BlobId, BlobRef, PackId, Place, Sid};
use crate::items::entry::ExtentData;
use proptest::prelude::*;

const PAGE: usize = PAGE_BYTES;

/// A sixteenth of the real sizes.
fn small() -> Rules {
    let params = ChunkerParams::new(32 << 10, 64 << 10, 256 << 10).unwrap();
    let sizes = Sizes {
        segment_bytes: 64 * PAGE as u64,
        long_run_bytes: 8 * PAGE as u64,
        long_zero_bytes: 4 * PAGE as u64,
        gather_bytes: 4 * PAGE,
        again_bytes_min: 4 * PAGE as u64,
    };
    Rules { cutter: Cutter::new(params, &KEY), mark_key: [9; 32], sizes }
}

/// The real sizes, but nothing stored again without as much having changed.
fn real() -> Rules {
    let sizes = Sizes { again_bytes_min: 0, ..Sizes::default() };
    Rules { cutter: Cutter::new(ChunkerParams::default(), &KEY), mark_key: [9; 32], sizes }
}

/// A file: its bytes, and which whole pages of zeros are holes.
#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    holes: BTreeSet<usize>,
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, holes: BTreeSet::new() }
    }

    /// The file as it is read, in slabs of at most so many pages.
    fn pieces(&self, slab_pages: usize, segment_pages: usize) -> Vec<(u64, Piece)> {
        let pages = self.bytes.len().div_ceil(PAGE);
        let (mut from, mut out) = (0, Vec::new());
        while from < pages {
            let hole = self.holes.contains(&from);
            let border = (from / segment_pages + 1) * segment_pages;
            let end = pages.min(border).min(from + slab_pages);
            let to = (from..end).find(|p| self.holes.contains(p) != hole).unwrap_or(end);
            let bytes = &self.bytes[from * PAGE..self.bytes.len().min(to * PAGE)];
            let piece = if hole {
                Piece::Hole(bytes.len() as u64)
            } else {
                Piece::Data(Bytes::copy_from_slice(bytes))
            };
            out.push(((from * PAGE) as u64, piece));
            from = to;
        }
        out
    }
}

/// A simulated file store.
struct Store {
    rules: Arc<Rules>,
    slab_pages: usize,
    blobs: HashMap<BlobId, Bytes>,
    /// Bytes of new blobs, and of segments, that the last backup stored.
    stored: u64,
    stored_segments: u64,
    counts: FileCounts,
    kinds: Vec<ChunkKind>,
}

fn place(id: BlobId) -> Place {
    Place { pack: PackId { sid: Sid([1; 16]), rnd: [2; 8] }, ordinal: u32::from(id.0[0]) }
}

impl Store {
    fn new(rules: Rules, slab_pages: usize) -> Self {
        Self {
            rules: Arc::new(rules),
            slab_pages,
            blobs: HashMap::new(),
            stored: 0,
            stored_segments: 0,
            counts: FileCounts::default(),
            kinds: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &Bytes) -> BlobId {
        let id = BlobId(*blake3::hash(bytes).as_bytes());
        if self.blobs.insert(id, bytes.clone()).is_none() {
            self.stored += bytes.len() as u64;
        }
        id
    }

    /// Backs `file` up against `parent`; segments go through their stored form.
    fn backup(&mut self, file: &File, parent: Option<&[Segment]>) -> Vec<Segment> {
        (self.stored, self.stored_segments, self.kinds) = (0, 0, Vec::new());
        let segment_bytes = self.rules.sizes.segment_bytes;
        let mut plan = FilePlan::new(Arc::clone(&self.rules), parent.is_some());
        let (mut chunks, mut segments) = (HashMap::new(), Vec::new());
        for (offset, piece) in file.pieces(self.slab_pages, (segment_bytes / PAGE as u64) as usize) {
            let i = (offset / segment_bytes) as usize;
            let near = |i: Option<usize>| i.and_then(|i| parent.and_then(|p| p.get(i)));
            let old = near(Some(i))
                .map(|this| Parent::new(near(i.checked_sub(1)), this.clone(), near(Some(i + 1))));
            let step = plan.push(compare(&self.rules, offset, piece, old.map(Arc::new)));
            self.take(step, &mut chunks, &mut segments);
        }
        let (step, counts) = plan.finish();
        self.take(step, &mut chunks, &mut segments);
        assert!(chunks.is_empty(), "no chunk is for nothing");
        self.counts = counts;
        self.check(file, &segments);
        segments
    }

    fn take(&mut self, step: Step, chunks: &mut HashMap<u64, SegmentBlob>, segments: &mut Vec<Segment>) {
        for chunk in step.chunks {
            let id = self.put(&chunk.bytes);
            let blob =
                SegmentBlob { blob: BlobRef { id, place: place(id) }, bytes: chunk.bytes.len() as u32 };
            assert!(chunks.insert(chunk.seq, blob).is_none(), "numbers are used once");
            self.kinds.push(chunk.kind);
        }
        for draft in step.segments {
            assert_eq!(draft.index, segments.len() as u64);
            let done_before = draft.done_before;
            let segment = draft.finish(|seq| chunks.get(&seq).copied()).unwrap();
            chunks.retain(|&seq, _| seq >= done_before);
            let places: Vec<_> = segment.blobs().iter().map(|b| b.blob.place).collect();
            let bytes = segment::encode(&segment);
            self.stored_segments += bytes.len() as u64;
            assert_eq!(segment::decode(&bytes, &places), Ok(segment.clone()));
            segments.push(segment);
        }
    }

    /// All of `file` comes back: bytes, holes, and marks.
    fn check(&self, file: &File, segments: &[Segment]) {
        let mut at = 0;
        for extent in segments.iter().flat_map(Segment::extents) {
            let to = at + extent.bytes as usize;
            let (expected, pages) = (&file.bytes[at..to], at / PAGE..to.div_ceil(PAGE));
            match extent.data {
                ExtentData::Slice(blob, offset) => {
                    let from = offset as usize;
                    assert!(
                        expected == &self.blobs[&blob.id][from..from + extent.bytes as usize],
                        "{at}..{to}"
                    );
                }
                ExtentData::Zeros => assert!(expected.iter().all(|b| *b == 0), "{at}..{to}"),
                ExtentData::Hole => assert!(pages.clone().all(|p| file.holes.contains(&p)), "{at}..{to}"),
            }
            if extent.data != ExtentData::Hole {
                assert!(!pages.into_iter().any(|p| file.holes.contains(&p)), "{at}..{to}");
            }
            at = to;
        }
        assert_eq!(at, file.bytes.len());
        let found: Vec<_> = segments.iter().flat_map(|s| s.marks().iter().copied()).collect();
        assert_eq!(found, crate::chunk::marks::marks(&self.rules.mark_key, &file.bytes));
    }

    /// Bytes of all blobs that `segments` refer to.
    fn kept(&self, segments: &[Segment]) -> u64 {
        let ids: HashSet<_> = segments.iter().flat_map(Segment::blobs).map(|b| b.blob.id).collect();
        ids.iter().map(|id| self.blobs[id].len() as u64).sum()
    }
}

fn change_page(bytes: &mut [u8], page: usize, seed: u64) {
    let to = bytes.len().min((page + 1) * PAGE);
    let len = to - page * PAGE;
    bytes[page * PAGE..to].copy_from_slice(&noise(seed, len));
}

/// Backs up `before`, then `after`; returns what the second stored.
fn check_second(before: Vec<u8>, after: Vec<u8>) -> (u64, Vec<ChunkKind>) {
    let mut store = Store::new(small(), 20);
    let first = store.backup(&File::new(before), None);
    store.backup(&File::new(after), Some(&first));
    (store.stored, store.kinds)
}

fn file() -> Vec<u8> {
    noise(1, 200 * PAGE + 77)
}

#[test]
fn an_unchanged_file_stores_nothing_and_keeps_its_segments() {
    let mut store = Store::new(small(), 20);
    let first = store.backup(&File::new(file()), None);
    let second = store.backup(&File::new(file()), Some(&first));
    assert_eq!((store.stored, store.counts), (0, FileCounts::default()));
    assert_eq!(first, second);
}

#[test]
fn slabs_of_any_size_make_the_same_segments() {
    let of = |slab_pages| Store::new(small(), slab_pages).backup(&File::new(file()), None);
    assert_eq!(of(64), of(1));
    assert_eq!(of(64), of(7));
}

#[test]
fn short_runs_are_gathered_in_order_within_their_segment() {
    let mut after = file();
    for page in [3, 10, 11, 12, 30, 63, 64, 150] {
        change_page(&mut after, page, 1000 + page as u64);
    }
    let (stored, kinds) = check_second(file(), after);
    assert_eq!(stored, 8 * PAGE as u64);
    // Rule 3: four pages and two in the first segment, one in the second, one in the third.
    assert_eq!(kinds, [ChunkKind::Gathered; 4]);
}

#[test]
fn a_long_run_is_cut_across_segments() {
    let mut after = file();
    for page in 50..100 {
        change_page(&mut after, page, 1000 + page as u64);
    }
    let (stored, kinds) = check_second(file(), after);
    assert_eq!(stored, 50 * PAGE as u64);
    assert!(kinds.iter().all(|k| *k == ChunkKind::Cut), "{kinds:?}");
}

#[test]
fn what_an_insertion_moves_is_found_again() {
    let mut after = file();
    after.splice(PAGE + 5..PAGE + 5, noise(5, 100));
    let (stored, _) = check_second(file(), after);
    assert!(stored < 400_000, "{stored}");
}

#[test]
fn an_append_stores_the_tail_only() {
    let (stored, kinds) = check_second(file(), [file(), noise(5, 1000)].concat());
    assert_eq!((stored, kinds), (1077, vec![ChunkKind::Gathered]));
    let (stored, kinds) = check_second(file(), [file(), noise(5, 100 * PAGE)].concat());
    assert_eq!(stored, (77 + 100 * PAGE) as u64);
    assert!(kinds.iter().all(|k| *k == ChunkKind::Cut), "{kinds:?}");
}

#[test]
fn truncation_stores_the_last_page_at_most() {
    assert_eq!(check_second(file(), file()[..90 * PAGE].to_vec()).0, 0);
    assert_eq!(check_second(file(), file()[..90 * PAGE + 3].to_vec()).0, 3);
    assert_eq!(check_second(file(), file()[..5].to_vec()).0, 5);
    assert_eq!(check_second(file(), Vec::new()).0, 0);
}

#[test]
fn a_rewrite_and_growth_from_nothing_are_stored_whole() {
    assert_eq!(check_second(file(), noise(9, 150 * PAGE)).0, 150 * PAGE as u64);
    assert_eq!(check_second(Vec::new(), file()).0, file().len() as u64);
}

#[test]
fn zeros_and_holes_are_never_stored() {
    let mut bytes = noise(1, 128 * PAGE);
    bytes[10 * PAGE..20 * PAGE].fill(0);
    bytes[40 * PAGE..90 * PAGE].fill(0);
    let zeros = File::new(bytes.clone());
    let holes = File { bytes, holes: (12..15).chain(40..90).collect() };
    let mut store = Store::new(small(), 20);
    let first = store.backup(&zeros, None);
    assert_eq!(store.stored, 68 * PAGE as u64);
    let second = store.backup(&holes, Some(&first));
    assert_eq!(store.stored, 0);
    let third = store.backup(&zeros, Some(&second));
    assert_eq!((store.stored, &third), (0, &first));
    let fresh = Store::new(small(), 64).backup(&holes, None);
    assert_eq!(fresh, second);
}

#[test]
fn few_zeros_stay_in_a_cut_run_and_out_of_a_gathered_one() {
    let mut after = noise(2, 200 * PAGE);
    after[100 * PAGE..103 * PAGE].fill(0);
    assert_eq!(check_second(noise(1, 200 * PAGE), after).0, 200 * PAGE as u64);
    let mut after = file();
    change_page(&mut after, 10, 77);
    change_page(&mut after, 13, 78);
    after[11 * PAGE..13 * PAGE].fill(0);
    assert_eq!(check_second(file(), after).0, 2 * PAGE as u64);
}

#[test]
fn scattered_pages_store_about_two_percent_again() {
    // 1 % of 8-KiB pages, as in a database.
    let before = noise(1, 64 << 20);
    let mut after = before.clone();
    for i in 0..82u64 {
        let at = (noise(i, 8)[..4].iter().fold(0usize, |n, b| (n << 8) | usize::from(*b)) % 8192) * 8192;
        after[at..at + 8192].copy_from_slice(&noise((1 << 32) | i, 8192));
    }
    let mut store = Store::new(real(), 1024);
    let first = store.backup(&File::new(before), None);
    store.backup(&File::new(after), Some(&first));
    let share = |bytes: u64| bytes as f64 / f64::from(64 << 20);
    println!("stored {:.4}, segments {:.4}", share(store.stored), share(store.stored_segments));
    assert!(share(store.stored) <= 0.0205, "{}", share(store.stored));
    assert!(share(store.stored_segments) <= 0.003, "{}", share(store.stored_segments));
}

/// A hundred versions of a file, each with one page in a hundred changed: space, extents, and what is stored stay bounded.
fn check_hundred(page_of: impl Fn(u64) -> usize) {
    let mut store = Store::new(real(), 1024);
    let mut file = File::new(noise(1, 2048 * PAGE));
    let mut segments = store.backup(&file, None);
    let (mut again, mut changed, mut most) = (0, 0, 0.0f64);
    for version in 0..100u64 {
        for i in 0..20 {
            change_page(&mut file.bytes, page_of(version * 20 + i), 1000 + version * 20 + i);
        }
        segments = store.backup(&file, Some(&segments));
        again += store.counts.bytes_again;
        changed += store.counts.bytes_changed;
        most = most.max(store.kept(&segments) as f64 / file.bytes.len() as f64);
        // Only the newest is kept, as after retention and GC: what it does not need is gone.
        let live: HashSet<_> = segments.iter().flat_map(Segment::blobs).map(|b| b.blob.id).collect();
        store.blobs.retain(|id, _| live.contains(id));
    }
    let extents: usize = segments.iter().map(|s| s.extents().count()).sum();
    let share = again as f64 / changed as f64;
    println!(
        "space / live at most {most:.3}, stored again / changed {share:.3}, extents {extents} of 2048 pages"
    );
    assert!(most <= 1.6, "{most}");
    assert!(share <= 1.0, "{share}");
    assert!(extents <= 2048 + 100, "{extents}");
}

#[test]
fn a_hundred_versions_of_scattered_pages_stay_bounded() {
    check_hundred(|n| usize::from(u16::from_le_bytes(noise(n, 2).try_into().unwrap())) % 2048);
}

#[test]
fn a_hundred_versions_of_a_hot_tenth_stay_bounded() {
    check_hundred(|n| {
        let r = usize::from(u16::from_le_bytes(noise(n, 2).try_into().unwrap()));
        if n % 10 == 0 { r % 2048 } else { 900 + r % 205 }
    });
}

/// A change to a file.
#[derive(Clone, Debug)]
enum Change {
    Pages(Vec<u16>),
    Write(u32, u32),
    Insert(u32, u16),
    Remove(u32, u32),
    Append(u32),
    Truncate(u32),
    Zero(u16, u8),
    Punch(u16, u8),
    Copy(u16, u16, u8),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        proptest::collection::vec(any::<u16>(), 1..12).prop_map(Change::Pages),
        (any::<u32>(), 1u32..400_000).prop_map(|(at, n)| Change::Write(at, n)),
        (any::<u32>(), any::<u16>()).prop_map(|(at, n)| Change::Insert(at, n)),
        (any::<u32>(), 1u32..300_000).prop_map(|(at, n)| Change::Remove(at, n)),
        (1u32..500_000).prop_map(Change::Append),
        any::<u32>().prop_map(Change::Truncate),
        (any::<u16>(), 1u8..20).prop_map(|(at, n)| Change::Zero(at, n)),
        (any::<u16>(), 1u8..90).prop_map(|(at, n)| Change::Punch(at, n)),
        (any::<u16>(), any::<u16>(), 1u8..30).prop_map(|(from, to, n)| Change::Copy(from, to, n)),
    ]
}

fn apply(file: &mut File, change: &Change, seed: u64) {
    let b = &mut file.bytes;
    let len = b.len().max(1);
    let pages = (b.len() / PAGE).max(1);
    let clip = |at: u32, n: u32| (at as usize % len, (at as usize % len + n as usize).min(len));
    match *change {
        Change::Pages(ref list) => {
            for (i, p) in list.iter().enumerate().filter(|_| len >= PAGE) {
                change_page(b, usize::from(*p) % pages, seed + i as u64);
            }
        }
        Change::Write(at, n) if len > 1 => {
            let (from, to) = clip(at, n);
            b[from..to].copy_from_slice(&dull(seed, to - from));
        }
        Change::Insert(at, n) => {
            let at = at as usize % len;
            b.splice(at..at, noise(seed, n.into()));
        }
        Change::Remove(at, n) if len > 1 => {
            let (from, to) = clip(at, n);
            b.drain(from..to);
        }
        Change::Append(n) => b.extend(noise(seed, n as usize)),
        Change::Truncate(at) => b.truncate(at as usize % len),
        Change::Zero(at, n) | Change::Punch(at, n) if len >= PAGE => {
            let from = usize::from(at) % pages;
            let to = (from + usize::from(n)).min(pages);
            b[from * PAGE..to * PAGE].fill(0);
            if matches!(change, Change::Punch(..)) {
                file.holes.extend(from..to);
            }
        }
        Change::Copy(from, to, n) => {
            let (from, to) = (usize::from(from) % pages, usize::from(to) % pages);
            let n = usize::from(n).min(pages - from.max(to)).min(b.len() / PAGE);
            b.copy_within(from * PAGE..(from + n) * PAGE, to * PAGE);
        }
        _ => {}
    }
    // A hole is a page of zeros, whole or the last.
    let bytes = &file.bytes;
    file.holes.retain(|p| {
        bytes
            .get(p * PAGE..bytes.len().min((p + 1) * PAGE))
            .is_some_and(|b| !b.is_empty() && b.iter().all(|b| *b == 0))
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_sequence_of_changes_comes_back(
        pages in 0usize..180,
        tail in 0usize..PAGE,
        slab_pages in 1usize..65,
        changes in proptest::collection::vec((any_change(), any::<bool>()), 1..12),
    ) {
        let mut store = Store::new(small(), slab_pages);
        let mut file = File::new(noise(1, pages * PAGE + tail));
        let mut segments = store.backup(&file, None);
        for (i, (change, backup)) in changes.iter().enumerate() {
            apply(&mut file, change, 1000 * (i as u64 + 1));
            if *backup {
                segments = store.backup(&file, Some(&segments));
                let FileCounts { bytes_changed, bytes_again } = store.counts;
                prop_assert!(bytes_again <= (bytes_changed * limits::AGAIN_SHARE).max(store.rules.sizes.again_bytes_min));
                prop_assert!(bytes_changed > 0 || bytes_again == 0);
            }
        }
        store.backup(&file, Some(&segments));
    }
}
