//! Faults happen at the request that was named, and only there.

use super::*;
use crate::store::RemoteStore;
use futures::TryStreamExt as _;
use tokio::time::Instant;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn build(faults: Vec<Fault>, crash: Option<Crash>) -> (FaultStore, Arc<RemoteStore>) {
    let memory = Arc::new(RemoteStore::memory());
    (FaultStore::new(memory.clone(), Plan { faults, crash }), memory)
}

#[tokio::test]
async fn a_fault_hits_the_requests_that_it_names() {
    let fault = Fault {
        op: None,
        key: "d/p/*".to_owned(),
        skip: 1,
        times: 2,
        effect: Effect::Fail(StoreErrorKind::Transient),
    };
    let (store, memory) = build(vec![fault], None);
    store.put_new(&key("d/p/0"), Bytes::new()).await.unwrap();
    store.put_new(&key("d/m/0"), Bytes::new()).await.unwrap();
    store.put_new(&key("d/p/1"), Bytes::new()).await.unwrap_err();
    store.get(&key("d/m/0")).await.unwrap();
    store.get(&key("d/p/0")).await.unwrap_err();
    store.get(&key("d/p/0")).await.unwrap();
    assert_eq!(memory.find_size(&key("d/p/1")).await.unwrap(), None);
    assert_eq!(store.requests(), 6);
}

#[tokio::test]
async fn effects_do_what_they_say() {
    let (store, memory) = build(vec![], None);
    let k = key("d/p/a");
    store.add(Fault::once(Op::Put, "*", Effect::Full));
    assert_eq!(store.put_new(&k, Bytes::from("abcd")).await.unwrap_err().kind, StoreErrorKind::Full);
    assert_eq!(memory.find_size(&k).await.unwrap(), None);
    store.add(Fault::once(Op::Put, "*", Effect::LoseReply));
    assert_eq!(store.put_new(&k, Bytes::from("abcd")).await.unwrap_err().kind, StoreErrorKind::Transient);
    assert_eq!(memory.get(&k).await.unwrap(), "abcd");
    store.add(Fault::once(Op::Put, "*", Effect::Overwrite));
    assert_eq!(store.put_new(&k, Bytes::from("bbbb")).await.unwrap(), Put::Created);
    store.add(Fault::once(Op::Get, "*", Effect::Short(3)));
    assert_eq!(store.get(&k).await.unwrap(), "b");
    store.add(Fault::once(Op::Get, "*", Effect::FlipBit(8)));
    assert_eq!(store.get(&k).await.unwrap(), "bcbb");
    store.add(Fault::once(Op::Put, "*", Effect::Short(1)));
    store.put_new(&key("d/p/torn"), Bytes::from("abcd")).await.unwrap();
    assert_eq!(memory.get(&key("d/p/torn")).await.unwrap(), "abc");
    store.add(Fault::once(Op::Head, "*", Effect::Delay(Duration::from_millis(5))));
    let begun = Instant::now();
    store.find_size(&k).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(5));
}

#[tokio::test]
async fn listings_break_and_lack() {
    let (store, _) = build(vec![], None);
    for n in 0..3 {
        store.put_new(&key(&format!("l/{n}")), Bytes::new()).await.unwrap();
    }
    store.add(Fault::once(Op::List, "l/", Effect::Short(1)));
    assert_eq!(store.list("l/", None).try_collect::<Vec<_>>().await.unwrap().len(), 2);
    store.add(Fault::once(Op::List, "l/", Effect::LoseReply));
    let items: Vec<_> = store.list("l/", None).collect().await;
    assert!(matches!(&items[..], [Ok(_), Err(_)]));
    store.add(Fault::once(Op::List, "l/", Effect::Delay(Duration::from_millis(1))));
    assert_eq!(store.list("l/", None).try_collect::<Vec<_>>().await.unwrap().len(), 3);
}

#[tokio::test]
async fn after_a_crash_nothing_works() {
    for (crash, stored) in [(Crash::Before(2), 2), (Crash::After(2), 3)] {
        let (store, memory) = build(vec![], Some(crash));
        for n in 0..5 {
            let put = store.put_new(&key(&format!("c/{n}")), Bytes::new()).await;
            assert_eq!(put.is_ok(), n < 2, "{crash:?} {n}");
        }
        store.list("c/", None).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(memory.list("c/", None).try_collect::<Vec<_>>().await.unwrap().len(), stored);
        store.replace(Plan::default());
        store.get(&key("c/0")).await.unwrap();
    }
}

#[test]
fn patterns_match_whole_keys() {
    let like = |p: &str, t: &str| glob(p.as_bytes(), t.as_bytes());
    assert!(like("*", "") && like("*", "a/b") && like("a/*/c", "a/b/b/c") && like("*/m/*", "d/m/0/x"));
    assert!(!like("a", "ab") && !like("", "a") && !like("a/*/c", "a/c") && !like("*/m/*", "d/p/m"));
}
