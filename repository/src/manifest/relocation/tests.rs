//! Relocations come back as they were, and hostile ones are refused.

use super::*;
use crate::ids::Sid;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

fn run(from: u8, ordinal: u32, count: u32, to: (u8, u32)) -> Relocation {
    Relocation { pack: pack(from), ordinal, count, to: Place { pack: pack(to.0), ordinal: to.1 } }
}

proptest! {
    #[test]
    fn they_come_back(blobs in proptest::collection::btree_map((0u8..4, 0u32..200), (5u8..8, 0u32..3000), 0..200)) {
        let place = |(n, ordinal): (u8, u32)| Place { pack: pack(n), ordinal };
        let all: Vec<_> = blobs.iter().map(|(&from, &to)| Relocation::one(place(from), place(to))).collect();
        let runs = joined(all.clone());
        prop_assert!(runs.windows(2).all(|w| !w[0].meets(&w[1])));
        prop_assert_eq!(&decode(&encode(&runs)).unwrap(), &runs);
        let single: Vec<_> = runs.iter().flat_map(|r| r.blobs()).map(|(from, to)| Relocation::one(from, to)).collect();
        prop_assert_eq!(single, all);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(runs) = decode(&bytes) {
            prop_assert!(runs.iter().all(|r| r.ordinal + r.count <= PACK_BLOBS_MAX as u32));
        }
    }
}

#[test]
fn neighbours_cost_little() {
    let runs = joined((0..1000).map(|i| run(1, i, 1, (2, 7 + i))).collect());
    assert_eq!(runs, [run(1, 0, 1000, (2, 7))]);
    assert!(encode(&runs).len() < 64);
}

#[test]
fn nothing_beyond_a_pack() {
    let most = u32::try_from(PACK_BLOBS_MAX).unwrap();
    assert!(decode(&encode(&[run(1, most - 1, 1, (2, 0))])).is_ok());
    assert!(decode(&encode(&[run(1, most - 1, 2, (2, 0))])).is_err());
    assert!(decode(&encode(&[run(1, 0, 2, (2, most - 1))])).is_err());
    let mut other = encode(&[run(1, 0, 1, (2, 0))]);
    let at = other.len() - 2;
    other[at] = 1;
    assert!(decode(&other).is_err(), "a pack that is not in the list");
}
