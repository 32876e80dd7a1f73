//! Names come sorted and once, whatever was spilled.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Names, Spill};

/// Takes everything; `spill_at` moves what is left to the file after so many names, `park` gives buffers back each time.
fn take_all(names: &mut Names, spill: &mut Spill, spill_at: Option<usize>, park: bool) -> Vec<Vec<u8>> {
    let (mut out, mut name) = (Vec::new(), Vec::new());
    loop {
        if spill_at == Some(out.len()) {
            names.spill_rest(spill).unwrap();
            assert_eq!(names.memory(), 0);
        }
        if park {
            names.park();
        }
        if !names.take(&mut name, spill).unwrap() {
            return out;
        }
        out.push(name.clone());
    }
}

fn check(input: &[Vec<u8>], memory_max: usize, spill_at: Option<usize>, park: bool) {
    let mut spill = Spill::new(None);
    let mut names = Names::default();
    for name in input {
        names.push(name);
        if names.memory() > memory_max {
            names.write_run(&mut spill).unwrap();
        }
    }
    names.finish(&mut spill).unwrap();
    let expected: Vec<_> = input.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(take_all(&mut names, &mut spill, spill_at, park), expected);
    names.close(&mut spill);
    assert_eq!((spill.runs, spill.end), (0, 0), "the space is given back");
}

#[test]
fn many_runs_larger_than_their_buffers() {
    let input: Vec<_> =
        (0u32..20_000).map(|i| format!("{:08x}", i.wrapping_mul(2_654_435_761)).into_bytes()).collect();
    check(&input, usize::MAX, None, false);
    check(&input, 60_000, None, false);
    check(&input, 3_000, None, true);
    check(&input, usize::MAX, Some(777), false);
}

#[test]
fn empty_directories_and_longest_names() {
    check(&[], 0, None, false);
    check(&[], 0, Some(0), true);
    check(&[vec![b'x'; 255], vec![b'x'; 254], vec![b'x'; 255]], 0, None, true);
}

#[test]
fn space_is_kept_while_another_directory_needs_it() {
    let mut spill = Spill::new(None);
    let make = |spill: &mut Spill| {
        let mut names = Names::default();
        names.push(b"b");
        names.write_run(spill).unwrap();
        names.push(b"a");
        names.finish(spill).unwrap();
        names
    };
    let (mut outer, mut inner) = (make(&mut spill), make(&mut spill));
    assert_eq!(take_all(&mut inner, &mut spill, None, false).len(), 2);
    inner.close(&mut spill);
    outer.park();
    assert_eq!(take_all(&mut outer, &mut spill, None, false), [b"a", b"b"]);
    outer.close(&mut spill);
    assert_eq!(spill.end, 0);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let mut spill = Spill::new(Some("/nonexistent/spill".into()));
    let mut names = Names::default();
    names.push(b"a");
    assert!(names.write_run(&mut spill).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn sorted_and_once(
        input in prop::collection::vec(prop::collection::vec(1u8.., 1..5), 0..60),
        memory_max in 0usize..300,
        spill_at in prop::option::of(0usize..40),
        park in any::<bool>(),
    ) {
        check(&input, memory_max, spill_at, park);
    }
}
