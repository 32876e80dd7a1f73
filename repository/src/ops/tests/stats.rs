//! Figures are those of what was really stored, needed and freed.

use std::collections::HashSet;

use super::*;
use crate::ids::Sid;
use crate::ops::forget::{Because, forget};
use crate::ops::gc::collect;
use crate::ops::stats::{between, detail, would_free};
use crate::store::{Effect, Fault, FaultPlan, StoreErrorKind};

const MIB: u64 = 1 << 20;

async fn backed_up(w: &World, folder: &str, volume: &str) -> Sid {
    let mut request = request(&w.dir.path().join(folder));
    request.volume = volume.to_owned();
    backup(&w.repo, request, None, &Task::default()).await.unwrap().snapshot.id
}

fn write(w: &World, path: &str, seed: u64, len: u64) {
    let path = w.dir.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, noise(seed, usize::try_from(len).unwrap())).unwrap();
}

/// About so many bytes: metadata comes on top.
fn is_about(bytes: u64, expected: u64) -> bool {
    (expected..expected + (64 << 10)).contains(&bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_and_what_is_exclusive() {
    let w = world().await;
    write(&w, "a/both", 1, 3 * MIB);
    write(&w, "a/first", 2, 2 * MIB);
    let first = backed_up(&w, "a", "a").await;
    fs::remove_file(w.dir.path().join("a/first")).unwrap();
    write(&w, "a/second", 3, MIB);
    let second = backed_up(&w, "a", "a").await;
    write(&w, "b/both", 1, 3 * MIB);
    write(&w, "b/own", 4, 4 * MIB);
    let third = backed_up(&w, "b", "b").await;

    let d = detail(&w.repo, &Task::default()).await.unwrap();
    assert!(d.problems.is_empty());
    assert_eq!(d.bytes_files, (5 + 4 + 7) * MIB);
    assert!(is_about(d.needed.plain, 10 * MIB), "{d:?}");
    assert!(d.needed.stored <= d.packs_bytes && is_about(d.needed.stored, 10 * MIB), "{d:?}");
    assert_eq!((d.packs_unneeded, d.packs_unneeded_bytes), (0, 0));
    let exclusive = |id| d.snapshots.iter().find(|s| s.id == id).unwrap().exclusive.plain;
    assert!(is_about(exclusive(first), 2 * MIB), "{d:?}");
    assert!(is_about(exclusive(second), MIB), "{d:?}");
    assert!(is_about(exclusive(third), 4 * MIB), "{d:?}");
    assert!(is_about(d.volumes["a"].exclusive.plain, 3 * MIB), "{d:?}");
    assert!(is_about(d.volumes["b"].exclusive.plain, 4 * MIB), "{d:?}");
    assert_eq!((d.volumes["a"].snapshots, d.volumes["a"].bytes_newest), (2, 4 * MIB));
    let days: u64 = d.days.values().map(|day| day.bytes_new).sum();
    assert_eq!(days, d.snapshots.iter().map(|s| s.bytes_new).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_freed_is_what_gc_frees() {
    let w = world().await;
    write(&w, "a/x", 1, 3 * MIB);
    let first = backed_up(&w, "a", "a").await;
    write(&w, "a/x", 2, 2 * MIB);
    let second = backed_up(&w, "a", "a").await;
    let told = would_free(&w.repo, &HashSet::from([first]), &Task::default()).await.unwrap();
    assert_eq!(told.snapshots, 1);
    assert!(is_about(told.blobs.plain, 3 * MIB), "{told:?}");
    forget(&w.repo, first, &Because::default()).await.unwrap();
    let done = collect(&w.repo, gc::AT_ONCE, &Task::default()).await.unwrap();
    assert_eq!((told.packs, told.packs_bytes), (done.deleted, done.deleted_bytes));
    let both = would_free(&w.repo, &HashSet::from([second]), &Task::default()).await.unwrap();
    assert_eq!(both.packs_bytes, done.bytes - done.deleted_bytes, "the last one holds all the rest");
    let none = would_free(&w.repo, &HashSet::new(), &Task::default()).await.unwrap();
    assert_eq!((none.snapshots, none.packs, none.blobs.plain), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_changes_are_named() {
    let w = world().await;
    write(&w, "a/logs/db/big", 1, 40 * MIB);
    write(&w, "a/logs/small", 2, 100_000);
    write(&w, "a/other/kept", 3, 200_000);
    write(&w, "a/other/gone", 4, 300_000);
    let older = snapshots::get(&w.repo, &backed_up(&w, "a", "a").await.to_string(), None).await.unwrap();
    let mut big = noise(1, usize::try_from(40 * MIB).unwrap());
    big.extend(noise(5, 500_000));
    fs::write(w.dir.path().join("a/logs/db/big"), &big).unwrap();
    write(&w, "a/logs/new", 6, 150_000);
    write(&w, "a/logs/copy", 6, 150_000);
    fs::remove_file(w.dir.path().join("a/other/gone")).unwrap();
    let newer = snapshots::get(&w.repo, &backed_up(&w, "a", "a").await.to_string(), None).await.unwrap();

    let before = w.counts.figures();
    let b = between(&w.repo, (&older, &newer), 2, &Task::default()).await.unwrap();
    assert_eq!(w.counts.figures().since(&before).requests_of(Op::Put, 's'), 0);
    assert_eq!((b.added, b.removed, b.changed, b.bytes_removed), (2, 1, 1, 300_000));
    let paths: Vec<_> = b.files.iter().map(|f| String::from_utf8_lossy(&f.path).into_owned()).collect();
    assert_eq!(paths, ["logs/db/big", "logs/copy"], "the second file of one content brought nothing: {b:?}");
    // The end of the last segment may have been cut anew; all before it is known.
    assert!(b.files[0].bytes >= 500_000 && b.files[0].bytes < 500_000 + 8 * MIB, "{b:?}");
    assert_eq!(b.files[1].bytes, 150_000);
    assert_eq!(b.bytes_new, b.files[0].bytes + b.files[1].bytes);
    assert_eq!(b.folders[0].path, b"logs");
    assert_eq!((b.folders[0].bytes, b.folders[1].bytes), (b.bytes_new, b.files[0].bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_pack_is_named_and_the_rest_counted() {
    let w = world().await;
    write(&w, "a/x", 1, 3 * MIB);
    backed_up(&w, "a", "a").await;
    let (pack, _) = crate::ops::gc::list_packs(&w.repo.objects()).await.unwrap().pop_last().unwrap();
    w.repo.store.delete(&w.repo.layout.pack(pack)).await.unwrap();
    let repo = open(Arc::clone(&w.repo.store)).await;
    let d = detail(&repo, &Task::default()).await.unwrap();
    assert_eq!(d.problems.count(), 1, "{:?}", d.problems);
    assert_eq!((d.snapshots.len(), d.packs), (1, 1));
}

/// What a catalogue can't tell any more.
fn without_catalogue() -> FaultPlan {
    let gone = Effect::Fail(StoreErrorKind::NotFound);
    let fault = Fault::always(Op::Get, "default/g/*catalogue*", gone);
    FaultPlan { faults: vec![fault], ..FaultPlan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_generations_are_told_by_the_catalogue_with_the_same_figures() {
    let (w, store) = gc::faulty_world().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        write(&w, "a/both", 1, MIB);
        write(&w, "a/own", 10 + n, MIB / 2);
        write(&w, "b/both", 1, MIB);
        write(&w, "b/some", 20 + n / 2, MIB / 4);
        ids.push(backed_up(&w, "a", "a").await);
        ids.push(backed_up(&w, "b", "b").await);
    }
    let told = async |repo: &Arc<Repository>| {
        let before = w.counts.figures();
        let d = detail(repo, &Task::default()).await.unwrap();
        assert!(d.problems.is_empty(), "{d:?}");
        let read = w.counts.figures().since(&before).requests_of(Op::Get, 'm');
        let some = HashSet::from([ids[0], ids[4], ids[5], ids[7]]);
        let freed = would_free(repo, &some, &Task::default()).await.unwrap();
        (format!("{d:?} {freed:?}"), read)
    };
    let (before, read) = told(&w.repo).await;
    assert_eq!(read, 12, "without a catalogue every outcome is read");
    let compacting = crate::ops::gc::Compaction { live_percent_below: 100, ..Default::default() };
    let all = |compaction| crate::ops::gc::GcRequest { compaction, ..gc::AT_ONCE };
    forget(&w.repo, ids[2], &Because::default()).await.unwrap();
    forget(&w.repo, ids[3], &Because::default()).await.unwrap();
    assert!(collect(&w.repo, all(compacting), &Task::default()).await.unwrap().done);
    for newer in 0..3 {
        let fresh = || open(Arc::clone(&w.repo.store));
        let (by_catalogue, read) = told(&fresh().await).await;
        assert_eq!(read, newer, "only what came since");
        assert_ne!(by_catalogue, before);
        store.replace(without_catalogue());
        let (by_outcomes, read) = told(&fresh().await).await;
        assert_eq!((by_outcomes, read), (by_catalogue, 10 + newer));
        store.replace(FaultPlan::default());
        write(&w, "a/own", 100 + newer, MIB / 2);
        backed_up(&w, "a", "a").await;
    }
    // A snapshot that is forgotten since is not told by the catalogue either.
    forget(&w.repo, ids[11], &Because::default()).await.unwrap();
    let (by_catalogue, _) = told(&w.repo).await;
    assert!(!by_catalogue.contains(&ids[11].to_string()) && by_catalogue.contains(&ids[10].to_string()));
    store.replace(without_catalogue());
    assert_eq!(told(&w.repo).await.0, by_catalogue);
}
