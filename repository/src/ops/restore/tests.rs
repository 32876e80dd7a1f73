//! Restores of hand-made snapshots into empty, filled and hostile targets.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use super::sample::{Sample, blobs_of, damage, files_of, noise, open_in, reopen, repository, tree};
use super::*;
use crate::items::entry::{Extent, ExtentData};
use crate::store::{Effect, Fault, FaultPlan, FaultStore, Op, RemoteStore, Store, StoreErrorKind};

fn request(snapshot: &Snapshot, target: &Path, existing: Existing) -> RestoreRequest {
    RestoreRequest {
        snapshot: snapshot.clone(),
        path: Vec::new(),
        patterns: Vec::new(),
        target: target.to_path_buf(),
        existing,
        memory_bytes_max: 64 << 20,
    }
}

async fn run(repo: &Arc<Repository>, request: RestoreRequest) -> RestoreReport {
    restore(repo, request, &Task::default()).await.unwrap()
}

fn texts(report: &RestoreReport) -> Vec<String> {
    let line = |p: &crate::ops::Problem| format!("{}: {}", String::from_utf8_lossy(&p.path), p.what);
    report.problems.kept().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("t");
    let report = run(&repo, request(&snapshot, &target, Existing::Fail)).await;
    assert_eq!(texts(&report), Vec::<String>::new());
    assert!(files_of(&target) == files);
    assert_eq!(report.figures.bytes_done, snapshot.manifest.bytes);
    assert_eq!(report.figures.bytes_total, snapshot.manifest.bytes);
    let stat = |path: &str| fs::symlink_metadata(target.join(path)).unwrap();
    for (path, mode) in
        [("", 0o755), ("a/deep", 0o750), ("b/large", 0o600), ("b/fifo", 0o620), ("b/mixed", 0o640)]
    {
        let stat = stat(path);
        assert_eq!(stat.mode() & 0o7777, mode, "{path}");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_600_000_000, 987_654_321), "{path}");
    }
    assert_eq!(fs::read_link(target.join("b/link")).unwrap(), Path::new("../a/deep/f1"));
    assert_eq!(stat("b/third").ino(), stat("a/deep/er/first").ino());
    assert_eq!(stat("b/second").nlink(), 3);
    assert!(stat("b/hole").blocks() < 64 && stat("b/large").blocks() * 512 < 32 << 20, "holes stay holes");
    assert_eq!(fs::read_dir(target.join("b")).unwrap().count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_window_gives_the_same() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let request = RestoreRequest {
        memory_bytes_max: 2000,
        ..request(&snapshot, &base.path().join("t"), Existing::Fail)
    };
    let report = run(&repo, request).await;
    assert_eq!(texts(&report), Vec::<String>::new());
    assert!(files_of(&base.path().join("t")) == files);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_chosen_by_path_and_pattern() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let check = async |name: &str, path: &str, patterns: &[&str], expected: &[&str]| {
        let request = RestoreRequest {
            path: path.as_bytes().to_vec(),
            patterns: patterns.iter().map(|&p| p.to_owned()).collect(),
            ..request(&snapshot, &base.path().join(name), Existing::Fail)
        };
        let report = run(&repo, request).await;
        assert_eq!(texts(&report), Vec::<String>::new(), "{name}");
        let found = files_of(&base.path().join(name));
        assert_eq!(found.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(), expected, "{name}");
        for (path, bytes) in found {
            assert!(files.iter().any(|(p, b)| p.ends_with(&path) && *b == bytes), "{name}: {path}");
        }
    };
    check("file", "b/large", &[], &["large"]).await;
    check("dir", "/a/deep/er/", &[], &["first"]).await;
    check("below", "b", &[], &["hole", "large", "mixed", "second", "third"]).await;
    check("pattern", "", &["f1", "mixed", "!a/deep/f1"], &["b/mixed"]).await;
    check("glob", "", &["f3[0-1]"], &["a/deep/f30", "a/deep/f31"]).await;
    let stat = fs::metadata(base.path().join("glob/a/deep")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o750, 1_600_000_000), "needed parents are dressed");
    assert!(!base.path().join("glob/b").exists());
    let missing = RestoreRequest {
        path: b"a/nothing".to_vec(),
        ..request(&snapshot, &base.path().join("x"), Existing::Fail)
    };
    let error = restore(&repo, missing, &Task::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!base.path().join("x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_treated_as_asked() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("t");
    run(&repo, request(&snapshot, &target, Existing::Fail)).await;
    let error =
        restore(&repo, request(&snapshot, &target, Existing::Fail), &Task::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);

    let before = fs::metadata(target.join("a/deep/f2")).unwrap().ino();
    fs::write(target.join("a/deep/f3"), "changed").unwrap();
    fs::remove_file(target.join("b/mixed")).unwrap();
    fs::write(target.join("own"), "own").unwrap();
    let report = run(&repo, request(&snapshot, &target, Existing::Skip)).await;
    assert_eq!(texts(&report), Vec::<String>::new());
    assert_eq!(fs::read(target.join("a/deep/f3")).unwrap(), b"changed");
    assert!(target.join("b/mixed").exists());

    let report = run(&repo, request(&snapshot, &target, Existing::IfChanged)).await;
    assert_eq!(texts(&report), Vec::<String>::new());
    assert_eq!(fs::metadata(target.join("a/deep/f2")).unwrap().ino(), before, "kept");
    assert_eq!(report.skipped, 39 + 3 + 1 + 1 + 3, "all but one file, the link, the fifo, three names");

    // A link that leads outside has taken a directory's name.
    fs::write(target.join("a/deep/f4"), "changed").unwrap();
    fs::remove_dir_all(target.join("empty")).unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    symlink(base.path().join("outside"), target.join("empty")).unwrap();
    let report = run(&repo, request(&snapshot, &target, Existing::Overwrite)).await;
    assert_eq!(texts(&report), Vec::<String>::new());
    assert_ne!(fs::metadata(target.join("a/deep/f2")).unwrap().ino(), before, "replaced");
    let mut expected = files.clone();
    expected.push(("own".into(), b"own".to_vec()));
    assert!(files_of(&target) == expected);
    assert!(fs::symlink_metadata(target.join("empty")).unwrap().is_dir());
    assert_eq!(fs::metadata(target.join("b/second")).unwrap().nlink(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn symlinks_in_the_target_lead_nowhere() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    for existing in [Existing::Skip, Existing::Overwrite, Existing::IfChanged] {
        let base = tempfile::tempdir().unwrap();
        let (target, outside) = (base.path().join("t"), base.path().join("outside"));
        fs::create_dir(&target).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("large"), "kept").unwrap();
        symlink("../outside", target.join("b")).unwrap();
        symlink(&outside, target.join("a")).unwrap();
        let report = run(&repo, request(&snapshot, &target, existing)).await;
        assert_eq!(report.problems.is_empty(), existing != Existing::Skip);
        assert_eq!(fs::read(outside.join("large")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{existing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_costs_only_what_it_hits() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    // A bit flips in the first frame of the pack that begins with the mixed file.
    let mixed = blobs_of(&repo, &snapshot, "b/mixed").await[0].place;
    damage(&repo, mixed, 0.0).await;
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("t");
    let report = run(&repo, request(&snapshot, &target, Existing::Fail)).await;
    let lost: Vec<_> =
        report.problems.kept().iter().map(|p| String::from_utf8_lossy(&p.path).into_owned()).collect();
    assert!(lost.contains(&"b/mixed".to_owned()), "{:?}", texts(&report));
    let found = files_of(&target);
    for (path, bytes) in &files {
        let restored = found.iter().find(|(p, _)| p == path);
        assert_eq!(restored.is_none(), lost.contains(path), "{path} is there or named");
        assert!(restored.is_none_or(|(_, b)| b == bytes), "{path}");
    }
    assert!(found.len() >= 30, "{} of {}", found.len(), files.len());
    assert_eq!(report.figures.entries_failed, lost.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_is_named_by_path_and_links_with_their_content() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    let place = blobs_of(&repo, &snapshot, "a/deep/er/first").await[0].place;
    repo.store.delete(&repo.layout.pack(place.pack)).await.unwrap();
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("t");
    let existing = target.join("b/second");
    fs::create_dir_all(existing.parent().unwrap()).unwrap();
    fs::write(&existing, "older").unwrap();
    let report = run(&repo, request(&snapshot, &target, Existing::Overwrite)).await;
    let lost: Vec<_> =
        report.problems.kept().iter().map(|p| String::from_utf8_lossy(&p.path).into_owned()).collect();
    assert_eq!(lost, ["a/deep/er/first", "b/second", "b/third"], "{:?}", texts(&report));
    assert!(texts(&report)[1].contains("a/deep/er/first"));
    assert_eq!(fs::read(existing).unwrap(), b"older", "what was there stays");
    assert_eq!(files_of(&target).len(), files.len() - 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_ends_the_restore() {
    let faults = Arc::new(FaultStore::new(Arc::new(RemoteStore::memory()), FaultPlan::default()));
    let repo = open_in(Arc::clone(&faults) as Arc<dyn Store>).await;
    let (snapshot, _) = tree(&repo).await;
    faults.add(Fault { op: None, ..Fault::always(Op::Get, "*/p/*", Effect::Fail(StoreErrorKind::Denied)) });
    let repo = reopen(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let request = request(&snapshot, &base.path().join("t"), Existing::Fail);
    assert_eq!(restore(&repo, request, &Task::default()).await.unwrap_err().kind(), ErrorKind::Store);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_it() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let task = Task::default();
    task.cancel.cancel();
    let base = tempfile::tempdir().unwrap();
    let request = request(&snapshot, &base.path().join("t"), Existing::Fail);
    assert_eq!(restore(&repo, request, &task).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_need_few_reads() {
    let repo = repository().await;
    let mut s = Sample::new(&repo);
    s.dir("d");
    let mut files = Vec::new();
    for g in 0..50u64 {
        let blobs: Vec<_> = (0..200).map(|i| noise(g * 1000 + i, 300)).collect();
        let refs = s.group(&blobs.iter().map(|b| &b[..]).collect::<Vec<_>>());
        for (i, (blob, bytes)) in refs.into_iter().zip(blobs).enumerate() {
            let path = format!("d/{g:02}-{i:03}");
            s.extents(&path, vec![Extent { bytes: 300, data: ExtentData::Slice(blob, 0) }]);
            files.push((path, bytes));
        }
    }
    let snapshot = s.finish().await;
    let base = tempfile::tempdir().unwrap();
    let report = run(&repo, request(&snapshot, &base.path().join("t"), Existing::Fail)).await;
    assert!(report.problems.is_empty());
    assert_eq!(report.figures.bytes_read, 3_000_000, "each blob is decoded once");
    assert!(files_of(&base.path().join("t")) == files);
}
