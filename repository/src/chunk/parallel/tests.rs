//! Several threads cut as one does.

use super::super::cutter::tests::{KEY, cuts, dull, noise, small};
use super::super::cutter::{ChunkerParams, Cutter};
use super::*;
use proptest::prelude::*;

/// Cuts `data` in slabs of the given sizes (the last repeats); returns the ends of the chunks, and the bytes cut twice.
fn joined(cutter: &Cutter, data: &Bytes, sizes: &[usize]) -> (Vec<usize>, u64) {
    let (mut joiner, mut at, mut cut, mut ends) = (Joiner::default(), 0, 0, Vec::new());
    let mut sizes = sizes.iter().copied();
    let mut size = 0;
    while at < data.len() {
        size = sizes.next().unwrap_or(size).max(1);
        let to = (at + size).min(data.len());
        let bytes = data.slice(at..to);
        let spans = speculate(cutter, &bytes, 0);
        let len = bytes.len();
        joiner.push(&Arc::new(Slab { bytes, spans }), 0, len);
        at = to;
        while let Some(chunk) = joiner.next(cutter, at == data.len()) {
            assert_eq!(chunk, data[cut..cut + chunk.len()]);
            cut += chunk.len();
            ends.push(cut);
        }
    }
    assert_eq!(joiner.bytes_left(), 0);
    (ends, joiner.bytes_cut_again())
}

proptest! {
    #[test]
    fn cuts_equal_those_of_one_thread(
        seed in any::<u64>(),
        len in 0usize..300_000,
        low in any::<bool>(),
        sizes in proptest::collection::vec(1usize..60_000, 1..12),
    ) {
        let data = Bytes::from(if low { dull(seed, len) } else { noise(seed, len) });
        let cutter = Cutter::new(small(), &KEY);
        prop_assert_eq!(joined(&cutter, &data, &sizes).0, cuts(&cutter, &data));
    }
}

#[test]
fn equal_bytes_are_cut_at_the_maximum() {
    let data = Bytes::from(vec![b'x'; 100_000]);
    let cutter = Cutter::new(small(), &KEY);
    assert_eq!(joined(&cutter, &data, &[30_000]).0, cuts(&cutter, &data));
}

#[test]
fn few_bytes_are_cut_twice() {
    let data = Bytes::from(noise(3, 128 << 20));
    let cutter = Cutter::new(ChunkerParams::default(), &KEY);
    let (ends, again) = joined(&cutter, &data, &[16 << 20]);
    assert_eq!(ends, cuts(&cutter, &data));
    println!("cut again: {again} of {} bytes", data.len());
    assert!(again < data.len() as u64 / 4, "{again}");
}

#[test]
fn small_slabs_cost_no_quadratic_time() {
    let data = Bytes::from(vec![b'x'; 64 << 10]);
    let cutter = Cutter::new(small(), &KEY);
    assert_eq!(joined(&cutter, &data, &[1]).0, [16384, 32768, 49152, 65536]);
}
