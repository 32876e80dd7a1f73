//! A source that lost something takes nothing from its mirror that the mirror alone still has.

use std::sync::atomic::{AtomicU32, Ordering};

use super::mirror::{check, delete, keep_all, memory, mirrored, objects, version};
use super::*;
use crate::ErrorKind;
use crate::limits::MIRROR_ROUNDS_MAX;
use crate::ops::mirror::{MirrorRequest, mirror};
use crate::store::{Key, Listed, Put, StoreResult};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

/// Deletes a folder of the source; what `mirror --delete` says then. The mirror has lost nothing.
async fn lost(folder: &str, request: &MirrorRequest) -> String {
    let (w, target) = (world().await, memory());
    let all = [version(&w, 1).await, version(&w, 2).await, version(&w, 3).await];
    mirrored(&w.repo.store, &target, &keep_all()).await;
    let before = objects(&target).await;
    for key in before.keys().filter(|k| k.as_str().starts_with(folder)) {
        w.repo.store.delete(key).await.unwrap();
    }
    let refused = mirror(&w.repo.store, &target, request, &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
    assert_eq!(objects(&target).await, before, "{folder}");
    assert_eq!(check(&target, folder).await, all);
    let mirror = World { repo: open(target).await, counts: Arc::clone(&w.counts), dir: w.dir };
    mirror.check_round_trip().await;
    refused.chain()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_rings_takes_no_ring_from_its_mirror() {
    let told = lost("default/k/", &delete()).await;
    assert!(told.contains("key rings of domain default") && told.contains("nothing was deleted"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_outcomes_takes_no_snapshot_from_its_mirror() {
    let told = lost("default/m/", &MirrorRequest { delete_share_max: 50, ..delete() }).await;
    assert!(told.contains("outcomes of domain default") && told.contains("more than 50 %"), "{told}");
}

/// Lists, once the mirror has seen that keys stayed as they were, each time a ring that is not there.
#[derive(Debug)]
struct Ghosts {
    inner: Arc<dyn Store>,
    ghost: Key,
    listed: AtomicU32,
}

#[async_trait::async_trait]
impl Store for Ghosts {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, range: std::ops::Range<u64>) -> StoreResult<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.inner.get_tail(key, bytes_max).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let listed = self.inner.list(prefix, after);
        if prefix != "default/k/" || self.listed.fetch_add(1, Ordering::SeqCst) == 0 {
            return listed;
        }
        let ghost = Listed { key: self.ghost.clone(), bytes: 100, recorded: Timestamp(1) };
        listed.chain(stream::once(async move { Ok(ghost) })).boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.inner.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_that_vanish_each_time_are_told() {
    let (w, target) = (world().await, memory());
    let snapshot = version(&w, 1).await;
    let (inner, ghost) = (Arc::clone(&w.repo.store), w.repo.layout.ring(9, 'a'));
    let ghosts = Arc::new(Ghosts { inner, ghost, listed: AtomicU32::new(0) });
    let source: Arc<dyn Store> = Arc::clone(&ghosts) as _;
    let refused = mirror(&source, &target, &delete(), &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
    assert!(refused.chain().contains("key rings vanished"), "{}", refused.chain());
    assert_eq!(ghosts.listed.load(Ordering::SeqCst), 1 + MIRROR_ROUNDS_MAX);
    assert_eq!(check(&target, "all else is there").await, [snapshot]);
}
