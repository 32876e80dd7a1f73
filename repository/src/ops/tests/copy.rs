//! A copy under other keys restores the same, reads little the second time, and survives death and damage.

use super::*;
use crate::ErrorKind;
use crate::ops::copy::{CopyReport, CopyRequest, Fate, copy};
use crate::ops::forget::{Because, forget};
use crate::ops::gc::collect;
use crate::store::{Crash, FaultPlan, FaultStore, Key};
use futures::TryStreamExt as _;
use std::os::unix::fs::FileExt as _;

pub(super) fn all() -> CopyRequest {
    CopyRequest {
        snapshots: Vec::new(),
        volume: None,
        newest: None,
        retry_partial: false,
        zstd_level: 2,
        memory_bytes_max: 64 << 20,
    }
}

async fn copied(source: &World, target: &World) -> CopyReport {
    copy(&source.repo, &target.repo, &all(), &Task::default()).await.unwrap()
}

fn lost(report: &CopyReport) -> Vec<u64> {
    let one = |fate: &Fate| match fate {
        Fate::Copied { lost, .. } => Some(lost.count()),
        _ => None,
    };
    report.snapshots.iter().filter_map(|s| one(&s.fate)).collect()
}

/// The newest copy is what the source has, byte for byte.
async fn check_same(source: &World, target: &World) {
    let snapshot = snapshots::get(&target.repo, "latest", None).await.unwrap();
    let report = verify(&target.repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    let (out, report) = target.restore_all("latest").await;
    assert_eq!(report.problems, Problems::default());
    assert_eq!(describe(&out), describe(&source.volume()));
    fs::remove_dir_all(out).unwrap();
}

/// A bit of everything; some of it large, with holes, zeros, and pieces that lie in two segments.
fn fill(v: &Path) {
    fs::create_dir_all(v.join("a/b")).unwrap();
    for i in 0..300 {
        fs::write(v.join(format!("a/{i}")), noise(i, 1000 + usize::try_from(i).unwrap() * 7)).unwrap();
    }
    fs::write(v.join("tiny"), b"inline").unwrap();
    fs::write(v.join("a/b/large"), noise(1000, 40 << 20)).unwrap();
    fs::write(v.join("medium"), noise(1001, 300_000)).unwrap();
    fs::hard_link(v.join("medium"), v.join("a/b/linked")).unwrap();
    symlink("nowhere", v.join("link")).unwrap();
    let sparse = fs::File::create(v.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(&noise(1002, 500_000), 17 << 20).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_restores_and_the_second_reads_little() {
    let (source, target) = (world().await, world().await);
    fill(&source.volume());
    let first = source.back_up().await;
    let report = copied(&source, &target).await;
    assert_eq!(lost(&report), [0]);
    check_same(&source, &target).await;
    let copy = snapshots::get(&target.repo, "latest", None).await.unwrap().manifest;
    let m = &first.snapshot.manifest;
    assert_eq!(
        (copy.started, copy.finished, &copy.volume, &copy.tags),
        (m.started, m.finished, &m.volume, &m.tags)
    );
    assert_eq!((copy.entries, copy.files, copy.bytes, copy.problems), (m.entries, m.files, m.bytes, 0));
    let of = copy.copied.unwrap();
    assert_eq!((of.repository, of.snapshot, of.lost), (source.repo.id, first.snapshot.id, 0));

    // Nothing new: nothing is read, nothing is written.
    let again = copied(&source, &target).await;
    assert!(matches!(again.snapshots[0].fate, Fate::Already { lost: 0, .. }), "{again:?}");

    let file = fs::OpenOptions::new().write(true).open(source.volume().join("a/b/large")).unwrap();
    for page in [3, 700, 1500] {
        file.write_all_at(&noise(page, 5000), page * 16384 + 100).unwrap();
    }
    drop(file);
    fs::write(source.volume().join("a/7"), b"other").unwrap();
    fs::remove_file(source.volume().join("a/8")).unwrap();
    fs::write(source.volume().join("a/new"), noise(2000, 50_000)).unwrap();
    source.back_up().await;
    let fresh = World {
        repo: open(Arc::clone(&source.repo.store)).await,
        counts: Arc::clone(&source.counts),
        dir: source.dir,
    };
    let before = fresh.counts.figures();
    let second = copied(&fresh, &target).await;
    let asked = fresh.counts.figures().since(&before);
    assert_eq!(lost(&second), [0]);
    let figures = second.snapshots[1].figures;
    assert!(figures.bytes_read < 1 << 20, "{figures:?}");
    assert!(figures.bytes_new < 1 << 20, "{figures:?}");
    assert!(asked.requests_of(Op::Get, 'p') < 30, "{asked:?}");
    check_same(&fresh, &target).await;
    assert!(snapshots::get(&target.repo, "latest", None).await.unwrap().manifest.parent.is_some());
}

/// Ids and marks are those that a backup in the target would have made: one there finds everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_on_where_a_copy_ended() {
    let (source, target) = (world().await, world().await);
    fill(&source.volume());
    source.back_up().await;
    copied(&source, &target).await;
    let file = fs::OpenOptions::new().write(true).open(source.volume().join("a/b/large")).unwrap();
    file.write_all_at(&noise(5, 16384), 16384 * 20).unwrap();
    drop(file);
    let mut request = request(&source.volume());
    request.read_all = true;
    let next = backup(&target.repo, request, None, &Task::default()).await.unwrap();
    assert!(next.figures.bytes_new < 200_000, "only the page is new: {:?}", next.figures);
    check_same(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_gc_in_the_target_a_copy_still_finds_what_is_left() {
    let (source, target) = (world().await, world().await);
    fill(&source.volume());
    source.back_up().await;
    copied(&source, &target).await;
    fs::write(source.volume().join("more"), noise(7, 400_000)).unwrap();
    source.back_up().await;
    copied(&source, &target).await;
    let (copies, _) = snapshots::list(&target.repo).await.unwrap();
    forget(&target.repo, copies[1].id, &Because::default()).await.unwrap();
    collect(&target.repo, gc::AT_ONCE, &Task::default()).await.unwrap();
    let again = copied(&source, &target).await;
    assert_eq!(lost(&again), [0]);
    assert!(again.snapshots[1].figures.bytes_read < 1 << 20, "{again:?}");
    check_same(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_at_any_request_loses_nothing() {
    let source = world().await;
    let v = source.volume();
    for i in 0..20 {
        fs::write(v.join(format!("f{i}")), noise(i, 3000)).unwrap();
    }
    fs::write(v.join("large"), noise(100, 1 << 20)).unwrap();
    source.back_up().await;
    fs::write(v.join("f3"), noise(300, 3000)).unwrap();
    source.back_up().await;
    for n in 0.. {
        let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
        let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
        let target = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
        faulty.replace(FaultPlan { crash: Some(Crash::After(n)), ..FaultPlan::default() });
        let died = copy(&source.repo, &target.repo, &all(), &Task::default()).await;
        faulty.replace(FaultPlan::default());
        let repo = open(Arc::clone(&target.repo.store)).await;
        let (there, damaged) = snapshots::list(&repo).await.unwrap();
        assert!(damaged.is_empty(), "request {n}");
        for snapshot in &there {
            let report = verify(&repo, snapshot, &Level::Full, &Task::default()).await.unwrap();
            assert_eq!(report.problems, Problems::default(), "request {n}");
        }
        let target = World { repo, counts: target.counts, dir: target.dir };
        copied(&source, &target).await;
        assert_eq!(snapshots::list(&target.repo).await.unwrap().0.len(), 2, "request {n}");
        check_same(&source, &target).await;
        if died.is_ok() {
            assert!(n > 10, "a copy takes some requests");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_and_the_rest_is_copied() {
    let (source, target) = (world().await, world().await);
    let v = source.volume();
    for i in 0..50 {
        fs::write(v.join(format!("f{i:02}")), noise(i, 100_000)).unwrap();
    }
    source.back_up().await;
    // The first frame of the data pack: some of the first files lie in it.
    let listed = source.repo.store.list("default/p/", None).try_collect::<Vec<_>>().await.unwrap();
    let largest: Key = listed.into_iter().max_by_key(|l| l.bytes).unwrap().key;
    let whole = source.repo.store.get(&largest).await.unwrap();
    let mut bytes = whole.to_vec();
    bytes[70_000] ^= 1;
    source.repo.store.delete(&largest).await.unwrap();
    source.repo.store.put_new(&largest, bytes.into()).await.unwrap();
    let source =
        World { repo: open(Arc::clone(&source.repo.store)).await, counts: source.counts, dir: source.dir };

    let report = copied(&source, &target).await;
    let Fate::Copied { lost, .. } = &report.snapshots[0].fate else { panic!("{report:?}") };
    assert!((1..=3).contains(&lost.count()), "{lost:?}");
    assert!(lost.kept()[0].path.starts_with(b"f"), "{lost:?}");
    let partial = snapshots::get(&target.repo, "latest", None).await.unwrap().manifest;
    assert_eq!((partial.problems, partial.copied.as_ref().unwrap().lost), (lost.count(), lost.count()));
    assert_eq!(partial.files, 50 - lost.count());
    let (out, restored) = target.restore_all("latest").await;
    assert_eq!(restored.problems, Problems::default());
    assert_eq!(fs::read(out.join("f49")).unwrap(), noise(49, 100_000));

    let again = copied(&source, &target).await;
    assert!(matches!(again.snapshots[0].fate, Fate::Already { lost: 1..=3, .. }), "{again:?}");
    // The source is whole again: on request the copy becomes so.
    source.repo.store.delete(&largest).await.unwrap();
    source.repo.store.put_new(&largest, whole).await.unwrap();
    let source =
        World { repo: open(Arc::clone(&source.repo.store)).await, counts: source.counts, dir: source.dir };
    let retry = CopyRequest { retry_partial: true, ..all() };
    let healed = copy(&source.repo, &target.repo, &retry, &Task::default()).await.unwrap();
    assert_eq!(self::lost(&healed), [0]);
    assert_eq!(snapshots::list(&target.repo).await.unwrap().0.len(), 1, "the partial one is forgotten");
    check_same(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_of_many_are_chosen() {
    let (source, target) = (world().await, world().await);
    let mut ids = Vec::new();
    for i in 0..4 {
        fs::write(source.volume().join("f"), noise(i, 2000)).unwrap();
        let mut request = request(&source.volume());
        request.volume = if i < 3 { "a" } else { "b" }.to_owned();
        ids.push(backup(&source.repo, request, None, &Task::default()).await.unwrap().snapshot.id);
    }
    let run = async |request: CopyRequest| {
        let report = copy(&source.repo, &target.repo, &request, &Task::default()).await?;
        Ok::<_, crate::Error>(report.snapshots.iter().map(|s| s.source).collect::<Vec<_>>())
    };
    assert_eq!(run(CopyRequest { newest: Some(1), ..all() }).await.unwrap(), [ids[2], ids[3]]);
    let one = CopyRequest { snapshots: vec![ids[0]], ..all() };
    assert_eq!(run(one.clone()).await.unwrap(), [ids[0]]);
    assert_eq!(run(CopyRequest { volume: Some("b".to_owned()), ..all() }).await.unwrap(), [ids[3]]);
    let missing = run(CopyRequest { snapshots: vec![crate::ids::Sid([1; 16])], ..all() }).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let same = copy(&source.repo, &source.repo, &one, &Task::default()).await.unwrap_err();
    assert_eq!(same.kind(), ErrorKind::Input);
}
