//! The tree is a function of its entries; small changes make few new nodes.

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::items::sample::{KEY, Memory, any_entries, file, tree};

fn write(memory: &Memory, entries: &[Entry]) -> Tree {
    block_on(async {
        let mut sink = memory;
        let mut writer = TreeWriter::new(KEY);
        for entry in entries {
            writer.push(&mut sink, entry).await.unwrap();
        }
        writer.finish(&mut sink).await.unwrap()
    })
}

/// Blobs that writing `second` adds after `first`.
fn added(first: &[Entry], second: &[Entry]) -> usize {
    let memory = Memory::default();
    write(&memory, first);
    let before = memory.count();
    write(&memory, second);
    memory.count() - before
}

#[test]
fn an_unchanged_tree_adds_nothing() {
    let entries = tree(50, 200);
    assert_eq!(added(&entries, &entries), 0);
}

#[test]
fn a_change_adds_the_nodes_above_it() {
    let entries = tree(100, 500);
    let mut changed = entries.clone();
    changed[20_000].meta.ino += 1;
    assert!(added(&entries, &changed) <= 6, "leaf, branches, their usages");
    changed.remove(30_000);
    let name = format!("{}-new", String::from_utf8_lossy(&changed[40_000].path));
    changed.insert(40_001, file(&name, 7));
    assert!(added(&entries, &changed) <= 20);
}

#[test]
fn moved_blobs_change_usages_only() {
    let entries = tree(20, 200);
    let mut moved = entries.clone();
    for entry in &mut moved {
        if let crate::items::entry::Kind::File(crate::items::entry::Content::Extents(list)) = &mut entry.kind
            && let crate::items::entry::ExtentData::Slice(blob, _) = &mut list[0].data
        {
            blob.place.ordinal += 5;
        }
    }
    let memory = Memory::default();
    let (before, after) = (write(&memory, &entries), write(&memory, &moved));
    assert_eq!(before.root.node, after.root.node);
    assert_ne!(before.root.usage, after.root.usage);
}

#[test]
fn totals_count_everything() {
    let entries = tree(10, 30);
    let bytes = entries.iter().map(|e| e.size).sum();
    let totals = LeafTotals { entries: 311, files: 300, bytes };
    assert_eq!(write(&Memory::default(), &entries).totals, totals);
}

#[test]
fn what_no_reader_would_take_is_refused() {
    let memory = Memory::default();
    let mut sink = &memory;
    let mut writer = TreeWriter::new(KEY);
    block_on(async {
        writer.push(&mut sink, &file("b", 1)).await.unwrap();
        for bad in ["a", "b", "c/..", "/c", "c//d"] {
            let err = writer.push(&mut sink, &file(bad, 1)).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Internal);
        }
        writer.push(&mut sink, &file("b/c", 1)).await.unwrap();
        assert_eq!(writer.finish(&mut sink).await.unwrap().totals.entries, 2);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equal_entries_make_equal_roots_and_others_do_not(
        entries in any_entries(200), at in any::<prop::sample::Index>(),
    ) {
        let memory = Memory::default();
        let root = write(&memory, &entries).root;
        prop_assert_eq!(write(&Memory::default(), &entries).root.node.id, root.node.id);
        if !entries.is_empty() {
            let mut changed = entries.clone();
            changed[at.index(entries.len())].meta.ctime.0 ^= 1;
            prop_assert_ne!(write(&memory, &changed).root.node.id, root.node.id);
        }
    }

    #[test]
    fn edits_keep_most_leaves(edits in proptest::collection::vec((0usize..20_000, 0u8..3), 1..8)) {
        let entries = tree(40, 500);
        let mut changed = entries.clone();
        for &(at, what) in &edits {
            let at = 1 + at % (changed.len() - 1);
            match what {
                0 => drop(changed.remove(at)),
                1 => changed[at].meta.mode ^= 1,
                _ => {
                    let name = format!("{}-{}", String::from_utf8_lossy(&changed[at].path), changed.len());
                    changed.push(file(&name, 3));
                    changed.sort_by(|a, b| path_cmp(&a.path, &b.path));
                    changed.dedup_by(|a, b| a.path == b.path);
                }
            }
        }
        // A leaf and its usage, at times two leaves, for each edit; the branches and their usages once.
        let new = added(&entries, &changed);
        prop_assert!(new <= edits.len() * 6 + 8, "{} new blobs for {} edits", new, edits.len());
    }
}

#[test]
fn the_largest_file_fits_beside_others() {
    use crate::items::entry::{Content, Kind, SegmentRef};
    use crate::items::reader::TreeReader;
    use crate::items::sample::blob;
    use futures::TryStreamExt as _;
    let segment = |n: usize| {
        let n = n as u32;
        // Scattered as badly as can be: no run is longer than one.
        let ordinal = n.wrapping_mul(2_654_435_761) >> 12;
        SegmentRef { segment: blob((n % 250) as u8, ordinal), usage: blob((n % 249) as u8, ordinal) }
    };
    let list: Vec<_> = (0..limits::NODE_REFS_MAX).map(segment).collect();
    let kind = Kind::File(Content::Segments(list));
    let large = Entry { kind, size: limits::FILE_BYTES_MAX, ..file("m", 1) };
    let mut entries: Vec<Entry> = (0..100).map(|n| file(&format!("a{n:03}"), n)).collect();
    entries.push(large);
    let memory = std::sync::Arc::new(Memory::default());
    let root = write(&memory, &entries).root;
    let read: Vec<Entry> =
        block_on(TreeReader::new(memory, root).stream(crate::items::range::Range::All).try_collect())
            .unwrap();
    assert!(read == entries);
}
