//! How long objects have to wait under a bound, by a clock that stands still.

use super::*;
use crate::store::{Op, RemoteStore};

/// Books sizes at moments (in seconds), and tells when each may pass.
fn check(rate: u64, bookings: &[(u64, u64)], expected: &[u64]) {
    let bandwidth = Bandwidth::new(rate);
    let zero = Instant::now() + Duration::from_secs(10);
    let passed = bookings.iter().map(|&(at, bytes)| {
        bandwidth.book(zero + Duration::from_secs(at), bytes).duration_since(zero).as_secs()
    });
    assert_eq!(passed.collect::<Vec<_>>(), expected);
}

#[test]
fn the_average_is_kept_after_the_burst() {
    check(1000, &[(0, 1000); 6], &[0, 0, 1, 2, 3, 4]);
    check(1000, &[(0, 500); 6], &[0, 0, 0, 0, 1, 1]);
}

#[test]
fn what_is_larger_than_the_bucket_passes_and_is_paid_afterwards() {
    check(10, &[(0, 1000), (0, 10), (0, 10)], &[0, 99, 100]);
}

#[test]
fn idle_time_is_saved_up_only_for_the_burst() {
    check(100, &[(0, 100), (3600, 100), (3600, 100), (3600, 100)], &[0, 3600, 3600, 3601]);
}

#[test]
fn no_size_overflows() {
    let bandwidth = Bandwidth::new(0);
    let now = Instant::now();
    bandwidth.book(now, u64::MAX);
    assert!(bandwidth.book(now, u64::MAX) > now);
}

#[tokio::test]
async fn puts_gets_and_ranges_are_booked() {
    let key = Key::new("a").unwrap();
    let (up, down) = (Bandwidth::new(1_000_000), Bandwidth::new(1_000_000));
    let store = BandwidthStore::new(Arc::new(RemoteStore::memory()), Some(up.clone()), Some(down.clone()));
    let paid = |b: &Bandwidth| b.0.paid.lock().unwrap().unwrap();
    store.put_new(&key, Bytes::from(vec![0; 5000])).await.unwrap();
    let (sent, begun) = (paid(&up), Instant::now());
    store.get(&key).await.unwrap();
    let first = paid(&down);
    store.get_range(&key, 0..2000).await.unwrap();
    assert_eq!(paid(&down) - first, Duration::from_millis(2));
    assert!(sent < begun && paid(&up) == sent, "{:?} passed without waiting", Op::Put);
}
