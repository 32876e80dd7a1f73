//! Every store and wrapper passes the suite, and the suite fails those that cheat.

use std::time::Duration;

use super::*;
use crate::env::Env;
use crate::limits::OBJECT_BYTES_MAX;
use crate::store::{
    Bandwidth, BandwidthStore, CachedStore, CountedStore, FileStore, LimitedStore, RemoteStore,
};

fn memory() -> Arc<dyn Store> {
    Arc::new(RemoteStore::memory())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    check(memory()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_below_a_prefix_conforms() {
    let inner = Arc::new(object_store::memory::InMemory::new());
    let other = RemoteStore::new(inner.clone(), "a/c", crate::store::Conflict::Exists);
    other.put_new(&Key::new("conformance/x").unwrap(), Bytes::new()).await.unwrap();
    check(Arc::new(RemoteStore::new(inner, "/a/b/", crate::store::Conflict::Undecided))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::create(&dir.path().join("new/store"), &Env::system()).unwrap();
    check(Arc::new(store)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrapper_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::system();
    let fast = || Some(Bandwidth::new(1 << 40));
    let retry = RetryPolicy { delay_first: Duration::from_millis(1), ..RetryPolicy::default() };
    let wrapped: Vec<Arc<dyn Store>> = vec![
        Arc::new(CountedStore::new(memory(), Arc::default())),
        Arc::new(BandwidthStore::new(memory(), fast(), fast())),
        Arc::new(LimitedStore::new(memory(), 1)),
        Arc::new(FaultStore::new(memory(), FaultPlan::default())),
        Arc::new(RetryStore::new(memory(), retry, env.random.clone())),
        Arc::new(CachedStore::open(memory(), dir.path(), 50 << 20, &env)),
    ];
    for store in wrapped {
        check(store.clone()).await.unwrap_or_else(|e| panic!("{store:?}: {e}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wrappers_together_over_files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::system();
    let mut store: Arc<dyn Store> = Arc::new(FileStore::open(dir.path(), &env).unwrap());
    store = Arc::new(CountedStore::new(store, Arc::default()));
    store = Arc::new(BandwidthStore::new(store, Some(Bandwidth::new(1 << 40)), None));
    store = Arc::new(LimitedStore::new(store, 4));
    store = Arc::new(RetryStore::new(store, RetryPolicy::default(), env.random.clone()));
    let cache = tempfile::tempdir().unwrap();
    check(Arc::new(CachedStore::open(store, cache.path(), 1 << 20, &env))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_stores_are_found() {
    for (op, effect, part) in [
        (Op::Put, Effect::Overwrite, "accepted"),
        (Op::Put, Effect::FlipBit(7), "replaced"),
        (Op::Get, Effect::Short(1), "replaced"),
        (Op::List, Effect::Short(1), "after 1 puts"),
    ] {
        let plan = FaultPlan { faults: vec![Fault::always(op, "*", effect)], crash: None };
        let broken = check(Arc::new(FaultStore::new(memory(), plan))).await.unwrap_err();
        assert!(broken.contains(part), "{effect:?}: {broken}");
    }
}

/// Packs are read by ranges; nothing else may make a reader take more memory than this.
#[tokio::test(flavor = "multi_thread")]
async fn too_large_objects_are_not_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder: Arc<dyn Store> = Arc::new(FileStore::open(dir.path(), &Env::system()).unwrap());
    for store in [memory(), folder] {
        let key = Key::new("d/m/large").unwrap();
        for (name, bytes) in [("d/m/most", OBJECT_BYTES_MAX), ("d/m/large", OBJECT_BYTES_MAX + 1)] {
            store.put_new(&Key::new(name).unwrap(), vec![0; bytes].into()).await.unwrap();
        }
        assert_eq!(store.get(&Key::new("d/m/most").unwrap()).await.unwrap().len(), OBJECT_BYTES_MAX);
        let e = store.get(&key).await.unwrap_err();
        assert_eq!(e.kind, StoreErrorKind::Fatal);
        assert!(e.to_string().contains("d/m/large: has 67108865 bytes"), "{e}");
        assert_eq!(store.get_range(&key, 5..10).await.unwrap().len(), 5, "in parts it can be read");
    }
}
