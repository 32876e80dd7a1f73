//! Compaction and repair: thin packs are copied forward and go, nothing that is needed goes with them.

use super::gc::{AT_ONCE, PATIENT, check_all, faulty_world, forget_one, gc, packs, version};
use super::*;
use crate::ids::{PackId, Sid};
use crate::items::BlobFetch as _;
use crate::layout::ObjectKind;
use crate::manifest::gc::Quarantine;
use crate::manifest::summary;
use crate::ops::gc::{Compaction, GcReport, GcRequest, collect};
use crate::ops::reader::Reader;
use crate::session::{Found, Session, Who, history};
use crate::store::{Crash, Effect, Fault, FaultPlan, Key, StoreErrorKind};
use bytes::Bytes;
use futures::TryStreamExt as _;
use proptest::prelude::*;

pub(super) fn compacting() -> GcRequest {
    GcRequest { compaction: Compaction::default(), ..AT_ONCE }
}

fn patient() -> GcRequest {
    GcRequest { compaction: Compaction::default(), ..PATIENT }
}

pub(super) fn fill(v: &Path, files: std::ops::Range<u64>) {
    for i in files {
        fs::write(v.join(format!("f{i}")), noise(i, 30_000)).unwrap();
    }
}

/// A first snapshot, forgotten, and a second one that needs a quarter of its data.
async fn thin(w: &World) -> (Sid, Sid) {
    fill(&w.volume(), 0..20);
    let first = w.back_up().await.snapshot.id;
    (5..20).for_each(|i| fs::remove_file(w.volume().join(format!("f{i}"))).unwrap());
    let second = w.back_up().await.snapshot.id;
    forget_one(w, first).await;
    (first, second)
}

async fn pack_bytes(w: &World) -> u64 {
    let listed = w.repo.store.list("default/p/", None).try_collect::<Vec<_>>().await.unwrap();
    listed.iter().map(|l| l.bytes).sum()
}

