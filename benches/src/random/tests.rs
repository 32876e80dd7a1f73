//! The numbers are the same everywhere and for ever, and lie where they should.

use super::Random;

#[test]
fn numbers_never_change() {
    let mut random = Random::new("golden", 7);
    let seen = (random.u16(), random.u32(), random.u64(), random.below(1000));
    assert_eq!(seen, (39_482, 2_556_017_180, 16_242_954_378_891_681_047, 122));
}

#[test]
fn label_and_number_name_different_streams() {
    let first = |label, number| Random::new(label, number).u64();
    assert_eq!(first("a", 1), first("a", 1));
    assert_ne!(first("a", 1), first("a", 2));
    assert_ne!(first("a", 1), first("b", 1));
}

#[test]
fn numbers_stay_below_their_end() {
    let mut random = Random::new("below", 0);
    assert!((0..1000).all(|_| random.below(3) < 3));
    assert_eq!(random.below(0), 0);
    assert_eq!(random.below(1), 0);
}

#[test]
fn sample_is_of_different_numbers() {
    let mut picked = Random::new("sample", 0).sample(50, 100);
    assert_eq!(picked.len(), 50);
    picked.dedup();
    assert_eq!(picked.len(), 50);
    assert!(picked.iter().all(|&i| i < 100));
    assert_eq!(Random::new("sample", 1).sample(9, 3), [0, 1, 2]);
}
