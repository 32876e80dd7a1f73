//! The folder store: conformance, races between writers, and what a crash leaves behind.

use super::*;
use crate::env::{Clock, SystemRandom, Timestamp};
use futures::TryStreamExt as _;
use std::process::Command;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn temp_files(root: &Path) -> usize {
    std::fs::read_dir(root.join(TEMP)).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_stores_on_one_folder_one_creates() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [0, 1].map(|_| FileStore::open(dir.path(), &Env::system()).unwrap());
    for round in 0..50 {
        let k = key(&format!("d/p/{round}/x"));
        let tasks = stores.each_ref().map(|store| {
            (0..4).map(|n| {
                let (store, k) = (store.clone(), k.clone());
                tokio::spawn(async move { store.put_new(&k, Bytes::from(vec![n; 5000])).await.unwrap() })
            })
        });
        let mut created = 0;
        for task in tasks.into_iter().flatten().collect::<Vec<_>>() {
            created += usize::from(task.await.unwrap() == Put::Created);
        }
        assert_eq!(created, 1, "round {round}");
        let got = stores[0].get(&k).await.unwrap();
        assert!(got.len() == 5000 && got.iter().all(|b| *b == got[0]), "torn object");
    }
    assert_eq!(temp_files(dir.path()), 0);
}

/// A disk of 1 MiB, where the system lets us mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir.path());
        mount.output().is_ok_and(|out| out.status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: no right to mount");
        return;
    };
    let root = disk.0.path();
    let store = FileStore::open(root, &Env::system()).unwrap();
    store.put_new(&key("d/p/small"), Bytes::from(vec![1; 100_000])).await.unwrap();
    let error = store.put_new(&key("d/p/large"), Bytes::from(vec![1; 2_000_000])).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert_eq!(error.to_string(), "put d/p/large: no space is left on the disk");
    assert_eq!(store.find_size(&key("d/p/large")).await.unwrap(), None);
    assert_eq!(temp_files(root), 0);
    store.put_new(&key("d/p/again"), Bytes::from(vec![1; 500_000])).await.unwrap();
}

#[test]
fn system_errors_are_told_apart() {
    let kinds =
        [Errno::NOSPC, Errno::DQUOT, Errno::ACCESS, Errno::ROFS, Errno::STALE, Errno::IO].map(kind_of);
    use StoreErrorKind::{Denied, Fatal, Full, Transient};
    assert_eq!(kinds, [Full, Full, Denied, Denied, Transient, Fatal]);
}

#[tokio::test]
async fn only_old_unfinished_files_are_cleaned() {
    #[derive(Debug)]
    struct Fixed(i64);
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(self.0 * 1_000_000_000)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(TEMP)).unwrap();
    let unfinished = dir.path().join(TEMP).join("1-x");
    std::fs::write(&unfinished, "half").unwrap();
    let written = Env::system().now().seconds();
    let open = |now| {
        let env = Env { clock: Arc::new(Fixed(now)), random: Arc::new(SystemRandom) };
        FileStore::open(dir.path(), &env).unwrap()
    };
    let store = open(written + TEMP_SECONDS_MAX - 60);
    assert!(unfinished.exists());
    assert!(store.list("", None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    open(written + TEMP_SECONDS_MAX + 60);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn the_folder_of_unfinished_files_holds_no_objects() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    assert_eq!(store.put_new(&key(".tmp/x"), Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Fatal);
    assert_eq!(store.get(&key(".tmp/x")).await.unwrap_err().kind, StoreErrorKind::Fatal);
}

#[tokio::test]
async fn a_folder_that_was_moved_away_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (root, moved) = (dir.path().join("store"), dir.path().join("moved"));
    let store = FileStore::create(&root, &Env::system()).unwrap();
    store.put_new(&key("d/a"), Bytes::from("x")).await.unwrap();
    std::fs::rename(&root, &moved).unwrap();
    store.put_new(&key("d/b"), Bytes::from("y")).await.unwrap();
    assert!(moved.join("d/b").exists() && !root.exists());
    std::fs::remove_dir_all(&moved).unwrap();
    let error = store.put_new(&key("d/c"), Bytes::from("z")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Fatal);
    assert!(!root.exists() && !moved.exists());
}

#[tokio::test]
async fn folders_removed_by_others_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    store.put_new(&key("d/e/a"), Bytes::new()).await.unwrap();
    for name in ["d", TEMP] {
        std::fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
    assert_eq!(store.put_new(&key("d/e/a"), Bytes::new()).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn links_and_pipes_in_the_folder_are_no_objects() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    rustix::fs::mknodat(CWD, dir.path().join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    std::fs::write(dir.path().join("no key"), "").unwrap();
    assert!(store.list("", None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    for name in ["link", "pipe"] {
        assert!(store.get(&key(name)).await.is_err());
        assert_eq!(store.find_size(&key(name)).await.unwrap(), None);
        assert_eq!(store.put_new(&key(name), Bytes::new()).await.unwrap(), Put::AlreadyExists);
    }
}

#[tokio::test]
async fn a_folder_is_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    store.put_new(&key("d/e/a"), Bytes::from("x")).await.unwrap();
    assert_eq!(store.get(&key("d/e")).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.find_size(&key("d/e")).await.unwrap(), None);
    store.delete(&key("d/e")).await.unwrap();
    assert_eq!(store.get(&key("d/e/a")).await.unwrap(), "x");
}

#[tokio::test]
async fn long_listings_come_in_batches_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    let mut names: Vec<String> = (0..2500).map(|n| format!("f/{}/{n}", n % 7)).collect();
    for n in 0..7 {
        std::fs::create_dir_all(dir.path().join(format!("f/{n}"))).unwrap();
    }
    for name in &names {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    names.sort();
    let list = |after: Option<Key>| {
        store.list("f/", after.as_ref()).map_ok(|l| l.key.to_string()).try_collect::<Vec<_>>()
    };
    assert_eq!(list(None).await.unwrap(), names);
    assert_eq!(list(Some(key(&names[1499]))).await.unwrap(), names[1500..]);
}
