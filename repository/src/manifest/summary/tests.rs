//! Summaries keep exactly what was added, in pieces that mostly stay the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{OrdinalSet, PackUse, SummaryBuilder, decode, encode, pieces};
use crate::ids::{PackId, PackRef, Place, Sid};

fn pack(n: u32) -> PackRef {
    let h = blake3::hash(&n.to_le_bytes());
    let mut rnd = [0; 8];
    rnd.copy_from_slice(&h.as_bytes()[..8]);
    PackRef { id: PackId { sid: Sid([h.as_bytes()[9] % 3; 16]), rnd }, bytes: u64::from(n) }
}

fn ordinals() -> impl Strategy<Value = Vec<(u32, u32)>> {
    proptest::collection::vec((0u32..3000, 1u32..60), 0..80)
}

proptest! {
    #[test]
    fn a_set_is_a_set(runs in ordinals(), singles in proptest::collection::vec(0u32..3000, 0..300)) {
        let (mut set, mut plain) = (OrdinalSet::default(), BTreeSet::new());
        for &(start, n) in &runs {
            set.insert_run(start, n);
            plain.extend(start..start + n);
        }
        for &s in &singles {
            set.insert(s);
            plain.insert(s);
        }
        prop_assert!(set.iter().eq(plain.iter().copied()));
        prop_assert_eq!(set.last(), plain.last().copied());
        prop_assert_eq!(set.len(), plain.len() as u64);
        prop_assert_eq!(set.is_empty(), plain.is_empty());
        for n in 0..3100 {
            prop_assert_eq!(set.contains(n), plain.contains(&n));
        }
        let runs: Vec<_> = set.runs().collect();
        prop_assert!(runs.windows(2).all(|w| w[0].0 + w[0].1 < w[1].0));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

fn sizes() -> impl FnMut(PackId) -> Option<u64> {
    let all: BTreeMap<_, _> = (0..20_000).map(|n| (pack(n).id, pack(n).bytes)).collect();
    move |id| all.get(&id).copied()
}

#[test]
fn comes_back_as_it_was() {
    let mut builder = SummaryBuilder::default();
    for n in (0..200).rev() {
        for ordinal in (0..100).filter(|o| (o * n) % 7 != 1) {
            builder.add(Place { pack: pack(n).id, ordinal }).unwrap();
        }
    }
    assert_eq!(builder.packs().count(), 200);
    let uses = builder.finish(sizes()).unwrap();
    assert_eq!(decode(&encode(&uses)).unwrap(), uses);
    assert_eq!(uses.iter().find(|u| u.pack == pack(3)).unwrap().ordinals.len(), 86);
    let mut again = SummaryBuilder::default();
    for u in uses.iter().chain(&uses) {
        again.add_use(u.pack.id, &u.ordinals).unwrap();
    }
    assert_eq!(again.finish(sizes()).unwrap(), uses);
    assert!(decode(&[]).unwrap().is_empty());
}

fn large(skip: u32) -> Vec<Vec<u8>> {
    let mut builder = SummaryBuilder::default();
    for n in (0..20_000).filter(|n| *n != skip) {
        builder.add_use(pack(n).id, &(0..n % 50 + 1).collect()).unwrap();
    }
    pieces(&builder.finish(sizes()).unwrap())
}

#[test]
fn a_change_changes_few_pieces() {
    let (old, new) = (large(1_000_000), large(777));
    assert!(old.len() > 8, "{}", old.len());
    assert!(old.iter().all(|p| p.len() <= crate::limits::SUMMARY_PIECE_BYTES_MAX + 200));
    let known: BTreeSet<_> = old.iter().collect();
    assert!(new.iter().filter(|p| !known.contains(p)).count() <= 3);
    assert_eq!(new.iter().map(|p| decode(p).unwrap().len()).sum::<usize>(), 19_999);
}

#[test]
fn impossible_uses_are_refused() {
    let mut builder = SummaryBuilder::default();
    assert!(builder.add(Place { pack: pack(1).id, ordinal: 1 << 20 }).is_err());
    builder.add(Place { pack: pack(1).id, ordinal: (1 << 20) - 1 }).unwrap();
    assert!(builder.clone().finish(|_| None).is_err());
    assert!(builder.clone().finish(|_| Some(1 << 40)).is_err());
    assert!(builder.finish(|_| Some(1 << 20)).is_ok());
}

#[test]
fn damaged_forms_are_refused_or_something_else() {
    let ordinals: OrdinalSet = [1, 2, 3, 9, 500].into_iter().collect();
    let mut uses: Vec<_> = (0..3).map(|n| PackUse { pack: pack(n), ordinals: ordinals.clone() }).collect();
    uses.sort_by_key(|u| u.pack.id);
    let whole = encode(&uses);
    for n in 0..whole.len() {
        assert_ne!(decode(&whole[..n]).ok().as_ref(), Some(&uses));
        for bit in 0..8 {
            let mut bad = whole.clone();
            bad[n] ^= 1 << bit;
            assert_ne!(decode(&bad).ok().as_ref(), Some(&uses), "byte {n} bit {bit}");
        }
    }
}
