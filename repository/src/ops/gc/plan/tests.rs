//! What a run may condemn, sweep and carry on.

use super::*;
use crate::ids::Place;

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

fn place(n: u8, ordinal: u32) -> Place {
    Place { pack: pack(n), ordinal }
}

fn moved(from: u8, ordinal: u32, to: u8) -> Relocation {
    Relocation::one(place(from, ordinal), place(to, ordinal))
}

fn live(places: &[(u8, u32)]) -> Live {
    let mut live = Live::default();
    places.iter().for_each(|&(n, ordinal)| live.add(place(n, ordinal)));
    live
}

#[test]
fn free_packs_of_closed_sessions_are_condemned() {
    let packs = (0..5).map(|n| (pack(n), 1)).collect();
    let at_work = HashSet::from([Sid([1; 16])]);
    let needed = live(&[(2, 7)]);
    assert_eq!(condemn(&packs, &needed, &at_work, &HashSet::new()), [pack(0), pack(3), pack(4)]);
    let leftovers = HashSet::from([pack(1), pack(9)]);
    let with_leftover = condemn(&packs, &needed, &at_work, &leftovers);
    assert_eq!(with_leftover, [pack(0), pack(1), pack(3), pack(4)], "whoever carries its owner on");
}

#[test]
fn a_bit_that_no_relocation_covers_spares_its_pack() {
    let open = GcOpen {
        condemned: vec![pack(1), pack(2), pack(3)],
        relocations: vec![moved(1, 5, 9), moved(2, 0, 9)],
    };
    assert_eq!(sweep(&open, &live(&[(1, 5)])), open.condemned);
    assert_eq!(sweep(&open, &live(&[(1, 5), (1, 6)])), [pack(2), pack(3)]);
    assert_eq!(sweep(&open, &live(&[(2, 1), (3, 0)])), [pack(1)]);
}

#[test]
fn a_sweep_that_nobody_may_carry_out_is_an_alarm() {
    let open = GcOpen { condemned: vec![pack(1), pack(2)], relocations: Vec::new() };
    assert!(check_sweep(&[pack(1)], &open, &live(&[(2, 0)])).is_ok());
    let foreign = check_sweep(&[pack(3)], &open, &live(&[])).unwrap_err();
    assert!(foreign.to_string().contains("not condemned"), "{foreign}");
    let needed = check_sweep(&[pack(2)], &open, &live(&[(2, 0)])).unwrap_err();
    assert!(needed.to_string().contains("a snapshot needs"), "{needed}");
}

#[test]
fn relocations_are_followed_to_their_end_and_dropped_when_nobody_names_them() {
    let open =
        GcOpen { condemned: vec![pack(2), pack(3)], relocations: vec![moved(2, 0, 4), moved(3, 0, 4)] };
    let before = [moved(1, 0, 2), moved(1, 1, 2), moved(7, 0, 8)];
    let named = HashSet::from([pack(1), pack(3)]);
    let merged = merge(&before, &open, &[pack(2)], &named);
    assert_eq!(merged, [moved(1, 0, 4), moved(1, 1, 2)], "3 was spared, and 2 and 7 are named by nobody");
    let named = HashSet::from([pack(2)]);
    assert_eq!(merge(&before, &open, &[pack(2), pack(3)], &named), [moved(2, 0, 4)]);
}
