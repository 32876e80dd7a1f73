//! The best first, within the budget.

use super::*;
use crate::ids::Sid;

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

fn looked(n: u8, body_bytes: u64, live_bytes: u64) -> Looked {
    let bytes = body_bytes + 1000;
    Looked {
        pack: pack(n),
        bytes,
        kind: PackKind::Data,
        epoch: 2,
        body_bytes,
        live_bytes,
        live_plain: live_bytes,
    }
}

const ALL: Budget = Budget { bytes: u64::MAX, requests: u64::MAX };

fn check(looked: &[Looked], how: &Compaction, mut budget: Budget, expected: &[u8], waiting: u64) {
    let (chosen, left) = choose(looked.to_vec(), how, &mut budget);
    let numbers: Vec<u8> = chosen.iter().map(|l| l.pack.rnd[0]).collect();
    assert_eq!((numbers.as_slice(), left), (expected, waiting));
}

const MIB: u64 = 1 << 20;

#[test]
fn most_bytes_freed_for_each_byte_copied_first() {
    let packs = [
        looked(1, 32 * MIB, 22 * MIB),
        looked(2, 32 * MIB, 2 * MIB),
        looked(3, 32 * MIB, 23 * MIB),
        looked(4, MIB, MIB / 100),
    ];
    let how = Compaction::default();
    check(&packs, &how, ALL, &[4, 2, 1], 0);
    check(&packs, &how, Budget { bytes: 3 * MIB, ..ALL }, &[4, 2], 1);
    check(&packs, &how, Budget { requests: 4, ..ALL }, &[4, 2], 1);
    check(&packs, &Compaction { live_percent_below: 10, ..how }, ALL, &[4, 2], 0);
    check(&packs, &Compaction { live_percent_below: 0, ..how }, ALL, &[], 0);
}

#[test]
fn old_epochs_only_on_request() {
    let mut packs =
        [looked(1, 32 * MIB, 32 * MIB), looked(2, 32 * MIB, 32 * MIB), looked(3, 32 * MIB, 8 * MIB)];
    packs[1].epoch = 1;
    check(&packs, &Compaction::default(), ALL, &[3], 0);
    let how = Compaction { reencrypt_below_epoch: Some(2), ..Compaction::default() };
    check(&packs, &how, ALL, &[3, 2], 0);
    check(&packs, &how, Budget { bytes: 8 * MIB, ..ALL }, &[3], 1);
}

#[test]
fn many_small_ones_of_about_a_size_become_one() {
    let how = Compaction::default();
    let mut packs: Vec<_> = (0..7).map(|n| looked(n, 100_000, 100_000)).collect();
    packs.push(looked(100, 3 * MIB, 3 * MIB));
    check(&packs, &how, ALL, &[], 0);
    packs.push(looked(7, 120_000, 120_000));
    check(&packs, &how, ALL, &[0, 1, 2, 3, 4, 5, 6, 7], 0);
    check(&packs, &how, Budget { requests: 15, ..ALL }, &[], 8);
    check(&packs, &Compaction { live_percent_below: 0, ..how }, ALL, &[], 0);
    packs[3].kind = PackKind::Meta;
    check(&packs, &how, ALL, &[], 0);
}
