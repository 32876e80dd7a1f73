//! Garbage collection: what nobody needs goes, what anybody needs stays, whoever dies when.

use super::*;
use crate::ErrorKind;
use crate::ids::Sid;
use crate::layout::ObjectKind;
use crate::manifest::summary;
use crate::ops::forget::{Because, forget, unforget};
use crate::ops::gc::{Alive, Compaction, GcReport, GcRequest, collect};
use crate::session::{Session, Who};
use crate::store::{Crash, Effect, Fault, FaultPlan, FaultStore, Key, StoreErrorKind};
use futures::TryStreamExt as _;

pub(super) const AT_ONCE: GcRequest = GcRequest {
    fence_after_seconds: 0,
    alive: Alive::unknown(),
    dry_run: false,
    compaction: Compaction::NONE,
};
pub(super) const PATIENT: GcRequest = GcRequest {
    fence_after_seconds: 1 << 40,
    alive: Alive::unknown(),
    dry_run: false,
    compaction: Compaction::NONE,
};

pub(super) async fn gc(w: &World, request: &GcRequest) -> GcReport {
    collect(&w.repo, request.clone(), &Task::default()).await.unwrap()
}

pub(super) async fn forget_one(w: &World, snapshot: Sid) {
    forget(&w.repo, snapshot, &Because::default()).await.unwrap();
}

pub(super) async fn packs(w: &World) -> u64 {
    let listed = w.repo.store.list("default/p/", None).try_collect::<Vec<_>>().await.unwrap();
    listed.len() as u64
}

/// A volume with this content only, backed up.
pub(super) async fn version(w: &World, seed: u64) -> Sid {
    let volume = w.volume();
    fs::remove_dir_all(&volume).unwrap();
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("large"), noise(seed, 300_000)).unwrap();
    for i in 0..5 {
        fs::write(volume.join(format!("f{i}")), noise(seed * 10 + i, 2000)).unwrap();
    }
    w.back_up().await.snapshot.id
}

