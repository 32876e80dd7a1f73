//! W4: which snapshot is the parent; and several writers at once.

use super::{open, put, sealed};
use crate::ids::Generation;
use crate::index::testing::World;
use crate::layout::ObjectKind;
use crate::manifest::tests::manifest;
use crate::session::{Commit, History, Session};
use crate::store::Op;

async fn commit(world: &World, volume: &str, started: i64) -> Session {
    let session = open(world).await;
    assert_eq!(session.commit(manifest(volume, started)).await.unwrap(), Commit::Committed);
    session
}

fn forget(world: &World, session: &Session) {
    let key = world.objects.layout.forget(session.generation(), session.sid());
    put(world, sealed(&world.objects, ObjectKind::Forget, &key, b""));
}

#[tokio::test]
async fn two_sessions_commit_and_both_are_listed() {
    let world = World::new();
    let (a, b) = (open(&world).await, open(&world).await);
    let (first, second) = tokio::join!(a.commit(manifest("vol", 1)), b.commit(manifest("vol", 2)));
    assert_eq!((first.unwrap(), second.unwrap()), (Commit::Committed, Commit::Committed));
    let history = History::load(&world.objects, None).await.unwrap();
    let newest: Vec<_> = history.newest_first(None).iter().map(|n| n.sid).collect();
    assert_eq!(newest, [b.sid(), a.sid()]);
}

#[tokio::test]
async fn the_parent_is_the_newest_of_its_volume_that_counts() {
    let world = World::new();
    assert!(open(&world).await.find_parent("vol", None).await.unwrap().is_none());
    let old = commit(&world, "vol", 10).await;
    let new = commit(&world, "vol", 20).await;
    commit(&world, "other", 30).await;
    open(&world).await.abort("test").await.unwrap();
    let session = open(&world).await;
    let (sid, m) = session.find_parent("vol", None).await.unwrap().unwrap();
    assert_eq!((sid, m), (new.sid(), manifest("vol", 20)));
    forget(&world, &new);
    assert_eq!(
        session.find_parent("vol", None).await.unwrap().unwrap().0,
        old.sid(),
        "the newest is forgotten"
    );
    let key = world.objects.layout.outcome(Generation(0), old.sid());
    world.store.contents(|c| c.insert(key.as_str().to_owned(), vec![1; 300].into()));
    assert!(session.find_parent("vol", None).await.unwrap().is_none(), "and the other damaged");
    assert_eq!(History::load(&world.objects, None).await.unwrap().damaged.len(), 1);
}

#[tokio::test]
async fn the_cache_of_names_saves_reads_and_may_be_lost_or_damaged() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    for n in 0..5 {
        commit(&world, "vol", n).await;
    }
    let load = async || {
        let before = world.store.count(Op::Get);
        let history = History::load(&world.objects, Some(dir.path())).await.unwrap();
        (history.names.len(), world.store.count(Op::Get) - before)
    };
    assert_eq!(load().await, (5, 5));
    assert_eq!(load().await, (5, 0));
    let newest = commit(&world, "vol", 9).await;
    assert_eq!(load().await, (6, 1));
    forget(&world, &newest);
    assert_eq!(load().await, (5, 0));
    let path = dir.path().join("history");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(load().await, (5, 5));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(load().await, (5, 5));
}

#[tokio::test]
async fn what_the_cache_says_is_checked_in_the_store() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let old = commit(&world, "vol", 1).await;
    let new = commit(&world, "vol", 2).await;
    let session = open(&world).await;
    assert_eq!(session.find_parent("vol", Some(dir.path())).await.unwrap().unwrap().0, new.sid());
    // The marker appears after the listing of markers, before the outcome is read.
    let (key, outcome) = {
        let layout = &world.objects.layout;
        (layout.forget(Generation(0), new.sid()), layout.outcome(Generation(0), new.sid()))
    };
    let (name, bytes) = sealed(&world.objects, ObjectKind::Forget, &key, b"");
    world.store.on(move |op, key, contents| {
        if op == Op::Get && key == outcome.as_str() {
            contents.insert(name.clone(), bytes.clone());
        }
        crate::index::testing::Fault::None
    });
    assert_eq!(session.find_parent("vol", Some(dir.path())).await.unwrap().unwrap().0, old.sid());
}
