//! A mirror restores every snapshot that it lists, whoever dies when, and whatever GC does in the source meanwhile.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::ErrorKind;
use crate::ops::forget::{Because, forget};
use crate::ops::gc::{Compaction, GcRequest, collect};
use crate::ops::mirror::{MirrorReport, MirrorRequest, mirror};
use crate::store::{Crash, FaultPlan, FaultStore, Key, Listed, Put, StoreResult};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

pub(super) fn keep_all() -> MirrorRequest {
    MirrorRequest { delete: false, delete_share_max: 100, compare_bytes: false, memory_bytes_max: 1 << 20 }
}

pub(super) fn delete() -> MirrorRequest {
    MirrorRequest { delete: true, ..keep_all() }
}

pub(super) async fn mirrored(
    source: &Arc<dyn Store>,
    target: &Arc<dyn Store>,
    request: &MirrorRequest,
) -> MirrorReport {
    mirror(source, target, request, &Task::default()).await.unwrap()
}

pub(super) fn memory() -> Arc<dyn Store> {
    Arc::new(RemoteStore::memory())
}

pub(super) async fn version(w: &World, seed: u64) -> crate::ids::Sid {
    let volume = w.volume();
    // All share this: GC copies it forward when it deletes the pack that it came in.
    fs::write(volume.join("kept"), noise(7777, 30_000)).unwrap();
    fs::write(volume.join("small"), noise(1000 + seed, 20_000)).unwrap();
    fs::write(volume.join("other"), noise(seed, 300_000)).unwrap();
    w.back_up().await.snapshot.id
}

async fn forget_and_collect(repo: &Arc<Repository>, snapshot: crate::ids::Sid) {
    forget(repo, snapshot, &Because::default()).await.unwrap();
    let request = GcRequest { compaction: Compaction::default(), ..gc::AT_ONCE };
    collect(repo, request, &Task::default()).await.unwrap();
}

pub(super) async fn objects(store: &Arc<dyn Store>) -> BTreeMap<Key, u64> {
    let all = store.list("", None).try_collect::<Vec<_>>().await.unwrap();
    all.into_iter().map(|l| (l.key, l.bytes)).collect()
}

/// Opens the mirror, if it is one yet, and reads all that it lists; the snapshots.
pub(super) async fn check(target: &Arc<dyn Store>, what: &str) -> Vec<crate::ids::Sid> {
    let has_keys = objects(target).await.keys().any(|k| k.as_str().starts_with("default/k/"));
    if !has_keys {
        return Vec::new();
    }
    let repo = open(Arc::clone(target)).await;
    let (all, damaged) = snapshots::list(&repo).await.unwrap();
    assert!(damaged.is_empty(), "{what}: {damaged:?}");
    for snapshot in &all {
        let report = verify(&repo, snapshot, &Level::Full, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default(), "{what}");
    }
    all.iter().map(|s| s.id).collect()
}

