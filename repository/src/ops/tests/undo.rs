//! A forgotten snapshot comes back as long as all of it can be read, wherever GC has put it meanwhile.

use super::compaction::{compacting, fill};
use super::gc::{AT_ONCE, PATIENT, check_all, faulty_world, forget_one, gc, packs, version};
use super::*;
use crate::ErrorKind;
use crate::ids::Sid;
use crate::ops::forget::unforget;
use crate::ops::gc::collect;
use crate::ops::reader::Reader;
use crate::session::{Session, Who};
use crate::store::{Effect, Fault, FaultPlan, StoreErrorKind};

async fn undo(w: &World, snapshot: Sid) -> crate::Result<Sid> {
    // As a new process would do it.
    unforget(&*open(Arc::clone(&w.repo.store)).await, snapshot, "here", &Task::default()).await
}

/// A snapshot of a small tree and of a file that has segments; a quarter of its packs is live.
async fn thin(w: &World) -> Sid {
    fs::write(w.volume().join("large"), noise(900, 20 << 20)).unwrap();
    fill(&w.volume(), 0..20);
    let first = w.back_up().await.snapshot.id;
    (5..20).for_each(|i| fs::remove_file(w.volume().join(format!("f{i}"))).unwrap());
    // The file's segments stay as they are, their blobs move.
    fs::write(w.volume().join("new"), noise(950, 300_000)).unwrap();
    let second = w.back_up().await.snapshot.id;
    forget_one(w, first).await;
    second
}

async fn check_restored(w: &World, snapshot: Sid) {
    let (target, report) = w.restore_all(&snapshot.to_string()).await;
    assert_eq!(report.problems, Problems::default());
    assert_eq!(describe(&target), describe(&w.volume()));
    fs::remove_dir_all(&target).unwrap();
}

fn merging() -> crate::ops::gc::GcRequest {
    let compaction = crate::ops::gc::Compaction { live_percent_below: 100, ..Default::default() };
    crate::ops::gc::GcRequest { compaction, ..compacting() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_is_named_where_it_is() {
    let w = world().await;
    let second = thin(&w).await;
    let run = gc(&w, &merging()).await;
    assert!(run.done && run.compacted >= 2, "{run:?}");
    forget_one(&w, second).await;
    let before = w.counts.figures();
    let copy = undo(&w, second).await.unwrap();
    let stored = w.counts.figures().since(&before);
    assert!(stored.bytes(Op::Put) < 100_000, "only metadata is written again: {stored:?}");
    check_restored(&w, copy).await;
    // The old places are named by nobody from now on: their relocations go with the forgotten snapshot.
    for _ in 0..2 {
        assert!(gc(&w, &compacting()).await.done);
        check_all(&w, 1).await;
        check_restored(&w, copy).await;
    }
    assert_eq!(undo(&w, second).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(w.back_up().await.figures.files_opened, 0, "the copy is a parent like any other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_held_comes_back_after_it_was_moved() {
    let w = world().await;
    let second = thin(&w).await;
    let reader = Reader::register(&*open(Arc::clone(&w.repo.store)).await, second).await.unwrap();
    forget_one(&w, second).await;
    let run = gc(&w, &crate::ops::gc::GcRequest { fence_after_seconds: 1 << 40, ..merging() }).await;
    assert!(run.done && run.compacted >= 2 && run.deleted >= 2, "{run:?}");
    let copy = undo(&w, second).await.unwrap();
    reader.close().await;
    check_restored(&w, copy).await;
    assert!(gc(&w, &AT_ONCE).await.done);
    check_all(&w, 1).await;
    check_restored(&w, copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_condemned_and_still_there_is_stored_again() {
    let w = world().await;
    let first = version(&w, 1).await;
    let writer = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
    forget_one(&w, first).await;
    let run = gc(&w, &PATIENT).await;
    assert!(!run.done && run.condemned > 0, "{run:?}");
    let copy = undo(&w, first).await.unwrap();
    writer.abort("done").await.unwrap();
    let run = gc(&w, &PATIENT).await;
    assert!(run.done && run.deleted > 0, "what was condemned goes: {run:?}");
    check_all(&w, 1).await;
    check_restored(&w, copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_does_not_come_back() {
    let (w, faulty) = faulty_world().await;
    let first = version(&w, 1).await;
    forget_one(&w, first).await;
    faulty.add(Fault::always(Op::Put, "default/g/*done", Effect::Fail(StoreErrorKind::Fatal)));
    collect(&w.repo, AT_ONCE, &Task::default()).await.unwrap_err();
    faulty.replace(FaultPlan::default());
    assert_eq!(packs(&w).await, 0);
    let late = undo(&w, first).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Refused, "{}", late.chain());
    assert!(late.chain().contains("gone"), "{}", late.chain());
    assert!(snapshots::list(&w.repo).await.unwrap().0.is_empty());
    assert!(gc(&w, &AT_ONCE).await.done);
}
