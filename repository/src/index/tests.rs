//! The index finds what was inserted, wherever it lies by then.

use std::collections::HashMap;

use super::Index;
use crate::ids::{BlobId, PackId, PackRef, Place, Sid};

pub(super) fn id(n: u32) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

pub(super) fn pack(n: u8) -> PackRef {
    PackRef { id: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, bytes: 1000 + u64::from(n) }
}

fn fill(index: &mut Index, packs: std::ops::Range<u8>) -> HashMap<BlobId, Place> {
    let mut all = HashMap::new();
    for p in packs {
        let ids: Vec<_> = (0..300).map(|b| id(u32::from(p) * 300 + b)).collect();
        index.insert_pack(pack(p), &ids).unwrap();
        all.extend((0..).zip(ids).map(|(ordinal, id)| (id, Place { pack: pack(p).id, ordinal })));
    }
    all
}

fn check(index: &Index, all: &HashMap<BlobId, Place>) {
    for (id, place) in all {
        assert_eq!(index.find(id), Some(*place));
    }
    assert_eq!(index.find(&id(1_000_000)), None);
    assert_eq!(index.len(), all.len());
}

#[test]
fn finds_across_many_flushes_and_merges() {
    let mut index = Index::with_table_entries(1000);
    assert!(index.is_empty());
    let all = fill(&mut index, 0..60);
    check(&index, &all);
    assert!(index.unsaved() <= 1000 && index.shards.len() <= 8, "{} shards", index.shards.len());
}

#[test]
fn newest_copy_wins_and_refused_ones_give_way() {
    let mut index = Index::temporary();
    for n in [1, 2, 3] {
        index.insert_pack(pack(n), &[id(7)]).unwrap();
        if n == 2 {
            index.flush().unwrap();
        }
    }
    let find = |index: &Index, not: &[u8]| {
        index.find_where(&id(7), |p| !not.iter().any(|&n| pack(n) == *p)).map(|p| p.pack)
    };
    assert_eq!(find(&index, &[]), Some(pack(3).id));
    assert_eq!(find(&index, &[3]), Some(pack(2).id));
    assert_eq!(find(&index, &[3, 2]), Some(pack(1).id));
    assert_eq!(find(&index, &[3, 2, 1]), None);
    index.remove_packs([pack(3).id]);
    assert_eq!(find(&index, &[]), Some(pack(2).id));
    index.flush().unwrap();
    assert_eq!(index.len(), 2, "removed packs leave with the flush");
}

#[test]
fn shards_stay_in_the_folder_with_their_notes() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path()).unwrap();
    let mut all = fill(&mut index, 0..3);
    index.insert_note(b"one");
    index.flush().unwrap();
    let mut again = Index::open(dir.path()).unwrap();
    check(&again, &all);
    assert_eq!(again.notes().collect::<Vec<_>>().concat(), b"one");
    for round in 0u8..12 {
        all.extend(fill(&mut again, 10 + round..11 + round));
        again.insert_note(&[b'a' + round]);
        again.flush().unwrap();
    }
    check(&again, &all);
    check(&index, &HashMap::from_iter(all.clone().into_iter().filter(|(_, p)| p.pack.rnd[0] < 3)));
    let last = Index::open(dir.path()).unwrap();
    check(&last, &all);
    assert_eq!(last.notes().collect::<Vec<_>>().concat(), b"oneabcdefghijkl");
    assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 8);
}

#[test]
fn the_same_pack_twice_is_folded_by_a_merge() {
    let mut index = Index::temporary();
    for _ in 0..9 {
        fill(&mut index, 5..6);
        index.flush().unwrap();
    }
    assert_eq!(index.len(), 300);
}

#[test]
fn damaged_shards_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path()).unwrap();
    fill(&mut index, 0..1);
    index.flush().unwrap();
    let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(Index::open(dir.path()).unwrap().is_empty());
    assert!(!path.exists());
}
