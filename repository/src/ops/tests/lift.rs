//! A pack that is whole again leaves the quarantine; nothing else does.

use super::gc::faulty_world;
use super::heal::{FILE, all, check_sound, damage, keys, place_of, reopened, scrubbed, three_files};
use super::*;
use crate::ids::Place;
use crate::index::objects::Whose;
use crate::layout::ObjectKind;
use crate::manifest::audit::Event;
use crate::manifest::gc::Quarantine;
use crate::ops::repair::quarantine::{Fate, LiftReport, lift};
use crate::ops::scrub::{ScrubRequest, coverage};
use crate::ops::snapshots::Snapshot;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};

async fn lifted(w: &World, dry_run: bool) -> LiftReport {
    lift(&w.repo, dry_run, "test", &Task::default()).await.unwrap()
}

async fn records(w: &World) -> usize {
    keys(w, ObjectKind::Quarantine).await.len()
}

/// What lies under the name of a pack, taken away.
async fn take(w: &World, place: Place) -> bytes::Bytes {
    let key = w.repo.layout.pack(place.pack);
    let bytes = w.repo.store.get(&key).await.unwrap();
    w.repo.store.delete(&key).await.unwrap();
    bytes
}

async fn put_back(w: &World, place: Place, whole: &bytes::Bytes) {
    let key = w.repo.layout.pack(place.pack);
    w.repo.store.delete(&key).await.unwrap();
    w.repo.store.put_new(&key, whole.clone()).await.unwrap();
}

