//! Damage that a restore or a compaction meets goes into quarantine, and neither fails nor waits for it.

use super::compaction::{compacting, fill};
use super::gc::{check_all, faulty_world, forget_one, gc};
use super::heal::{FILE, check_sound, damage, keys, place_of, reopened, three_files};
use super::*;
use crate::ids::{PackId, Place};
use crate::layout::ObjectKind;
use crate::ops::snapshots::Snapshot;
use crate::session::forbidden::load_quarantine;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};

async fn restored(w: &World) -> Vec<Vec<u8>> {
    let (target, report) = w.restore_all("latest").await;
    for name in ["a", "b", "c"] {
        let lost = report.problems.kept().iter().any(|p| p.path == name.as_bytes());
        let is = fs::read(target.join(name)).ok();
        assert_eq!(is.is_none(), lost, "{name}: {:?}", report.problems);
        assert!(is.is_none_or(|is| is == fs::read(w.volume().join(name)).unwrap()), "{name}");
    }
    report.problems.kept().iter().map(|p| p.path.clone()).collect()
}

/// What is in quarantine: packs, with the number of blobs, or 0 for all.
async fn quarantined(w: &World) -> Vec<(PackId, usize)> {
    let all = load_quarantine(&w.repo.objects()).await.unwrap();
    all.into_iter().map(|(pack, blobs)| (pack, blobs.map_or(0, |b| b.len()))).collect()
}

