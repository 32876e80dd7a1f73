//! A process that dies at any request to the store, and many writers at once: no snapshot is lost, none is half there.

use super::*;
use crate::store::{Crash, Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};
use proptest::prelude::*;

/// A small volume with one of everything that takes requests.
fn fill(volume: &Path, seed: u64) {
    fs::create_dir_all(volume.join("d")).unwrap();
    for i in 0..20 {
        fs::write(volume.join(format!("d/f{i}")), noise(seed + i, 3000)).unwrap();
    }
    fs::write(volume.join("large"), noise(seed + 100, 1 << 20)).unwrap();
}

struct Crashing {
    faulty: Arc<FaultStore>,
    world: World,
}

async fn crashing() -> Crashing {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let world = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
    fill(&world.volume(), 1);
    Crashing { faulty, world }
}

impl Crashing {
    /// Tries a backup that dies, then does it again as a new process would.
    async fn check(&self, crash: Crash) -> bool {
        let before = snapshots::list(&self.world.repo).await.unwrap().0.len();
        self.faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
        let died = backup(&self.world.repo, request(&self.world.volume()), None, &Task::default()).await;
        self.faulty.replace(FaultPlan::default());
        let repo = open(Arc::clone(&self.world.repo.store)).await;
        let (all, damaged) = snapshots::list(&repo).await.unwrap();
        assert!(damaged.is_empty(), "{crash:?}: {damaged:?}");
        assert!(all.len() >= before + usize::from(died.is_ok()), "{crash:?}: what was reported is there");
        for snapshot in &all {
            let report = verify(&repo, snapshot, &Level::Full, &Task::default()).await.unwrap();
            assert_eq!(report.problems, Problems::default(), "{crash:?}");
        }
        died.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_at_any_request_loses_nothing() {
    for after in [false, true] {
        for n in 0.. {
            let c = crashing().await;
            let crash = if after { Crash::After(n) } else { Crash::Before(n) };
            if c.check(crash).await {
                assert!(n >= 5, "a backup takes some requests");
                break;
            }
            let second = c.world.back_up().await;
            assert!(second.figures.bytes_new <= 20 * 3000 + (1 << 20));
            c.world.check_round_trip().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_backup_published_is_found() {
    let c = crashing().await;
    c.faulty.add(Fault::always(Op::Put, "default/m/*", Effect::Fail(StoreErrorKind::Fatal)));
    backup(&c.world.repo, request(&c.world.volume()), None, &Task::default()).await.unwrap_err();
    c.faulty.replace(FaultPlan::default());
    let before = c.world.counts.figures();
    let second = c.world.back_up().await;
    assert_eq!(second.figures.bytes_new, 0, "all data was found");
    assert_eq!(c.world.counts.figures().since(&before).requests_of(Op::Put, 'p'), 0, "metadata too");
    c.world.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_change_nothing() {
    for pattern in ["default/s/*", "default/p/*", "default/i/*", "default/m/*"] {
        let c = crashing().await;
        c.faulty.add(Fault::always(Op::Put, pattern, Effect::LoseReply));
        c.world.back_up().await;
        c.faulty.replace(FaultPlan::default());
        assert_eq!(snapshots::list(&c.world.repo).await.unwrap().0.len(), 1, "{pattern}");
        c.world.check_round_trip().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_all_commit() {
    let w = world().await;
    let mut running = Vec::new();
    for i in 0..6u64 {
        let volume = w.dir.path().join(format!("v{i}"));
        // Two volumes each have the same content.
        fill(&volume, i / 2 * 1000);
        let repo = open(Arc::clone(&w.repo.store)).await;
        let mut request = request(&volume);
        request.volume = format!("v{i}");
        running.push(tokio::spawn(async move { backup(&repo, request, None, &Task::default()).await }));
    }
    for one in running {
        one.await.unwrap().unwrap();
    }
    let (all, _) = snapshots::list(&w.repo).await.unwrap();
    assert_eq!(all.len(), 6);
    for snapshot in all {
        let live = w.dir.path().join(&snapshot.manifest.volume);
        let report = verify(&w.repo, &snapshot, &Level::Against(live), &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Any sequence of changes to a tree: every version equals a plain copy of it.
    #[test]
    fn any_changes_come_back(steps in proptest::collection::vec((0u8..6, 0u64..12, 0usize..400_000), 1..20)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let w = world().await;
            let v = w.volume();
            for (i, chunk) in steps.chunks(5).enumerate() {
                for &(what, which, len) in chunk {
                    change(&v, what, which, len, i as u64);
                }
                w.back_up().await;
                w.check_round_trip().await;
            }
        });
    }
}

fn change(v: &Path, what: u8, which: u64, len: usize, seed: u64) {
    let path = v.join(format!("n{which}"));
    match what {
        0 => {
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
        }
        1 if !path.exists() => fs::create_dir(&path).unwrap(),
        2 if path.is_file() => {
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(len);
            fs::write(&path, bytes).unwrap();
        }
        3 if path.is_file() => {
            let mut bytes = fs::read(&path).unwrap();
            let at = len.min(bytes.len());
            bytes.splice(at..at, noise(seed, 3000));
            fs::write(&path, bytes).unwrap();
        }
        4 if path.is_dir() => fs::write(path.join(format!("m{seed}")), noise(seed, len)).unwrap(),
        _ if !path.is_dir() => fs::write(&path, noise(seed + which, len)).unwrap(),
        _ => {}
    }
}
