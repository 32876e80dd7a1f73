//! Damage is found, named and put into quarantine; the next backup stores again what it has of it; a repair leads old
//! snapshots there and names what is lost. Nothing else is touched.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;

use super::*;
use crate::ids::{BlobId, Place, Sid};
use crate::items::entry::Entry;
use crate::layout::ObjectKind;
use crate::manifest::audit::Event;
use crate::ops::gc::GcRequest;
use crate::ops::repair::index::{IndexRequest, index};
use crate::ops::repair::snapshots::{SnapshotReport, SnapshotRequest, find_damaged, repair};
use crate::ops::restore::sample::files_of;
use crate::ops::restore_test::{self, TestRequest};
use crate::ops::scrub::{ScrubReport, ScrubRequest, coverage, scrub};
use crate::ops::snapshots::Snapshot;
use crate::ops::verify::{Examined, Proven, examine, record as verify_record};
use crate::pack::frame::Shape;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};

/// One blob in a group of its own.
pub(super) const FILE: usize = 200_000;

/// As a new process would see it.
pub(super) async fn reopened(w: World) -> World {
    World { repo: open(Arc::clone(&w.repo.store)).await, ..w }
}

/// Files of which each is a blob in a group of its own.
pub(super) async fn three_files() -> (World, Snapshot) {
    let w = world().await;
    for (seed, name) in [(1, "a"), (2, "b"), (3, "c")] {
        fs::write(w.volume().join(name), noise(seed, FILE)).unwrap();
    }
    let snapshot = w.back_up().await.snapshot;
    (w, snapshot)
}

async fn entries(w: &World, snapshot: &Snapshot) -> Vec<Entry> {
    browse::list(&w.repo, snapshot, b"", true).try_collect().await.unwrap()
}

pub(super) async fn place_of(w: &World, snapshot: &Snapshot, path: &str) -> Place {
    let all = entries(w, snapshot).await;
    all.iter().find(|e| e.path == path.as_bytes()).unwrap().blobs().next().unwrap().place
}

async fn group_of(w: &World, place: Place) -> u32 {
    w.repo.reader().footer(place.pack).await.unwrap().blobs[place.ordinal as usize].group
}

/// Flips a bit in the middle of the group that holds this blob.
pub(super) async fn damage(w: &World, place: Place) {
    let footer = w.repo.reader().footer(place.pack).await.unwrap();
    let group = footer.groups[footer.blobs[place.ordinal as usize].group as usize];
    let key = w.repo.layout.pack(place.pack);
    let mut bytes = w.repo.store.get(&key).await.unwrap().to_vec();
    let shape = Shape::of(bytes.len() as u64).unwrap();
    let middle = group.at + u64::from(group.stored) / 2;
    let frame = shape.frames_of(&(middle..middle + 1));
    bytes[usize::try_from(shape.stored(&frame).start).unwrap() + 5] ^= 64;
    w.repo.store.delete(&key).await.unwrap();
    w.repo.store.put_new(&key, bytes.into()).await.unwrap();
}

async fn delete_all(w: &World, kind: ObjectKind) -> usize {
    let keys = keys(w, kind).await;
    for key in &keys {
        w.repo.store.delete(key).await.unwrap();
    }
    keys.len()
}

pub(super) async fn keys(w: &World, kind: ObjectKind) -> Vec<crate::store::Key> {
    let objects = w.repo.objects();
    objects.list(&objects.layout.folder(kind), None).await.unwrap()
}

pub(super) async fn scrubbed(w: &World, request: &ScrubRequest) -> ScrubReport {
    scrub(&w.repo, request, &Task::default()).await.unwrap()
}

pub(super) async fn all(w: &World) -> Vec<Snapshot> {
    snapshots::list(&w.repo).await.unwrap().0
}

async fn repaired(w: &World, snapshot: &Snapshot, request: SnapshotRequest) -> SnapshotReport {
    let request = SnapshotRequest { by: "test".to_owned(), ..request };
    repair(&w.repo, snapshot, &all(w).await, &request, &Task::default()).await.unwrap()
}