/// Every snapshot can be read whole, and there are so many.
pub(super) async fn check_all(w: &World, count: usize) {
    let repo = open(Arc::clone(&w.repo.store)).await;
    let (all, damaged) = snapshots::list(&repo).await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(all.len(), count);
    for snapshot in &all {
        let report = verify(&repo, snapshot, &Level::Full, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_goes_and_nothing_else() {
    let w = world().await;
    let (first, second) = (version(&w, 1).await, version(&w, 2).await);
    let all = packs(&w).await;
    let idle = gc(&w, &AT_ONCE).await;
    assert!(idle.done && idle.deleted == 0 && idle.snapshots == 2, "{idle:?}");
    assert!(w.repo.store.list("default/g/", None).try_collect::<Vec<_>>().await.unwrap().is_empty());

    forget_one(&w, first).await;
    let told = gc(&w, &GcRequest { dry_run: true, ..AT_ONCE }).await;
    assert!(told.condemned > 0 && told.deleted == 0 && packs(&w).await == all, "{told:?}");
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.snapshots == 1, "{run:?}");
    assert_eq!((run.condemned, run.condemned_bytes), (told.condemned, told.condemned_bytes));
    assert_eq!((run.deleted, run.deleted_bytes), (run.condemned, run.condemned_bytes));
    assert_eq!(packs(&w).await, all - run.deleted);
    assert!(run.tidied >= 3, "registration, outcome and marker of the forgotten one: {run:?}");
    check_all(&w, 1).await;
    w.check_round_trip().await;
    let again = gc(&w, &AT_ONCE).await;
    assert!(again.done && again.condemned == 0 && again.tidied == 0, "{again:?}");

    forget_one(&w, second).await;
    gc(&w, &AT_ONCE).await;
    assert_eq!(packs(&w).await, 0, "nothing is left");
    version(&w, 3).await;
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_packs_stay_as_long_as_one_needs_them() {
    let w = world().await;
    let first = version(&w, 1).await;
    fs::write(w.volume().join("more"), noise(99, 50_000)).unwrap();
    w.back_up().await;
    forget_one(&w, first).await;
    gc(&w, &AT_ONCE).await;
    check_all(&w, 1).await;
    w.check_round_trip().await;
    // The next backup finds its parent by the catalogue's leave, and stores nothing twice.
    assert_eq!(w.back_up().await.figures.bytes_new, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_at_work_is_waited_for_or_fenced() {
    let w = world().await;
    let first = version(&w, 1).await;
    let writer = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
    forget_one(&w, first).await;
    for _ in 0..2 {
        let run = gc(&w, &PATIENT).await;
        assert!(!run.done && run.deleted == 0, "{run:?}");
        assert_eq!(run.waiting_for, [writer.sid()]);
    }
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.deleted > 0, "{run:?}");
    assert_eq!(run.fenced, [writer.sid()]);
    assert_eq!(packs(&w).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_known_to_live_is_not_fenced_however_old() {
    let w = world().await;
    let first = version(&w, 1).await;
    let known = Session::open(w.repo.objects(), &Who::writer("elsewhere", "known")).await.unwrap();
    let other = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
    forget_one(&w, first).await;
    let alive = Alive::when(|r| (&*r.node, &*r.volume) == ("elsewhere", "known"));
    let run = gc(&w, &GcRequest { alive, ..AT_ONCE }).await;
    assert_eq!((&run.waiting_for[..], &run.fenced[..]), (&[known.sid()][..], &[other.sid()][..]));
    assert!(!run.done && run.deleted == 0, "{run:?}");
    known.abort("done").await.unwrap();
    assert!(gc(&w, &AT_ONCE).await.deleted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_condemned_is_stored_again() {
    let w = world().await;
    let first = version(&w, 1).await;
    let writer = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
    forget_one(&w, first).await;
    assert!(!gc(&w, &PATIENT).await.done, "the generation is open, its packs are condemned and there");
    let again = w.back_up().await;
    assert!(again.figures.bytes_new >= 300_000, "nothing of a condemned pack is reused: {again:?}");
    writer.abort("done").await.unwrap();
    let run = gc(&w, &PATIENT).await;
    assert!(run.done && run.deleted > 0, "{run:?}");
    check_all(&w, 1).await;
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_holds_its_snapshot() {
    let w = world().await;
    let first = version(&w, 1).await;
    let target = snapshots::get(&w.repo, "latest", None).await.unwrap();
    version(&w, 2).await;
    let reader = Session::open_reader(w.repo.objects(), "here", Some(first)).await.unwrap().unwrap();
    forget_one(&w, first).await;
    for _ in 0..2 {
        let run = gc(&w, &PATIENT).await;
        assert!(run.done && run.deleted == 0 && run.snapshots == 2, "{run:?}");
        let needs = summary::load(&target.manifest.summary, &*w.repo.reader()).await.unwrap();
        for needed in needs {
            let key = w.repo.layout.pack(needed.pack.id);
            assert_eq!(w.repo.store.find_size(&key).await.unwrap(), Some(needed.pack.bytes));
        }
    }
    reader.close().await.unwrap();
    let run = gc(&w, &PATIENT).await;
    assert!(run.done && run.deleted > 0, "{run:?}");
    check_all(&w, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_reader_holds_nothing_for_ever() {
    let w = world().await;
    let first = version(&w, 1).await;
    let reader = Session::open_reader(w.repo.objects(), "here", Some(first)).await.unwrap().unwrap();
    forget_one(&w, first).await;
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.deleted > 0, "{run:?}");
    assert_eq!(run.fenced, [reader.sid()]);
    let left: Vec<Key> = w.repo.objects().list(&w.repo.layout.folder(ObjectKind::Delta), None).await.unwrap();
    assert_eq!(left, [], "deltas of packs that are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_is_undone_until_it_is_too_late() {
    let w = world().await;
    let first = version(&w, 1).await;
    forget_one(&w, first).await;
    assert!(snapshots::list(&w.repo).await.unwrap().0.is_empty());
    let copy = unforget(&w.repo, first, "here", &Task::default()).await.unwrap();
    assert_ne!(copy, first);
    w.check_round_trip().await;
    gc(&w, &AT_ONCE).await;
    check_all(&w, 1).await;
    // The first one is gone for good, with its marker.
    assert_eq!(
        unforget(&w.repo, first, "here", &Task::default()).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_stops_the_run() {
    let (w, faulty) = faulty_world().await;
    let first = version(&w, 1).await;
    let second = version(&w, 2).await;
    forget_one(&w, first).await;
    let before = packs(&w).await;
    faulty.add(Fault::always(Op::Get, &format!("default/m/*{second}"), Effect::FlipBit(1000)));
    let refused = collect(&w.repo, AT_ONCE, &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(refused.chain().contains(&second.to_string()), "{}", refused.chain());
    faulty.replace(FaultPlan::default());
    assert_eq!(packs(&w).await, before);
    assert!(gc(&w, &AT_ONCE).await.done);
    check_all(&w, 1).await;
}

/// Somebody watches: a mark of years takes minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_moves_while_a_run_marks() {
    let (w, faulty) = faulty_world().await;
    for seed in 0..5 {
        version(&w, seed).await;
    }
    forget_one(&w, snapshots::get(&w.repo, "latest", None).await.unwrap().id).await;
    faulty.add(Fault::always(Op::Put, "default/g/*open", Effect::Fail(StoreErrorKind::Fatal)));
    let task = Task::default();
    collect(&w.repo, AT_ONCE, &task).await.unwrap_err();
    assert_eq!(task.monitor.figures().entries, 4, "the mark is done, and nothing is opened");
    // Half of them are read when the store goes away: half of the way is shown.
    faulty.replace(FaultPlan::default());
    faulty
        .add(Fault { skip: 2, ..Fault::always(Op::Get, "default/m/*", Effect::Fail(StoreErrorKind::Fatal)) });
    let task = Task::default();
    collect(&w.repo, AT_ONCE, &task).await.unwrap_err();
    assert!((1..4).contains(&task.monitor.figures().entries), "{:?}", task.monitor.figures());
    faulty.replace(FaultPlan::default());
    assert!(collect(&w.repo, AT_ONCE, &Task::default()).await.unwrap().done);
    version(&w, 9).await;
    let task = Task::default();
    assert!(collect(&w.repo, AT_ONCE, &task).await.unwrap().done);
    assert_eq!(task.monitor.figures().entries, 5, "what the catalogue knows, and what came since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_locked_is_left_and_tried_again() {
    let (w, faulty) = faulty_world().await;
    let first = version(&w, 1).await;
    version(&w, 2).await;
    forget_one(&w, first).await;
    faulty.add(Fault::always(Op::Delete, "default/p/*", Effect::Fail(StoreErrorKind::Denied)));
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.deleted == 0 && run.leftovers > 0, "{run:?}");
    let leftovers = run.leftovers;
    let run = gc(&w, &AT_ONCE).await;
    assert_eq!((run.condemned, run.leftovers), (leftovers, leftovers), "{run:?}");
    faulty.replace(FaultPlan::default());
    let run = gc(&w, &AT_ONCE).await;
    assert_eq!((run.deleted, run.leftovers), (leftovers, 0), "{run:?}");
    check_all(&w, 1).await;
}

pub(super) async fn faulty_world() -> (World, Arc<FaultStore>) {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    (world_on(Arc::clone(&faulty) as Arc<dyn Store>).await, faulty)
}

/// A collector that dies at any of its requests, before or after it is carried out: the next one finishes its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_may_die_anywhere() {
    let mut deaths = 0;
    for n in 0.. {
        let (w, faulty) = faulty_world().await;
        let first = version(&w, 1).await;
        version(&w, 2).await;
        let dead = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
        forget_one(&w, first).await;
        let crash = if n % 2 == 0 { Crash::Before(n / 2) } else { Crash::After(n / 2) };
        faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
        let died = collect(&w.repo, AT_ONCE, &Task::default()).await.is_err();
        faulty.replace(FaultPlan::default());
        check_all(&w, 1).await;
        let more = w.back_up().await;
        assert_eq!(more.problems, Problems::default());
        gc(&w, &AT_ONCE).await;
        let run = gc(&w, &AT_ONCE).await;
        assert!(run.done && run.condemned == 0, "{crash:?}: {run:?}");
        check_all(&w, 2).await;
        w.check_round_trip().await;
        let key = w.repo.layout.outcome(dead.generation(), dead.sid());
        let registration = w.repo.layout.registration(dead.generation(), dead.sid());
        let closed = w.repo.store.find_size(&key).await.unwrap().is_some();
        let tidied = w.repo.store.find_size(&registration).await.unwrap().is_none();
        assert!(closed || tidied, "{crash:?}: the dead writer was fenced");
        deaths += u32::from(died);
        if !died && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 20, "a run takes some requests: {deaths}");
}

/// Writers, forgets and two collectors at once: every snapshot that is left can be read, and two quiet runs leave nothing
/// that nobody needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_collectors_at_once() {
    let w = Arc::new(world().await);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4u64 {
        let w = Arc::clone(&w);
        tasks.spawn(async move {
            let volume = w.dir.path().join(format!("v{writer}"));
            for round in 0..6u64 {
                fs::create_dir_all(&volume).unwrap();
                // Contents come back, so that packs are wanted again that are about to go.
                fs::write(volume.join("f"), noise((writer + round) % 3, 100_000)).unwrap();
                fs::write(volume.join("own"), noise(writer * 100 + round, 20_000)).unwrap();
                let repo = open(Arc::clone(&w.repo.store)).await;
                let mut request = request(&volume);
                request.volume = format!("v{writer}");
                let done = loop {
                    match backup(&repo, request.clone(), None, &Task::default()).await {
                        Err(e) if e.kind() == ErrorKind::Fenced => {}
                        other => break other.unwrap(),
                    }
                };
                if round % 2 == 0 {
                    forget_one(&w, done.snapshot.id).await;
                }
            }
        });
    }
    for collector in 0..2 {
        let w = Arc::clone(&w);
        tasks.spawn(async move {
            for round in 0..12 {
                let request = if (round + collector) % 3 == 0 { AT_ONCE } else { PATIENT };
                let repo = open(Arc::clone(&w.repo.store)).await;
                collect(&repo, request, &Task::default()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    check_all(&w, 12).await;
    gc(&w, &AT_ONCE).await;
    gc(&w, &AT_ONCE).await;
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.condemned == 0, "{run:?}");
    check_all(&w, 12).await;
    let left: Vec<Key> =
        w.repo.objects().list(&w.repo.layout.folder(ObjectKind::Forget), None).await.unwrap();
    assert_eq!(left, [], "markers of what is gone are gone");
}

/// Restores and verifications that come every day leave nothing for ever, also where nothing is ever forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_sessions_are_tidied_once_they_are_many() {
    let w = world().await;
    version(&w, 1).await;
    let sessions = async || w.repo.objects().list("default/s/", None).await.unwrap().len();
    for n in 0..crate::limits::CLOSED_SESSIONS_MAX {
        if n == 10 {
            assert!(gc(&w, &AT_ONCE).await.done);
            assert_eq!(sessions().await, 11, "few are left alone");
        }
        let reader = Session::open_reader(w.repo.objects(), "here", None).await.unwrap().unwrap();
        reader.close().await.unwrap();
    }
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.deleted == 0, "{run:?}");
    assert!(run.tidied > 2 * 490, "registrations and outcomes: {run:?}");
    assert_eq!(sessions().await, 1, "the snapshot's stays");
    check_all(&w, 1).await;
}
