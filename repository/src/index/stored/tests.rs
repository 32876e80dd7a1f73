//! Shards and roots come back as they were; anything else is refused, never a panic.

use super::{Root, ShardBuilder, ShardName, decode_name, decode_shard, encode_name};
use crate::ids::{Generation, PackRef, Sid};
use crate::index::tests::{id, pack};
use crate::index::{Entry, prefix};

fn sorted(count: u32) -> Vec<Entry> {
    let mut entries: Vec<_> =
        (0..count).map(|n| Entry { prefix: prefix(&id(n)), pack: n % 3, ordinal: n * 7 }).collect();
    entries.sort();
    entries
}

fn stored(entries: &[Entry]) -> Vec<u8> {
    let mut builder = ShardBuilder::default();
    for entry in entries {
        builder.push(entry, pack(u8::try_from(entry.pack).unwrap()));
    }
    builder.take().unwrap().0
}

fn named(packs: &[PackRef], entries: &[Entry]) -> Vec<(crate::index::Prefix, PackRef, u32)> {
    entries.iter().map(|e| (e.prefix, packs[e.pack as usize], e.ordinal)).collect()
}

#[test]
fn shards_come_back() {
    let entries = sorted(1000);
    let (packs, read) = decode_shard(&stored(&entries)).unwrap();
    assert_eq!(named(&packs, &read), named(&[pack(0), pack(1), pack(2)], &entries));
    assert!(ShardBuilder::default().take().is_none());
}

#[test]
fn damaged_shards_are_refused() {
    let whole = stored(&sorted(40));
    for cut in 0..whole.len() {
        assert!(decode_shard(&whole[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        // What is authenticated may say anything, but must be in order and within its bounds.
        if let Ok((packs, entries)) = decode_shard(&flipped) {
            assert!(entries.is_sorted_by_key(|e| e.prefix));
            assert!(entries.iter().all(|e| (e.pack as usize) < packs.len()));
        }
    }
    let mut entries = sorted(40);
    entries.swap(3, 30);
    assert!(decode_shard(&stored(&entries)).is_err(), "out of order");
}

#[test]
fn roots_come_back() {
    let name = |n: u8| (Generation(u64::from(n)), Sid([n; 16]), u32::from(n));
    let shards = vec![ShardName { random: [1; 16], entries: 5, bytes: 100 }; 3];
    let deltas = vec![name(1), name(2), name(9)];
    for previous in [None, Some(Generation(0)), Some(Generation(7))] {
        let root = Root { previous, packs: 3, shards: shards.clone(), deltas: deltas.clone() };
        let bytes = root.encode();
        assert_eq!(Root::decode(&bytes).unwrap(), root);
        assert!((0..bytes.len()).all(|cut| Root::decode(&bytes[..cut]).is_err()));
        assert!(root.covers(&name(2)) && !root.covers(&name(3)));
        assert_eq!((root.entries(), root.bytes()), (15, 300));
    }
    let unsorted = Root { deltas: vec![name(2), name(1)], ..Root::default() };
    assert!(Root::decode(&unsorted.encode()).is_err());
    assert_eq!(decode_name(&encode_name(name(4))), Some(name(4)));
    assert_eq!(decode_name(&[0; 27]), None);
}
