//! Pins keep a snapshot from rules and from being forgotten by name, until they are taken back.

use super::compaction::{data_pack, quarantine};
use super::gc::AT_ONCE;
use super::*;
use crate::ErrorKind;
use crate::ids::Sid;
use crate::layout::ObjectKind;
use crate::ops::forget::{Because, Forgetter, candidates, forget, unforget};
use crate::ops::gc::collect;
use crate::ops::{noted, pins};
use crate::retention::{Reason, Rules, plan};

const KEEP_ONE: Rules = Rules {
    last: 1,
    hourly: 0,
    daily: 0,
    weekly: 0,
    monthly: 0,
    yearly: 0,
    within_seconds: None,
    tags: Vec::new(),
    age_seconds_min: 0,
};

fn because() -> Because {
    Because { by: "somebody".to_owned(), why: "an audit".to_owned() }
}

async fn three(w: &World) -> Vec<Sid> {
    let mut ids = Vec::new();
    for n in 0..3 {
        fs::write(w.volume().join("f"), noise(n, 5000)).unwrap();
        ids.push(w.back_up().await.snapshot.id);
    }
    ids
}

/// Forgets by rules; which are left?
async fn apply(w: &World) -> Vec<Sid> {
    let (all, damaged) = candidates(&w.repo, None).await.unwrap();
    assert!(damaged.is_empty());
    let decided = plan(all, &KEEP_ONE, w.repo.env.now());
    noted::forget(&w.repo, &decided, &because(), &Task::default()).await.1.unwrap();
    snapshots::list(&w.repo).await.unwrap().0.into_iter().map(|s| s.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_snapshot_stays_until_it_is_unpinned() {
    let w = world().await;
    let ids = three(&w).await;
    pins::pin(&w.repo, ids[0], &because()).await.unwrap();
    pins::pin(&w.repo, ids[0], &Because::default()).await.unwrap();
    let refused = forget(&w.repo, ids[0], &because()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("is pinned by somebody (an audit)"), "{refused}");
    let (all, _) = candidates(&w.repo, None).await.unwrap();
    let decided = plan(all, &KEEP_ONE, w.repo.env.now());
    let kept = decided.decisions.iter().find(|d| d.snapshot.id == ids[0]).unwrap();
    assert_eq!(kept.kept, [Reason::Pinned]);
    assert_eq!(apply(&w).await, [ids[0], ids[2]]);
    assert!(collect(&w.repo, AT_ONCE, &Task::default()).await.unwrap().done);
    let pinned = snapshots::get(&w.repo, &ids[0].to_string(), None).await.unwrap();
    let health = proofs::health(&w.repo, std::slice::from_ref(&pinned)).await.unwrap();
    assert!(health[&ids[0]].pinned);
    assert_eq!(verify(&w.repo, &pinned, &Level::Full, &Task::default()).await.unwrap().problems.count(), 0);
    pins::unpin(&w.repo, ids[0]).await.unwrap();
    assert_eq!(pins::unpin(&w.repo, ids[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(apply(&w).await, [ids[2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_pin_and_a_forget_at_once_one_hears_of_the_other() {
    let w = world().await;
    let ids = three(&w).await;
    let because = because();
    let mut forgetter = Forgetter::new(&w.repo, &because).await.unwrap();
    // The marker comes between the pin's look and its put, and the other way round.
    forgetter.forget(ids[0]).await.unwrap();
    assert_eq!(pins::pin(&w.repo, ids[0], &because).await.unwrap_err().kind(), ErrorKind::NotFound);
    pins::pin(&w.repo, ids[1], &because).await.unwrap();
    forgetter.forget(ids[1]).await.unwrap();
    let told = forgetter.finish(&w.repo).await.unwrap_err();
    assert!(told.to_string().contains("while it was forgotten"), "{told}");
    let back = unforget(&w.repo, ids[1], "here", &Task::default()).await.unwrap();
    assert!(snapshots::list(&w.repo).await.unwrap().0.iter().any(|s| s.id == back));
    assert_eq!(pins::pin(&w.repo, Sid([7; 16]), &because).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_pin_holds() {
    let w = world().await;
    let ids = three(&w).await;
    pins::pin(&w.repo, ids[0], &because()).await.unwrap();
    let objects = w.repo.objects();
    let [key] = &objects.list(&objects.layout.folder(ObjectKind::Pin), None).await.unwrap()[..] else {
        panic!("one pin")
    };
    w.repo.store.delete(key).await.unwrap();
    w.repo.store.put_new(key, bytes::Bytes::from_static(b"rubbish")).await.unwrap();
    assert_eq!(apply(&w).await, [ids[0], ids[2]]);
    assert_eq!(forget(&w.repo, ids[0], &because()).await.unwrap_err().kind(), ErrorKind::Refused);
}

/// The newest one is known to be damaged: the last good one is an older one, and stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_to_be_damaged_is_not_the_last_good_one() {
    let w = world().await;
    let ids = three(&w).await;
    let newest = snapshots::get(&w.repo, &ids[2].to_string(), None).await.unwrap();
    let pack = data_pack(&w, ids[2]).await;
    quarantine(&w, pack, Vec::new()).await;
    assert!(proofs::health(&w.repo, &[newest]).await.unwrap()[&ids[2]].damaged);
    assert_eq!(apply(&w).await, [ids[1], ids[2]]);
}
