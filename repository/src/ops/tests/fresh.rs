//! Which files a backup opens: those that changed, and those of which the times can't tell.

use super::*;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::env::SystemClock;
use sys::written::Written;

/// The real clock, and days that a test lets pass.
#[derive(Debug, Default)]
struct Days(AtomicI64);

impl Clock for Days {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_seconds(3600 + self.0.load(Ordering::Relaxed) * 86_400)
    }
}

/// The same repository, opened with another clock.
async fn with_clock(w: World, clock: Arc<dyn Clock>) -> World {
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential: credential(),
        cache_dir: None,
        remote: false,
        cpu_threads: 2,
    };
    let env = Env { clock, random: Arc::new(SystemRandom) };
    World { repo: Repository::open(Arc::clone(&w.repo.store), options, env).await.unwrap(), ..w }
}

async fn back_up_of(w: &World, request: BackupRequest) -> BackupReport {
    let report = backup(&w.repo, request, None, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    report
}

/// Writes through the mapping until a write leaves the times as they were; the last bytes written.
fn write_unseen(file: &fs::File, map: &mut Written) -> Vec<u8> {
    let times = |m: &fs::Metadata| (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    for seed in 100.. {
        let before = times(&file.metadata().unwrap());
        let bytes = noise(seed, 4096);
        map.write(8192, &bytes);
        if times(&file.metadata().unwrap()) == before {
            return bytes;
        }
    }
    unreachable!("the numbers do not end")
}

/// A backup, and a write after it that leaves the times as the backup saw them; the last bytes written.
async fn changed_unseen_after_backup(
    w: &World,
    volume: &Path,
    (file, map): (&fs::File, &mut Written),
) -> (BackupReport, Vec<u8>) {
    loop {
        let times = file.metadata().unwrap();
        let first = back_up_of(w, request(volume)).await;
        let written = write_unseen(file, map);
        let now = file.metadata().unwrap();
        if (now.mtime_nsec(), now.ctime_nsec()) == (times.mtime_nsec(), times.ctime_nsec()) {
            return (first, written);
        }
        // The kernel wrote the page back meanwhile, so that a write showed: once more.
    }
}

/// A write through mmap that no time shows, right after a backup: the next one must have it.
async fn check_mapped(w: World, volume: &Path, bytes: usize) {
    let path = volume.join("mapped");
    fs::write(&path, noise(1, bytes)).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut map = Written::open(&file).unwrap();
    // The first write to a page after it was clean sets the times; those behind it do not.
    map.write(8192, b"first");
    let (first, written) = changed_unseen_after_backup(&w, volume, (&file, &mut map)).await;
    let second = back_up_of(&w, request(volume)).await;
    assert_eq!(second.snapshot.manifest.parent, Some(first.snapshot.id));
    let (target, _) = w.restore_all(&second.snapshot.id.to_string()).await;
    let restored = fs::read(target.join("mapped")).unwrap();
    assert!(restored[8192..8192 + written.len()] == written, "the mapped write is in the second backup");
    assert!(restored == fs::read(&path).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapped_write_after_the_backup_is_seen() {
    for bytes in [100_000, 3 << 20] {
        let w = with_clock(world().await, Arc::new(SystemClock)).await;
        let volume = w.volume();
        check_mapped(w, &volume, bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_a_mapped_write_is_seen_however_old_the_times() {
    let shm = Path::new("/dev/shm");
    if nix::sys::statfs::statfs(shm).is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC) {
        let dir = tempfile::tempdir_in(shm).unwrap();
        // The clock of these worlds makes every time an hour old.
        check_mapped(world().await, dir.path(), 100_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_ctime_is_read_again_until_it_is_old() {
    let w = with_clock(world().await, Arc::new(SystemClock)).await;
    fs::write(w.volume().join("f"), noise(1, 5000)).unwrap();
    for _ in 0..2 {
        w.back_up().await;
        assert_eq!(w.back_up().await.figures.files_opened, 1, "seconds old");
    }
    let w = with_clock(w, Arc::new(Later)).await;
    assert_eq!(w.back_up().await.figures.files_opened, 1, "it was fresh when the parent was made");
    assert_eq!(w.back_up().await.figures.files_opened, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_read_again_within_its_days() {
    let days = Arc::new(Days::default());
    let w = with_clock(world().await, Arc::clone(&days) as Arc<dyn Clock>).await;
    let v = w.volume();
    for i in 0..60u64 {
        fs::write(v.join(format!("f{i}")), noise(i, 2000)).unwrap();
    }
    fs::write(v.join("large"), noise(99, 1 << 20)).unwrap();
    let daily = || BackupRequest { reread_days: 5, ..request(&v) };
    let first = back_up_of(&w, daily()).await;
    assert_eq!(first.figures.files_opened, 61);
    let mut opened = Vec::new();
    for day in 1..=5 {
        days.0.store(day, Ordering::Relaxed);
        let report = back_up_of(&w, daily()).await;
        assert_eq!((report.figures.bytes_new, report.figures.packs), (0, 0), "read, and found as it was");
        assert_eq!(report.snapshot.manifest.root.id, first.snapshot.manifest.root.id);
        opened.push(report.figures.files_opened);
        assert!(
            back_up_of(&w, daily()).await.figures.files_opened <= 61 / 5 * 3,
            "at most the next day's, at midnight"
        );
    }
    assert!(opened.iter().sum::<u64>() >= 61 - 61 / 5 * 3, "{opened:?}");
    assert!(opened.iter().all(|n| *n < 40), "spread: {opened:?}");
    days.0.store(30, Ordering::Relaxed);
    assert_eq!(back_up_of(&w, daily()).await.figures.files_opened, 61, "all, after a gap");
}

/// What the times hide for ever comes to light on the file's day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_times_hide_is_found_in_the_end() {
    let days = Arc::new(Days::default());
    let w = with_clock(world().await, Arc::clone(&days) as Arc<dyn Clock>).await;
    let (root, path) = (w.volume(), w.volume().join("f"));
    fs::write(&path, noise(1, 30_000)).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut map = Written::open(&file).unwrap();
    map.write(8192, b"first");
    changed_unseen_after_backup(&w, &root, (&file, &mut map)).await;
    assert_eq!(back_up_of(&w, request(&root)).await.figures.files_opened, 0, "an hour old, says the clock");
    days.0.store(7, Ordering::Relaxed);
    let report = back_up_of(&w, BackupRequest { reread_days: 7, ..request(&root) }).await;
    assert_eq!(report.figures.files_opened, 1);
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_volume_under_the_same_name_is_read_whole() {
    let w = world().await;
    let (old, new) = (w.dir.path().join("old"), w.dir.path().join("new"));
    fs::create_dir_all(old.join("d")).unwrap();
    fs::create_dir(&new).unwrap();
    for i in 0..10u64 {
        fs::write(old.join(format!("d/f{i}")), noise(i, 2000)).unwrap();
    }
    let first = back_up_of(&w, request(&old)).await;
    assert!(first.snapshot.manifest.identity.is_some(), "this file system tells when a folder was made");
    assert_eq!(back_up_of(&w, request(&old)).await.figures.files_opened, 0);
    // The files keep inodes, sizes and times; only the folder that is backed up is another one.
    fs::rename(old.join("d"), new.join("d")).unwrap();
    let moved = back_up_of(&w, request(&new)).await;
    assert!(moved.snapshot.manifest.parent.is_some());
    assert_eq!(moved.figures.files_opened, 10);
    assert_eq!(moved.figures.bytes_new, 0, "all of it is found");
    assert_eq!(back_up_of(&w, request(&new)).await.figures.files_opened, 0);
}

/// What a restore that was killed leaves: never backed up in silence, and gone after the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_of_a_restore_are_told_and_removed() {
    let w = world().await;
    let v = w.volume();
    fs::create_dir(v.join("d")).unwrap();
    for name in ["f", "d/f", "d/.holdfast-notes", ".holdfast-0011223344556677"] {
        fs::write(v.join(name), noise(1, 5000)).unwrap();
    }
    let snapshot = w.back_up().await.snapshot;
    let id = snapshot.id;
    let left = ["d/.holdfast-0011223344556677-3", ".holdfast-ffffffffffffffff-120"];
    left.iter().for_each(|name| fs::write(v.join(name), b"half").unwrap());
    let report = backup(&w.repo, request(&v), None, &Task::default()).await.unwrap();
    let mut named: Vec<_> = report.problems.kept().iter().map(|p| p.path.clone()).collect();
    named.sort();
    assert_eq!(named, [left[1].as_bytes(), left[0].as_bytes()]);
    assert_eq!(report.snapshot.manifest.problems, 2, "the snapshot is partial");
    assert_eq!(report.snapshot.manifest.files, 4);
    fs::write(v.join("d/f"), b"changed").unwrap();
    let request = RestoreRequest {
        snapshot,
        path: Vec::new(),
        patterns: Vec::new(),
        target: v.clone(),
        existing: Existing::Overwrite,
        memory_bytes_max: 64 << 20,
    };
    let report = restore(&w.repo, request, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    assert!(left.iter().all(|name| !v.join(name).exists()), "removed");
    assert!(
        v.join("d/.holdfast-notes").exists() && v.join(".holdfast-0011223344556677").exists(),
        "not ours"
    );
    let (target, _) = w.restore_all(&id.to_string()).await;
    assert_eq!(describe(&target), describe(&v));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_linked_files_are_opened_once() {
    let w = world().await;
    let v = w.volume();
    for d in ["a", "b", "c"] {
        fs::create_dir(v.join(d)).unwrap();
    }
    for i in 0..50u64 {
        fs::write(v.join(format!("a/f{i}")), noise(i, 3000)).unwrap();
        for d in ["b", "c"] {
            fs::hard_link(v.join(format!("a/f{i}")), v.join(format!("{d}/g{i}"))).unwrap();
        }
    }
    fs::write(v.join("a/large"), noise(99, 20 << 20)).unwrap();
    fs::hard_link(v.join("a/large"), v.join("c/large")).unwrap();
    fs::write(v.join("b/tiny"), b"inline").unwrap();
    fs::hard_link(v.join("b/tiny"), v.join("z")).unwrap();
    let first = w.back_up().await;
    assert_eq!(first.snapshot.manifest.files, 154);
    assert_eq!(first.figures.files_opened, 52, "each file once, whatever its names");
    assert_eq!(first.figures.bytes_read, 50 * 3000 + (20 << 20) + 6);
    w.check_round_trip().await;
    assert_eq!(w.back_up().await.figures.files_opened, 0);
    // A new name changes the file's ctime, and so all of its entries.
    fs::hard_link(v.join("a/large"), v.join("b/other")).unwrap();
    let second = w.back_up().await;
    assert_eq!((second.figures.files_opened, second.figures.bytes_new), (1, 0));
    w.check_round_trip().await;
}
