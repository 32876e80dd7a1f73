//! Fit stores pass; each unfit one is refused by what it lacks.

use std::sync::Arc;

use super::*;
use crate::env::{Env, SystemRandom};
use crate::store::{Effect, Fault, FaultPlan, FaultStore, FileStore, Op, RemoteStore, StoreErrorKind};

async fn left(store: &dyn Store) -> usize {
    store.list("", None).try_collect::<Vec<_>>().await.unwrap().len()
}

async fn check(op: Op, key: &str, effect: Effect, expected: &str) {
    let memory = Arc::new(RemoteStore::memory());
    let faulty = FaultStore::new(
        memory.clone(),
        FaultPlan { faults: vec![Fault::always(op, key, effect)], crash: None },
    );
    let error = probe(&faulty, &SystemRandom).await.unwrap_err();
    assert_eq!(error.check, expected, "{op:?} {effect:?}: {error}");
    if op != Op::Delete {
        assert_eq!(left(memory.as_ref()).await, 0, "{op:?} {effect:?} left something");
    }
}

#[tokio::test]
async fn good_stores_pass_and_stay_clean() {
    let dir = tempfile::tempdir().unwrap();
    let file = FileStore::open(dir.path(), &Env::system()).unwrap();
    probe(&file, &SystemRandom).await.unwrap();
    assert_eq!(left(&file).await, 0);
    let memory = RemoteStore::memory();
    probe(&memory, &SystemRandom).await.unwrap();
    probe(&memory, &SystemRandom).await.unwrap();
    assert_eq!(left(&memory).await, 0);
}

#[tokio::test]
async fn what_fails_is_named() {
    check(Op::Put, "*/object", Effect::Overwrite, "create-if-absent").await;
    check(Op::Put, "*/race", Effect::Overwrite, "create-if-absent").await;
    check(Op::Put, "*", Effect::Fail(StoreErrorKind::Fatal), "create-if-absent").await;
    check(Op::List, "*", Effect::Short(1), "list after write").await;
    check(Op::List, "*", Effect::Fail(StoreErrorKind::Denied), "list after write").await;
    check(Op::Get, "*", Effect::FlipBit(3), "read after write").await;
    check(Op::Head, "*", Effect::Fail(StoreErrorKind::Denied), "read after write").await;
    check(Op::Delete, "*", Effect::Fail(StoreErrorKind::Denied), "delete").await;
}
