//! Deltas come back as they were, and damaged ones are refused or read as something else, never with a panic.

use super::{DeltaPack, decode, encode, split};
use crate::ids::{BlobId, PackId, PackRef, Sid};
use crate::pack::PackKind;

fn pack(n: u8, blobs: usize) -> DeltaPack {
    DeltaPack {
        pack: PackRef { id: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, bytes: 1000 + u64::from(n) },
        kind: if n < 2 { PackKind::Data } else { PackKind::Meta },
        blobs: (0..blobs).map(|b| BlobId([u8::try_from(b % 256).unwrap(); 32])).collect(),
    }
}

#[test]
fn comes_back_as_it_was() {
    for packs in [vec![], vec![pack(0, 0)], vec![pack(1, 3), pack(2, 300)]] {
        assert_eq!(decode(&encode(&packs)).unwrap(), packs);
    }
}

#[test]
fn every_cut_is_refused_and_every_flip_is_survived() {
    let packs = vec![pack(1, 3), pack(2, 2)];
    let whole = encode(&packs);
    for n in 0..whole.len() {
        assert!(decode(&whole[..n]).is_err(), "cut to {n}");
        for bit in 0..8 {
            let mut bad = whole.clone();
            bad[n] ^= 1 << bit;
            assert_ne!(decode(&bad).ok().as_ref(), Some(&packs), "byte {n} bit {bit}");
        }
    }
    let longer = [whole, vec![0]].concat();
    assert!(decode(&longer).is_err());
}

#[test]
fn counts_beyond_the_input_reserve_nothing() {
    assert!(decode(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

#[test]
fn large_lists_are_split_between_packs() {
    let packs: Vec<_> = (0..5).map(|n| pack(n, 100_000)).collect();
    let parts = split(&packs);
    assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(parts.concat(), packs);
    assert!(split(&[]).is_empty());
}
