//! Nothing stops backups, and nothing that counts is lost: writers, collectors, forgets and restores at once, on a store
//! that stalls, fails and loses replies, by processes that die.
//!
//! Ten seconds; `HOLDFAST_SOAK=<seconds>` for as long as one likes. The seed is printed; what others do in between is up
//! to the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::gc::{AT_ONCE, PATIENT};
use super::rebase::Leaping;
use super::*;
use crate::ids::{PackId, Place, Sid};
use crate::manifest::summary;
use crate::ops::forget::{self, Because, forget, unforget};
use crate::ops::gc::{Compaction, GcRequest, collect};
use crate::session::Relocations;
use crate::store::{Key, Listed, Put, RetryPolicy, RetryStore, StoreError, StoreErrorKind, StoreResult};
use crate::{Error, ErrorKind};
use tokio::time::Instant;

const WRITERS: u64 = 8;

/// Chance that is the same for the same seed.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn below(&self, n: u64) -> u64 {
        let turn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut x = turn ^ (turn >> 30);
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// The store as one process sees it.
#[derive(Debug)]
struct Rough {
    inner: Arc<dyn Store>,
    dice: Dice,
    /// So often in 10,000 requests the process dies.
    deaths: AtomicU64,
    dead: AtomicBool,
    /// A long stall before the request of this number.
    frozen: Option<(u64, Duration)>,
    requests: AtomicU64,
}

fn error(kind: StoreErrorKind, op: Op, key: &str) -> StoreError {
    StoreError { kind, op, key: key.to_owned(), what: "on purpose".to_owned(), source: None }
}

impl Rough {
    async fn act<T>(&self, op: Op, key: &str, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(error(StoreErrorKind::Fatal, op, key));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some((at, long)) = self.frozen
            && at == number
        {
            tokio::time::sleep(long).await;
        }
        let dies = self.deaths.load(Ordering::Relaxed);
        match self.dice.below(10_000) {
            n if n < dies => {
                self.dead.store(true, Ordering::Relaxed);
                if n % 2 == 0 {
                    let _ = work.await;
                }
                Err(error(StoreErrorKind::Fatal, op, key))
            }
            n if n < dies + 100 => {
                tokio::time::sleep(Duration::from_millis(self.dice.below(40))).await;
                work.await
            }
            n if n < dies + 200 => {
                work.await?;
                Err(error(StoreErrorKind::Transient, op, key))
            }
            n if n < dies + 300 => Err(error(StoreErrorKind::Transient, op, key)),
            _ => work.await,
        }
    }
}

#[async_trait]
impl Store for Rough {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.act(Op::Put, key.as_str(), self.inner.put_new(key, bytes)).await
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.act(Op::Get, key.as_str(), self.inner.get(key)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.act(Op::Get, key.as_str(), self.inner.get_range(key, range)).await
    }

    async fn get_tail(&self, key: &Key, bytes: u64) -> StoreResult<(Bytes, u64)> {
        self.act(Op::Get, key.as_str(), self.inner.get_tail(key, bytes)).await
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.act(Op::Head, key.as_str(), self.inner.find_size(key)).await
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let dead = self.dead.load(Ordering::Relaxed);
        if dead {
            return stream::iter([Err(error(StoreErrorKind::Fatal, Op::List, prefix))]).boxed();
        }
        self.inner.list(prefix, after)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.act(Op::Delete, key.as_str(), self.inner.delete(key)).await
    }
}

/// What is known of one snapshot.
type Content = Vec<String>;

#[derive(Debug, Default)]
struct Tally {
    committed: AtomicU64,
    died: AtomicU64,
    restored: AtomicU64,
    undone: AtomicU64,
    runs: AtomicU64,
    stopped: AtomicU64,
    generations: AtomicU64,
    copied: AtomicU64,
    indexed: AtomicU64,
}

struct Soak {
    world: World,
    kept: Mutex<BTreeMap<Sid, Content>>,
    end: Instant,
    seed: u64,
    tally: Tally,
}

fn count(n: &AtomicU64) {
    n.fetch_add(1, Ordering::Relaxed);
}

/// One process.
struct Process {
    repo: Arc<Repository>,
    rough: Arc<Rough>,
}

impl Process {
    fn is_dead(&self) -> bool {
        self.rough.dead.load(Ordering::Relaxed)
    }
}

impl Soak {
    fn is_over(&self) -> bool {
        Instant::now() > self.end
    }

    async fn process(&self, dice: &Dice, deaths: u64, frozen: Option<(u64, Duration)>) -> Process {
        let inner = Arc::clone(&self.world.repo.store);
        let rough = Arc::new(Rough {
            inner,
            dice: Dice(AtomicU64::new(dice.below(u64::MAX))),
            deaths: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            frozen,
            requests: AtomicU64::new(0),
        });
        let policy = RetryPolicy {
            tries_max: 12,
            time_max: Duration::from_secs(60),
            delay_first: Duration::from_millis(1),
            delay_max: Duration::from_millis(20),
        };
        let env = Env { clock: Arc::new(Leaping::default()), random: Arc::new(SystemRandom) };
        let retrying = RetryStore::new(Arc::clone(&rough) as Arc<dyn Store>, policy, Arc::clone(&env.random));
        // Death comes later.
        let repo = open_with(Arc::new(retrying), env).await;
        rough.deaths.store(deaths, Ordering::Relaxed);
        Process { repo, rough }
    }

