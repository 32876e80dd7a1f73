//! The plan alone: which pack is read when, and how neighbours share a request.

use super::*;
use crate::blob::compress::Codec;
use crate::ids::{Place, Sid};

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

fn id(n: u32) -> BlobId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    BlobId(id)
}

fn blob(p: u8, ordinal: u32) -> BlobRef {
    BlobRef { id: id(ordinal), place: Place { pack: pack(p), ordinal } }
}

/// A footer with groups of these numbers of blobs, each of 1000 plain bytes, each group stored in `stored` bytes.
fn footer(groups: &[u32], stored: u32) -> Footer {
    let (mut footer, mut n) = (Footer::default(), 0);
    for &count in groups {
        let blobs: Vec<_> = (n..n + count).map(|i| (id(i), 1000)).collect();
        footer.push_group(Codec::Raw, stored, &blobs);
        n += count;
    }
    footer
}

/// Plans `(file, at, pack, ordinal)` and gives back `pack: ordinal>file@at ...` for each pack.
fn check_order(pushes: &[(u32, u64, u8, u32)], expected: &[&str]) {
    let mut plan = Plan::default();
    for &(file, at, p, ordinal) in pushes {
        plan.push(file, at, blob(p, ordinal), 0, 10);
    }
    assert_eq!(plan.len(), pushes.len());
    let line = |(p, wants): (PackId, Vec<Want>)| {
        let wants: Vec<_> = wants.iter().map(|w| format!("{}>{}@{}", w.ordinal, w.file, w.at)).collect();
        format!("{}: {}", p.rnd[0], wants.join(" "))
    };
    assert_eq!(plan.by_pack().into_iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn wants_follow_packs_and_blobs() {
    check_order(&[], &[]);
    check_order(&[(0, 0, 9, 5), (1, 0, 2, 1), (2, 7, 9, 3)], &["9: 3>2@7 5>0@0", "2: 1>1@0"]);
    check_order(&[(1, 50, 1, 4), (0, 9, 1, 4), (1, 10, 1, 4)], &["1: 4>0@9 4>1@10 4>1@50"]);
}

/// Cuts wants of these ordinals into batches; `groups:ordinals` for each.
fn check_batches(footer: &Footer, ordinals: &[u32], expected: &[&str], bad: &[u32]) {
    let mut plan = Plan::default();
    ordinals.iter().for_each(|&o| plan.push(0, u64::from(o), blob(1, o), 0, 1000));
    let wants = plan.by_pack().remove(0).1;
    let (list, lost) = batches(footer, wants);
    let text = |numbers: Vec<u32>| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let line = |b: Batch| format!("{}:{}", text(b.groups), text(b.wants.iter().map(|w| w.ordinal).collect()));
    assert_eq!(list.into_iter().map(line).collect::<Vec<_>>(), expected);
    assert_eq!(lost.iter().map(|w| w.ordinal).collect::<Vec<_>>(), bad);
}

#[test]
fn batches_take_neighbours_and_stay_small() {
    let small = footer(&[3, 2, 4, 1], 1000);
    check_batches(&small, &[0, 2, 3, 9], &["0,1,3:0,2,3,9"], &[]);
    check_batches(&small, &[1, 1, 1], &["0:1,1,1"], &[]);
    check_batches(&small, &[0, 10, 4_000_000], &["0:0"], &[10, 4_000_000]);
    // Far apart in the pack: two requests, so two batches.
    check_batches(&footer(&[1, 1, 1], 300 << 10), &[0, 2], &["0:0", "2:2"], &[]);
    // More than a batch may hold.
    let large: Vec<u32> = vec![3000; 4];
    let starts = [0, 3000, 6000, 9000];
    check_batches(&footer(&large, 1000), &starts, &["0:0", "1:3000", "2:6000", "3:9000"], &[]);
}

#[test]
fn wrong_ids_and_slices_beyond_their_blob_are_refused() {
    let footer = footer(&[2], 100);
    let mut plan = Plan::default();
    plan.push(0, 0, BlobRef { id: id(77), ..blob(1, 0) }, 0, 10);
    plan.push(1, 0, blob(1, 0), 991, 10);
    plan.push(2, 0, blob(1, 1), u32::MAX, u32::MAX);
    plan.push(3, 0, blob(1, 1), 990, 10);
    let (list, bad) = batches(&footer, plan.by_pack().remove(0).1);
    assert_eq!(bad.iter().map(|w| w.file).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].wants[0].file, 3);
}
