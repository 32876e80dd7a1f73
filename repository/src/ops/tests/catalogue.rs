//! The collectors' catalogue: the next run reads it instead of every outcome, and its loss costs time only.

use super::gc::{AT_ONCE, check_all, forget_one, gc, version};
use super::*;
use crate::ids::{Generation, Sid};
use crate::layout::ObjectKind;
use crate::ops::gc::{Compaction, GcRequest};
use crate::store::Key;

fn compacting() -> GcRequest {
    GcRequest { compaction: Compaction::default(), ..AT_ONCE }
}

async fn parts(w: &World) -> Vec<Key> {
    let keys = w.repo.objects().list(&w.repo.layout.folder(ObjectKind::Gc), None).await.unwrap();
    keys.into_iter().filter(|k| w.repo.layout.parse_gc_part(k).is_some()).collect()
}

/// Six snapshots, one of them forgotten, and a run.
async fn collected() -> (World, Vec<Sid>) {
    let w = world().await;
    let mut ids = Vec::new();
    for seed in 1..=6 {
        ids.push(version(&w, seed).await);
    }
    forget_one(&w, ids.remove(0)).await;
    let run = gc(&w, &compacting()).await;
    assert!(run.done && run.snapshots == 5, "{run:?}");
    (w, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_run_reads_no_outcome_twice() {
    let (w, mut ids) = collected().await;
    assert_eq!(parts(&w).await.len(), 3, "packs, snapshots and their figures");
    version(&w, 7).await;
    forget_one(&w, ids.remove(0)).await;
    let before = w.counts.figures();
    let run = gc(&w, &compacting()).await;
    let work = w.counts.figures().since(&before);
    assert!(run.done && run.snapshots == 5 && run.deleted >= 1, "{run:?}");
    assert_eq!(work.requests_of(Op::Get, 'm'), 1, "the one that is new");
    forget_one(&w, ids.remove(0)).await;
    let before = w.counts.figures();
    gc(&w, &compacting()).await;
    assert_eq!(w.counts.figures().since(&before).requests_of(Op::Get, 'm'), 0);
    check_all(&w, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalogue_that_is_gone_or_damaged_is_made_again() {
    for damages in [false, true] {
        let (w, mut ids) = collected().await;
        for key in parts(&w).await {
            let mut bytes = w.repo.store.get(&key).await.unwrap().to_vec();
            w.repo.store.delete(&key).await.unwrap();
            if damages {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                w.repo.store.put_new(&key, bytes.into()).await.unwrap();
            }
        }
        forget_one(&w, ids.remove(0)).await;
        let before = w.counts.figures();
        let run = gc(&w, &compacting()).await;
        assert!(run.done && run.snapshots == 4 && run.deleted >= 1, "{run:?}");
        assert!(w.counts.figures().since(&before).requests_of(Op::Get, 'm') >= 4, "all outcomes");
        check_all(&w, 4).await;
        w.check_round_trip().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_nobody_names_are_tidied() {
    let (w, mut ids) = collected().await;
    let first = parts(&w).await;
    let (layout, bytes) = (&w.repo.layout, bytes::Bytes::from_static(b"of a collector that came too late"));
    let ahead = layout.gc_part(Generation(9), "open", [1; 8]);
    for (generation, of) in [(1, "catalogue"), (1, "open"), (1, "done"), (1, "sweep")] {
        let key = layout.gc_part(Generation(generation), of, [1; 8]);
        w.repo.store.put_new(&key, bytes.clone()).await.unwrap();
    }
    w.repo.store.put_new(&ahead, bytes).await.unwrap();
    for n in 0..3 {
        forget_one(&w, ids.remove(0)).await;
        assert!(gc(&w, &compacting()).await.done);
        let left = parts(&w).await;
        assert!(left.contains(&ahead), "somebody may be about to name it");
        assert_eq!(
            first.iter().any(|k| left.contains(k)),
            n == 0,
            "one more run may read the last catalogue"
        );
    }
    let left: Vec<Key> =
        parts(&w).await.into_iter().filter(|k| k.as_str().contains("0101010101010101")).collect();
    assert_eq!(left, [ahead]);
    check_all(&w, 2).await;
}
