//! No more requests at once than allowed, and none is lost.

use super::*;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, Op, RemoteStore};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn no_more_than_the_bound_run_at_once() {
    let slow = Fault::always(Op::Get, "*", Effect::Delay(Duration::from_millis(20)));
    let inner =
        FaultStore::new(Arc::new(RemoteStore::memory()), FaultPlan { faults: vec![slow], crash: None });
    let store = LimitedStore::new(Arc::new(inner), 3);
    let key = Key::new("a").unwrap();
    store.put_new(&key, Bytes::from("x")).await.unwrap();
    let begun = Instant::now();
    for got in join_all((0..12).map(|_| store.get(&key))).await {
        assert_eq!(got.unwrap(), "x");
    }
    assert!(begun.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_bound_of_nothing_still_lets_one_through() {
    let store = LimitedStore::new(Arc::new(RemoteStore::memory()), 0);
    assert_eq!(store.find_size(&Key::new("a").unwrap()).await.unwrap(), None);
}
