//! Readers take part in the protocol: they register, close, do without, and follow what a GC run moved.

use super::*;
use crate::ids::{BlobRef, Generation, PackId, Place, Sid};
use crate::items::BlobFetch as _;
use crate::layout::ObjectKind;
use crate::manifest::gc::{GcDone, GcOpen, GcSweep, Relocation};
use crate::manifest::record::{Outcome, Registration, SessionKind};
use crate::manifest::{relocation, summary};
use crate::ops::reader::Reader;
use crate::pack::writer::PackBuilder;
use crate::pack::{PackKind, group};
use crate::store::{Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};
use futures::TryStreamExt as _;
use std::os::unix::fs::FileExt as _;

async fn read_sealed(repo: &Repository, kind: ObjectKind) -> Vec<(Sid, Vec<u8>)> {
    let folder = repo.layout.folder(kind);
    let listed: Vec<_> = repo.store.list(&folder, None).try_collect().await.unwrap();
    let mut out = Vec::new();
    for object in listed {
        let (_, sid) = repo.layout.parse_session(kind, &object.key).unwrap();
        out.push((sid, repo.objects().find(kind, &object.key).await.unwrap().unwrap()));
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_and_verify_register_and_close() {
    let w = world().await;
    fs::write(w.volume().join("f"), noise(1, 100_000)).unwrap();
    let snapshot = w.back_up().await.snapshot;
    for (n, verifies) in [(1, false), (2, true)] {
        let before = w.counts.figures();
        if verifies {
            verify(&w.repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
        } else {
            w.check_round_trip().await;
        }
        let work = w.counts.figures().since(&before);
        assert_eq!(work.requests_of(Op::Put, 's'), 1, "one registration");
        assert_eq!(work.requests_of(Op::Put, 'm'), 1, "one outcome");
        assert_eq!(work.requests(Op::Put), 2, "and nothing else");
        let read = read_sealed(&w.repo, ObjectKind::Registration).await.into_iter();
        let readers: Vec<_> = read
            .map(|(sid, plain)| (sid, Registration::decode(&plain).unwrap()))
            .filter(|(_, r)| r.kind == SessionKind::Read)
            .collect();
        assert_eq!(readers.len(), n);
        assert!(readers.iter().all(|(_, r)| r.snapshot == Some(snapshot.id)), "it names what it reads");
        for (sid, plain) in read_sealed(&w.repo, ObjectKind::Outcome).await {
            let aborted = matches!(Outcome::decode(&plain).unwrap(), Outcome::Aborted { .. });
            assert_eq!(aborted, readers.iter().any(|(reader, _)| *reader == sid));
        }
    }
    assert_eq!(snapshots::list(&w.repo).await.unwrap().0.len(), 1, "readers are no snapshots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_fails_closes_too() {
    let w = world().await;
    fs::write(w.volume().join("f"), b"content").unwrap();
    let snapshot = w.back_up().await.snapshot;
    let target = w.volume();
    let (path, patterns) = (Vec::new(), Vec::new());
    let existing = Existing::Fail;
    let request = RestoreRequest { snapshot, path, patterns, target, existing, memory_bytes_max: 64 << 20 };
    let e = restore(&w.repo, request, &Task::default()).await.unwrap_err();
    assert_eq!(e.kind(), crate::ErrorKind::Refused);
    assert_eq!(
        read_sealed(&w.repo, ObjectKind::Outcome).await.len(),
        2,
        "backup and restore have both ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_snapshot_is_refused() {
    let w = world().await;
    fs::write(w.volume().join("f"), b"content").unwrap();
    let snapshot = w.back_up().await.snapshot;
    let marker = w.repo.layout.forget(Generation(0), snapshot.id);
    w.repo.store.put_new(&marker, bytes::Bytes::new()).await.unwrap();
    let e = verify(&w.repo, &snapshot, &Level::Full, &Task::default()).await.unwrap_err();
    assert_eq!(e.kind(), crate::ErrorKind::NotFound);
    assert!(e.chain().contains("forgotten"), "{}", e.chain());
    assert_eq!(read_sealed(&w.repo, ObjectKind::Outcome).await.len(), 2, "the reader has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_registers_nothing() {
    let w = world().await;
    fs::write(w.volume().join("f"), noise(1, 100_000)).unwrap();
    let snapshot = w.back_up().await.snapshot;
    let before = w.counts.figures();
    let entries: Vec<_> = browse::list(&w.repo, &snapshot, b"", true).try_collect().await.unwrap();
    assert_eq!(entries.len(), 2);
    let bytes: Vec<_> = browse::cat(&w.repo, &snapshot, b"f").try_collect().await.unwrap();
    assert_eq!(bytes.concat(), noise(1, 100_000));
    assert_eq!(w.counts.figures().since(&before).requests(Op::Put), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_reads_all_the_same() {
    for denied in [StoreErrorKind::Denied, StoreErrorKind::Full] {
        let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
        let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
        let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
        fs::write(w.volume().join("f"), noise(1, 100_000)).unwrap();
        let snapshot = w.back_up().await.snapshot;
        faulty.add(Fault::always(Op::Put, "*", Effect::Fail(denied)));
        w.check_round_trip().await;
        let report = verify(&w.repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
    }
}

/// What a collector does, by hand.
struct Collector {
    repo: Arc<Repository>,
    generation: u64,
    merged: Vec<Relocation>,
}

impl Collector {
    async fn put(&self, record: &str, plain: Vec<u8>) {
        let objects = self.repo.objects();
        let key = self.repo.layout.gc(Generation(self.generation), record);
        let sealed = objects.seal(ObjectKind::Gc, &key, &plain);
        self.repo.store.put_new(&key, sealed).await.unwrap();
    }

    /// Copies a pack, its groups in reverse, so that all ordinals change.
    async fn copy(&self, pack: PackId) -> Vec<Relocation> {
        let repo = &self.repo;
        let (tail, _) = repo.store.get_tail(&repo.layout.pack(pack), 64).await.unwrap();
        let kind = PackKind::from_byte(tail[4]).unwrap();
        let footer = repo.reader().footer(pack).await.unwrap();
        let all: Vec<u32> = (0u32..).take(footer.groups.len()).collect();
        let mut groups = repo.reader().read_groups(pack, &all).await.unwrap();
        groups.reverse();
        let mut builder = PackBuilder::new(&repo.keys, Sid::new(&repo.env), kind, &repo.env, 1 << 20);
        let mut moved = Vec::new();
        for read in groups {
            let first = builder.append(&group::build(&read.blobs, 1));
            for i in (0u32..).take(read.blobs.len()) {
                let to = Place { pack: builder.id(), ordinal: first + i };
                moved.push(Relocation::one(Place { pack, ordinal: read.first_ordinal + i }, to));
            }
        }
        let finished = builder.finish(&repo.keys).unwrap();
        repo.store.put_new(&repo.layout.pack(finished.pack.id), finished.bytes).await.unwrap();
        moved
    }

    /// Moves packs in a GC run of its own and deletes them.
    async fn compact(&mut self, packs: &[PackId]) {
        self.generation += 1;
        let mut relocations = Vec::new();
        for pack in packs {
            relocations.extend(self.copy(*pack).await);
        }
        let condemned = packs.to_vec();
        let relocations = relocation::joined(relocations);
        self.put("open", GcOpen { condemned, relocations: relocations.clone() }.encode()).await;
        self.put("sweep", GcSweep { packs: packs.to_vec() }.encode()).await;
        for pack in packs {
            self.repo.store.delete(&self.repo.layout.pack(*pack)).await.unwrap();
        }
        self.merged.extend(relocations);
    }

    /// Ends the run; what it keeps of the relocations is for the caller to say.
    async fn done(&self, relocations: Vec<Relocation>) {
        let frozen = Generation(self.generation - 1);
        let names = crate::session::history::list_outcomes(&self.repo.objects()).await.unwrap();
        let mut catalogue: Vec<_> = names.into_iter().filter(|(g, _)| *g <= frozen).collect();
        catalogue.sort();
        let relocations = relocation::joined(relocations);
        let done = GcDone { frozen, catalogue, relocations, ..GcDone::default() };
        self.put("done", done.encode()).await;
    }
}

async fn all_packs(repo: &Repository, snapshot: &snapshots::Snapshot) -> Vec<PackId> {
    let uses = summary::load(&snapshot.manifest.summary, &*Reader::unregistered(repo)).await.unwrap();
    uses.iter().map(|u| u.pack.id).collect()
}

/// A volume of everything that lies in packs.
fn fill(v: &Path) {
    fs::create_dir_all(v.join("d")).unwrap();
    for i in 0..40u64 {
        fs::write(v.join(format!("d/f{i}")), noise(i, 3000)).unwrap();
    }
    fs::write(v.join("one"), noise(77, 200_000)).unwrap();
    fs::write(v.join("large"), noise(99, 20 << 20)).unwrap();
}

/// Restores, verifies and looks at a snapshot, as a process that has read nothing before.
async fn check_all(w: &World, snapshot: &snapshots::Snapshot) {
    let repo = open(Arc::clone(&w.repo.store)).await;
    for level in [Level::Quick, Level::Full, Level::Against(w.volume())] {
        let report = verify(&repo, snapshot, &level, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default(), "{level:?}");
    }
    let repo = open(Arc::clone(&w.repo.store)).await;
    let bytes: Vec<_> = browse::cat(&repo, snapshot, b"large").try_collect().await.unwrap();
    assert!(bytes.concat() == fs::read(w.volume().join("large")).unwrap());
    let repo = open(Arc::clone(&w.repo.store)).await;
    let other = World { repo, counts: Arc::clone(&w.counts), dir: tempfile::tempdir_in(disk()).unwrap() };
    let (target, report) = other.restore_all(&snapshot.id.to_string()).await;
    assert_eq!(report.problems, Problems::default());
    assert_eq!(describe(&target), describe(&w.volume()));
}

async fn moved_world() -> (World, snapshots::Snapshot, Collector) {
    let w = world().await;
    fill(&w.volume());
    let snapshot = w.back_up().await.snapshot;
    let mut collector =
        Collector { repo: open(Arc::clone(&w.repo.store)).await, generation: 0, merged: Vec::new() };
    let packs = all_packs(&w.repo, &snapshot).await;
    assert!(packs.len() >= 2, "data and metadata");
    collector.compact(&packs).await;
    let w = World { repo: open(Arc::clone(&w.repo.store)).await, ..w };
    (w, snapshot, collector)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_is_found() {
    let (w, snapshot, _) = moved_world().await;
    check_all(&w, &snapshot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_twice_is_found() {
    let (w, snapshot, mut collector) = moved_world().await;
    collector.done(collector.merged.clone()).await;
    let mut copies: Vec<PackId> = collector.merged.iter().map(|r| r.to.pack).collect();
    copies.sort();
    copies.dedup();
    collector.compact(&copies).await;
    check_all(&w, &snapshot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_register_finds_what_was_moved() {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
    fill(&w.volume());
    let snapshot = w.back_up().await.snapshot;
    let mut collector =
        Collector { repo: open(Arc::clone(&w.repo.store)).await, generation: 0, merged: Vec::new() };
    collector.compact(&all_packs(&w.repo, &snapshot).await).await;
    faulty.add(Fault::always(Op::Put, "*", Effect::Fail(StoreErrorKind::Denied)));
    check_all(&w, &snapshot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_under_an_open_reader_is_found() {
    let w = world().await;
    fill(&w.volume());
    let snapshot = w.back_up().await.snapshot;
    let reader = Reader::register(&*open(Arc::clone(&w.repo.store)).await, snapshot.id).await.unwrap();
    let root = snapshot.manifest.root;
    let bytes = reader.get(root).await.unwrap();
    let mut collector =
        Collector { repo: open(Arc::clone(&w.repo.store)).await, generation: 0, merged: Vec::new() };
    collector.compact(&all_packs(&w.repo, &snapshot).await).await;
    let before = w.counts.figures();
    let usage = reader.get(snapshot.manifest.root_usage).await.unwrap();
    assert!(!usage.is_empty() && !bytes.is_empty());
    // A pack that is really gone is asked for once more, but the records are read for it only once.
    let nowhere =
        BlobRef { place: Place { pack: PackId { sid: Sid([9; 16]), rnd: [9; 8] }, ordinal: 0 }, ..root };
    for _ in 0..3 {
        assert_eq!(reader.get(nowhere).await.unwrap_err().kind(), crate::ErrorKind::NotFound);
    }
    let lists = w.counts.figures().since(&before).requests_of(Op::List, 'g');
    assert!(lists <= 4, "{lists} listings of the GC records");
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_after_a_move_need_the_old_places_no_more() {
    let (w, first, mut collector) = moved_world().await;
    let second = w.back_up().await;
    assert_eq!(second.figures.files_opened, 0, "nothing was lost by moving");
    assert_eq!(second.figures.bytes_new, 0);
    assert_eq!(second.snapshot.manifest.root.id, first.manifest.root.id, "the tree is the same");
    check_all(&w, &first).await;
    check_all(&w, &second.snapshot).await;
    // The run keeps no relocation, as if the first snapshot had been forgotten; a further run opens.
    collector.done(Vec::new()).await;
    collector.compact(&[]).await;
    check_all(&w, &second.snapshot).await;
    let large = fs::OpenOptions::new().write(true).open(w.volume().join("large")).unwrap();
    large.write_all_at(&noise(5, 8192), 5 << 20).unwrap();
    fs::write(w.volume().join("d/f3"), b"changed").unwrap();
    let w = World { repo: open(Arc::clone(&w.repo.store)).await, ..w };
    let third = w.back_up().await;
    assert!(third.figures.bytes_new < 100_000, "{} bytes stored again", third.figures.bytes_new);
    check_all(&w, &third.snapshot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_after_a_move_is_compared_with_the_copies() {
    let (w, ..) = moved_world().await;
    let large = fs::OpenOptions::new().write(true).open(w.volume().join("large")).unwrap();
    large.write_all_at(&noise(5, 8192), 5 << 20).unwrap();
    let second = w.back_up().await;
    assert!(second.figures.bytes_new < 100_000, "{} bytes stored again", second.figures.bytes_new);
    check_all(&w, &second.snapshot).await;
}
