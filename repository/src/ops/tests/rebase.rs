//! A long backup and collectors: neither waits for the other for long, and no work is lost (WR).

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::gc::{AT_ONCE, PATIENT, check_all};
use super::*;
use crate::ids::{Generation, Sid};
use crate::ops::copy::{Fate, copy};
use crate::ops::forget::{Because, forget};
use crate::ops::gc::{Compaction, GcReport, GcRequest, collect};
use crate::session::register::newest_generation;
use crate::session::{Found, Session, Who, history};
use crate::store::{Crash, FaultPlan, FaultStore, Key, Listed, Put, StoreResult};

type Hook = Box<dyn FnMut(&str) -> Option<BoxFuture<'static, ()>> + Send>;

/// A store where others act in the middle of a put.
struct Watched {
    inner: Arc<dyn Store>,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

#[async_trait]
impl Store for Watched {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        let act = self.hook.lock().unwrap().as_mut().and_then(|hook| hook(key.as_str()));
        if let Some(act) = act {
            act.await;
        }
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn get_tail(&self, key: &Key, bytes: u64) -> StoreResult<(Bytes, u64)> {
        self.inner.get_tail(key, bytes).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.inner.find_size(key).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        self.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.inner.delete(key).await
    }
}

/// So fast that a delta is due with each pack.
#[derive(Debug, Default)]
pub(super) struct Leaping(AtomicI64);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        let leaps = self.0.fetch_add(1, Ordering::Relaxed);
        crate::env::SystemClock.now().plus_seconds(3600 + leaps * 200)
    }
}

struct Scene {
    /// The one who writes.
    w: World,
    watched: Arc<Watched>,
    faulty: Arc<FaultStore>,
    /// The one who collects.
    other: Arc<World>,
}

async fn scene() -> Scene {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let other = Arc::new(world_on(Arc::clone(&memory)).await);
    let watched = Arc::new(Watched { inner: memory, hook: Mutex::default() });
    let faulty = Arc::new(FaultStore::new(Arc::clone(&watched) as Arc<dyn Store>, FaultPlan::default()));
    let counts = Arc::new(Counts::default());
    let store = CountedStore::new(Arc::clone(&faulty) as Arc<dyn Store>, Arc::clone(&counts));
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential: credential(),
        cache_dir: None,
        remote: false,
        cpu_threads: 2,
    };
    let env = Env { clock: Arc::new(Leaping::default()), random: Arc::new(SystemRandom) };
    let repo = Repository::open(Arc::new(store), options, env).await.unwrap();
    let dir = tempfile::Builder::new().tempdir_in(disk()).unwrap();
    Scene { w: World { repo, counts, dir }, watched, faulty, other }
}

impl Scene {
    /// Acts at each pack of the writer, the first one being 0.
    fn at_pack(&self, mut act: impl FnMut(u64) -> Option<BoxFuture<'static, ()>> + Send + 'static) {
        let mut n = 0;
        *self.watched.hook.lock().unwrap() = Some(Box::new(move |key| {
            if !key.contains("/p/") {
                return None;
            }
            n += 1;
            act(n - 1)
        }));
    }

    /// Forgets a snapshot at the writer's first pack, and collects at each of the first `packs_max`: the runs.
    fn collect_at_packs(&self, forgotten: Sid, packs_max: u64) -> Arc<Mutex<Vec<GcReport>>> {
        let (other, runs) = (Arc::clone(&self.other), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&runs);
        self.at_pack(move |n| {
            let (other, seen) = (Arc::clone(&other), Arc::clone(&seen));
            (n < packs_max).then_some(())?;
            Some(Box::pin(async move {
                if n == 0 {
                    forget_one(&other, forgotten).await;
                }
                let run = collect(&other.repo, PATIENT, &Task::default()).await.unwrap();
                seen.lock().unwrap().push(run);
            }))
        });
        runs
    }

    async fn generation(&self) -> Generation {
        newest_generation(&self.other.repo.objects(), None).await.unwrap()
    }
}

/// A snapshot of another volume with this content.
async fn elsewhere(w: &World, seed: u64, bytes: usize) -> Sid {
    let volume = w.dir.path().join(format!("elsewhere{seed}"));
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("f"), noise(seed, bytes)).unwrap();
    let mut request = request(&volume);
    request.volume = format!("elsewhere{seed}");
    backup(&w.repo, request, None, &Task::default()).await.unwrap().snapshot.id
}

async fn forget_one(w: &World, snapshot: Sid) {
    forget(&w.repo, snapshot, &Because::default()).await.unwrap();
}

const SHARED: u64 = 1000;

