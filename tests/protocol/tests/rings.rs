//! Changes of keys hold in every order of steps; without any one of their rules something is lost.

use protocol::{RingConfig, RingMutation, Wish, search_rings};

fn config(wishes: &[Wish], without: Option<RingMutation>) -> RingConfig {
    RingConfig { wishes: wishes.to_vec(), sessions: 1, without }
}

const THREE: [Wish; 3] = [Wish::Rotate, Wish::Rotate, Wish::Rotate];
const MIXED: [Wish; 4] = [Wish::Rotate, Wish::Remove(1), Wish::Rotate, Wish::Remove(2)];

#[test]
fn changes_of_keys_lose_nothing() {
    for wishes in [&THREE[..], &MIXED[..3], &MIXED[1..]] {
        let states = search_rings(&config(wishes, None));
        assert!(states.as_ref().is_ok_and(|n| *n > 1_000), "{wishes:?}: {states:?}");
    }
}

#[test]
fn every_rule_is_needed() {
    for rule in [
        RingMutation::Overwrites,
        RingMutation::NoListingAfterPut,
        RingMutation::DeletesFirst,
        RingMutation::UsesBeforePut,
        RingMutation::NoListingAfterRead,
    ] {
        let fails = [&THREE[..], &MIXED[..]].iter().any(|w| search_rings(&config(w, Some(rule))).is_err());
        assert!(fails, "without {rule:?} nothing is lost");
    }
}
