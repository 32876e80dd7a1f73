//! What goes into a leaf comes out of it; what is not a leaf is refused.

use proptest::prelude::*;

use super::*;
use crate::items::entry::Entry;
use crate::items::sample::{any_entries, directory, file, tree};
use crate::items::usage::Usage;

fn encode(entries: &[Entry]) -> (Vec<u8>, Usage) {
    let mut encoder = LeafEncoder::default();
    entries.iter().for_each(|e| encoder.push(e));
    encoder.finish()
}

fn check_refused(entries: &[Entry], what: &str) {
    let (bytes, usage) = encode(entries);
    assert_eq!(decode(&bytes, &usage).unwrap_err().what, what);
}

proptest! {
    #[test]
    fn entries_come_back(entries in any_entries(60)) {
        let (bytes, usage) = encode(&entries);
        let usage = Usage::decode(&usage.encode()).unwrap();
        prop_assert_eq!(decode(&bytes, &usage).unwrap(), entries);
    }

    #[test]
    fn flipped_bits_never_panic_nor_yield_what_no_writer_takes(
        entries in any_entries(20), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let (mut bytes, usage) = encode(&entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(entries) = decode(&bytes, &usage) {
            prop_assert!(entries.iter().all(|e| e.check().is_ok()));
        }
        let _ = decode(&bytes[..at], &usage);
    }

    #[test]
    fn any_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&[MAGIC, VERSION][..], &tail].concat(), &Usage::default());
    }
}

#[test]
fn bad_paths_are_refused() {
    for path in ["/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", &"x".repeat(256)] {
        check_refused(&[file(path, 1)], "entry path");
    }
    check_refused(&[file("b", 1), file("a", 2)], "entry path");
    check_refused(&[file("a", 1), file("a", 2)], "entry path");
    check_refused(&[directory("a.txt", 1), file("a/b", 2)], "entry path");
    check_refused(&[directory("a", 1), file("a/..", 2)], "entry path");
    check_refused(&[directory("a", 1), directory("", 2)], "entry path");
}

#[test]
fn content_that_does_not_add_up_is_refused() {
    use crate::items::entry::{Content, Extent, ExtentData, Kind};
    let with = |bytes, data| {
        let content = Content::Extents(vec![Extent { bytes, data }]);
        Entry { kind: Kind::File(content), ..file("a", 1) }
    };
    check_refused(&[with(0, ExtentData::Hole)], "entry kind");
    check_refused(&[with(crate::limits::FILE_BYTES_MAX + 1, ExtentData::Zeros)], "entry kind");
    let blob = crate::items::sample::blob(1, 1);
    check_refused(
        &[with(2, ExtentData::Slice(blob, crate::limits::BLOB_BYTES_MAX as u32 - 1))],
        "entry kind",
    );
}

#[test]
fn every_reference_needs_its_place() {
    let (bytes, mut usage) = encode(&tree(2, 3));
    let place = usage.places.pop().unwrap();
    assert!(decode(&bytes, &usage).is_err());
    usage.places.extend([place, place]);
    assert!(decode(&bytes, &usage).is_err());
    usage.places.pop();
    assert!(decode(&bytes, &usage).is_ok());
    usage.nested.push(crate::items::sample::blob(1, 1));
    assert!(decode(&bytes, &usage).is_err());
}

#[test]
fn a_small_file_costs_little_more_than_its_id() {
    let entries = tree(1, 1000);
    let (bytes, usage) = encode(&entries);
    let each = bytes.len() / entries.len();
    assert!(each <= 32 + 24, "{each} bytes an entry");
    assert!(usage.encode().len() < 100, "consecutive places are one run");
}

/// By hand: `cargo test --release -p repository items::leaf::tests::speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "measures")]
fn speed() {
    use std::time::Instant;
    let entries = tree(200, 500);
    let start = Instant::now();
    let mut cutter = crate::items::cut::LeafCutter::new([7; 32]);
    let mut encoder = LeafEncoder::default();
    let mut leaves = Vec::new();
    for entry in &entries {
        encoder.push(entry);
        if cutter.ends_after(entry) {
            leaves.push(encoder.finish());
        }
    }
    leaves.push(encoder.finish());
    let leaves: Vec<_> = leaves.iter().map(|(bytes, usage)| (bytes, usage.encode())).collect();
    let encoded = start.elapsed();
    let start = Instant::now();
    let mut count = 0;
    for (bytes, usage) in &leaves {
        count += decode(bytes, &Usage::decode(usage).unwrap()).unwrap().len();
    }
    let decoded = start.elapsed();
    assert_eq!(count, entries.len());
    let bytes: usize = leaves.iter().map(|(b, u)| b.len() + u.len()).sum();
    println!(
        "{count} entries, {} leaves, {bytes} bytes: encode {encoded:?}, decode {decoded:?}",
        leaves.len()
    );
}
