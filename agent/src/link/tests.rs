//! Waits between connections.

use std::time::Duration;

use super::backoff;

#[test]
fn waits_grow_to_their_bound_and_are_spread() {
    let max = Duration::from_secs(30);
    for failures in 0..100 {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            let wait = backoff(failures, random, max);
            assert!(wait <= max && wait >= Duration::from_millis(125), "{failures}: {wait:?}");
        }
    }
    assert!(backoff(10, 0, max) >= max / 2);
    assert!(backoff(0, u64::MAX, max) <= Duration::from_millis(250));
    assert_ne!(backoff(5, 1, max), backoff(5, 1000, max));
}