    fn any_kept(&self, dice: &Dice) -> Option<(Sid, Content)> {
        let kept = self.kept.lock().unwrap();
        let at = usize::try_from(dice.below(kept.len().max(1) as u64)).unwrap();
        kept.iter().nth(at).map(|(sid, content)| (*sid, content.clone()))
    }
}

/// Small files of which contents come back, so that packs are wanted that are about to go; and one that changes in places.
fn change(volume: &Path, dice: &Dice) {
    fs::create_dir_all(volume).unwrap();
    for _ in 0..1 + dice.below(4) {
        let name = volume.join(format!("f{}", dice.below(12)));
        match dice.below(6) {
            0 => drop(fs::remove_file(name)),
            _ => fs::write(name, noise(dice.below(40), 1000 + 5000 * dice.below(40) as usize)).unwrap(),
        }
    }
    let large = volume.join("large");
    let mut bytes = fs::read(&large).unwrap_or_else(|_| noise(dice.below(3), 3 << 20));
    for _ in 0..dice.below(20) {
        let at = dice.below(bytes.len() as u64 / 16384) as usize * 16384;
        bytes[at..at + 100].copy_from_slice(&noise(dice.below(1 << 40), 100));
    }
    fs::write(large, bytes).unwrap();
}

fn expect_death(process: &Process, e: &Error) {
    assert!(process.is_dead(), "{}", e.chain());
}

async fn write(s: Arc<Soak>, number: u64) {
    let dice = Dice(AtomicU64::new(s.seed.wrapping_mul(1000) + number));
    let volume = s.world.dir.path().join(format!("v{number}"));
    let (mut own, mut forgotten): (Vec<Sid>, Vec<(Sid, Content)>) = (Vec::new(), Vec::new());
    while !s.is_over() {
        change(&volume, &dice);
        let process = s.process(&dice, 30, None).await;
        let mut request = request(&volume);
        request.volume = format!("v{number}");
        match backup(&process.repo, request, None, &Task::default()).await {
            Ok(done) => {
                assert_eq!(done.problems, Problems::default());
                count(&s.tally.committed);
                own.push(done.snapshot.id);
                s.kept.lock().unwrap().insert(done.snapshot.id, describe(&volume));
            }
            Err(e) => {
                expect_death(&process, &e);
                count(&s.tally.died);
            }
        }
        if own.len() > 2 && dice.below(2) == 0 {
            let sid = own.remove(usize::try_from(dice.below(own.len() as u64)).unwrap());
            let content = s.kept.lock().unwrap().remove(&sid).unwrap();
            let process = s.process(&dice, 100, None).await;
            match forget(&process.repo, sid, &Because::default()).await {
                Ok(()) => forgotten.push((sid, content)),
                Err(e) => expect_death(&process, &e),
            }
        }
        if dice.below(4) == 0
            && let Some((sid, content)) = forgotten.pop()
        {
            let process = s.process(&dice, 30, None).await;
            match unforget(&process.repo, sid, "here", &Task::default()).await {
                Ok(copy) => {
                    count(&s.tally.undone);
                    own.push(copy);
                    s.kept.lock().unwrap().insert(copy, content);
                }
                // Too late; or a collector took it for dead.
                Err(e)
                    if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Refused | ErrorKind::Fenced) => {}
                Err(e) if e.kind() == ErrorKind::Damaged && s.is_tidied(sid).await => {}
                Err(e) => expect_death(&process, &e),
            }
        }
    }
}

impl Soak {
    /// Whether GC has deleted a forgotten snapshot.
    async fn is_tidied(&self, sid: Sid) -> bool {
        let left = forget::find_forgotten(&self.world.repo, &sid.to_string()).await;
        left.is_err()
    }

    async fn restore(&self, repo: &Arc<Repository>, sid: Sid) -> crate::Result<Content> {
        let snapshot = snapshots::get(repo, &sid.to_string(), None).await?;
        let target = self.world.dir.path().join(format!("out-{}", rand_name()));
        let request = RestoreRequest {
            snapshot,
            path: Vec::new(),
            patterns: Vec::new(),
            target: target.clone(),
            existing: Existing::Fail,
            memory_bytes_max: 64 << 20,
        };
        let report = restore(repo, request, &Task::default()).await?;
        let content = describe(&target);
        fs::remove_dir_all(&target).unwrap();
        if report.problems == Problems::default() {
            return Ok(content);
        }
        Err(Error::new(ErrorKind::Damaged, format!("{:?}", report.problems)))
    }
}

