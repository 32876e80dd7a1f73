//! Cut points never move, cover the input, and keep to the sizes.

use super::*;
use proptest::prelude::*;

pub(crate) const KEY: [u8; 32] = *b"a chunker key of the unit tests!";

/// Sizes small enough for fast tests.
pub(crate) fn small() -> ChunkerParams {
    ChunkerParams::new(1024, 4096, 16384).unwrap()
}

/// Bytes that depend on `seed` only, and look random.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Bytes of few values, in lines, as logs are.
pub(crate) fn dull(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len / 16 + 1)
        .iter()
        .flat_map(|b| [b'a' + b % 3; 15].into_iter().chain([b'\n']))
        .take(len)
        .collect()
}

/// All cuts of `data`, one after another: the ends of the chunks.
pub(crate) fn cuts(cutter: &Cutter, data: &[u8]) -> Vec<usize> {
    let (mut at, mut out) = (0, Vec::new());
    while let Some(n) = cutter.cut(&data[at..], true) {
        at += n;
        out.push(at);
    }
    out
}

fn check_golden(params: ChunkerParams, len: usize, expected: &[usize]) {
    let found = cuts(&Cutter::new(params, &KEY), &noise(7, len));
    assert_eq!(found, expected, "cut points are part of the repository and must not move");
}

#[test]
fn default_cut_points_are_golden() {
    check_golden(
        ChunkerParams::default(),
        8 << 20,
        &[1234226, 2829198, 3937293, 4997358, 6181932, 7734253, 8388608],
    );
}

#[test]
fn small_cut_points_are_golden() {
    check_golden(
        small(),
        64 << 10,
        &[
            4204, 6319, 11453, 16062, 20268, 24641, 29232, 33410, 37165, 39644, 44033, 48980, 53326, 57475,
            62042, 65536,
        ],
    );
}

#[test]
fn another_key_cuts_elsewhere() {
    let data = noise(7, 256 << 10);
    assert_ne!(cuts(&Cutter::new(small(), &KEY), &data), cuts(&Cutter::new(small(), &[1; 32]), &data));
}

#[test]
fn unsound_sizes_are_refused() {
    assert_eq!(ChunkerParams::new(512, 3000, 8192), Err(InvalidParams::NotPowerOfTwo(3000)));
    assert_eq!(ChunkerParams::new(511, 2048, 8192), Err(InvalidParams::Odd(511)));
    assert_eq!(ChunkerParams::new(512, 2048, 8191), Err(InvalidParams::Odd(8191)));
    assert_eq!(ChunkerParams::new(4096, 2048, 8192), Err(InvalidParams::NotAscending(4096, 2048, 8192)));
    assert!(matches!(
        ChunkerParams::new(0, 2048, 8192),
        Err(InvalidParams::OutOfRange { what: "least", .. })
    ));
    assert!(matches!(
        ChunkerParams::new(64, 128, 8192),
        Err(InvalidParams::OutOfRange { what: "average", .. })
    ));
    let huge = ChunkerParams::new(64, 2048, 32 << 20);
    assert!(matches!(huge, Err(InvalidParams::OutOfRange { what: "greatest", .. })));
    let d = ChunkerParams::default();
    assert_eq!(ChunkerParams::new(d.min(), d.avg(), d.max()), Ok(d));
    let widest = ChunkerParams::new(1 << 20, 4 << 20, 16 << 20).unwrap();
    assert!(Cutter::new(widest, &KEY).cut(&noise(1, 100), true).is_some());
}

#[test]
fn a_short_stream_waits_for_more_or_its_end() {
    let cutter = Cutter::new(small(), &KEY);
    assert_eq!(cutter.cut(&[], false), None);
    assert_eq!(cutter.cut(&[], true), None);
    assert_eq!(cutter.cut(&[7; 100], false), None);
    assert_eq!(cutter.cut(&[7; 100], true), Some(100));
    assert_eq!(cutter.cut(&[7; 20_000], false), Some(16384));
}

#[test]
fn the_table_is_not_printed() {
    assert!(!format!("{:?}", Cutter::new(small(), &KEY)).contains("gear"));
}

proptest! {
    #[test]
    fn chunks_cover_the_input_within_the_sizes(seed in any::<u64>(), len in 0usize..200_000, low in any::<bool>()) {
        let data = if low { dull(seed, len) } else { noise(seed, len) };
        let cutter = Cutter::new(small(), &KEY);
        let found = cuts(&cutter, &data);
        prop_assert_eq!(found.last().copied().unwrap_or(0), len);
        let mut from = 0;
        for (i, &to) in found.iter().enumerate() {
            prop_assert!(to - from <= 16384);
            prop_assert!(to - from >= 1024 || i + 1 == found.len());
            from = to;
        }
    }

    #[test]
    fn a_cut_does_not_depend_on_what_follows(seed in any::<u64>(), len in 1usize..40_000) {
        let cutter = Cutter::new(small(), &KEY);
        let data = noise(seed, 40_000);
        if let Some(n) = cutter.cut(&data[..len], false) {
            prop_assert_eq!(cutter.cut(&data, false), Some(n));
        }
    }
}
