//! The local index reads each delta once, across processes, and survives damaged and late ones.

use std::path::Path;

use super::{LocalIndex, LocalOptions};
use crate::ids::{Generation, PackRef, Place, Sid};
use crate::index::testing::World;
use crate::index::tests::{id, pack};
use crate::index::{DeltaPack, Lookup as _, delta};
use crate::layout::ObjectKind;
use crate::pack::PackKind;
use crate::store::{Key, Op};

mod roots;

fn open(world: &World, dir: Option<&Path>) -> LocalIndex {
    let options = LocalOptions { cache_dir: dir.map(Path::to_owned), refresh_seconds: 10 };
    LocalIndex::open(world.objects.clone(), options)
}

async fn publish(world: &World, sid: u8, n: u32, pack: PackRef, blob: u32) -> Key {
    let objects = &world.objects;
    let key = objects.layout.delta(Generation(0), Sid([sid; 16]), n);
    let plain = delta::encode(&[DeltaPack { pack, kind: PackKind::Data, blobs: vec![id(blob)] }]);
    objects.put_own(&key, &objects.seal(ObjectKind::Delta, &key, &plain)).await.unwrap();
    key
}

async fn found(index: &LocalIndex, blob: u32) -> Option<Place> {
    index.find(&[id(blob)]).await.unwrap()[0]
}

#[tokio::test]
async fn looks_for_new_deltas_at_most_as_often_as_told() {
    let world = World::new();
    publish(&world, 1, 0, pack(1), 10).await;
    let index = open(&world, None);
    world.at(100);
    assert_eq!(found(&index, 10).await, Some(Place { pack: pack(1).id, ordinal: 0 }));
    publish(&world, 2, 0, pack(2), 20).await;
    world.at(109);
    assert_eq!((found(&index, 20).await, world.store.count(Op::List)), (None, 2));
    world.at(110);
    assert!(found(&index, 20).await.is_some());
    assert_eq!((world.store.count(Op::List), world.store.count(Op::Get)), (4, 2));
    world.at(50);
    found(&index, 20).await;
    assert_eq!(world.store.count(Op::List), 6, "a clock that was set back");
}

#[tokio::test]
async fn the_next_process_reads_new_deltas_only() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    for n in 0..20 {
        publish(&world, 1, n, pack(u8::try_from(n).unwrap()), n).await;
    }
    assert_eq!(open(&world, Some(dir.path())).refresh().await.unwrap().deltas, 20);
    publish(&world, 2, 0, pack(30), 30).await;
    let second = open(&world, Some(dir.path()));
    assert_eq!(second.len(), 20);
    assert_eq!(second.refresh().await.unwrap().deltas, 1);
    second.save().unwrap();
    let third = open(&world, Some(dir.path()));
    assert_eq!((third.refresh().await.unwrap().deltas, third.len()), (0, 21));
    assert_eq!(found(&third, 30).await, Some(Place { pack: pack(30).id, ordinal: 0 }));
    std::fs::remove_dir_all(dir.path()).unwrap();
    let fourth = open(&world, Some(dir.path()));
    assert_eq!((fourth.refresh().await.unwrap().deltas, fourth.len()), (21, 21));
}

#[tokio::test]
async fn a_damaged_delta_is_named_once_and_the_rest_is_found() {
    let world = World::new();
    let bad = publish(&world, 1, 0, pack(1), 10).await;
    publish(&world, 2, 0, pack(2), 20).await;
    world.store.contents(|c| c.insert(bad.as_str().to_owned(), vec![0; 200].into()));
    let index = open(&world, None);
    let first = index.refresh().await.unwrap();
    assert!(first.damaged.len() == 1 && first.damaged[0].chain().contains(bad.as_str()));
    assert!(index.refresh().await.unwrap().damaged.is_empty());
    assert!(found(&index, 20).await.is_some() && found(&index, 10).await.is_none());
}

#[tokio::test]
async fn packs_that_are_gone_are_forgotten() {
    let world = World::new();
    publish(&world, 1, 0, pack(1), 10).await;
    publish(&world, 1, 1, pack(2), 10).await;
    let index = open(&world, None);
    index.refresh().await.unwrap();
    index.remove_packs([pack(2).id]);
    assert_eq!(found(&index, 10).await, Some(Place { pack: pack(1).id, ordinal: 0 }));
    assert_eq!(index.find_where(&[id(10)], |p| p != pack(1).id), [None]);
}

#[tokio::test]
async fn a_cache_folder_that_cannot_be_used_is_done_without() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    for n in 0..20 {
        publish(&world, 1, n, pack(u8::try_from(n).unwrap()), n).await;
    }
    let taken = dir.path().join("file");
    std::fs::write(&taken, "").unwrap();
    assert_eq!(open(&world, Some(&taken.join("index"))).refresh().await.unwrap().deltas, 20);
    // It could be opened, and can't be written later: nothing is lost of what it was to keep.
    let gone = dir.path().join("gone");
    let index = open(&world, Some(&gone));
    std::fs::remove_dir_all(&gone).unwrap();
    assert_eq!(index.refresh().await.unwrap().deltas, 20);
    assert_eq!(index.len(), 20);
    assert!(found(&index, 7).await.is_some() && !gone.exists());
}