/// Checking registers readers: what is compared is a copy.
async fn copy_of(store: &Arc<dyn Store>) -> Arc<dyn Store> {
    let copy = memory();
    for key in objects(store).await.into_keys() {
        copy.put_new(&key, store.get(&key).await.unwrap()).await.unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_the_repository_and_the_next_run_copies_what_is_new() {
    let (w, target) = (world().await, memory());
    version(&w, 1).await;
    let first = mirrored(&w.repo.store, &target, &keep_all()).await;
    assert_eq!((first.copied, first.vanished, first.rounds), (first.objects, 0, 1));
    assert_eq!(objects(&target).await, objects(&w.repo.store).await);

    let before = w.counts.figures();
    let idle = mirrored(&w.repo.store, &target, &keep_all()).await;
    assert_eq!((idle.copied, idle.objects), (0, first.objects));
    let asked = w.counts.figures().since(&before);
    assert_eq!(asked.requests_of(Op::Get, 'p') + asked.requests_of(Op::Get, 'm'), 0);

    let second = version(&w, 2).await;
    let next = mirrored(&w.repo.store, &target, &keep_all()).await;
    assert!(next.copied > 0 && next.copied < next.objects, "{next:?}");
    assert_eq!(objects(&target).await, objects(&w.repo.store).await);
    assert_eq!(check(&copy_of(&target).await, "mirror").await.last(), Some(&second));
    let mirror = World { repo: open(Arc::clone(&target)).await, counts: Arc::clone(&w.counts), dir: w.dir };
    mirror.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_goes_only_when_asked() {
    let (w, target) = (world().await, memory());
    let (first, second) = (version(&w, 1).await, version(&w, 2).await);
    mirrored(&w.repo.store, &target, &keep_all()).await;
    forget_and_collect(&w.repo, first).await;
    let kept = mirrored(&w.repo.store, &target, &keep_all()).await;
    assert_eq!(kept.deleted, 0);
    assert_eq!(check(&copy_of(&target).await, "kept").await, [second], "forgotten there, forgotten here");
    assert!(objects(&target).await.len() > objects(&w.repo.store).await.len());

    let few = MirrorRequest { delete_share_max: 1, ..delete() };
    let stopped = mirror(&w.repo.store, &target, &few, &Task::default()).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Refused, "{}", stopped.chain());
    let deleted = mirrored(&w.repo.store, &target, &delete()).await;
    assert!(deleted.deleted > 0 && deleted.bytes_deleted > 300_000, "{deleted:?}");
    assert_eq!(objects(&target).await, objects(&w.repo.store).await);
    assert_eq!(check(&target, "deleted").await, [second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_repository_and_one_that_lives_by_itself_are_refused() {
    let (w, other) = (world().await, world().await);
    version(&w, 1).await;
    let before = objects(&other.repo.store).await;
    let refused = mirror(&w.repo.store, &other.repo.store, &keep_all(), &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(objects(&other.repo.store).await, before);

    let target = memory();
    mirrored(&w.repo.store, &target, &keep_all()).await;
    let snapshot = check(&target, "own").await[0];
    forget_and_collect(&open(Arc::clone(&target)).await, snapshot).await;
    let refused = mirror(&w.repo.store, &target, &delete(), &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
    let nothing = mirror(&memory(), &memory(), &keep_all(), &Task::default()).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_named_and_left() {
    let (w, target) = (world().await, memory());
    version(&w, 1).await;
    mirrored(&w.repo.store, &target, &keep_all()).await;
    let packs: Vec<Key> =
        objects(&target).await.into_keys().filter(|k| k.as_str().starts_with("default/p/")).collect();
    let short = target.get(&packs[0]).await.unwrap();
    target.delete(&packs[0]).await.unwrap();
    target.put_new(&packs[0], short.slice(1..)).await.unwrap();
    let mut flipped = target.get(&packs[1]).await.unwrap().to_vec();
    flipped[100] ^= 1;
    target.delete(&packs[1]).await.unwrap();
    target.put_new(&packs[1], flipped.into()).await.unwrap();
    let sizes = mirrored(&w.repo.store, &target, &keep_all()).await;
    assert_eq!(sizes.different.count(), 1);
    let bytes = MirrorRequest { compare_bytes: true, ..keep_all() };
    let bytes = mirrored(&w.repo.store, &target, &bytes).await;
    assert_eq!((bytes.different.count(), bytes.copied), (2, 0));
}

/// The source and the mirror after some life: what the next run has to bring over is everything that can be.
async fn lived() -> (World, Arc<dyn Store>) {
    let (w, target) = (world().await, memory());
    let (first, second) = (version(&w, 1).await, version(&w, 2).await);
    mirrored(&w.repo.store, &target, &keep_all()).await;
    forget_and_collect(&w.repo, first).await;
    version(&w, 3).await;
    forget(&w.repo, second, &Because::default()).await.unwrap();
    version(&w, 4).await;
    (w, target)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_at_any_request_leaves_a_whole_mirror() {
    for after in [false, true] {
        for n in 0.. {
            let (w, target) = lived().await;
            let faulty = Arc::new(FaultStore::new(Arc::clone(&target), FaultPlan::default()));
            let crash = if after { Crash::After(n) } else { Crash::Before(n) };
            faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
            let faulty: Arc<dyn Store> = faulty;
            let died = mirror(&w.repo.store, &faulty, &delete(), &Task::default()).await;
            check(&copy_of(&target).await, &format!("{crash:?}")).await;
            mirrored(&w.repo.store, &target, &delete()).await;
            assert_eq!(objects(&target).await, objects(&w.repo.store).await, "{crash:?}");
            if died.is_ok() {
                assert!(n > 10, "a mirror takes some requests");
                break;
            }
        }
    }
}

type Hook = Box<dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// Does something else before a request. A listing is a request for each object, so that pages of one are of different times.
#[derive(Clone)]
struct Hooked {
    inner: Arc<dyn Store>,
    requests: Arc<AtomicU64>,
    at: u64,
    hook: Arc<Hook>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hooked")
    }
}

impl Hooked {
    async fn request(&self) {
        if self.requests.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.hook)().await;
        }
    }
}

#[async_trait::async_trait]
impl Store for Hooked {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.request().await;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.request().await;
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.inner.get_tail(key, bytes_max).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let state = (self.clone(), prefix.to_owned(), after.cloned());
        let pages = stream::try_unfold(state, |(this, prefix, after)| async move {
            this.request().await;
            let next = this.inner.list(&prefix, after.as_ref()).try_next().await?;
            Ok(next.map(|listed| (listed.clone(), (this, prefix, Some(listed.key)))))
        });
        pages.boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.inner.delete(key).await
    }
}

/// At request `n` of the mirror to the source, keys are rotated there, a backup is made, another one forgotten, and a whole GC
/// run happens.
async fn with_gc_at(n: u64) -> bool {
    let (w, target) = lived().await;
    let w = Arc::new(w);
    let latest = snapshots::get(&w.repo, "latest", None).await.unwrap().id;
    let hook: Hook = {
        let w = Arc::clone(&w);
        Box::new(move || {
            let w = Arc::clone(&w);
            Box::pin(async move {
                keys::rotate(&w.repo, "me").await.unwrap();
                version(&w, 5).await;
                forget_and_collect(&w.repo, latest).await;
            })
        })
    };
    let requests = Arc::new(AtomicU64::new(0));
    let inner = Arc::clone(&w.repo.store);
    let hooked: Arc<dyn Store> =
        Arc::new(Hooked { inner, requests: Arc::clone(&requests), at: n, hook: Arc::new(hook) });
    let during = mirrored(&hooked, &target, &delete()).await;
    let reached = requests.load(Ordering::SeqCst) > n;
    let listed = check(&copy_of(&target).await, &format!("GC at request {n}: {during:?}")).await;
    assert!(!listed.is_empty());
    mirrored(&w.repo.store, &target, &delete()).await;
    assert_eq!(objects(&target).await, objects(&w.repo.store).await, "GC at request {n}");
    reached
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gc_run_and_new_keys_in_the_source_at_any_request_leaves_a_whole_mirror() {
    let mut reached = 0;
    while with_gc_at(reached).await {
        reached += 1;
    }
    assert!(reached > 30, "{reached}");
}

/// Keys are rotated in the source at request `n` of the mirror to it. False if it takes fewer.
async fn with_rotation_at(n: u64, request: &MirrorRequest) -> bool {
    let (w, target) = lived().await;
    let hook: Hook = {
        let repo = Arc::clone(&w.repo);
        Box::new(move || {
            let repo = Arc::clone(&repo);
            Box::pin(async move {
                keys::rotate(&repo, "me").await.unwrap();
            })
        })
    };
    let requests = Arc::new(AtomicU64::new(0));
    let inner = Arc::clone(&w.repo.store);
    let hooked: Arc<dyn Store> =
        Arc::new(Hooked { inner, requests: Arc::clone(&requests), at: n, hook: Arc::new(hook) });
    let during = mirrored(&hooked, &target, request).await;
    if requests.load(Ordering::SeqCst) <= n {
        return false;
    }
    let what = format!("rotation at request {n}: {during:?}");
    let mirror = open(copy_of(&target).await).await;
    assert_eq!((mirror.keys.version(), mirror.keys.newest_epoch()), (2, 2), "{what}");
    let rings: Vec<Key> =
        objects(&target).await.into_keys().filter(|k| k.as_str().starts_with("default/k/")).collect();
    if request.delete {
        assert_eq!(rings.len(), 2, "the old ring is gone, {what}: {rings:?}");
    } else {
        assert!(rings.len() >= 2, "{what}: {rings:?}");
    }
    assert!(!check(&copy_of(&target).await, &what).await.is_empty());
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_at_any_request_leaves_a_mirror_that_opens_with_the_new_ring() {
    for request in [delete(), keep_all()] {
        let mut reached = 0;
        while with_rotation_at(reached, &request).await {
            reached += 1;
        }
        assert!(reached > 30, "{reached}");
    }
}

/// A ring of which the mirror has one copy only takes nothing away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_ring_stays_until_both_copies_of_the_new_one_are_whole() {
    let (w, target) = (world().await, memory());
    version(&w, 1).await;
    mirrored(&w.repo.store, &target, &keep_all()).await;
    keys::rotate(&w.repo, "me").await.unwrap();
    let second = w.repo.layout.ring(2, 'b');
    let bytes = w.repo.store.get(&second).await.unwrap();
    w.repo.store.delete(&second).await.unwrap();
    let first = w.repo.layout.ring(1, 'a');
    // As if the source's own tidying had come to nothing: a mirror deletes by what it holds.
    mirrored(&w.repo.store, &target, &MirrorRequest { delete: false, ..delete() }).await;
    assert!(target.find_size(&first).await.unwrap().is_some());
    w.repo.store.put_new(&second, bytes).await.unwrap();
    mirrored(&w.repo.store, &target, &delete()).await;
    assert!(target.find_size(&first).await.unwrap().is_none());
    assert_eq!(objects(&target).await, objects(&w.repo.store).await);
}
