//! Summaries keep exactly what was added, in pieces that mostly stay the same.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{OrdinalSet, PackUse, SummaryBuilder, decode};
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

#[test]
fn comes_back_as_it_was() {
    let mut builder = SummaryBuilder::default();
    for n in (0..200).rev() {
        for ordinal in (0..100).filter(|o| (o * n) % 7 != 1) {
            builder.add(Place { pack: pack(n), ordinal }).unwrap();
        }
    }
    let uses = decode(&builder.encode()).unwrap();
    assert_eq!(uses, builder.uses().collect::<Vec<_>>());
    assert_eq!((uses.len(), builder.packs().count()), (200, 200));
    let mut again = SummaryBuilder::default();
    again.add_all(&uses).unwrap();
    again.add_all(&uses).unwrap();
    assert_eq!(again.encode(), builder.encode());
    assert!(decode(&[]).unwrap().is_empty());
}

fn large(skip: u32) -> SummaryBuilder {
    let mut builder = SummaryBuilder::default();
    for n in (0..20_000).filter(|n| *n != skip) {
        builder.add_all(&[PackUse { pack: pack(n), ordinals: (0..n % 50 + 1).collect() }]).unwrap();
    }
    builder
}

#[test]
fn a_change_changes_few_pieces() {
    let (old, new) = (large(1_000_000).pieces(), large(777).pieces());
    assert!(old.len() > 8, "{}", old.len());
    assert!(old.iter().all(|p| p.len() <= crate::limits::SUMMARY_PIECE_BYTES_MAX + 200));
    let known: BTreeSet<_> = old.iter().collect();
    assert!(new.iter().filter(|p| !known.contains(p)).count() <= 3);
    assert_eq!(new.iter().map(|p| decode(p).unwrap().len()).sum::<usize>(), 19_999);
}

#[test]
fn impossible_places_are_refused() {
    let mut builder = SummaryBuilder::default();
    builder.add(Place { pack: pack(1), ordinal: 3 }).unwrap();
    let other_size = PackRef { bytes: 99, ..pack(1) };
    assert!(builder.add(Place { pack: other_size, ordinal: 3 }).is_err());
    assert!(builder.add(Place { pack: pack(1), ordinal: 1 << 20 }).is_err());
    assert!(builder.add(Place { pack: PackRef { bytes: 1 << 40, ..pack(2) }, ordinal: 0 }).is_err());
}

#[test]
fn damaged_forms_are_refused_or_something_else() {
    let mut builder = SummaryBuilder::default();
    for n in 0..3 {
        builder.add_all(&[PackUse { pack: pack(n), ordinals: [1, 2, 3, 9, 500].into_iter().collect() }]).unwrap();
    }
    let whole = builder.encode();
    let uses = decode(&whole).unwrap();
    for n in 0..whole.len() {
        assert_ne!(decode(&whole[..n]).ok().as_ref(), Some(&uses));
        for bit in 0..8 {
            let mut bad = whole.clone();
            bad[n] ^= 1 << bit;
            assert_ne!(decode(&bad).ok().as_ref(), Some(&uses), "byte {n} bit {bit}");
        }
    }
}