/// Three files in a store with faults, `b` damaged unless `sound`.
async fn faulty(sound: bool) -> (World, Arc<FaultStore>, Snapshot, Place) {
    let (w, faulty) = faulty_world().await;
    for (seed, name) in [(1, "a"), (2, "b"), (3, "c")] {
        fs::write(w.volume().join(name), noise(seed, FILE)).unwrap();
    }
    let first = w.back_up().await.snapshot;
    let place = place_of(&w, &first, "b").await;
    if !sound {
        damage(&w, place).await;
    }
    (reopened(w).await, faulty, first, place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_names_what_it_could_not_read() {
    let (w, first) = three_files().await;
    let place = place_of(&w, &first, "b").await;
    damage(&w, place).await;
    let w = reopened(w).await;
    assert_eq!(restored(&w).await, [b"b"], "the others are restored");
    assert_eq!(quarantined(&w).await, [(place.pack, 1)]);
    let w = reopened(w).await;
    assert_eq!(restored(&w).await, [b"b"]);
    assert_eq!(keys(&w, ObjectKind::Quarantine).await.len(), 1, "one record is enough");
    let second = w.back_up().await;
    assert_eq!(second.figures.blobs_new, 1, "the next backup stores it again");
    check_sound(&w, second.snapshot.id).await;
    assert!(restored(&reopened(w).await).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_names_a_pack_that_is_gone() {
    let (w, first) = three_files().await;
    let pack = place_of(&w, &first, "b").await.pack;
    w.repo.store.delete(&w.repo.layout.pack(pack)).await.unwrap();
    let w = reopened(w).await;
    assert_eq!(restored(&w).await.len(), 3, "all three were in it");
    assert_eq!(quarantined(&w).await, [(pack, 0)]);
    let before = w.counts.figures();
    restored(&w).await;
    let again = w.counts.figures().since(&before);
    assert_eq!(again.requests_of(Op::Put, 'q'), 0);
    let second = w.back_up().await;
    assert_eq!(second.figures.blobs_new, 3, "no backup believes its parent that it is there");
    check_sound(&w, second.snapshot.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_failed_once_has_no_damage() {
    let (w, store, _, place) = faulty(true).await;
    let key = w.repo.layout.pack(place.pack);
    // The tail, then the body: whatever of the pack is read first comes back wrong.
    store.add(Fault::once(Op::Get, key.as_str(), Effect::FlipBit(300_000)));
    restored(&w).await;
    assert!(store.requests() > 0 && keys(&w, ObjectKind::Quarantine).await.is_empty());
    // Away for the whole of it: that proves nothing, whatever the restore says.
    store.replace(FaultPlan::default());
    store.add(Fault::always(Op::Get, key.as_str(), Effect::Fail(StoreErrorKind::Transient)));
    let snapshot = snapshots::get(&w.repo, "latest", None).await.unwrap();
    let request = RestoreRequest {
        snapshot,
        path: Vec::new(),
        patterns: Vec::new(),
        target: w.dir.path().join("away"),
        existing: Existing::Fail,
        memory_bytes_max: 64 << 20,
    };
    let away = restore(&reopened_repo(&w).await, request, &Task::default()).await;
    assert!(away.is_err() || !away.unwrap().problems.is_empty());
    store.replace(FaultPlan::default());
    assert!(keys(&w, ObjectKind::Quarantine).await.is_empty());
    assert!(restored(&reopened(w).await).await.is_empty());
}

async fn reopened_repo(w: &World) -> Arc<Repository> {
    open(Arc::clone(&w.repo.store)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_read_restores_and_reads_nothing_twice() {
    let (w, store, _, place) = faulty(false).await;
    store.add(Fault::always(Op::Put, "default/*", Effect::Fail(StoreErrorKind::Denied)));
    let before = w.counts.figures();
    assert_eq!(restored(&w).await, [b"b"]);
    let asked = w.counts.figures().since(&before).requests_of(Op::List, 'q');
    assert_eq!(asked, 0, "nothing is examined that can't be recorded");
    // One that may write, but not the record.
    store.replace(FaultPlan::default());
    store.add(Fault::always(Op::Put, "default/q/*", Effect::Fail(StoreErrorKind::Denied)));
    assert_eq!(restored(&reopened(w).await).await, [b"b"]);
    store.replace(FaultPlan::default());
    let repo = open(Arc::clone(&store) as Arc<dyn Store>).await;
    assert!(!load_quarantine(&repo.objects()).await.unwrap().contains_key(&place.pack));
}

/// A thin pack: its first five files are needed.
async fn thin() -> (World, Arc<FaultStore>, Snapshot) {
    let (w, faulty) = faulty_world().await;
    fill(&w.volume(), 0..20);
    let first = w.back_up().await.snapshot.id;
    (5..20).for_each(|i| fs::remove_file(w.volume().join(format!("f{i}"))).unwrap());
    let second = w.back_up().await.snapshot;
    forget_one(&w, first).await;
    (w, faulty, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_names_what_it_could_not_copy() {
    let (w, _, second) = thin().await;
    let place = place_of(&w, &second, "f2").await;
    damage(&w, place).await;
    let w = reopened(w).await;
    let told = gc(&w, &crate::ops::gc::GcRequest { dry_run: true, ..compacting() }).await;
    assert!(told.compacted >= 1 && keys(&w, ObjectKind::Quarantine).await.is_empty(), "{told:?}");
    let run = gc(&w, &compacting()).await;
    assert!(run.done, "{run:?}");
    let named = quarantined(&w).await;
    assert!(named.len() == 1 && named[0].0 == place.pack && named[0].1 > 0, "{named:?}");
    let third = w.back_up().await;
    assert!(third.figures.blobs_new > 0, "{:?}", third.figures);
    let run = gc(&reopened(w).await, &compacting()).await;
    assert_eq!((run.repaired, run.damaged.len()), (1, 0), "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_does_not_take_a_bad_answer_for_damage() {
    let (w, store, second) = thin().await;
    let place = place_of(&w, &second, "f2").await;
    let w = reopened(w).await;
    store.add(Fault::once(Op::Get, w.repo.layout.pack(place.pack).as_str(), Effect::FlipBit(77_000)));
    let run = gc(&w, &compacting()).await;
    assert!(run.done, "{run:?}");
    assert!(keys(&w, ObjectKind::Quarantine).await.is_empty());
    check_all(&w, 1).await;
    assert!(gc(&w, &compacting()).await.done);
    check_all(&w, 1).await;
}
