//! The cache answers as its store does, whatever happens to its folder.

use super::*;
use crate::env::{Clock, SystemRandom, Timestamp};
use crate::store::{CountedStore, Counts, Op, RemoteStore, StoreErrorKind};
use std::sync::atomic::AtomicI64;

#[derive(Debug, Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) * 1_000_000_000)
    }
}

struct Case {
    dir: tempfile::TempDir,
    counts: Arc<Counts>,
    memory: Arc<dyn Store>,
    hand: Arc<Hand>,
    store: CachedStore,
}

async fn case(bytes_max: u64) -> Case {
    let dir = tempfile::tempdir().unwrap();
    let counts = Arc::new(Counts::default());
    let memory: Arc<dyn Store> = Arc::new(CountedStore::new(Arc::new(RemoteStore::memory()), counts.clone()));
    let hand = Arc::new(Hand(AtomicI64::new(1_000_000)));
    let env = Env { clock: hand.clone(), random: Arc::new(SystemRandom) };
    let store = CachedStore::open(memory.clone(), dir.path(), bytes_max, &env);
    Case { dir, counts, memory, hand, store }
}

impl Case {
    fn gets(&self) -> u64 {
        self.counts.requests(Op::Get)
    }

    fn files(&self) -> Vec<PathBuf> {
        let shards = std::fs::read_dir(self.dir.path()).unwrap().flatten();
        shards
            .flat_map(|shard| std::fs::read_dir(shard.path()).unwrap().flatten())
            .map(|f| f.path())
            .collect()
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test]
async fn an_object_is_fetched_once() {
    let case = case(1 << 20).await;
    let k = key("d/m/0/a");
    case.memory.put_new(&k, Bytes::from("outcome")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(case.store.get(&k).await.unwrap(), "outcome");
    }
    assert_eq!(case.gets(), 1);
    let own = key("d/i/0/own-0");
    case.store.put_new(&own, Bytes::from("delta")).await.unwrap();
    assert_eq!(case.store.get(&own).await.unwrap(), "delta");
    assert_eq!(case.gets(), 1);
}

#[tokio::test]
async fn existence_ranges_and_changing_objects_are_asked_of_the_store() {
    let case = case(1 << 20).await;
    for name in ["d/k/wrap", "repo.json", "d/m/0/a"] {
        let k = key(name);
        case.store.put_new(&k, Bytes::from("x")).await.unwrap();
        case.store.get(&k).await.unwrap();
        case.memory.delete(&k).await.unwrap();
        assert_eq!(case.store.find_size(&k).await.unwrap(), None);
        assert_eq!(case.store.get_range(&k, 0..1).await.unwrap_err().kind, StoreErrorKind::NotFound);
        assert_eq!(case.store.get(&k).await.is_ok(), name == "d/m/0/a");
    }
}

#[tokio::test]
async fn damaged_copies_are_misses() {
    let harms: [fn(&mut Vec<u8>); 5] = [
        |file| file.clear(),
        |file| file.truncate(20),
        |file| file.truncate(file.len() - 1),
        |file| file[0] ^= 1,
        |file| file.push(0),
    ];
    let case = case(1 << 20).await;
    let k = key("d/i/0/a-0");
    case.memory.put_new(&k, Bytes::from("delta")).await.unwrap();
    for (n, harm) in harms.into_iter().enumerate() {
        case.store.get(&k).await.unwrap();
        let [path] = &case.files()[..] else { panic!("one file") };
        let mut file = std::fs::read(path).unwrap();
        harm(&mut file);
        std::fs::write(path, file).unwrap();
        assert_eq!(case.store.get(&k).await.unwrap(), "delta", "harm {n}");
        assert_eq!(case.gets(), n as u64 + 2, "harm {n}");
    }
}

#[tokio::test]
async fn one_objects_copy_is_not_anothers() {
    let case = case(1 << 20).await;
    case.store.put_new(&key("d/m/0/a"), Bytes::from("aaa")).await.unwrap();
    let from = case.files().pop().unwrap();
    case.store.put_new(&key("d/m/0/b"), Bytes::from("bbb")).await.unwrap();
    let to = case.files().into_iter().find(|path| *path != from).unwrap();
    std::fs::copy(from, to).unwrap();
    assert_eq!(case.store.get(&key("d/m/0/b")).await.unwrap(), "bbb");
}

#[tokio::test]
async fn forgotten_deleted_and_lost_copies_are_fetched_again() {
    let case = case(1 << 20).await;
    let k = key("d/m/0/a");
    case.store.put_new(&k, Bytes::from("one")).await.unwrap();
    case.store.cache.forget(&k).await;
    assert_eq!((case.store.get(&k).await.unwrap(), case.gets()), (Bytes::from("one"), 1));
    assert_eq!(case.store.put_new(&k, Bytes::from("two")).await.unwrap(), Put::AlreadyExists);
    assert_eq!((case.store.get(&k).await.unwrap(), case.gets()), (Bytes::from("one"), 2));
    std::fs::remove_dir_all(case.dir.path()).unwrap();
    assert_eq!((case.store.get(&k).await.unwrap(), case.gets()), (Bytes::from("one"), 3));
    case.store.delete(&k).await.unwrap();
    assert_eq!(case.store.get(&k).await.unwrap_err().kind, StoreErrorKind::NotFound);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_does_no_harm() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let memory = Arc::new(RemoteStore::memory());
    let store = CachedStore::open(memory, file.path(), 1 << 20, &Env::system());
    store.put_new(&key("d/m/0/a"), Bytes::from("x")).await.unwrap();
    assert_eq!(store.get(&key("d/m/0/a")).await.unwrap(), "x");
}

#[tokio::test]
async fn the_folder_stays_bounded_and_keeps_what_is_used() {
    let case = case(10_000).await;
    let used = key("d/m/0/used");
    case.store.put_new(&used, Bytes::from(vec![1; 500])).await.unwrap();
    for n in 0..60 {
        case.hand.0.fetch_add(7200, Ordering::Relaxed);
        case.store.get(&used).await.unwrap();
        case.store.put_new(&key(&format!("d/m/0/{n}")), Bytes::from(vec![0; 1000])).await.unwrap();
        let bytes: u64 = case.files().iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(bytes <= 10_000, "{bytes} bytes after {n}");
    }
    assert_eq!(case.gets(), 0, "what is used was evicted");
    assert!(case.files().len() > 5);
    let big = key("d/p/00/big");
    case.store.put_new(&big, Bytes::from(vec![0; OBJECT_BYTES_MAX + 1])).await.unwrap();
    assert!(case.files().iter().all(|path| path.metadata().unwrap().len() < 2000), "a large object was kept");
}