/// Nothing is left to do.
async fn check_settled(w: &World) {
    let run = gc(w, &compacting()).await;
    assert!(run.done && run.condemned == 0 && run.compacted == 0, "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_live_in_thin_packs_is_copied_and_the_rest_goes() {
    let w = world().await;
    thin(&w).await;
    let plain = gc(&w, &AT_ONCE).await;
    assert_eq!(plain.compacted, 0);
    let before = pack_bytes(&w).await;
    assert!(before > 600_000, "{before}");
    let told = gc(&w, &GcRequest { dry_run: true, ..compacting() }).await;
    assert!(told.compacted >= 1 && told.copied_bytes >= 150_000, "{told:?}");
    let counts = w.counts.figures();
    let run = gc(&w, &compacting()).await;
    let work = w.counts.figures().since(&counts);
    assert!(run.done && run.compacted >= 1 && run.copies == 1 && run.deleted == run.compacted, "{run:?}");
    assert_eq!((run.compacted, run.compaction_waiting), (told.compacted, 0));
    assert!(run.copied_bytes >= 150_000 && run.copied_bytes < 200_000, "{run:?}");
    assert_eq!(work.requests_of(Op::Put, 'p'), run.copies, "each copy is put once");
    assert_eq!(work.requests_of(Op::Put, 'i'), 1, "one delta names them");
    assert_eq!(work.requests_of(Op::Delete, 'p'), run.deleted);
    let after = pack_bytes(&w).await;
    assert!(after < 250_000, "{after} bytes for 150,000");
    assert_eq!(before - after, run.freed_bytes());
    check_all(&w, 1).await;
    w.check_round_trip().await;
    check_settled(&w).await;
    let again = w.back_up().await;
    assert_eq!((again.figures.bytes_new, again.figures.files_opened), (0, 0), "the parent is followed");
    let volume = w.dir.path().join("other");
    fs::create_dir(&volume).unwrap();
    fill(&volume, 0..5);
    let mut other = request(&volume);
    other.volume = "other".to_owned();
    let other = backup(&open(Arc::clone(&w.repo.store)).await, other, None, &Task::default()).await;
    assert!(other.unwrap().figures.bytes_new < 5_000, "the index finds the copies");
    check_all(&w, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_copied_again() {
    let w = world().await;
    let (_, second) = thin(&w).await;
    gc(&w, &compacting()).await;
    for left in [3, 1] {
        (left..5).for_each(|i| drop(fs::remove_file(w.volume().join(format!("f{i}")))));
        fs::write(w.volume().join("new"), noise(left + 500, 60_000)).unwrap();
        let before = snapshots::get(&w.repo, "latest", None).await.unwrap().id;
        w.back_up().await;
        if before != second {
            forget_one(&w, before).await;
        }
        gc(&w, &compacting()).await;
        check_all(&w, 2).await;
    }
    // The second snapshot names packs that moved twice by now.
    forget_one(&w, snapshots::get(&w.repo, "latest", None).await.unwrap().id).await;
    gc(&w, &compacting()).await;
    check_all(&w, 1).await;
    forget_one(&w, second).await;
    gc(&w, &compacting()).await;
    assert_eq!(packs(&w).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_budget_does_not_cover_waits() {
    let w = world().await;
    thin(&w).await;
    let small = Compaction { bytes_max: 10_000, ..Compaction::default() };
    let run = gc(&w, &GcRequest { compaction: small, ..AT_ONCE }).await;
    assert!(run.done && run.compaction_waiting == 1 && run.copied_bytes < 10_000, "{run:?}");
    let run = gc(&w, &compacting()).await;
    assert!(run.compacted >= 1 && run.compaction_waiting == 0, "{run:?}");
    check_all(&w, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_packs_become_few() {
    let w = world().await;
    for i in 0..9 {
        fill(&w.volume(), i..i + 1);
        w.back_up().await;
    }
    let before = packs(&w).await;
    assert!(before >= 18, "{before}");
    let run = gc(&w, &compacting()).await;
    assert!(run.done && run.copies == 2 && packs(&w).await < 4, "data and metadata apart: {run:?}");
    check_all(&w, 9).await;
    w.check_round_trip().await;
    check_settled(&w).await;
}

/// A session that was at work all the time takes up what the copies lack: its pack stays, and the copies go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_up_more_of_a_pack_spares_it() {
    let w = world().await;
    let (first, _) = thin(&w).await;
    let writer = Session::open(w.repo.objects(), &Who::writer("elsewhere", "vol")).await.unwrap();
    let Found::Committed(manifest) =
        history::read(&w.repo.objects(), crate::ids::Generation(0), first).await.unwrap()
    else {
        panic!("the first snapshot")
    };
    let run = gc(&w, &patient()).await;
    assert!(!run.done && run.compacted >= 1 && run.waiting_for == [writer.sid()], "{run:?}");
    assert_eq!(writer.commit(*manifest).await.unwrap(), crate::session::Commit::Committed);
    let run = gc(&w, &patient()).await;
    assert!(run.done && run.deleted == 0, "{run:?}");
    check_all(&w, 2).await;
    let run = gc(&w, &patient()).await;
    assert!(run.done && run.deleted >= 1, "the copies that nobody was led to: {run:?}");
    check_all(&w, 2).await;
    check_settled(&w).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_reader_finds_the_copies() {
    let w = world().await;
    thin(&w).await;
    let snapshot = snapshots::get(&w.repo, "latest", None).await.unwrap();
    let reader = Reader::register(&*open(Arc::clone(&w.repo.store)).await, snapshot.id).await.unwrap();
    reader.get(snapshot.manifest.root).await.unwrap();
    let merging = Compaction { live_percent_below: 100, ..Compaction::default() };
    let run = gc(&w, &GcRequest { compaction: merging, ..PATIENT }).await;
    assert!(run.done && run.deleted >= 1, "{run:?}");
    for needed in summary::load(&snapshot.manifest.summary, &*reader).await.unwrap() {
        reader.look_again(needed.pack.id).await.unwrap();
        for ordinal in needed.ordinals.iter() {
            let place = reader.resolve(crate::ids::Place { pack: needed.pack.id, ordinal });
            let footer = reader.footer(place.pack).await.unwrap();
            let id = footer.blobs[place.ordinal as usize].id;
            reader.read(crate::ids::BlobRef { id, place }).await.unwrap();
        }
    }
    reader.close().await;
    // A process that had read everything before.
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_stops_copying_and_nothing_else() {
    let (w, faulty) = faulty_world().await;
    let lost = version(&w, 70).await;
    forget_one(&w, lost).await;
    thin(&w).await;
    faulty.add(Fault::always(Op::Put, "default/p/*", Effect::Fail(StoreErrorKind::Full)));
    let run = gc(&w, &compacting()).await;
    assert!(run.done && run.deleted >= 1 && run.compacted == 0, "{run:?}");
    assert!(run.compaction_stopped.is_some(), "{run:?}");
    check_all(&w, 1).await;
    faulty.replace(FaultPlan::default());
    assert!(gc(&w, &compacting()).await.compacted >= 1);
    check_all(&w, 1).await;
}

/// No room even for a record: what the last run left to tidy is tidied, and if there was none, nothing is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_room_for_a_record_loses_nothing() {
    let (w, faulty) = faulty_world().await;
    thin(&w).await;
    let no_room = || Fault::always(Op::Put, "default/g/*", Effect::Fail(StoreErrorKind::Full));
    faulty.add(no_room());
    collect(&w.repo, compacting(), &Task::default()).await.unwrap_err();
    faulty.replace(FaultPlan::default());
    check_all(&w, 1).await;
    assert!(gc(&w, &compacting()).await.done);
    let last = version(&w, 71).await;
    forget_one(&w, last).await;
    faulty.add(Fault::once(Op::Put, "default/g/*open", Effect::Fail(StoreErrorKind::Full)));
    let run = gc(&w, &AT_ONCE).await;
    assert!(run.done && run.deleted >= 1, "the second try has room: {run:?}");
    check_all(&w, 1).await;
    w.back_up().await;
    check_all(&w, 2).await;
}

/// One that has copied and is about to open the generation, while another one opens and ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_overtaken_loses_its_copies_only() {
    let (w, faulty) = faulty_world().await;
    thin(&w).await;
    let late = std::time::Duration::from_millis(1500);
    faulty.add(Fault::once(Op::Put, "default/g/*open", Effect::Delay(late)));
    let (one, two) = (open(Arc::clone(&w.repo.store)).await, open(Arc::clone(&w.repo.store)).await);
    let task = Task::default();
    let plain = async {
        // The first request for the record is the slow one's.
        while packs(&w).await < 4 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        collect(&two, AT_ONCE, &task).await
    };
    let (slow, fast) = tokio::join!(collect(&one, compacting(), &task), plain);
    let (slow, fast) = (slow.unwrap(), fast.unwrap());
    assert!(slow.done && fast.done, "{slow:?} {fast:?}");
    check_all(&w, 1).await;
    w.check_round_trip().await;
    gc(&w, &compacting()).await;
    gc(&w, &compacting()).await;
    check_settled(&w).await;
    let after = pack_bytes(&w).await;
    assert!(after < 250_000, "{after} bytes for 150,000");
    check_all(&w, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_epochs_are_left_alone_unless_asked_for() {
    let w = world().await;
    fill(&w.volume(), 0..20);
    w.back_up().await;
    let asked = |below| Compaction { reencrypt_below_epoch: Some(below), ..Compaction::default() };
    let run = gc(&w, &GcRequest { compaction: asked(1), ..AT_ONCE }).await;
    assert_eq!(run.compacted, 0, "{run:?}");
    let before = packs(&w).await;
    let run = gc(&w, &GcRequest { compaction: asked(2), ..AT_ONCE }).await;
    assert_eq!((run.compacted, run.deleted), (before, before), "{run:?}");
    check_all(&w, 1).await;
    w.check_round_trip().await;
}

/// A collector that dies at any request while it compacts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacting_collector_may_die_anywhere() {
    let mut deaths = 0;
    for n in 0.. {
        let (w, faulty) = faulty_world().await;
        thin(&w).await;
        let crash = if n % 2 == 0 { Crash::Before(n / 2) } else { Crash::After(n / 2) };
        faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
        let died = collect(&w.repo, compacting(), &Task::default()).await.is_err();
        faulty.replace(FaultPlan::default());
        check_all(&w, 1).await;
        let more = w.back_up().await;
        assert!(more.figures.bytes_new < 20_000, "{crash:?}: what was copied is found: {:?}", more.figures);
        gc(&w, &compacting()).await;
        let run = gc(&w, &compacting()).await;
        assert!(run.done, "{crash:?}: {run:?}");
        check_all(&w, 2).await;
        w.check_round_trip().await;
        let after = pack_bytes(&w).await;
        assert!(after < 300_000, "{crash:?}: {after} bytes for 150,000");
        deaths += u32::from(died);
        if !died && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 20, "a run takes some requests: {deaths}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_compacting_collectors_at_once() {
    let w = world().await;
    for round in 0..4u64 {
        fill(&w.volume(), round * 20..round * 20 + 20);
        let first = w.back_up().await.snapshot.id;
        (round * 20 + 5..round * 20 + 20)
            .for_each(|i| fs::remove_file(w.volume().join(format!("f{i}"))).unwrap());
        w.back_up().await;
        forget_one(&w, first).await;
        let (one, two) = (open(Arc::clone(&w.repo.store)).await, open(Arc::clone(&w.repo.store)).await);
        let task = Task::default();
        let (one, two) = tokio::join!(collect(&one, compacting(), &task), collect(&two, compacting(), &task));
        assert!(one.unwrap().done && two.unwrap().done);
        check_all(&w, usize::try_from(round).unwrap() + 1).await;
    }
    gc(&w, &compacting()).await;
    gc(&w, &compacting()).await;
    check_settled(&w).await;
    check_all(&w, 4).await;
    w.check_round_trip().await;
}

/// Changes one byte of a pack in the store.
pub(super) async fn damage(w: &World, pack: PackId, at: usize) {
    let key = w.repo.layout.pack(pack);
    let mut bytes = w.repo.store.get(&key).await.unwrap().to_vec();
    bytes[at] ^= 1;
    w.repo.store.delete(&key).await.unwrap();
    w.repo.store.put_new(&key, Bytes::from(bytes)).await.unwrap();
}

pub(super) async fn quarantine(w: &World, pack: PackId, ordinals: Vec<u32>) {
    let objects = w.repo.objects();
    let key = Key::new(format!("default/q/{pack}-{:016x}", ordinals.len())).unwrap();
    let record = Quarantine { pack, ordinals };
    let sealed = objects.seal(ObjectKind::Quarantine, &key, &record.encode());
    w.repo.store.put_new(&key, sealed).await.unwrap();
}

pub(super) async fn problems(w: &World, snapshot: Sid) -> u64 {
    let repo = open(Arc::clone(&w.repo.store)).await;
    let snapshot = snapshots::get(&repo, &snapshot.to_string(), None).await.unwrap();
    verify(&repo, &snapshot, &Level::Full, &Task::default()).await.unwrap().problems.count()
}

/// The pack of the first snapshot's data.
pub(super) async fn data_pack(w: &World, snapshot: Sid) -> PackId {
    let snapshot = snapshots::get(&w.repo, &snapshot.to_string(), None).await.unwrap();
    for needed in summary::load(&snapshot.manifest.summary, &*w.repo.reader()).await.unwrap() {
        let is = w.repo.reader().describe(needed.pack.id).await.unwrap();
        if is.kind == crate::pack::PackKind::Data {
            return needed.pack.id;
        }
    }
    panic!("no data")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_blob_is_healed_by_the_next_backup_and_gc() {
    for (at, ordinals) in [(70_000, (0..8).collect()), (70_000, Vec::new()), (usize::MAX, Vec::new())] {
        let w = world().await;
        fill(&w.volume(), 0..10);
        let first = w.back_up().await.snapshot.id;
        let pack = data_pack(&w, first).await;
        let size = w.repo.store.find_size(&w.repo.layout.pack(pack)).await.unwrap().unwrap();
        damage(&w, pack, at.min(usize::try_from(size).unwrap() - 100)).await;
        assert!(problems(&w, first).await > 0);
        quarantine(&w, pack, ordinals).await;
        let run = gc(&w, &compacting()).await;
        assert!(run.done && run.repaired == 0 && run.damaged == [pack], "nothing has it yet: {run:?}");
        let repo = open(Arc::clone(&w.repo.store)).await;
        let again = backup(&repo, request(&w.volume()), None, &Task::default()).await.unwrap();
        assert!(again.figures.bytes_new > 0, "what is quarantined is stored again");
        let w = World { repo, ..w };
        let run = gc(&w, &compacting()).await;
        assert!(run.done && run.repaired == 1 && run.damaged.is_empty(), "{run:?}");
        assert_eq!(problems(&w, first).await, 0, "the old snapshot finds the good copies");
        check_all(&w, 2).await;
        let left = w.repo.objects().list("default/q/", None).await.unwrap();
        assert_eq!(left, [], "the damaged pack is gone, and its record with it");
        check_settled(&w).await;
    }
}

/// What a random history does.
#[derive(Clone, Debug)]
enum Act {
    BackUp(u8, Vec<u8>),
    Forget(usize),
    Collect(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0u8..2, proptest::collection::vec(0u8..24, 1..12)).prop_map(|(v, files)| Act::BackUp(v, files)),
        3 => any::<usize>().prop_map(Act::Forget),
        2 => (0u8..101).prop_map(Act::Collect),
    ];
    proptest::collection::vec(act, 4..16)
}

async fn run_history(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let w = world().await;
    let mut kept: Vec<(Sid, Vec<String>)> = Vec::new();
    for act in acts {
        match act {
            Act::BackUp(v, files) => {
                let volume = w.dir.path().join(format!("v{v}"));
                drop(fs::remove_dir_all(&volume));
                fs::create_dir(&volume).unwrap();
                for f in files {
                    fs::write(volume.join(f.to_string()), noise(u64::from(f), 1000 + 3000 * usize::from(f)))
                        .unwrap();
                }
                let mut request = request(&volume);
                request.volume = format!("v{v}");
                let repo = open(Arc::clone(&w.repo.store)).await;
                let done = backup(&repo, request, None, &Task::default()).await.unwrap();
                kept.push((done.snapshot.id, describe(&volume)));
            }
            Act::Forget(n) if !kept.is_empty() => {
                let (id, _) = kept.remove(n % kept.len());
                forget_one(&w, id).await;
            }
            Act::Forget(_) => {}
            Act::Collect(percent) => {
                let compaction = Compaction { live_percent_below: percent, ..Compaction::default() };
                let run: GcReport = gc(&w, &GcRequest { compaction, ..AT_ONCE }).await;
                prop_assert!(run.done);
            }
        }
        let (all, damaged) = snapshots::list(&w.repo).await.unwrap();
        prop_assert!(damaged.is_empty() && all.len() == kept.len());
    }
    gc(&w, &compacting()).await;
    gc(&w, &compacting()).await;
    for (id, expected) in &kept {
        let (target, report) = w.restore_all(&id.to_string()).await;
        prop_assert_eq!(report.problems, Problems::default());
        prop_assert_eq!(&describe(&target), expected);
    }
    let run = gc(&w, &compacting()).await;
    prop_assert!(run.done && run.condemned == 0, "{:?}", run);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_all_snapshots_come_back(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run_history(acts))?;
    }
}
