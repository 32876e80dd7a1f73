//! Places come back, cheaply; hostile bytes are refused.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::items::sample::{blob, pack};

proptest! {
    #[test]
    fn places_come_back(
        places in vec((0u8..5, prop_oneof![0u32..20, 0u32..(1 << 20)], 1u32..5), 0..40), nested in vec((0u8..5, 0u32..2000), 0..10),
    ) {
        let runs = places.iter().flat_map(|&(n, first, length)| (first..first + length).map(move |o| (n, o)));
        let places = runs.map(|(n, o)| Place { pack: pack(n), ordinal: o.min((1 << 20) - 1) }).collect();
        let usage = Usage { places, nested: nested.iter().map(|&(n, o)| blob(n, o)).collect() };
        let bytes = usage.encode();
        prop_assert_eq!(Usage::decode(&bytes).unwrap(), usage);
        prop_assert!(Usage::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn flipped_bits_never_panic(places in vec((0u8..3, 0u32..100), 0..20), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let places = places.iter().map(|&(n, o)| blob(n, o).place).collect();
        let mut bytes = Usage { places, nested: vec![blob(1, 2)] }.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Usage::decode(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(tail in vec(any::<u8>(), 0..100)) {
        let _ = Usage::decode(&[&[MAGIC, VERSION, 0][..], &tail].concat());
        let _ = Usage::decode(&[&[MAGIC, VERSION][..], &tail].concat());
    }
}

#[test]
fn a_run_costs_the_same_whatever_its_length() {
    let bytes =
        |n: u32| Usage { places: (0..n).map(|o| blob(1, o).place).collect(), nested: vec![] }.encode().len();
    assert_eq!(bytes(60), bytes(50));
    assert!(bytes(10_000) <= bytes(50) + 3);
}

#[test]
fn a_run_longer_than_promised_is_refused() {
    let mut bytes = vec![MAGIC, VERSION, 1];
    bytes.extend_from_slice(&pack(1).to_bytes());
    bytes.extend_from_slice(&[2, 0]);
    let with = |head: u8| Usage::decode(&[&bytes[..], &[head, 0]].concat());
    assert_eq!(with(2).unwrap().places.len(), 2);
    assert_eq!(with(4).unwrap_err().what, "usage run");
    assert_eq!(with(3).unwrap_err().what, "usage ordinal", "the pack is named, the ordinal is missing");
}
