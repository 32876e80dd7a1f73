//! Cuts keep their bounds and find each other again after a change.

use super::*;
use crate::items::entry::Entry;
use crate::items::sample::{KEY, file, tree};

fn cuts(entries: &[Entry]) -> Vec<Vec<u8>> {
    let mut cutter = LeafCutter::new(KEY);
    entries.iter().filter(|e| cutter.ends_after(e)).map(|e| e.path.clone()).collect()
}

#[test]
fn leaves_are_as_large_as_meant() {
    let entries = tree(100, 500);
    let mean = entries.iter().map(weight).sum::<usize>() / cuts(&entries).len();
    let meant = limits::LEAF_BYTES_MIN + limits::LEAF_BYTES_AVG;
    assert!((meant * 2 / 3..meant * 3 / 2).contains(&mean), "{mean} bytes a leaf");
}

#[test]
fn a_leaf_never_holds_more_entries_than_a_reader_takes() {
    let mut cutter = LeafCutter::new(KEY);
    let mut open = 0;
    for n in 0..200_000 {
        let mut entry = file(&format!("{n:06x}"), n);
        entry.kind = Kind::Fifo;
        open += 1;
        if cutter.ends_after(&entry) {
            assert!(open <= limits::LEAF_ENTRIES_MAX);
            open = 0;
        }
    }
}

#[test]
fn a_change_moves_only_the_cuts_around_it() {
    let mut entries = tree(40, 500);
    let before = cuts(&entries);
    entries.remove(9_000);
    entries.insert(15_000, file(&format!("{}x", String::from_utf8_lossy(&entries[14_999].path)), 1));
    let after = cuts(&entries);
    let lost = before.iter().filter(|c| !after.contains(c)).count();
    assert!(before.len() > 15 && lost <= 4, "{lost} of {} cuts lost", before.len());
}

#[test]
fn long_paths_are_counted_whole() {
    let long = "n".repeat(200);
    let deep = vec![long; 100].join("/");
    let entries: Vec<_> = (0..1000).map(|n| file(&format!("{deep}/{n:04}"), n)).collect();
    let longest = entries.split_inclusive({
        let mut cutter = LeafCutter::new(KEY);
        move |e| cutter.ends_after(e)
    });
    let longest = longest.map(|leaf| leaf.iter().map(|e| e.path.len()).sum::<usize>()).max().unwrap();
    assert!(longest <= limits::LEAF_PATH_BYTES_MAX + limits::PATH_BYTES_MAX);
}

#[test]
fn each_level_has_bits_of_its_own() {
    let name = |n: u32| format!("{n:08}").into_bytes();
    let ends = |level, n| branch_ends(&KEY, level, 40, 0, &name(n));
    let first: Vec<u32> = (0..100_000).filter(|&n| ends(1, n)).collect();
    let second = first.iter().filter(|&&n| ends(2, n)).count();
    assert!((600..1000).contains(&first.len()), "{}", first.len());
    assert!(second < 30, "{second} of {} end both levels", first.len());
    assert!(branch_ends(&KEY, 1, limits::BRANCH_CHILDREN_MAX, 0, b"a"));
    assert!(!branch_ends(&KEY, 1, 1, usize::MAX, b"a"), "a branch of one child would never shrink a level");
}
