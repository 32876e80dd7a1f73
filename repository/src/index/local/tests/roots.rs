//! The stored index: read once, not at all where all of it is known, and never needed.

use std::collections::HashSet;
use std::path::Path;

use super::{found, open, publish};
use crate::ids::{Generation, Place, Sid};
use crate::index::stored::{DeltaName, Root, ShardName};
use crate::index::testing::{Fault, World};
use crate::index::tests::{id, pack};
use crate::index::{LocalIndex, Lookup as _};
use crate::layout::ObjectKind;
use crate::store::Op;

const DELTAS: u32 = 20;

fn name(n: u32) -> DeltaName {
    (Generation(0), Sid([1; 16]), n)
}

/// Deltas 0 to `DELTAS`, each with one blob in a pack of its own.
async fn publish_all(world: &World) {
    for n in 0..DELTAS {
        publish(world, 1, n, pack(u8::try_from(n).unwrap()), n).await;
    }
}

async fn put(world: &World, kind: ObjectKind, key: &crate::store::Key, plain: &[u8]) {
    world.objects.put_own(key, &world.objects.seal(kind, key, plain)).await.unwrap();
}

/// Stores what `index` has as the root of a generation, and deletes the deltas and what the root before needed.
async fn gather(world: &World, index: &LocalIndex, generation: u64, deltas: Vec<DeltaName>) {
    index.refresh().await.unwrap();
    let gathered = index.gather(|p| p != pack(3).id).unwrap();
    let layout = world.objects.layout.clone();
    let mut shards = Vec::new();
    for (n, (plain, entries)) in gathered.shards().enumerate() {
        let random = [u8::try_from(generation).unwrap() * 16 + u8::try_from(n).unwrap(); 16];
        let key = layout.index_shard(Generation(generation), random);
        put(world, ObjectKind::Index, &key, &plain).await;
        shards.push(ShardName { random, entries, bytes: plain.len() as u64 });
    }
    let root = Root { previous: index.newest_root(), packs: gathered.packs(), shards, deltas };
    put(world, ObjectKind::Index, &layout.index_root(Generation(generation)), &root.encode()).await;
    let old =
        |k: &str| k.contains("/i/") || (k.contains("/x/") && !k.contains(&format!("{generation:010}/")));
    world.store.contents(|c| c.retain(|k, _| !old(k)));
}

async fn count_found(index: &LocalIndex) -> usize {
    let ids: Vec<_> = (0..DELTAS + 5).map(id).collect();
    index.find(&ids).await.unwrap().into_iter().flatten().count()
}

async fn load(world: &World, dir: Option<&Path>) -> (usize, u64) {
    let before = world.store.count(Op::Get);
    let index = open(world, dir);
    let count = count_found(&index).await;
    index.save().unwrap();
    (count, world.store.count(Op::Get) - before)
}

#[tokio::test]
async fn a_root_stands_for_its_deltas() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    publish_all(&world).await;
    assert_eq!(load(&world, None).await, (20, 20), "a request for each delta");
    gather(&world, &open(&world, None), 1, (0..DELTAS).map(name).collect()).await;
    assert_eq!(load(&world, None).await, (19, 2), "a root, a shard, and nothing of what is gone");
    publish(&world, 2, 0, pack(21), 21).await;
    assert_eq!(load(&world, Some(dir.path())).await, (20, 3));
    assert_eq!(load(&world, Some(dir.path())).await, (20, 0), "the next process has it");
    assert_eq!(open(&world, Some(dir.path())).swept(), Generation(1));
}

#[tokio::test]
async fn who_knows_all_of_it_reads_no_shard() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    publish_all(&world).await;
    assert_eq!(load(&world, Some(dir.path())).await, (20, 20));
    gather(&world, &open(&world, None), 1, (0..DELTAS).map(name).collect()).await;
    assert_eq!(load(&world, Some(dir.path())).await, (20, 1), "the root only");
    publish(&world, 1, 20, pack(20), 20).await;
    assert_eq!(load(&world, Some(dir.path())).await, (21, 1), "a delta");
    gather(&world, &open(&world, None), 2, vec![name(20)]).await;
    assert_eq!(load(&world, Some(dir.path())).await, (21, 1), "the next root only");
    publish(&world, 1, 21, pack(21), 21).await;
    gather(&world, &open(&world, None), 3, vec![name(21)]).await;
    assert_eq!(load(&world, Some(dir.path())).await, (22, 2), "a delta was missed: its root and shard");
    assert_eq!(load(&world, None).await, (21, 2));
}

