//! A repair that dies at any request to the store: nothing is lost, and the next one ends what it began.

use super::gc::{check_all, gc};
use super::heal::{FILE, check_sound, damage, keys, place_of, scrubbed};
use super::*;
use crate::ids::Sid;
use crate::layout::ObjectKind;
use crate::ops::gc::Compaction;
use crate::ops::repair::index::{IndexRequest, index};
use crate::ops::repair::quarantine::lift;
use crate::ops::repair::snapshots::{SnapshotRequest, find_damaged, repair};
use crate::ops::scrub::ScrubRequest;
use crate::ops::snapshots::Snapshot;
use crate::store::{Crash, FaultPlan, FaultStore};

/// Three files, of which `b` is damaged and named.
struct Hurt {
    faulty: Arc<FaultStore>,
    w: World,
    first: Snapshot,
    whole: bytes::Bytes,
}

async fn hurt() -> Hurt {
    let (w, faulty) = gc::faulty_world().await;
    for (seed, name) in [(1, "a"), (2, "b"), (3, "c")] {
        fs::write(w.volume().join(name), noise(seed, FILE)).unwrap();
    }
    let first = w.back_up().await.snapshot;
    let place = place_of(&w, &first, "b").await;
    let whole = w.repo.store.get(&w.repo.layout.pack(place.pack)).await.unwrap();
    damage(&w, place).await;
    let w = heal::reopened(w).await;
    assert_eq!(scrubbed(&w, &ScrubRequest::default()).await.quarantined, 1);
    Hurt { faulty, w, first, whole }
}

impl Hurt {
    fn crash(&self, n: u64) -> Crash {
        let crash = if n.is_multiple_of(2) { Crash::Before(n / 2) } else { Crash::After(n / 2) };
        self.faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
        crash
    }

    /// As a new process would find it.
    async fn comes_back(&mut self) {
        self.faulty.replace(FaultPlan::default());
        self.w.repo = open(Arc::clone(&self.w.repo.store)).await;
    }

    async fn all(&self) -> Vec<Snapshot> {
        let (all, damaged) = snapshots::list(&self.w.repo).await.unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        all
    }

    /// Repairs all that is known to be damaged; the copies.
    async fn repair(&self) -> crate::Result<Vec<Sid>> {
        let request = SnapshotRequest { by: "test".to_owned(), forget: true, ..SnapshotRequest::default() };
        let (all, _) = snapshots::list(&self.w.repo).await?;
        let mut copies = Vec::new();
        for snapshot in find_damaged(&self.w.repo, &all).await? {
            copies.extend(repair(&self.w.repo, &snapshot, &all, &request, &Task::default()).await?.copy);
        }
        Ok(copies)
    }
}

/// With and without a backup in between that has stored the lost file again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_snapshots_may_die_anywhere() {
    for again in [false, true] {
        let mut deaths = 0;
        for n in 0.. {
            let mut h = hurt().await;
            let second = if again { Some(h.w.back_up().await.snapshot.id) } else { None };
            let crash = h.crash(n);
            let died = h.repair().await.is_err();
            h.comes_back().await;
            for snapshot in h.all().await.iter().filter(|s| s.id != h.first.id) {
                check_sound(&h.w, snapshot.id).await;
            }
            h.repair().await.unwrap();
            assert!(find_damaged(&h.w.repo, &h.all().await).await.unwrap().is_empty(), "{crash:?}");
            let of_first = |s: &&Snapshot| s.manifest.repaired.is_some_and(|r| r.of == h.first.id);
            let all = h.all().await;
            let copies: Vec<_> = all.iter().filter(of_first).collect();
            assert_eq!(copies.len(), 1, "{crash:?}: one copy, whoever made it");
            let lost = copies[0].manifest.repaired.unwrap().lost;
            assert_eq!(lost, u64::from(!again), "{crash:?}");
            let (target, report) = h.w.restore_all(&copies[0].id.to_string()).await;
            assert!(report.problems.is_empty(), "{crash:?}: {report:?}");
            assert_eq!(fs::read(target.join("a")).unwrap(), noise(1, FILE));
            assert_eq!(target.join("b").exists(), again, "{crash:?}");
            // The original may be there still: the copy was committed, and nobody came to forget it.
            let count = all.iter().filter(|s| s.id != h.first.id).count();
            assert_eq!(count, 1 + second.iter().count());
            if all.iter().any(|s| s.id == h.first.id) {
                gc::forget_one(&h.w, h.first.id).await;
            }
            for _ in 0..2 {
                assert!(gc(&h.w, &gc::AT_ONCE).await.done, "{crash:?}");
            }
            check_all(&h.w, count).await;
            let idle = gc(&h.w, &gc::AT_ONCE).await;
            assert_eq!((idle.condemned, idle.leftovers), (0, 0), "{crash:?}: {idle:?}");
            deaths += u32::from(died);
            if !died && n % 2 == 1 {
                break;
            }
        }
        assert!(deaths > 20, "a repair takes some requests: {deaths}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_the_index_may_die_anywhere() {
    let mut deaths = 0;
    for n in 0.. {
        let mut h = hurt().await;
        h.w.back_up().await;
        for key in keys(&h.w, ObjectKind::Delta).await {
            h.w.repo.store.delete(&key).await.unwrap();
        }
        h.comes_back().await;
        let crash = h.crash(n);
        let (asked, task) = (IndexRequest::default(), Task::default());
        let died = index(&h.w.repo, asked, "test", &task).await.is_err();
        h.comes_back().await;
        index(&h.w.repo, asked, "test", &task).await.unwrap();
        let left = index(&h.w.repo, asked, "test", &task).await.unwrap();
        assert_eq!((left.packs, left.problems.count()), (0, 0), "{crash:?}");
        // A first backup of another volume finds all of it; of `b` the copy that is whole.
        let mut other = request(&h.w.volume());
        other.volume = "other".to_owned();
        let other = backup(&h.w.repo, other, None, &task).await.unwrap();
        assert_eq!(other.figures.blobs_new, 0, "{crash:?}");
        check_sound(&h.w, other.snapshot.id).await;
        let run = crate::ops::gc::GcRequest { compaction: Compaction::default(), ..gc::AT_ONCE };
        assert!(gc(&h.w, &run).await.done, "{crash:?}");
        check_all(&h.w, 3).await;
        deaths += u32::from(died);
        if !died && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 8, "a repair takes some requests: {deaths}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_may_die_anywhere() {
    let mut deaths = 0;
    for n in 0.. {
        let mut h = hurt().await;
        let place = place_of(&h.w, &h.first, "b").await;
        let key = h.w.repo.layout.pack(place.pack);
        h.w.repo.store.delete(&key).await.unwrap();
        h.w.repo.store.put_new(&key, h.whole.clone()).await.unwrap();
        h.comes_back().await;
        let crash = h.crash(n);
        let died = lift(&h.w.repo, false, "test", &Task::default()).await.is_err();
        h.comes_back().await;
        let left = keys(&h.w, ObjectKind::Quarantine).await.len() as u64;
        let done = lift(&h.w.repo, false, "test", &Task::default()).await.unwrap();
        assert_eq!(done.lifted(), left, "{crash:?}");
        assert!(keys(&h.w, ObjectKind::Quarantine).await.is_empty(), "{crash:?}");
        check_sound(&h.w, h.w.back_up().await.snapshot.id).await;
        deaths += u32::from(died);
        if !died && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 8, "a lift takes some requests: {deaths}");
}
