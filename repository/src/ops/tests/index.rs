//! The stored index: few requests instead of many, nothing stored twice, and nothing depends on it.

use futures::TryStreamExt as _;

use super::compaction::{damage, data_pack, problems, quarantine};
use super::gc::{AT_ONCE, check_all};
use super::*;
use crate::ids::{PackId, PackRef, Sid};
use crate::index::DeltaPack;
use crate::limits::INDEX_DELTAS_MIN;
use crate::ops::forget::{Because, forget};
use crate::ops::gc::{Compaction, GcReport, GcRequest, collect};
use crate::ops::index::open_own;
use crate::pack::PackKind;
use crate::session::{Session, Who};
use crate::store::{Crash, FaultPlan, FaultStore};

async fn gc(w: &World) -> GcReport {
    collect(&w.repo, AT_ONCE, &Task::default()).await.unwrap()
}

async fn keys(w: &World, folder: &str) -> Vec<String> {
    let listed = w.repo.store.list(folder, None).try_collect::<Vec<_>>().await.unwrap();
    listed.into_iter().map(|l| l.key.as_str().to_owned()).collect()
}

/// A session that publishes many deltas of packs that are gone, as those of dead writers are.
async fn many_deltas(w: &World) {
    let session = Session::open(w.repo.objects(), &Who::writer("elsewhere", "other")).await.unwrap();
    for n in 0..INDEX_DELTAS_MIN as u8 {
        let id = PackId { sid: Sid([9; 16]), rnd: [n; 8] };
        let blobs = vec![w.repo.keys.blob_id(&[n])];
        let pack = DeltaPack { pack: PackRef { id, bytes: 100 }, kind: PackKind::Data, blobs };
        session.publish_delta(&[pack]).await.unwrap();
    }
    session.abort("done").await.unwrap();
}

/// One more file, backed up.
async fn add(w: &World, n: u64) -> Sid {
    fs::write(w.volume().join(format!("f{n}")), noise(n, 3000)).unwrap();
    w.back_up().await.snapshot.id
}

/// Requests that a process without a cache takes to know the index: of deltas, and of roots and shards.
async fn load(w: &World) -> (u64, u64) {
    let repo = open(Arc::clone(&w.repo.store)).await;
    let before = w.counts.figures();
    let index = open_own(&repo);
    assert!(index.refresh().await.unwrap().damaged.is_empty());
    let work = w.counts.figures().since(&before);
    (work.requests_of(Op::Get, 'i'), work.requests_of(Op::Get, 'x'))
}

/// Another volume with the same content, backed up by a process without a cache.
async fn stored_twice(w: &World, volume: &str) -> u64 {
    let repo = open(Arc::clone(&w.repo.store)).await;
    let mut request = request(&w.volume());
    request.volume = volume.to_owned();
    backup(&repo, request, None, &Task::default()).await.unwrap().figures.bytes_new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_are_gathered_and_tidied() {
    let w = world().await;
    let mut all = Vec::new();
    for n in 0..40 {
        all.push(add(&w, n).await);
    }
    assert_eq!(load(&w).await, (40, 0), "a request for each session");
    forget(&w.repo, all[0], &Because::default()).await.unwrap();
    let run = gc(&w).await;
    assert!(run.done && run.indexed > 40, "{run:?}");
    assert_eq!(load(&w).await, (0, 2), "a root and a shard");
    assert_eq!(keys(&w, "default/i/").await.len(), 0);
    assert_eq!(stored_twice(&w, "second").await, 0);
    let idle = gc(&w).await;
    assert!(idle.done && idle.indexed == 0, "nothing is due: {idle:?}");

    many_deltas(&w).await;
    let run = gc(&w).await;
    assert!(run.done && run.indexed > 40, "a run for the index alone: {run:?}");
    let parts = keys(&w, "default/x/").await;
    let roots = parts.iter().filter(|k| k.ends_with("/root")).count();
    assert_eq!((parts.len(), roots), (2, 1), "the old one is gone: {parts:?}");
    assert_eq!(load(&w).await, (0, 2));
    assert_eq!(stored_twice(&w, "third").await, 0);
    check_all(&w, 41).await;
}

/// A process with a cache asks for nothing that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_that_are_gone_cost_no_request() {
    let w = world().await;
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential: credential(),
        cache_dir: Some(w.dir.path().join("cache")),
        remote: false,
        cpu_threads: 2,
    };
    let cached = Repository::open(Arc::clone(&w.repo.store), options, env()).await.unwrap();
    let volume = w.volume();
    fs::write(volume.join("f"), noise(1, 100_000)).unwrap();
    let back_up = async || backup(&cached, request(&volume), None, &Task::default()).await.unwrap();
    let first = back_up().await.snapshot.id;
    forget(&w.repo, first, &Because::default()).await.unwrap();
    assert!(gc(&w).await.deleted > 0);
    let before = w.counts.figures();
    assert!(back_up().await.figures.bytes_new >= 100_000, "it is stored again");
    assert_eq!(w.counts.figures().since(&before).requests_of(Op::Head, 'p'), 0);
    w.check_round_trip().await;
}