#[tokio::test]
async fn what_is_lost_of_it_is_read_from_deltas() {
    for whole in [false, true] {
        let world = World::new();
        publish_all(&world).await;
        let deltas = world.store.contents(|c| c.clone());
        gather(&world, &open(&world, None), 1, (0..DELTAS).map(name).collect()).await;
        world.store.contents(|c| {
            let shard = c.keys().find(|k| k.contains("/x/") && !k.ends_with("root")).unwrap().clone();
            if whole {
                c.remove(&shard);
                // Not tidied yet: they still help.
                c.extend(deltas.clone());
            } else {
                let mut bytes = c[&shard].to_vec();
                bytes[200] ^= 1;
                c.insert(shard, bytes.into());
            }
        });
        let index = open(&world, None);
        let refreshed = index.refresh().await.unwrap();
        assert_eq!(refreshed.damaged.len(), 1, "{refreshed:?}");
        assert_eq!(count_found(&index).await, if whole { 20 } else { 0 });
        let before = world.store.count(Op::Get);
        assert_eq!(index.refresh().await.unwrap().damaged.len(), 0, "told once");
        assert_eq!(world.store.count(Op::Get), before, "and not read again and again");
        world.store.contents(|c| {
            let root = c.keys().find(|k| k.ends_with("/root")).unwrap().clone();
            c.insert(root, vec![7; 300].into());
        });
        let index = open(&world, None);
        assert_eq!(index.refresh().await.unwrap().damaged.len(), 1);
        assert_eq!(count_found(&index).await, if whole { 20 } else { 0 });
    }
}

/// A collector that writes a root and deletes the deltas while they are read.
#[tokio::test]
async fn a_reader_that_loses_a_race_lists_again() {
    let world = World::new();
    publish_all(&world).await;
    let before = world.store.contents(|c| c.clone());
    gather(&world, &open(&world, None), 1, (0..DELTAS).map(name).collect()).await;
    let after = world.store.contents(|c| std::mem::replace(c, before));
    let mut at = 0;
    world.store.on(move |op, key, contents| {
        if op == Op::Get && key.contains("/i/") {
            at += 1;
            if at == 5 {
                *contents = after.clone();
            }
        }
        Fault::None
    });
    let index = open(&world, None);
    let refreshed = index.refresh().await.unwrap();
    assert_eq!((refreshed.damaged.len(), refreshed.shards), (0, 1), "{refreshed:?}");
    assert!(count_found(&index).await >= 19);
}

#[tokio::test]
async fn swept_packs_are_dropped_and_stay_dropped() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    publish_all(&world).await;
    publish(&world, 2, 0, pack(40), 3).await;
    let index = open(&world, Some(dir.path()));
    let places = |n: u8| Some(Place { pack: pack(n).id, ordinal: 0 });
    assert_eq!(found(&index, 3).await, places(40), "the newest place first");
    assert_eq!(index.find_besides(&id(3), &HashSet::from([pack(40).id])), places(3));
    assert_eq!(index.find_besides(&id(3), &HashSet::from([pack(40).id, pack(3).id])), None);
    index.drop_swept(Generation(4), &HashSet::from([pack(5).id, pack(40).id])).unwrap();
    assert_eq!((found(&index, 5).await, found(&index, 3).await), (None, places(3)));
    index.save().unwrap();
    let again = open(&world, Some(dir.path()));
    assert_eq!(
        (again.swept(), found(&again, 5).await, found(&again, 3).await),
        (Generation(4), None, places(3))
    );
    assert_eq!(again.len(), 19);
}
