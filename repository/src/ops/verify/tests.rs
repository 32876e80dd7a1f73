//! Sound snapshots pass; each kind of damage and difference is told by name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::ops::restore::sample::{Sample, blobs_of, damage, noise, reopen, repository, tree};
use crate::ops::restore::{Existing, RestoreRequest, restore};

async fn problems(repo: &Arc<Repository>, snapshot: &Snapshot, level: &Level) -> Vec<String> {
    let report = verify(repo, snapshot, level, &Task::default()).await.unwrap();
    let line = |p: &crate::ops::Problem| format!("{}: {}", String::from_utf8_lossy(&p.path), p.what);
    let mut lines: Vec<_> = report.problems.kept().iter().map(line).collect();
    assert_eq!(report.figures.entries_failed, lines.len() as u64);
    lines.sort();
    lines
}

async fn restored(repo: &Arc<Repository>, snapshot: &Snapshot, target: &Path) {
    let request = RestoreRequest {
        snapshot: snapshot.clone(),
        path: Vec::new(),
        patterns: Vec::new(),
        target: target.to_path_buf(),
        existing: Existing::Fail,
        memory_bytes_max: 64 << 20,
    };
    assert!(restore(repo, request, &Task::default()).await.unwrap().problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_snapshot_has_no_problems() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    restored(&repo, &snapshot, &base.path().join("t")).await;
    for level in [Level::Quick, Level::Full, Level::Against(base.path().join("t"))] {
        assert_eq!(problems(&repo, &snapshot, &level).await, Vec::<String>::new(), "{level:?}");
    }
    let task = Task::default();
    let report = verify(&repo, &snapshot, &Level::Full, &task).await.unwrap();
    assert_eq!(report.figures.bytes_done, snapshot.manifest.bytes);
    assert_eq!(report.figures.bytes_total, snapshot.manifest.bytes);
    assert_eq!(report.figures.entries, snapshot.manifest.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_short_pack_is_seen_by_the_quick_check() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let pack = blobs_of(&repo, &snapshot, "a/deep/f9").await[0].place.pack;
    let key = repo.layout.pack(pack);
    let bytes = repo.store.get(&key).await.unwrap();
    repo.store.delete(&key).await.unwrap();
    let found = problems(&repo, &snapshot, &Level::Quick).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{key}: is missing: the snapshot needs ")), "{found:?}");
    repo.store.put_new(&key, bytes.slice(1..)).await.unwrap();
    let found = problems(&repo, &snapshot, &Level::Quick).await;
    assert!(found.len() == 1 && found[0].contains("instead of"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_by_path() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let mixed = blobs_of(&repo, &snapshot, "b/mixed").await[0].place;
    damage(&repo, mixed, 0.0).await;
    let repo = reopen(&repo).await;
    assert_eq!(problems(&repo, &snapshot, &Level::Quick).await, Vec::<String>::new());
    let found = problems(&repo, &snapshot, &Level::Full).await;
    assert!(found.iter().any(|p| p.starts_with("b/mixed: ")), "{found:?}");
    assert!(found.iter().all(|p| p.starts_with("b/")), "{found:?}");
    // A missing pack too, and every file that needs it.
    repo.store.delete(&repo.layout.pack(mixed.pack)).await.unwrap();
    let repo = reopen(&repo).await;
    let found = problems(&repo, &snapshot, &Level::Full).await;
    let named = |path: &str| found.iter().any(|p| p.starts_with(&format!("{path}: ")));
    assert!(named("b/mixed") && named("b/large") && !named("a/deep/f9"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_forgets_blobs_is_damage() {
    let repo = repository().await;
    let (mut snapshot, _) = tree(&repo).await;
    snapshot.manifest.summary = crate::manifest::Summary::Inline(Vec::new());
    let found = problems(&repo, &snapshot, &Level::Full).await;
    assert!(found.len() == 1 && found[0].contains("the summary does not list"), "{found:?}");
    snapshot.manifest.summary = crate::manifest::Summary::Inline(vec![1, 2, 3]);
    let found = problems(&repo, &snapshot, &Level::Quick).await;
    assert!(found.len() == 1 && found[0].contains("the summary is damaged"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_from_a_folder_is_told() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("t");
    restored(&repo, &snapshot, &target).await;
    let keep_time = |path: &str, change: &dyn Fn(&Path)| {
        let path = target.join(path);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        change(&path);
        fs::File::options().read(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    let flip = |at: usize| {
        move |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    };
    keep_time("a/deep/f0", &flip(7));
    keep_time("a/deep/f20", &flip(5));
    keep_time("b/large", &flip(20 << 20));
    keep_time("b/mixed", &flip(3000));
    keep_time("a/deep/f1", &|path| fs::write(path, "short").unwrap());
    fs::set_permissions(target.join("a/deep/f2"), fs::Permissions::from_mode(0o600)).unwrap();
    keep_time("a/deep", &|path| {
        fs::remove_file(path.join("f3")).unwrap();
        fs::write(path.join("new"), "new").unwrap();
    });
    keep_time("b", &|path| {
        fs::remove_file(path.join("link")).unwrap();
        std::os::unix::fs::symlink("elsewhere", path.join("link")).unwrap();
    });
    let found = problems(&repo, &snapshot, &Level::Against(target)).await;
    let expected = [
        "a/deep/f0: content differs at byte 7",
        "a/deep/f1: size: 5 instead of 240",
        "a/deep/f20: content differs at byte 5",
        "a/deep/f2: mode: 600 instead of 640",
        "a/deep/f3: only in the snapshot",
        "a/deep/new: only in the folder",
        "b/large: content differs at byte 20971520",
        "b/link: time of last change; target of the link",
        "b/mixed: content differs at byte 3000",
    ];
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_many_files_are_read_once() {
    let repo = repository().await;
    let mut s = Sample::new(&repo);
    let blob = s.group(&[&noise(1, 100_000)])[0];
    for i in 0..50 {
        let data = crate::items::entry::ExtentData::Slice(blob, i * 100);
        s.extents(&format!("f{i:02}"), vec![crate::items::entry::Extent { bytes: 90_000, data }]);
    }
    let snapshot = s.finish().await;
    let report = verify(&repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert!(report.problems.is_empty());
    assert_eq!(report.figures.bytes_read, 100_000);
    assert_eq!(report.figures.bytes_done, 50 * 90_000);
}