async fn read(s: Arc<Soak>) {
    let dice = Dice(AtomicU64::new(s.seed.wrapping_mul(1000) + 100));
    while !s.is_over() {
        let Some((sid, content)) = s.any_kept(&dice) else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let process = s.process(&dice, 5, None).await;
        let counts = || s.kept.lock().unwrap().contains_key(&sid);
        if dice.below(3) == 0 {
            let Ok(snapshot) = snapshots::get(&process.repo, &sid.to_string(), None).await else { continue };
            match verify(&process.repo, &snapshot, &Level::Full, &Task::default()).await {
                Ok(report) if report.problems == Problems::default() => {}
                Ok(report) => assert!(process.is_dead() || !counts(), "{report:?}"),
                Err(e) => assert!(process.is_dead() || !counts(), "{}", e.chain()),
            }
            continue;
        }
        match s.restore(&process.repo, sid).await {
            Ok(restored) => {
                assert_eq!(restored, content, "snapshot {sid}");
                count(&s.tally.restored);
            }
            Err(e) => assert!(process.is_dead() || !counts(), "restore of {sid}: {}", e.chain()),
        }
    }
}

async fn gather(s: Arc<Soak>, number: u64) {
    let dice = Dice(AtomicU64::new(s.seed.wrapping_mul(1000) + 200 + number));
    while !s.is_over() {
        let long = Duration::from_millis(500 + dice.below(3000));
        let frozen = (number == 1 && dice.below(2) == 0).then(|| (dice.below(120), long));
        let process = s.process(&dice, 20, frozen).await;
        let compaction = if dice.below(3) == 0 { Compaction::NONE } else { Compaction::default() };
        let request = GcRequest { compaction, ..if dice.below(6) == 0 { AT_ONCE } else { PATIENT } };
        match collect(&process.repo, request, &Task::default()).await {
            Ok(run) => {
                count(&s.tally.runs);
                s.tally.copied.fetch_add(run.compacted, Ordering::Relaxed);
                s.tally.indexed.fetch_add(run.indexed, Ordering::Relaxed);
                s.tally.generations.fetch_max(run.generation.0, Ordering::Relaxed);
            }
            Err(_) if process.is_dead() => {}
            // A slower one that reads what a quicker one has just deleted stops, as it must: it can't know.
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => count(&s.tally.stopped),
            Err(e) => panic!("{}", e.chain()),
        }
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
    }
}

/// The packs that all snapshots together need.
async fn needed(repo: &Arc<Repository>) -> BTreeSet<PackId> {
    let relocations = Relocations::load_newest(&repo.objects()).await.unwrap();
    let mut needed = BTreeSet::new();
    for snapshot in snapshots::list(repo).await.unwrap().0 {
        let uses =
            summary::load(&snapshot.manifest.summary, &*reader::Reader::unregistered(repo)).await.unwrap();
        for u in uses {
            let places = u.ordinals.iter().map(|ordinal| Place { pack: u.pack.id, ordinal });
            needed.extend(places.map(|p| relocations.resolve(p).pack));
        }
        needed.extend(snapshot.manifest.summary.pieces().iter().map(|p| relocations.resolve(p.place).pack));
    }
    needed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stops_backups_and_nothing_is_lost() {
    let seconds = std::env::var("HOLDFAST_SOAK").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let seed = u64::from_le_bytes(Env::system().random());
    println!("seed {seed}, {seconds} s");
    let end = Instant::now() + Duration::from_secs(seconds);
    let (kept, tally) = (Mutex::default(), Tally::default());
    let s = Arc::new(Soak { world: world().await, kept, end, seed, tally });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(write(Arc::clone(&s), number));
    }
    for number in 0..2 {
        tasks.spawn(gather(Arc::clone(&s), number));
    }
    tasks.spawn(read(Arc::clone(&s)));
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    println!("{:?}", s.tally);
    let repo = open(Arc::clone(&s.world.repo.store)).await;
    // What was open is finished; dead writers are closed with it or with the first run after it.
    for _ in 0..3 {
        let run = collect(&repo, AT_ONCE, &Task::default()).await.unwrap();
        assert!(run.done, "{run:?}");
    }
    let listed = repo.store.list("default/p/", None).try_collect::<Vec<_>>().await.unwrap();
    let there: BTreeSet<PackId> = listed.iter().filter_map(|l| repo.layout.parse_pack(&l.key)).collect();
    assert_eq!(there, needed(&repo).await, "every pack is needed, and every needed pack is there");
    let (all, damaged) = snapshots::list(&repo).await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let kept = s.kept.lock().unwrap().clone();
    let listed: BTreeSet<Sid> = all.iter().map(|snapshot| snapshot.id).collect();
    assert!(kept.keys().all(|sid| listed.contains(sid)), "what was committed and not forgotten is there");
    for snapshot in &all {
        let restored = s.restore(&repo, snapshot.id).await.unwrap();
        if let Some(content) = kept.get(&snapshot.id) {
            assert_eq!(&restored, content, "snapshot {}", snapshot.id);
        }
    }
    let tally = |n: &AtomicU64| n.load(Ordering::Relaxed);
    assert!(tally(&s.tally.committed) > WRITERS && tally(&s.tally.runs) > 2, "{:?}", s.tally);
}
