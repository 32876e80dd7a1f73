//! Every request is counted, failed ones too.

use super::*;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, RemoteStore, StoreErrorKind};
use futures::TryStreamExt as _;

#[tokio::test]
async fn requests_bytes_and_errors_are_counted_by_operation_and_kind() {
    let broken = Fault::nth(Op::Get, "*", 2, Effect::Fail(StoreErrorKind::Denied));
    let inner =
        FaultStore::new(Arc::new(RemoteStore::memory()), FaultPlan { faults: vec![broken], crash: None });
    let counts = Arc::new(Counts::default());
    let store = CountedStore::new(Arc::new(inner), counts.clone());
    let pack = Key::new("default/p/ab/x").unwrap();
    let outcome = Key::new("default/m/0/x").unwrap();
    let other = Key::new("repo.json").unwrap();
    for (key, text) in [(&pack, "12345"), (&outcome, "678"), (&other, "9"), (&pack, "12345")] {
        store.put_new(key, Bytes::from(text)).await.unwrap();
    }
    assert_eq!((counts.puts('p'), counts.puts('m'), counts.puts('-'), counts.puts('s')), (2, 1, 1, 0));
    let before = counts.figures();
    assert_eq!((before.requests(Op::Put), before.bytes(Op::Put)), (4, 14));

    store.get(&pack).await.unwrap();
    store.get_range(&pack, 1..3).await.unwrap();
    store.get(&outcome).await.unwrap_err();
    store.find_size(&pack).await.unwrap();
    let listed: Vec<_> = store.list("default/m/", None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    store.delete(&pack).await.unwrap();
    let added = counts.figures().since(&before);
    assert_eq!(Op::ALL.map(|op| added.requests(op)), [0, 3, 1, 1, 1]);
    assert_eq!(Op::ALL.map(|op| added.errors(op)), [0, 1, 0, 0, 0]);
    assert_eq!((added.bytes(Op::Get), added.requests_of(Op::Get, 'p')), (7, 2));
    assert_eq!((added.requests_of(Op::Get, 'm'), added.requests_of(Op::List, 'm')), (1, 1));
}

#[test]
fn kinds_are_read_from_the_second_segment() {
    let letter = |text: &str| letter_of(&Key::new(text).unwrap());
    assert_eq!(
        ["default/p/00/x", "d/m/x", "repo.json", "a/bc/d", "a/B/c", "probe/x"].map(letter),
        ['p', 'm', '-', '-', '-', 'x']
    );
}