/// So much that several packs are put while the walk goes on.
fn fill(volume: &Path, shares: bool) -> u64 {
    if shares {
        fs::write(volume.join("a-shared"), noise(SHARED, 200_000)).unwrap();
    }
    for i in 0..24 {
        fs::write(volume.join(format!("f{i:02}")), noise(i, 4 << 20)).unwrap();
    }
    // Its content was cut and stored long before the end.
    fs::write(volume.join("b-large"), [noise(50, 9 << 20), noise(SHARED, 200_000)].concat()).unwrap();
    25 + u64::from(shares)
}

/// A collector that begins in the middle is not held up, and costs the backup only what it condemned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_in_the_middle_of_a_backup_finishes() {
    for shares in [false, true] {
        let s = scene().await;
        let old = elsewhere(&s.other, SHARED, 200_000).await;
        let files = fill(&s.w.volume(), shares);
        let runs = s.collect_at_packs(old, u64::MAX);
        let report = s.w.back_up().await;
        let runs = runs.lock().unwrap().clone();
        assert!(!runs[0].done && runs[0].condemned > 0 && runs[0].waiting_for.len() == 1, "{runs:?}");
        assert!(
            runs.iter().any(|r| r.done && r.deleted > 0),
            "it does not wait for the backup's end: {runs:?}"
        );
        assert!(runs.iter().all(|r| r.fenced.is_empty()), "nobody was fenced: {runs:?}");
        let opened = report.figures.files_opened;
        assert_eq!(opened, files + u64::from(shares), "only what was condemned is opened again");
        let bytes: u64 = (24 * (4 << 20)) + (9 << 20) + 200_000;
        assert!(report.figures.bytes_new < bytes + 1_000_000, "and stored: {:?}", report.figures);
        s.w.check_round_trip().await;
        for _ in 0..2 {
            collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
        }
        check_all(&s.other, 1).await;
        let again = s.w.back_up().await;
        assert_eq!((again.figures.bytes_new, again.figures.files_opened), (0, 0));
    }
}

/// A large file of which one blob was condemned is read again, and only that blob stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_large_file_only_the_condemned_part_is_stored_again() {
    let s = scene().await;
    let part = noise(SHARED, 4 << 20);
    let elsewhere_volume = s.other.volume();
    fs::write(elsewhere_volume.join("f"), &part).unwrap();
    let old = s.other.back_up().await.snapshot.id;
    let volume = s.w.volume();
    // The first cut of both files is the same.
    fs::write(volume.join("large"), [part, noise(2, 80 << 20)].concat()).unwrap();
    let other = Arc::clone(&s.other);
    s.at_pack(move |n| {
        let other = Arc::clone(&other);
        Some(Box::pin(async move {
            if n == 0 {
                forget_one(&other, old).await;
            }
            collect(&other.repo, PATIENT, &Task::default()).await.unwrap();
        }))
    });
    let mut request = request(&volume);
    request.volume = "large".to_owned();
    let report = backup(&s.w.repo, request, None, &Task::default()).await.unwrap();
    assert!(s.generation().await > Generation(0));
    assert_eq!(report.figures.files_opened, 2, "its first cuts were found elsewhere, and then condemned");
    assert!(report.figures.bytes_new <= (84 << 20) + 500_000, "{:?}", report.figures);
    collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
    check_all(&s.other, 1).await;
}

/// Each generation condemns something that the backup refers to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_follows_generation_after_generation() {
    let s = scene().await;
    let mut old = Vec::new();
    for i in 0..3 {
        old.push(elsewhere(&s.other, SHARED + i, 200_000).await);
        fs::write(s.w.volume().join(format!("a{i}")), noise(SHARED + i, 200_000)).unwrap();
    }
    let files = fill(&s.w.volume(), false) + 3;
    let other = Arc::clone(&s.other);
    s.at_pack(move |n| {
        let (other, old) = (Arc::clone(&other), old.get(usize::try_from(n).unwrap()).copied());
        Some(Box::pin(async move {
            if let Some(old) = old {
                forget_one(&other, old).await;
            }
            // One that was opened before is finished, and then another one opened.
            for _ in 0..2 {
                collect(&other.repo, PATIENT, &Task::default()).await.unwrap();
            }
        }))
    });
    let report = s.w.back_up().await;
    assert!(s.generation().await >= Generation(2), "{:?}", s.generation().await);
    assert!(report.figures.files_opened <= files + 3, "{:?}", report.figures);
    s.w.check_round_trip().await;
    collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
    check_all(&s.other, 1).await;
}

