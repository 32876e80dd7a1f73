//! Domains of one repository share the bucket and nothing else.

use futures::TryStreamExt as _;

use super::*;
use crate::ErrorKind;
use crate::ops::domains;
use crate::store::Key;

fn other() -> DomainName {
    "other".parse().unwrap()
}

fn key(byte: u8) -> Credential {
    Credential::KeyFile(zeroize::Zeroizing::new([byte; 32]))
}

async fn open_domain(store: &Arc<dyn Store>, domain: DomainName, byte: u8) -> crate::Result<Arc<Repository>> {
    let options =
        OpenOptions { domain, credential: key(byte), cache_dir: None, remote: false, cpu_threads: 2 };
    Repository::open(Arc::clone(store), options, env()).await
}

async fn two_domains() -> (World, Arc<Repository>) {
    let w = world().await;
    let options = init::InitOptions { domain: other(), credentials: vec![key(5)] };
    domains::add(&w.repo.store, options, &env()).await.unwrap();
    let second = open_domain(&w.repo.store, other(), 5).await.unwrap();
    (w, second)
}

async fn objects(store: &Arc<dyn Store>, prefix: &str) -> Vec<Key> {
    store.list(prefix, None).map_ok(|o| o.key).try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_are_added_and_listed() {
    let (w, _) = two_domains().await;
    w.back_up().await;
    assert_eq!(domains::list(&*w.repo.store).await.unwrap(), [DomainName::default_domain(), other()]);
    let again = init::InitOptions { domain: other(), credentials: vec![key(6)] };
    let e = domains::add(&w.repo.store, again, &env()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused);
    let none = init::InitOptions { domain: "third".parse().unwrap(), credentials: Vec::new() };
    assert_eq!(domains::add(&w.repo.store, none, &env()).await.unwrap_err().kind(), ErrorKind::Input);
    let empty: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let lone = init::InitOptions { domain: other(), credentials: vec![key(6)] };
    assert_eq!(domains::add(&empty, lone, &env()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_one_open_nothing_of_the_other() {
    let (w, second) = two_domains().await;
    for (domain, byte) in [(DomainName::default_domain(), 5), (other(), 7)] {
        assert_eq!(open_domain(&w.repo.store, domain, byte).await.unwrap_err().kind(), ErrorKind::Key);
    }
    fs::write(w.volume().join("file"), noise(1, 100_000)).unwrap();
    w.back_up().await;
    assert!(snapshots::list(&second).await.unwrap().0.is_empty());
    // Whatever is moved into the other's folder opens there no more than where it was.
    let mut moved = 0;
    for from in objects(&w.repo.store, "default/").await {
        let to = Key::new(from.as_str().replacen("default/", "other/", 1)).unwrap();
        let bytes = w.repo.store.get(&from).await.unwrap();
        if from.as_str().starts_with("default/k/") {
            continue;
        }
        w.repo.store.put_new(&to, bytes).await.unwrap();
        moved += 1;
    }
    assert!(moved >= 4);
    let (listed, damaged) = snapshots::list(&second).await.unwrap();
    assert!(listed.is_empty() && damaged.len() == 1, "{damaged:?}");
    for pack in objects(&w.repo.store, "other/p/").await {
        let id = second.layout.parse_pack(&pack).unwrap();
        assert_eq!(second.reader().footer(id).await.unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_is_moved_opens_no_other_domain() {
    let w = world().await;
    for copy in ['a', 'b'] {
        let bytes = w.repo.store.get(&w.repo.layout.ring(1, copy)).await.unwrap();
        let to = crate::layout::Layout::new(other()).ring(1, copy);
        w.repo.store.put_new(&to, bytes).await.unwrap();
    }
    let e = open_domain(&w.repo.store, other(), 7).await.unwrap_err();
    assert!(e.chain().contains("another repository or domain"), "{}", e.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_shows_nothing_in_common() {
    let (w, second) = two_domains().await;
    for i in 0..20u64 {
        fs::write(w.volume().join(format!("f{i}")), noise(i, 3000 * (i as usize + 1))).unwrap();
    }
    fs::write(w.volume().join("large"), noise(99, 24 << 20)).unwrap();
    let first = w.back_up().await;
    let same = backup(&second, request(&w.volume()), None, &Task::default()).await.unwrap();
    // Nothing is found of the other's, neither by ids nor by cuts.
    assert_eq!(first.figures.bytes_new, same.figures.bytes_new, "all of it is new");
    assert_ne!(w.repo.keys.blob_id(b"x"), second.keys.blob_id(b"x"));
    let mut ids = [Vec::new(), Vec::new()];
    let mut sizes = [Vec::new(), Vec::new()];
    for (n, repo) in [&w.repo, &second].into_iter().enumerate() {
        for pack in objects(&repo.store, &repo.layout.folder(crate::layout::ObjectKind::Pack)).await {
            let footer = repo.reader().footer(repo.layout.parse_pack(&pack).unwrap()).await.unwrap();
            ids[n].extend(footer.blobs.iter().map(|b| b.id));
            sizes[n].extend(footer.blobs.iter().map(|b| b.bytes).filter(|b| *b > 300_000));
        }
        sizes[n].sort_unstable();
    }
    assert!(ids[0].iter().all(|id| !ids[1].contains(id)));
    assert!(!sizes[0].is_empty());
    assert_ne!(sizes[0], sizes[1], "large files are cut at other places");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_died_is_finished_by_the_next() {
    use crate::store::{Crash, FaultPlan, FaultStore};
    for n in 0.. {
        let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
        let plan = FaultPlan { crash: Some(Crash::After(n)), ..FaultPlan::default() };
        let dying: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&memory), plan));
        let options =
            || init::InitOptions { domain: DomainName::default_domain(), credentials: vec![key(7)] };
        let died = init::init(dying, options(), &env()).await;
        // Either it is finished by the next, or it was finished before.
        let next = init::init(Arc::clone(&memory), options(), &env()).await;
        assert!(next.is_ok() || next.unwrap_err().kind() == ErrorKind::Refused);
        open_domain(&memory, DomainName::default_domain(), 7).await.unwrap();
        if died.is_ok() {
            assert!(n > 4);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_repository_is_not_begun_anew() {
    let w = world().await;
    fs::write(w.volume().join("f"), noise(1, 5000)).unwrap();
    w.back_up().await;
    let store = Arc::clone(&w.repo.store);
    let options = || init::InitOptions { domain: DomainName::default_domain(), credentials: vec![key(8)] };
    store.delete(&crate::layout::Layout::repo_json()).await.unwrap();
    for copy in ['a', 'b'] {
        store.delete(&w.repo.layout.ring(1, copy)).await.unwrap();
    }
    let refused = init::init(Arc::clone(&store), options(), &env()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("of domain default: if a repository has lost it"), "{refused}");
    // Neither is what somebody else has in the bucket in the way, nor objects that are no domain's.
    let shared: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    for foreign in ["notes.txt", "photos/2026/a.jpg"] {
        shared.put_new(&Key::new(foreign).unwrap(), bytes::Bytes::new()).await.unwrap();
    }
    init::init(shared, options(), &env()).await.unwrap();
}
