//! Locks last as long as a snapshot needs what they hold, at a bounded number of requests; GC does not knock in vain.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::ErrorKind;
use crate::ids::Sid;
use crate::layout::Layout;
use crate::ops::forget::{Because, forget};
use crate::ops::gc::{GcReport, collect};
use crate::ops::lock::{LockReport, LockRequest, extend};
use crate::store::{Key, LockingStore};
use futures::TryStreamExt as _;

const DAY: i64 = 24 * 3600;

/// A clock that a test moves.
#[derive(Debug)]
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        crate::env::SystemClock.now().plus_seconds(3600 + self.0.load(Ordering::Relaxed))
    }
}

struct Locked {
    store: LockingStore,
    clock: Arc<Moved>,
    world: World,
    cache: tempfile::TempDir,
}

impl Locked {
    async fn new(default_days: Option<u64>) -> Self {
        let clock = Arc::new(Moved(AtomicI64::new(0)));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, random: Arc::new(SystemRandom) };
        let seconds = default_days.map(|days| days * DAY.unsigned_abs());
        let store = LockingStore::new(Arc::new(RemoteStore::memory()), env.clone(), seconds);
        let world = world_on(Arc::new(store.clone())).await;
        let cache = tempfile::tempdir().unwrap();
        let mut this = Self { store, clock, world, cache };
        this.reopen(&env).await;
        this
    }

    /// As another process would: what it knows is in the cache folder.
    async fn reopen(&mut self, env: &Env) {
        let options = OpenOptions {
            domain: DomainName::default_domain(),
            credential: credential(),
            cache_dir: Some(self.cache.path().to_owned()),
            remote: false,
            cpu_threads: 2,
        };
        let store = Arc::clone(&self.world.repo.store);
        self.world.repo = Repository::open(store, options, env.clone()).await.unwrap();
    }

    fn days_pass(&self, days: i64) {
        self.clock.0.fetch_add(days * DAY, Ordering::Relaxed);
    }

    async fn version(&self, seed: u64) -> Sid {
        let volume = self.world.volume();
        fs::write(volume.join("other"), noise(seed, 300_000)).unwrap();
        fs::write(volume.join("small"), noise(1000 + seed, 20_000)).unwrap();
        self.world.back_up().await.snapshot.id
    }

    /// Extends to 30 days; the report, and the requests that it took.
    async fn extend(&self) -> (LockReport, u64) {
        let before = self.store.lock_requests();
        let request = LockRequest { seconds: 30 * DAY.unsigned_abs(), dry_run: false };
        let report = extend(&self.world.repo, request, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
        (report, self.store.lock_requests() - before)
    }

    async fn gc(&self) -> GcReport {
        collect(&self.world.repo, gc::AT_ONCE, &Task::default()).await.unwrap()
    }

    async fn keys(&self, folder: &str) -> Vec<Key> {
        let listed = self.world.repo.store.list(folder, None).try_collect::<Vec<_>>().await.unwrap();
        listed.into_iter().map(|l| l.key).collect()
    }

    fn days_left(&self, key: &Key) -> Option<i64> {
        let left = self.store.locked_until(key)?.seconds() - self.clock.now().seconds();
        Some((left + DAY / 2) / DAY)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lock_is_extended_once_in_half_its_time() {
    let l = Locked::new(None).await;
    let first = l.version(1).await;
    let (report, requests) = l.extend().await;
    assert_eq!((report.extended, report.due), (report.objects, report.objects), "{report:?}");
    assert_eq!(requests, report.objects + 1, "one for each, and one to the bucket");
    for folder in ["default/p/", "default/m/", "default/k/"] {
        for key in l.keys(folder).await {
            assert_eq!(l.days_left(&key), Some(30), "{key}");
        }
    }
    assert_eq!(l.days_left(&Layout::repo_json()), Some(30));
    for key in l.keys("default/s/").await {
        assert_eq!(l.days_left(&key), None, "{key}");
    }
    l.days_pass(14);
    assert_eq!(l.extend().await.1, 1, "more than half is left");

    // The first is forgotten: what only it needs is not extended any more.
    let before = l.keys("default/p/").await;
    l.version(2).await;
    forget(&l.world.repo, first, &Because::default()).await.unwrap();
    l.days_pass(2);
    let (report, _) = l.extend().await;
    assert_eq!(report.extended, report.objects);
    for key in l.keys("default/p/").await {
        let days = if before.contains(&key) { 14 } else { 30 };
        assert_eq!(l.days_left(&key), Some(days), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_locks_by_itself_is_not_asked_for() {
    let l = Locked::new(Some(30)).await;
    l.version(1).await;
    let (report, requests) = l.extend().await;
    assert_eq!((report.due, requests), (1, 2), "only what is not listed with its age: {report:?}");
    l.days_pass(16);
    let (report, _) = l.extend().await;
    assert_eq!(report.extended, report.objects, "{report:?}");
    let told = LockRequest { seconds: 90 * DAY.unsigned_abs(), dry_run: true };
    let told = extend(&l.world.repo, told, &Task::default()).await.unwrap();
    assert_eq!((told.due, told.extended), (told.objects, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_does_not_try_what_is_locked_again() {
    let l = Locked::new(Some(30)).await;
    let first = l.version(1).await;
    l.version(2).await;
    forget(&l.world.repo, first, &Because::default()).await.unwrap();
    let packs = l.keys("default/p/").await.len();
    let run = l.gc().await;
    assert!(run.done && run.deleted == 0 && run.leftovers == 2, "{run:?}");
    let refused = l.store.deletes_refused();
    let again = l.gc().await;
    assert_eq!((again.done, again.leftovers), (true, 2), "{again:?}");
    let refused_packs = l.store.deletes_refused() - refused;
    assert!(refused_packs <= 2, "packs are not tried again, only the outcome is: {refused_packs}");
    l.days_pass(31);
    let last = l.gc().await;
    assert_eq!((last.deleted, last.leftovers), (2, 0), "{last:?}");
    assert_eq!(l.keys("default/p/").await.len(), packs - 2);
    l.world.check_round_trip().await;
}

/// Copying what is locked would cost its bytes, and free none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_locked_is_not_copied_forward_before_its_lock_ends() {
    let l = Locked::new(Some(30)).await;
    let volume = l.world.volume();
    compaction::fill(&volume, 0..20);
    let first = l.world.back_up().await.snapshot.id;
    (5..20).for_each(|i| fs::remove_file(volume.join(format!("f{i}"))).unwrap());
    l.world.back_up().await;
    forget(&l.world.repo, first, &Because::default()).await.unwrap();
    let run = || async {
        let before = (l.store.lock_requests(), l.world.counts.figures());
        let run = gc::gc(&l.world, &compaction::compacting()).await;
        let figures = l.world.counts.figures().since(&before.1);
        (run, l.store.lock_requests() - before.0, figures.requests_of(Op::Put, 'p'))
    };
    let dry = crate::ops::gc::GcRequest { dry_run: true, ..compaction::compacting() };
    let told = gc::gc(&l.world, &dry).await;
    assert_eq!((told.compacted, told.compaction_locked), (0, 1), "{told:?}");
    let (first, asked, copies) = run().await;
    assert!(first.done && first.compacted == 0 && first.deleted == 0, "{first:?}");
    assert_eq!((first.compaction_locked, copies), (1, 0), "{first:?}");
    assert!(first.compaction_locked_bytes > 600_000, "{first:?}");
    // What the bucket does, twice; and what was refused. The pack's date is known since the dry run.
    assert!(asked <= 2 + first.leftovers, "{asked}: {first:?}");
    let (again, asked, copies) = run().await;
    assert_eq!((again.compaction_locked, again.compacted, copies), (1, 0, 0), "{again:?}");
    assert!(asked <= 2, "dates are kept: {asked}");

    l.days_pass(31);
    let (last, asked, _) = run().await;
    assert!(last.compacted == 1 && last.compaction_locked == 0 && last.deleted >= 1, "{last:?}");
    assert!(asked <= 4, "the one that is copied is asked for: {asked}");
    gc::check_all(&l.world, 1).await;
    l.world.check_round_trip().await;
}

/// Questions are requests: where the budget has none left, nothing is asked and nothing copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_locks_stays_within_the_budget() {
    let l = Locked::new(Some(30)).await;
    for seed in 0..9u64 {
        compaction::fill(&l.world.volume(), seed..seed + 1);
        l.world.back_up().await;
    }
    for requests_max in [0, 20, 30, 40, 60, 100] {
        let compaction = crate::ops::gc::Compaction { requests_max, ..Default::default() };
        let before = l.store.lock_requests();
        let request = crate::ops::gc::GcRequest { compaction, dry_run: true, ..compaction::compacting() };
        // Without a cache folder, nothing is known.
        let repo = open_with(Arc::clone(&l.world.repo.store), l.world.repo.env.clone()).await;
        let run = collect(&repo, request, &Task::default()).await.unwrap();
        let asked = l.store.lock_requests() - before;
        assert!(asked <= requests_max + 1, "{asked} of {requests_max}: {run:?}");
        assert_eq!(run.compacted, 0, "all are locked: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_locks_says_so() {
    let w = world().await;
    let request = LockRequest { seconds: 1, dry_run: false };
    let refused = extend(&w.repo, request, &Task::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
}