async fn in_quarantine(w: World, first: &Snapshot) -> (World, Place, bytes::Bytes) {
    let place = place_of(&w, first, "b").await;
    let whole = w.repo.store.get(&w.repo.layout.pack(place.pack)).await.unwrap();
    damage(&w, place).await;
    let w = reopened(w).await;
    assert_eq!(scrubbed(&w, &ScrubRequest::default()).await.quarantined, 1);
    (w, place, whole)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_whole_again_is_lifted_and_used() {
    let (w, first) = three_files().await;
    assert!(lifted(&w, false).await.packs.is_empty(), "nothing is in quarantine");
    let (w, place, whole) = in_quarantine(w, &first).await;
    let stays = lifted(&w, false).await;
    assert!(matches!(&stays.packs[0].fate, Fate::Damaged { blobs: 1, .. }), "{stays:?}");
    assert_eq!((stays.lifted(), stays.left(), records(&w).await), (0, 1, 1));

    put_back(&w, place, &whole).await;
    let w = reopened(w).await;
    let told = lifted(&w, true).await;
    assert_eq!((told.lifted(), records(&w).await), (1, 1), "it only told");
    let task = Task::default();
    let done = lift(&w.repo, false, "test", &task).await.unwrap();
    assert_eq!((done.packs.clone(), records(&w).await), (told.packs, 0));
    let read = task.monitor.figures();
    assert_eq!((read.bytes_done, read.bytes_total), (whole.len() as u64 * 2, whole.len() as u64 * 2));
    assert!(!proofs::health(&w.repo, &all(&w).await).await.unwrap()[&first.id].damaged);
    assert!(coverage(&w.repo).await.unwrap().damaged.is_empty());
    let (audited, _) = audit::list(&w.repo, &audit::Filter::default()).await.unwrap();
    let Event::Repaired(r) = &audited.last().unwrap().event else { panic!("{audited:?}") };
    assert_eq!((r.what.as_str(), r.packs, &r.lifted[..]), ("quarantine", 1, &[place.pack][..]));
    let second = w.back_up().await;
    assert_eq!(second.figures.blobs_new, 0, "the next backup refers to it again");
    check_sound(&w, second.snapshot.id).await;
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_that_is_gone_stays_named() {
    let (w, first) = three_files().await;
    let place = place_of(&w, &first, "b").await;
    let whole = take(&w, place).await;
    let w = reopened(w).await;
    w.restore_all("latest").await;
    assert_eq!(records(&w).await, 1, "the restore has named it");
    let gone = lifted(&w, false).await;
    assert_eq!((&gone.packs[0].fate, gone.left(), records(&w).await), (&Fate::Gone, 1, 1));
    put_back(&w, place, &whole).await;
    assert_eq!((lifted(&w, false).await.lifted(), records(&w).await), (1, 0));
    assert_eq!(w.back_up().await.figures.blobs_new, 0);
}

async fn faulty_quarantine() -> (World, Arc<FaultStore>, Snapshot, Place, bytes::Bytes) {
    let (w, faulty) = faulty_world().await;
    fs::write(w.volume().join("b"), noise(1, FILE)).unwrap();
    let first = w.back_up().await.snapshot;
    let (w, place, whole) = in_quarantine(w, &first).await;
    put_back(&w, place, &whole).await;
    (w, faulty, first, place, whole)
}

/// Bad in the second reading, wherever in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_well_is_not_enough() {
    let (w, faulty, _, place, _) = faulty_quarantine().await;
    let key = w.repo.layout.pack(place.pack);
    let before = w.counts.figures();
    lifted(&w, true).await;
    let reads = w.counts.figures().since(&before).requests_of(Op::Get, 'p');
    assert!(reads >= 4 && reads % 2 == 0, "{reads}");
    // The first answer is the pack's tail, of which only the footer at its end is looked at.
    for n in reads / 2 + 1..reads {
        // What is bad is read again at once, alone and then once more: bad each time.
        let twice = Fault { times: 3, ..Fault::nth(Op::Get, key.as_str(), n, Effect::FlipBit(99)) };
        faulty.add(twice);
        let report = lifted(&w, false).await;
        assert_eq!((report.left(), records(&w).await), (1, 1), "request {n} of {reads}: {report:?}");
        faulty.replace(FaultPlan::default());
    }
    faulty.add(Fault::always(Op::Get, key.as_str(), Effect::Fail(StoreErrorKind::Transient)));
    let away = lift(&w.repo, false, "test", &Task::default()).await.unwrap_err();
    assert_eq!((away.kind(), records(&w).await), (crate::ErrorKind::Store, 1));
    faulty.replace(FaultPlan::default());
    faulty.add(Fault::always(Op::Delete, "default/q/*", Effect::Fail(StoreErrorKind::Denied)));
    let denied = lift(&w.repo, false, "test", &Task::default()).await.unwrap_err();
    assert_eq!((denied.kind(), records(&w).await), (crate::ErrorKind::Store, 1), "{}", denied.chain());
    let (audited, _) = audit::list(&w.repo, &audit::Filter::default()).await.unwrap();
    assert!(!audited.iter().any(|r| r.event.kind() == "repaired"), "nothing was lifted: {audited:?}");
    faulty.replace(FaultPlan::default());
    assert_eq!((lifted(&w, false).await.lifted(), records(&w).await), (1, 0));
}

/// Somebody finds new damage while the pack is read for the lift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_came_meanwhile_stays() {
    let (w, faulty, _, place, _) = faulty_quarantine().await;
    let key = w.repo.layout.pack(place.pack);
    let late = std::time::Duration::from_millis(300);
    faulty.add(Fault::once(Op::Get, key.as_str(), Effect::Delay(late)));
    let before = w.counts.figures();
    let verify = async {
        // The pack's first reading comes after the listing of records.
        while w.counts.figures().since(&before).requests_of(Op::List, 'q') == 0 {
            tokio::task::yield_now().await;
        }
        while w.counts.figures().since(&before).requests_of(Op::List, 'p') == 0 {
            tokio::task::yield_now().await;
        }
        let objects = w.repo.objects();
        let key = objects.layout.quarantine(place.pack, [7; 8]);
        let record = Quarantine { pack: place.pack, ordinals: vec![place.ordinal] };
        let sealed = objects.seal(ObjectKind::Quarantine, &key, &record.encode());
        assert_eq!(objects.put_own(&key, &sealed).await.unwrap(), Whose::Ours);
    };
    let (report, ()) = tokio::join!(lifted(&w, false), verify);
    assert_eq!((report.lifted(), records(&w).await), (1, 1), "the newer record");
    assert_eq!(w.back_up().await.figures.blobs_new, 1, "no session goes by what was damaged since");
}
