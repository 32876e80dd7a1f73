//! What is tried again, how often, and how a lost reply is understood.

use super::*;
use crate::env::SystemRandom;
use crate::store::{CountedStore, Counts, Effect, Fault, FaultPlan, FaultStore, Op, RemoteStore};
use futures::TryStreamExt as _;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// The default, a thousand times as fast.
fn quick() -> RetryPolicy {
    let RetryPolicy { tries_max, time_max, delay_first, delay_max } = RetryPolicy::default();
    RetryPolicy { tries_max, time_max, delay_first: delay_first / 1000, delay_max: delay_max / 1000 }
}

/// A retrying store over faults over counts over memory.
fn build(faults: Vec<Fault>, policy: RetryPolicy) -> (RetryStore, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let counted = Arc::new(CountedStore::new(Arc::new(RemoteStore::memory()), counts.clone()));
    let faulty = Arc::new(FaultStore::new(counted, FaultPlan { faults, crash: None }));
    (RetryStore::new(faulty, policy, Arc::new(SystemRandom)), counts)
}

fn transient(times: u64) -> Fault {
    Fault { times, ..Fault::once(Op::Put, "*", Effect::Fail(StoreErrorKind::Transient)) }
}

#[tokio::test]
async fn a_failing_request_is_tried_until_it_succeeds() {
    let (store, counts) = build(vec![transient(4)], quick());
    assert_eq!(store.put_new(&key("a"), Bytes::from("x")).await.unwrap(), Put::Created);
    assert_eq!(counts.requests(Op::Put), 1);
}

#[tokio::test]
async fn tries_are_bounded_in_number() {
    let policy = RetryPolicy { tries_max: 3, ..quick() };
    let (store, _) = build(vec![transient(2)], policy);
    store.put_new(&key("a"), Bytes::new()).await.unwrap();
    let (store, counts) = build(vec![transient(3)], policy);
    let error = store.put_new(&key("a"), Bytes::new()).await.unwrap_err();
    assert_eq!((error.kind, counts.requests(Op::Put)), (StoreErrorKind::Transient, 0));
}

#[tokio::test]
async fn tries_are_bounded_in_time() {
    let policy = RetryPolicy { tries_max: u32::MAX, time_max: Duration::from_millis(100), ..quick() };
    let (store, _) = build(vec![transient(u64::MAX)], policy);
    store.put_new(&key("a"), Bytes::new()).await.unwrap_err();
    let patient = RetryPolicy {
        delay_first: Duration::from_secs(3600),
        delay_max: Duration::from_secs(3600),
        ..policy
    };
    let (store, _) = build(vec![transient(1)], patient);
    // A wait that would end too late is not begun.
    store.put_new(&key("a"), Bytes::new()).await.unwrap_err();
}

#[tokio::test]
async fn only_transient_errors_are_tried_again() {
    for kind in
        [StoreErrorKind::Denied, StoreErrorKind::Fatal, StoreErrorKind::Full, StoreErrorKind::NotFound]
    {
        let (store, counts) = build(vec![Fault::once(Op::Put, "*", Effect::Fail(kind))], quick());
        assert_eq!(store.put_new(&key("a"), Bytes::new()).await.unwrap_err().kind, kind);
        assert_eq!(counts.requests(Op::Put), 0);
    }
}

#[tokio::test]
async fn a_put_whose_reply_was_lost_is_passed_on_as_existing() {
    let (store, counts) = build(vec![Fault::once(Op::Put, "*", Effect::LoseReply)], quick());
    assert_eq!(store.put_new(&key("a"), Bytes::from("mine")).await.unwrap(), Put::AlreadyExists);
    assert_eq!(store.get(&key("a")).await.unwrap(), "mine");
    assert_eq!(counts.requests(Op::Put), 2);
}

#[tokio::test]
async fn a_broken_listing_goes_on_where_it_broke() {
    let lost = Fault { times: 3, ..Fault::once(Op::List, "*", Effect::LoseReply) };
    let (store, counts) = build(vec![lost], RetryPolicy { tries_max: 2, ..quick() });
    let keys: Vec<Key> = (0..9).map(|n| key(&format!("f/{n}"))).collect();
    for key in &keys {
        store.put_new(key, Bytes::new()).await.unwrap();
    }
    let listed: Vec<_> = store.list("f/", None).map_ok(|l| l.key).try_collect().await.unwrap();
    assert_eq!(listed, keys);
    assert_eq!(counts.requests(Op::List), 4);
}

#[tokio::test]
async fn a_listing_that_stays_broken_ends_with_the_error() {
    let always = Fault::always(Op::List, "*", Effect::Fail(StoreErrorKind::Transient));
    let (store, _) = build(vec![always], quick());
    let items: Vec<_> = store.list("f/", None).collect().await;
    assert!(matches!(&items[..], [Err(e)] if e.kind == StoreErrorKind::Transient));
}

#[test]
fn delays_double_up_to_the_bound_and_keep_half() {
    let policy =
        RetryPolicy { delay_first: Duration::from_millis(100), delay_max: Duration::from_secs(1), ..quick() };
    let millis = |failed, jitter| policy.delay(failed, jitter).as_millis();
    assert_eq!([1, 2, 3, 4, 5, 40].map(|n| millis(n, u32::MAX)), [100, 200, 400, 800, 1000, 1000]);
    assert_eq!([1, 2, 3, 4, 5, u32::MAX].map(|n| millis(n, 0)), [50, 100, 200, 400, 500, 500]);
}