/// What a run compacts is not read again by those who work meanwhile: neither by who begins after it has opened its
/// generation, nor by who follows it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compacted_under_a_backup_is_not_read_again() {
    for follows in [false, true] {
        let s = scene().await;
        let volume = s.w.volume();
        for i in 0..24 {
            fs::write(volume.join(format!("f{i:02}")), noise(i, 30_000)).unwrap();
        }
        let first = s.w.back_up().await.snapshot.id;
        for i in 6..24 {
            fs::remove_file(volume.join(format!("f{i:02}"))).unwrap();
        }
        s.w.back_up().await;
        forget_one(&s.other, first).await;
        let blocker = Session::open(s.other.repo.objects(), &Who::writer("elsewhere", "x")).await.unwrap();
        let request = GcRequest { compaction: Compaction::default(), ..PATIENT };
        let run = {
            let (other, request) = (Arc::clone(&s.other), request.clone());
            move || async move { collect(&other.repo, request, &Task::default()).await.unwrap() }
        };
        fs::write(volume.join("new"), noise(100, 50_000)).unwrap();
        if follows {
            let mut run = Some(run);
            s.at_pack(move |_| {
                Some(Box::pin(run.take()?().map(|run| assert!(run.compacted > 0, "{run:?}"))))
            });
        } else {
            let run = run().await;
            assert!(!run.done && run.compacted > 0, "{run:?}");
        }
        let report = s.w.back_up().await;
        assert_eq!((report.figures.files_opened, report.figures.bytes_new), (1, 50_000), "{follows}");
        blocker.abort("done").await.unwrap();
        assert!(collect(&s.other.repo, request, &Task::default()).await.unwrap().done);
        check_all(&s.other, 2).await;
        s.w.check_round_trip().await;
    }
}

/// A session that was taken for dead comes back with all that it had read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_backup_goes_on_with_its_work() {
    for runs in [1, 2] {
        let s = scene().await;
        let volume = s.w.volume();
        for i in 0..30 {
            fs::write(volume.join(format!("f{i}")), noise(i, 20_000)).unwrap();
        }
        let old = elsewhere(&s.other, SHARED, 1000).await;
        let other = Arc::clone(&s.other);
        // At the outcome: all packs are there.
        let mut once = true;
        *s.watched.hook.lock().unwrap() = Some(Box::new(move |key| {
            if !key.contains("/m/") || !std::mem::take(&mut once) {
                return None;
            }
            let other = Arc::clone(&other);
            Some(Box::pin(async move {
                forget_one(&other, old).await;
                for _ in 0..runs {
                    collect(&other.repo, AT_ONCE, &Task::default()).await.unwrap();
                }
            }))
        }));
        let report = s.w.back_up().await;
        assert_eq!(s.generation().await, Generation(runs));
        // The second run found the packs of a session that had ended, and nobody carried it on yet.
        let read = 30 * runs;
        assert_eq!(
            (report.figures.files_opened, report.figures.bytes_new),
            (read, read * 20_000),
            "{runs} runs"
        );
        s.w.check_round_trip().await;
        check_all(&s.other, 1).await;
    }
}

/// A writer that dies at any request after a generation was opened under it: nothing is lost, nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_may_die_anywhere_in_a_rebase() {
    let mut deaths = 0;
    for n in 0.. {
        let s = scene().await;
        let old = elsewhere(&s.other, SHARED, 200_000).await;
        let volume = s.w.volume();
        fs::write(volume.join("shared"), noise(SHARED, 200_000)).unwrap();
        fs::write(volume.join("own"), noise(1, 100_000)).unwrap();
        let crash = if n % 2 == 0 { Crash::Before(n / 2) } else { Crash::After(n / 2) };
        let (other, faulty) = (Arc::clone(&s.other), Arc::clone(&s.faulty));
        let mut once = true;
        s.at_pack(move |_| {
            if !std::mem::take(&mut once) {
                return None;
            }
            let (other, faulty) = (Arc::clone(&other), Arc::clone(&faulty));
            Some(Box::pin(async move {
                forget_one(&other, old).await;
                assert!(!collect(&other.repo, PATIENT, &Task::default()).await.unwrap().done);
                faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
            }))
        });
        let done = backup(&s.w.repo, request(&volume), None, &Task::default()).await;
        s.faulty.replace(FaultPlan::default());
        let committed = snapshots::list(&s.other.repo).await.unwrap().0.len();
        assert!(committed >= usize::from(done.is_ok()), "{crash:?}: what was reported is there");
        let run = collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
        assert!(run.done, "{crash:?}: {run:?}");
        check_all(&s.other, committed).await;
        s.w.back_up().await;
        s.w.check_round_trip().await;
        collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
        check_all(&s.other, committed + 1).await;
        deaths += u32::from(done.is_err());
        if done.is_ok() && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 20, "a rebase takes some requests: {deaths}");
}

