//! Lengths are exact, text repeats itself as text does, and equal seeds write equal bytes.

use std::collections::HashSet;

use super::{Skewed, Writer};
use crate::random::Random;

/// The share of 8-byte pieces that were seen before, in percent: what a compressor lives on.
fn repeated_percent(bytes: &[u8]) -> usize {
    let mut seen = HashSet::new();
    let repeated = bytes.windows(8).filter(|window| !seen.insert(window.to_vec())).count();
    repeated * 100 / bytes.len()
}

#[test]
fn text_and_code_repeat_themselves_but_not_too_much() {
    let writer = Writer::new();
    let (mut text, mut code) = (Vec::new(), Vec::new());
    writer.text(&mut Random::new("text", 0), &mut text, 200_000);
    writer.code(&mut Random::new("code", 0), &mut code, 200_000);
    assert_eq!((text.len(), code.len()), (200_000, 200_000));
    assert!((35..75).contains(&repeated_percent(&text)), "text {}", repeated_percent(&text));
    assert!((10..60).contains(&repeated_percent(&code)), "code {}", repeated_percent(&code));
}

#[test]
fn equal_seeds_write_equal_bytes() {
    let write = |number| {
        let mut out = b"kept".to_vec();
        Writer::new().text(&mut Random::new("text", number), &mut out, 5000);
        out
    };
    assert_eq!(write(1), write(1));
    assert_ne!(write(1), write(2));
    assert!(write(1).starts_with(b"kept"));
}

#[test]
fn every_number_can_be_drawn_and_small_ones_more_often() {
    let skewed = Skewed::new(20_000);
    assert_eq!(skewed.table.len(), 1 << 16);
    let different: HashSet<u16> = skewed.table.iter().copied().collect();
    assert_eq!(different.len(), 20_000);
    let count = |n| skewed.table.iter().filter(|&&m| m == n).count();
    assert!(count(0) > count(9) && count(9) > count(999));
}
