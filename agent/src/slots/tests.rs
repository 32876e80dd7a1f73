//! Who gets the next place.

use std::time::Duration;

use tokio::time::Instant;

use super::Slots;
use crate::limits::SLOT_KEPT_SECONDS;

#[test]
fn a_domain_that_waits_is_not_overtaken() {
    let slots = Slots::new(1, 2);
    let now = Instant::now();
    let busy = slots.take(0, now).unwrap();
    assert!(slots.take(1, now).unwrap_err().contains("1 jobs are running already"));
    assert!(slots.take(0, now).is_err());
    drop(busy);
    // The busy one asks first, as its coordinator hears first of the end.
    assert!(slots.take(0, now).unwrap_err().contains("waited longer"));
    let second = slots.take(1, now).unwrap();
    assert!(slots.take(1, now).is_err());
    drop(second);
    assert!(slots.take(1, now).is_err(), "now the other one has waited longer");
    drop(slots.take(0, now).unwrap());
    drop(slots.take(1, now).unwrap());
}

#[test]
fn one_that_does_not_come_back_keeps_no_place() {
    let slots = Slots::new(2, 3);
    let now = Instant::now();
    let (first, second) = (slots.take(0, now).unwrap(), slots.take(0, now).unwrap());
    assert!(slots.take(1, now).is_err());
    drop(first);
    assert!(slots.take(0, now).is_err());
    let later = now + Duration::from_secs(SLOT_KEPT_SECONDS);
    drop(slots.take(2, later).unwrap());
    drop(second);
}

#[test]
fn the_results_that_are_kept_are_bounded_for_all() {
    assert_eq!(Slots::new(1, 1).results_max(), crate::limits::RESULTS_KEPT_MAX);
    assert_eq!(Slots::new(1, 10).results_max(), crate::limits::RESULTS_KEPT_MAX / 10);
}