pub(super) async fn collect(w: &World) -> crate::ops::gc::GcReport {
    let request = GcRequest { fence_after_seconds: 0, ..GcRequest::default() };
    let report = crate::ops::gc::collect(&w.repo, request, &Task::default()).await.unwrap();
    assert!(report.done, "{report:?}");
    report
}

pub(super) async fn check_sound(w: &World, id: Sid) {
    let snapshot = snapshots::get(&w.repo, &id.to_string(), None).await.unwrap();
    let report = verify(&w.repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_quarantined_once_stored_again_and_old_snapshots_are_led_there() {
    let (w, first) = three_files().await;
    let place = place_of(&w, &first, "b").await;
    damage(&w, place).await;
    let w = reopened(w).await;
    let told = scrubbed(&w, &ScrubRequest { no_quarantine: true, ..ScrubRequest::default() }).await;
    assert_eq!((told.damaged.len(), told.quarantined), (1, 0));
    assert_eq!((told.damaged[0].pack, told.damaged[0].blobs), (place.pack, 1));
    assert!(keys(&w, ObjectKind::Quarantine).await.is_empty());
    assert_eq!(scrubbed(&w, &ScrubRequest::default()).await.quarantined, 1);
    assert_eq!(scrubbed(&w, &ScrubRequest::default()).await.quarantined, 0, "once is enough");
    let report = verify(&w.repo, &first, &Level::Full, &Task::default()).await.unwrap();
    let (level, task) = (Level::Full, Task::default());
    let mut examined = Examined::default();
    let damaged = examine(&w.repo, &report, &mut examined, false, &task).await.unwrap();
    let proven = [Proven::of(first.id, &level, &report)];
    verify_record(&w.repo, &level, &proven, examined.damaged(), "test").await.unwrap();
    assert_eq!(damaged, told.damaged);
    assert_eq!(keys(&w, ObjectKind::Quarantine).await.len(), 1, "verify has nothing to add");
    let health = proofs::health(&w.repo, &all(&w).await).await.unwrap()[&first.id];
    assert!(health.damaged && health.verified.is_some() && health.problems > 0, "{health:?}");

    // Nothing has changed, but what is damaged is read and stored again.
    let second = w.back_up().await;
    assert_eq!(second.figures.blobs_new, 1, "only the damaged blob is new");
    check_sound(&w, second.snapshot.id).await;
    let health = proofs::health(&w.repo, &all(&w).await).await.unwrap();
    assert!(health[&first.id].damaged && !health[&second.snapshot.id].damaged);

    let found = find_damaged(&w.repo, &all(&w).await).await.unwrap();
    assert_eq!(found.iter().map(|s| s.id).collect::<Vec<_>>(), [first.id]);
    let report = repaired(&w, &first, SnapshotRequest::default()).await;
    assert!(report.lost.is_empty(), "{:?}", report.lost);
    check_sound(&w, report.copy.unwrap()).await;
    let (target, restored) = w.restore_all(&report.copy.unwrap().to_string()).await;
    assert!(restored.problems.is_empty());
    assert_eq!(describe(&target), describe(&w.volume()));
    assert!(find_damaged(&w.repo, &all(&w).await).await.unwrap().is_empty(), "it is done");
    let sound = repaired(&w, &second.snapshot, SnapshotRequest::default()).await;
    assert!(sound.sound && sound.copy.is_none(), "{sound:?}");
    let (records, _) = audit::list(&w.repo, &audit::Filter::default()).await.unwrap();
    let kinds: Vec<_> = records.iter().map(|r| r.event.kind()).collect();
    assert_eq!(kinds, ["verified", "repaired"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_leads_old_snapshots_to_the_good_copy() {
    let (w, first) = three_files().await;
    damage(&w, place_of(&w, &first, "b").await).await;
    let w = reopened(w).await;
    scrubbed(&w, &ScrubRequest::default()).await;
    w.back_up().await;
    let report = collect(&w).await;
    assert_eq!((report.repaired, report.damaged.len()), (1, 0), "{report:?}");
    let w = reopened(w).await;
    check_sound(&w, first.id).await;
    let (target, restored) = w.restore_all(&first.id.to_string()).await;
    assert!(restored.problems.is_empty(), "{restored:?}");
    assert_eq!(describe(&target), describe(&w.volume()));
    let health = proofs::health(&w.repo, &all(&w).await).await.unwrap();
    assert!(!health[&first.id].damaged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_for_good_is_left_out_and_named() {
    let (w, first) = three_files().await;
    damage(&w, place_of(&w, &first, "b").await).await;
    let w = reopened(w).await;
    scrubbed(&w, &ScrubRequest::default()).await;
    let packs = keys(&w, ObjectKind::Pack).await;
    let told = repaired(&w, &first, SnapshotRequest { dry_run: true, ..SnapshotRequest::default() }).await;
    assert_eq!((told.copy, told.lost.kept()[0].path.as_slice()), (None, &b"b"[..]));
    assert_eq!((all(&w).await.len(), keys(&w, ObjectKind::Pack).await), (1, packs), "it only told");

    let report = repaired(&w, &first, SnapshotRequest { forget: true, ..SnapshotRequest::default() }).await;
    assert_eq!(report.lost, told.lost);
    assert!(report.forgotten);
    let left = all(&w).await;
    assert_eq!(left.iter().map(|s| s.id).collect::<Vec<_>>(), [report.copy.unwrap()]);
    let manifest = &left[0].manifest;
    assert_eq!(manifest.repaired.map(|r| (r.of, r.lost)), Some((first.id, 1)));
    assert_eq!((manifest.problems, manifest.files, manifest.parent), (1, 2, Some(first.id)));
    check_sound(&w, left[0].id).await;
    let (target, _) = w.restore_all("latest").await;
    for (name, is_there) in [("a", true), ("b", false), ("c", true)] {
        let read = fs::read(target.join(name)).ok();
        assert_eq!(read, is_there.then(|| fs::read(w.volume().join(name)).unwrap()), "{name}");
    }
    let (records, _) = audit::list(&w.repo, &audit::Filter::default()).await.unwrap();
    let Event::Repaired(r) = &records[0].event else { panic!("{records:?}") };
    assert_eq!((r.lost.as_slice(), r.problems), (&[b"b".to_vec()][..], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_pack_costs_what_was_in_it() {
    let (w, first) = three_files().await;
    let pack = place_of(&w, &first, "b").await.pack;
    w.repo.store.delete(&w.repo.layout.pack(pack)).await.unwrap();
    let w = reopened(w).await;
    let found = find_damaged(&w.repo, &all(&w).await).await.unwrap();
    assert_eq!(found.len(), 1);
    // A backup would believe its parent that the pack is there.
    let report = verify(&w.repo, &first, &Level::Quick, &Task::default()).await.unwrap();
    let damaged = examine(&w.repo, &report, &mut Examined::default(), false, &Task::default()).await.unwrap();
    assert_eq!(damaged.iter().map(|d| (d.pack, d.blobs)).collect::<Vec<_>>(), [(pack, 0)]);
    // The volume still has most of it: that is stored again, and the repair finds it there.
    fs::remove_file(w.volume().join("c")).unwrap();
    w.back_up().await;
    let report = repaired(&w, &first, SnapshotRequest::default()).await;
    let lost: Vec<_> = report.lost.kept().iter().map(|p| p.path.clone()).collect();
    assert_eq!(lost, [b"c"]);
    check_sound(&w, report.copy.unwrap()).await;
}

/// Many entries in some leaves.
async fn many_files() -> (World, Snapshot) {
    let w = world().await;
    for dir in 0..40u64 {
        let folder = w.volume().join(format!("d{dir:02}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..200u64 {
            fs::write(folder.join(format!("f{file:03}")), noise(dir * 1000 + file, 240)).unwrap();
        }
    }
    let snapshot = w.back_up().await.snapshot;
    (w, snapshot)
}

/// The files below a folder with their bytes.
fn files(root: &Path) -> BTreeSet<(String, Vec<u8>)> {
    files_of(root).into_iter().collect()
}

/// Repairs `first` and compares the copy with the volume: what is there is right, and what is not was named.
async fn check_repaired(w: &World, first: &Snapshot) -> (SnapshotReport, usize) {
    let report = repaired(w, first, SnapshotRequest::default()).await;
    let copy = report.copy.unwrap();
    check_sound(w, copy).await;
    let (target, restored) = w.restore_all(&copy.to_string()).await;
    assert!(restored.problems.is_empty(), "{restored:?}");
    let (expected, is) = (files(&w.volume()), files(&target));
    assert!(is.is_subset(&expected));
    let missing = expected.len() - is.len();
    assert_eq!(missing == 0, report.lost.is_empty(), "{:?}", report.lost);
    (report, missing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leaf_costs_its_entries_and_the_range_is_named() {
    let (w, first) = many_files().await;
    let tree = browse::tree(&w.repo, &first);
    let leaves: Vec<_> = tree.leaves(crate::items::range::Range::All).try_collect().await.unwrap();
    assert!(leaves.len() > 1, "{}", leaves.len());
    // One that shares its group with nothing that others need.
    let places = leaves.iter().flat_map(|l| l.nodes.last().map(|n| (n.node.place, n.usage.place)));
    let others = places
        .clone()
        .map(|(_, usage)| usage)
        .chain([first.manifest.root.place, first.manifest.root_usage.place]);
    let mut shared = BTreeSet::new();
    for place in others {
        shared.insert((place.pack, group_of(&w, place).await));
    }
    let mut alone = None;
    for (leaf, _) in places {
        let free = !shared.contains(&(leaf.pack, group_of(&w, leaf).await));
        alone = alone.or(free.then_some(leaf));
    }
    let middle = leaves[leaves.len() / 2].nodes.last().unwrap().node.place;
    damage(&w, alone.unwrap_or(middle)).await;
    let w = reopened(w).await;
    scrubbed(&w, &ScrubRequest::default()).await;
    let (_, missing) = check_repaired(&w, &first).await;
    assert!(missing > 0 && (missing < 8000 || alone.is_none()), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_lost_branch_a_neighbours_leaves_are_found() {
    let (w, first) = many_files().await;
    // The neighbour shares all leaves but one.
    fs::write(w.volume().join("d10/f100"), b"another content").unwrap();
    w.back_up().await;
    let mut broken = first;
    broken.manifest.root.id = BlobId([9; 32]);
    let (report, missing) = check_repaired(&w, &broken).await;
    assert!(missing > 0 && missing < 8000, "{missing} of 8000 are lost");
    assert!(report.lost.kept()[0].what.ends_with("entries are lost"), "{:?}", report.lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_stored_again_heals_all() {
    let (w, first) = many_files().await;
    damage(&w, first.manifest.root.place).await;
    let w = reopened(w).await;
    scrubbed(&w, &ScrubRequest::default()).await;
    // A damaged parent costs reading, no more.
    let second = w.back_up().await;
    check_sound(&w, second.snapshot.id).await;
    let (report, missing) = check_repaired(&w, &first).await;
    assert_eq!((missing, report.lost.count()), (0, 0), "{:?} {missing}", report.lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_index_is_made_again_and_gc_keeps_it() {
    let (w, first) = three_files().await;
    assert!(delete_all(&w, ObjectKind::Delta).await > 0);
    let w = reopened(w).await;
    check_sound(&w, first.id).await;
    let dry = IndexRequest { dry_run: true, ..IndexRequest::default() };
    let task = Task::default();
    let told = index(&w.repo, dry, "test", &task).await.unwrap();
    assert_eq!(told.packs, told.packs_total);
    assert!(keys(&w, ObjectKind::Delta).await.is_empty());
    let done = index(&w.repo, IndexRequest::default(), "test", &task).await.unwrap();
    assert_eq!((done.packs, done.blobs), (told.packs, told.blobs));
    assert_eq!(
        index(&w.repo, IndexRequest::default(), "test", &task).await.unwrap().packs,
        0,
        "done is done"
    );
    // A first backup of another volume knows all of it again, also after a GC.
    for fence in [false, true] {
        if fence {
            let forgotten = w.back_up().await.snapshot;
            forget::forget(&w.repo, forgotten.id, &forget::Because::default()).await.unwrap();
            collect(&w).await;
        }
        let w = World {
            repo: open(Arc::clone(&w.repo.store)).await,
            counts: Arc::default(),
            dir: tempfile::tempdir_in(disk()).unwrap(),
        };
        for (seed, name) in [(1, "x"), (2, "y"), (3, "z")] {
            fs::write(w.volume().join(name), noise(seed, FILE)).unwrap();
        }
        let mut other = request(&w.volume());
        other.volume = format!("other-{fence}");
        let report = backup(&w.repo, other, None, &task).await.unwrap();
        assert_eq!(report.figures.blobs_new, 0, "{fence}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_delta_is_named_and_its_packs_are_named_again() {
    let (w, _) = three_files().await;
    let key = keys(&w, ObjectKind::Delta).await.remove(0);
    let bytes = w.repo.store.get(&key).await.unwrap();
    w.repo.store.delete(&key).await.unwrap();
    w.repo.store.put_new(&key, bytes.slice(..bytes.len() - 1)).await.unwrap();
    let done = index(&w.repo, IndexRequest::default(), "test", &Task::default()).await.unwrap();
    assert_eq!((done.packs, done.problems.count()), (done.packs_total, 1));
    assert!(done.problems.kept()[0].what.contains(key.as_str()), "{:?}", done.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_outcome_costs_its_snapshot_only() {
    let (w, first) = three_files().await;
    fs::write(w.volume().join("d"), noise(4, FILE)).unwrap();
    let second = w.back_up().await.snapshot;
    let key = w.repo.layout.outcome(crate::ids::Generation(0), second.id);
    w.repo.store.delete(&key).await.unwrap();
    let w = reopened(w).await;
    assert_eq!(all(&w).await.iter().map(|s| s.id).collect::<Vec<_>>(), [first.id]);
    check_sound(&w, first.id).await;
    let third = w.back_up().await;
    assert_eq!(third.figures.blobs_new, 0, "what was stored is found");
    check_sound(&w, third.snapshot.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrub_reads_the_least_recently_verified_first_and_its_records_do_not_grow() {
    let w = world().await;
    for n in 0..3u64 {
        fs::write(w.volume().join(format!("f{n}")), noise(n, FILE)).unwrap();
        w.back_up().await;
    }
    let packs = keys(&w, ObjectKind::Pack).await.len() as u64;
    let little = ScrubRequest { bytes_max: Some(1), ..ScrubRequest::default() };
    for left in (0..packs).rev() {
        let report = scrubbed(&w, &little).await;
        assert_eq!((report.packs, report.never, report.oldest.is_some()), (1, left, left == 0));
    }
    let due = ScrubRequest { not_since: Some(w.repo.env.now().plus_seconds(-60)), ..ScrubRequest::default() };
    assert_eq!(scrubbed(&w, &due).await.packs, 0, "all were read just now");
    for _ in 0..crate::limits::PROOF_RECORDS_MAX + 4 {
        scrubbed(&w, &little).await;
    }
    let objects = w.repo.objects();
    let records = objects.list(&objects.layout.proofs(), None).await.unwrap().len();
    assert!(records <= crate::limits::PROOF_RECORDS_MAX + 1, "{records}");
    assert_eq!(coverage(&w.repo).await.unwrap().never, 0, "folding forgets nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_or_takes_nothing_is_no_damage() {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
    fs::write(w.volume().join("a"), noise(1, FILE)).unwrap();
    let first = w.back_up().await.snapshot;
    damage(&w, place_of(&w, &first, "a").await).await;
    let w = reopened(w).await;
    faulty.add(Fault::always(Op::Put, "default/*", Effect::Fail(StoreErrorKind::Denied)));
    let report = scrubbed(&w, &ScrubRequest::default()).await;
    assert_eq!((report.damaged.len(), report.quarantined), (1, 0), "who may only read tells");
    faulty.replace(FaultPlan::default());
    faulty.add(Fault::always(Op::Get, "default/p/*", Effect::Fail(StoreErrorKind::Transient)));
    let failed = scrub(&w.repo, &ScrubRequest::default(), &Task::default()).await.unwrap_err();
    assert_eq!(failed.kind(), crate::ErrorKind::Store, "{}", failed.chain());
    assert!(keys(&w, ObjectKind::Quarantine).await.is_empty());
}

fn test_request(w: &World, bytes_max: u64) -> TestRequest {
    TestRequest {
        scratch: w.dir.path().to_path_buf(),
        bytes_max,
        against: None,
        memory_bytes_max: 64 << 20,
        by: "test".to_owned(),
    }
}

fn scratches(w: &World) -> usize {
    let names = fs::read_dir(w.dir.path()).unwrap().flatten().map(|e| e.file_name());
    names.filter(|n| n.to_string_lossy().starts_with("holdfast-restore-test-")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_test_compares_everything_and_leaves_nothing() {
    let (w, _) = three_files().await;
    fs::write(w.volume().join("large"), noise(9, 20 << 20)).unwrap();
    fs::write(w.volume().join("weird [name]!"), noise(8, 70_000)).unwrap();
    let snapshot = w.back_up().await.snapshot;
    let test = |bytes| {
        let (request, repo, snapshot) = (test_request(&w, bytes), Arc::clone(&w.repo), snapshot.clone());
        async move { restore_test::test(&repo, &snapshot, &request, &Task::default()).await }
    };
    let whole = test(1 << 30).await.unwrap();
    assert!(whole.problems.is_empty() && !whole.sampled, "{whole:?}");
    assert_eq!((whole.files, whole.bytes), (5, snapshot.manifest.bytes));
    let part = test(1 << 20).await.unwrap();
    assert!(part.problems.is_empty() && part.sampled, "{part:?}");
    assert!(part.files > 0 && part.files < 5 && part.bytes <= 1 << 20, "{part:?}");
    let none = test(1000).await.unwrap_err();
    assert!(none.chain().contains("no file of vol fits"), "{}", none.chain());
    assert_eq!(scratches(&w), 0);
    let against = TestRequest { against: Some(w.volume()), ..test_request(&w, 1 << 30) };
    fs::write(w.volume().join("a"), b"changed since").unwrap();
    let live = restore_test::test(&w.repo, &snapshot, &against, &Task::default()).await.unwrap();
    assert_eq!(live.differences.kept().iter().map(|p| p.path.clone()).collect::<Vec<_>>(), [b"a"]);

    damage(&w, place_of(&w, &snapshot, "b").await).await;
    let w = reopened(w).await;
    let request = test_request(&w, 1 << 30);
    let bad = restore_test::test(&w.repo, &snapshot, &request, &Task::default()).await.unwrap();
    assert_eq!(bad.problems.kept().iter().map(|p| p.path.clone()).collect::<Vec<_>>(), [b"b"]);
    assert_eq!(scratches(&w), 0);
    let health = proofs::health(&w.repo, &all(&w).await).await.unwrap()[&snapshot.id];
    assert!(health.tested.is_some() && health.problems == 1, "{health:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volume_that_was_tested_longest_ago_comes_first() {
    let w = world().await;
    fs::write(w.volume().join("f"), noise(1, 1000)).unwrap();
    for volume in ["one", "two", "two"] {
        let mut request = request(&w.volume());
        request.volume = volume.to_owned();
        backup(&w.repo, request, None, &Task::default()).await.unwrap();
    }
    let all = all(&w).await;
    let order = |named: &[&str], most| {
        let named: Vec<String> = named.iter().map(|n| (*n).to_owned()).collect();
        let (repo, all) = (Arc::clone(&w.repo), all.clone());
        async move {
            let chosen = restore_test::choose(&repo, &all, &named, most).await;
            chosen.map(|c| c.into_iter().map(|s| s.manifest.volume).collect::<Vec<_>>())
        }
    };
    assert_eq!(order(&[], 5).await.unwrap(), ["one", "two"]);
    restore_test::test(&w.repo, &all[0], &test_request(&w, 1 << 20), &Task::default()).await.unwrap();
    assert_eq!(order(&[], 1).await.unwrap(), ["two"]);
    assert_eq!(order(&["one"], 5).await.unwrap(), ["one"]);
    assert_eq!(order(&["none"], 5).await.unwrap_err().kind(), crate::ErrorKind::NotFound);
}