/// Whatever is lost of the stored index, backups go on; what neither names is merely stored again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_depends_on_it() {
    for lose_root in [false, true] {
        let w = world().await;
        add(&w, 1).await;
        many_deltas(&w).await;
        assert!(gc(&w).await.indexed > 0);
        for key in keys(&w, "default/x/").await {
            if key.ends_with("/root") == lose_root {
                w.repo.store.delete(&crate::store::Key::new(key).unwrap()).await.unwrap();
            }
        }
        assert_eq!(stored_twice(&w, "other").await, 3000);
        many_deltas(&w).await;
        assert!(gc(&w).await.indexed > 0, "it is made again");
        check_all(&w, 2).await;
    }
}

/// A pack whose footer is lost, long after its delta went into a root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_without_footer_and_delta_is_healed() {
    let w = world().await;
    let first = add(&w, 1).await;
    many_deltas(&w).await;
    assert!(gc(&w).await.indexed > 0);
    assert_eq!(keys(&w, "default/i/").await.len(), 0);
    let pack = data_pack(&w, first).await;
    let size = w.repo.store.find_size(&w.repo.layout.pack(pack)).await.unwrap().unwrap();
    damage(&w, pack, usize::try_from(size).unwrap() - 100).await;
    quarantine(&w, pack, Vec::new()).await;
    assert!(problems(&w, first).await > 0);
    let w = World { repo: open(Arc::clone(&w.repo.store)).await, ..w };
    assert_eq!(w.back_up().await.figures.bytes_new, 3000, "what is quarantined is stored again");
    let request = GcRequest { compaction: Compaction::default(), ..AT_ONCE };
    let run = collect(&w.repo, request, &Task::default()).await.unwrap();
    assert!(run.done && run.repaired == 1 && run.damaged.is_empty(), "{run:?}");
    assert_eq!(problems(&w, first).await, 0, "the old snapshot finds the good copy");
}

/// A collector that dies at any request while it gathers: the next one does it, and nothing is stored twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_may_die_while_it_gathers() {
    let mut deaths = 0;
    for n in 0.. {
        let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
        let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
        let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
        let first = add(&w, 1).await;
        add(&w, 2).await;
        many_deltas(&w).await;
        forget(&w.repo, first, &Because::default()).await.unwrap();
        let crash = if n % 2 == 0 { Crash::Before(n / 2) } else { Crash::After(n / 2) };
        faulty.replace(FaultPlan { crash: Some(crash), ..FaultPlan::default() });
        let died = collect(&w.repo, AT_ONCE, &Task::default()).await.is_err();
        faulty.replace(FaultPlan::default());
        assert_eq!(stored_twice(&w, "second").await, 0, "{crash:?}");
        gc(&w).await;
        many_deltas(&w).await;
        gc(&w).await;
        assert_eq!(stored_twice(&w, "third").await, 0, "{crash:?}");
        let parts = keys(&w, "default/x/").await;
        assert_eq!(parts.len(), 2, "{crash:?}: {parts:?}");
        check_all(&w, 3).await;
        deaths += u32::from(died);
        if !died && n % 2 == 1 {
            break;
        }
    }
    assert!(deaths > 30, "a run takes some requests: {deaths}");
}