/// The target's collector opens generations while a copy stores there: neither waits for the other's end, and the copy refers to
/// nothing that was condemned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_in_the_middle_of_a_copy_finishes() {
    let s = scene().await;
    let source = world().await;
    let old = elsewhere(&s.other, SHARED, 200_000).await;
    fill(&source.volume(), true);
    source.back_up().await;
    // What was condemned makes the copy begin again; its own packs it finds then.
    let runs = s.collect_at_packs(old, 3);
    let report = copy(&source.repo, &s.w.repo, &copy::all(), &Task::default()).await.unwrap();
    let Fate::Copied { id, lost } = &report.snapshots[0].fate else { panic!("{report:?}") };
    assert!(lost.is_empty(), "{lost:?}");
    let runs = runs.lock().unwrap().clone();
    assert!(runs[0].condemned > 0 && runs[0].waiting_for.len() == 1, "{runs:?}");
    assert!(runs.iter().any(|r| r.done && r.deleted > 0), "it does not wait for the copy's end: {runs:?}");
    assert!(runs.iter().all(|r| r.fenced.is_empty()), "nobody was fenced: {runs:?}");
    assert!(s.generation().await > Generation(0));
    let (target, restored) = s.w.restore_all(&id.to_string()).await;
    assert!(restored.problems.is_empty(), "{restored:?}");
    assert_eq!(describe(&target), describe(&source.volume()));
    for _ in 0..2 {
        collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
    }
    check_all(&s.other, 1).await;
}

/// The parent is forgotten and deleted while the backup goes on: what can't be read of it any more is read from the volume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_goes_during_the_backup_costs_reading_only() {
    let s = scene().await;
    let volume = s.w.volume();
    // Kept by its segments' places, which are read when the walk gets there: long after the parent has gone.
    fs::write(volume.join("z-large"), noise(60, 20 << 20)).unwrap();
    fs::write(volume.join("z-changed"), noise(61, 40 << 20)).unwrap();
    let parent = s.w.back_up().await.snapshot.id;
    for i in 0..24 {
        fs::write(volume.join(format!("f{i:02}")), noise(i, 4 << 20)).unwrap();
    }
    let changed = fs::OpenOptions::new().write(true).open(volume.join("z-changed")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&changed, &noise(62, 50_000), 30 << 20).unwrap();
    drop(changed);
    let runs = s.collect_at_packs(parent, u64::MAX);
    let report = s.w.back_up().await;
    let runs = runs.lock().unwrap().clone();
    assert!(runs.iter().any(|r| r.done && r.deleted > 0), "the parent is deleted meanwhile: {runs:?}");
    assert!(report.figures.files_opened >= 24 + 2, "{:?}", report.figures);
    s.w.check_round_trip().await;
    for _ in 0..2 {
        collect(&s.other.repo, AT_ONCE, &Task::default()).await.unwrap();
    }
    check_all(&s.other, 1).await;
}

/// A writer that commits while a collector is about to fence it was not fenced, and is not said to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_commits_before_the_fence_is_not_called_fenced() {
    let s = scene().await;
    let old = elsewhere(&s.other, SHARED, 200_000).await;
    let kept = elsewhere(&s.other, SHARED + 1, 200_000).await;
    let name = (Generation(0), kept);
    let Found::Committed(manifest) = history::read(&s.other.repo.objects(), name.0, name.1).await.unwrap()
    else {
        panic!("it was committed");
    };
    forget_one(&s.other, old).await;
    let who = Who::writer("elsewhere", "vol");
    let mut writer = Some(Session::open(s.other.repo.objects(), &who).await.unwrap());
    let sid = writer.as_ref().unwrap().sid();
    let mut manifest = Some(*manifest);
    *s.watched.hook.lock().unwrap() = Some(Box::new(move |key| {
        if !key.contains("/m/") {
            return None;
        }
        let (writer, manifest) = (writer.take()?, manifest.take()?);
        Some(Box::pin(async move {
            writer.commit(manifest).await.unwrap().or_error().unwrap();
        }))
    }));
    // The collector is the one whose puts are watched.
    let run = collect(&s.w.repo, AT_ONCE, &Task::default()).await.unwrap();
    assert!(run.done && run.deleted > 0 && run.fenced.is_empty(), "{run:?}");
    let all = snapshots::list(&s.other.repo).await.unwrap().0;
    assert!(all.iter().any(|snapshot| snapshot.id == sid), "{all:?}");
    check_all(&s.other, 2).await;
}
