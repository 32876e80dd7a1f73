//! The cache folder: how many requests it saves, and that nothing but time depends on it.

use super::*;
use futures::TryStreamExt as _;

/// A new process with this cache folder, on a store that is far away.
async fn far(w: &World, cache_dir: Option<&Path>) -> Arc<Repository> {
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential: credential(),
        cache_dir: cache_dir.map(Path::to_owned),
        remote: true,
        cpu_threads: 2,
    };
    Repository::open(Arc::clone(&w.repo.store), options, env()).await.unwrap()
}

fn fill(v: &Path) {
    for d in 0..30u64 {
        fs::create_dir_all(v.join(format!("dir-{d}"))).unwrap();
        for i in 0..100u64 {
            fs::write(v.join(format!("dir-{d}/file-{i}")), noise(d * 1000 + i, 400)).unwrap();
        }
    }
    fs::write(v.join("large"), noise(99, 2 << 20)).unwrap();
}

async fn run(repo: &Arc<Repository>, volume: &Path) -> BackupReport {
    let report = backup(repo, request(volume), None, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    report
}

async fn list(repo: &Arc<Repository>, snapshot: &snapshots::Snapshot) -> usize {
    browse::list(repo, snapshot, b"", true).try_collect::<Vec<_>>().await.unwrap().len()
}

fn kept_files(cache: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut waiting = vec![cache.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            if entry.path().is_dir() { waiting.push(entry.path()) } else { out.push(entry.path()) }
        }
    }
    out.retain(|p| p.components().any(|c| c.as_os_str() == "metadata"));
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_fetched_once_if_at_all() {
    let w = world().await;
    let (v, cache) = (w.volume(), w.dir.path().join("cache"));
    fill(&v);
    let snapshot = run(&far(&w, Some(&cache)).await, &v).await.snapshot;
    let entries = list(&far(&w, None).await, &snapshot).await;
    let gets =
        |before: &crate::store::CountFigures| w.counts.figures().since(before).requests_of(Op::Get, 'p');
    let before = w.counts.figures();
    assert_eq!(list(&far(&w, None).await, &snapshot).await, entries);
    let without = gets(&before);
    assert!(without >= 2, "{without} reads of packs without a cache");
    let before = w.counts.figures();
    assert_eq!(list(&far(&w, Some(&cache)).await, &snapshot).await, entries);
    run(&far(&w, Some(&cache)).await, &v).await;
    assert_eq!(gets(&before), 0, "what was written is kept: listing and the next backup read no pack");
    // Deleted, it is filled again by reading.
    fs::remove_dir_all(&cache).unwrap();
    let before = w.counts.figures();
    assert_eq!(list(&far(&w, Some(&cache)).await, &snapshot).await, entries);
    assert!(gets(&before) >= 2, "nothing is kept yet");
    let before = w.counts.figures();
    for _ in 0..2 {
        assert_eq!(list(&far(&w, Some(&cache)).await, &snapshot).await, entries);
    }
    assert_eq!(gets(&before), 0);
    // Names of files are not told by it.
    for path in kept_files(&cache) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"file-1"), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_copies_are_fetched_again() {
    let w = world().await;
    let (v, cache) = (w.volume(), w.dir.path().join("cache"));
    fill(&v);
    let snapshot = run(&far(&w, Some(&cache)).await, &v).await.snapshot;
    let entries = list(&far(&w, Some(&cache)).await, &snapshot).await;
    let files = kept_files(&cache);
    assert!(files.len() >= 4, "{} files", files.len());
    for (i, path) in files.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        match i % 3 {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes[70] ^= 1,
            _ => bytes.clone_from(&fs::read(&files[(i + 1) % files.len()]).unwrap()),
        }
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(list(&far(&w, Some(&cache)).await, &snapshot).await, entries);
    let other = World {
        repo: far(&w, Some(&cache)).await,
        counts: Arc::clone(&w.counts),
        dir: tempfile::tempdir_in(disk()).unwrap(),
    };
    let (target, _) = other.restore_all("latest").await;
    assert_eq!(describe(&target), describe(&v));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_reads_the_store_itself() {
    let w = world().await;
    let (v, cache) = (w.volume(), w.dir.path().join("cache"));
    fill(&v);
    let snapshot = run(&far(&w, Some(&cache)).await, &v).await.snapshot;
    let root = w.repo.layout.pack(snapshot.manifest.root.place.pack);
    let mut bytes = w.repo.store.get(&root).await.unwrap().to_vec();
    bytes[10] ^= 1;
    w.repo.store.delete(&root).await.unwrap();
    w.repo.store.put_new(&root, bytes.into()).await.unwrap();
    let report =
        verify(&far(&w, Some(&cache)).await, &snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert!(!report.problems.is_empty(), "the cache hides no damage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_read_once() {
    let w = world().await;
    let (v, cache) = (w.volume(), w.dir.path().join("cache"));
    fs::write(v.join("f"), b"content").unwrap();
    for _ in 0..5 {
        w.back_up().await;
    }
    for expected in [5, 0] {
        let repo = far(&w, Some(&cache)).await;
        let before = w.counts.figures();
        assert_eq!(snapshots::list(&repo).await.unwrap().0.len(), 5);
        assert_eq!(w.counts.figures().since(&before).requests_of(Op::Get, 'm'), expected);
    }
}

/// A cache folder that can't be made, and one whose parts can't be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_of_the_cache_fails_anything() {
    let w = world().await;
    let v = w.volume();
    fill(&v);
    let file = w.dir.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let half = w.dir.path().join("half");
    let inner = half.join(w.repo.id.to_string()).join("default");
    fs::create_dir_all(&inner).unwrap();
    for part in ["index", "history", "metadata"] {
        // A file where a folder should be, and the other way round.
        if part == "history" {
            fs::create_dir_all(inner.join("history/x")).unwrap();
        } else {
            fs::write(inner.join(part), b"in the way").unwrap();
        }
    }
    for cache in [&file, &half] {
        for _ in 0..2 {
            let repo = far(&w, Some(cache)).await;
            let report = run(&repo, &v).await;
            list(&repo, &report.snapshot).await;
            let dir = tempfile::tempdir_in(disk()).unwrap();
            let other = World { repo, counts: Arc::clone(&w.counts), dir };
            let (target, report) = other.restore_all("latest").await;
            assert_eq!(report.problems, Problems::default());
            assert_eq!(describe(&target), describe(&v));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_backup_leaves_its_index_to_the_next_process() {
    let w = world().await;
    let (v, cache) = (w.volume(), w.dir.path().join("cache"));
    fs::write(v.join("f"), noise(1, 5000)).unwrap();
    run(&far(&w, Some(&cache)).await, &v).await;
    for i in 2..6u64 {
        fs::write(v.join("f"), noise(i, 5000)).unwrap();
        let before = w.counts.figures();
        run(&far(&w, Some(&cache)).await, &v).await;
        let deltas = w.counts.figures().since(&before).requests_of(Op::Get, 'i');
        assert!(deltas <= 1, "{deltas} deltas read: only the newest is not known");
    }
}
