//! Damage is named, and costs only what it hit; a backup that fails commits nothing.

use super::*;
use crate::layout::ObjectKind;
use crate::store::{Effect, Fault, FaultPlan, FaultStore};
use futures::TryStreamExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_pack_is_named_and_the_rest_restored() {
    let w = world().await;
    let v = w.volume();
    fs::write(v.join("kept"), b"inline content").unwrap();
    fs::write(v.join("lost"), noise(1, 100_000)).unwrap();
    let report = w.back_up().await;
    let uses =
        crate::manifest::summary::load(&report.snapshot.manifest.summary, &w.repo.reader()).await.unwrap();
    let data = uses.iter().map(|u| u.pack).max_by_key(|p| p.bytes).unwrap();
    w.repo.store.delete(&w.repo.layout.pack(data.id)).await.unwrap();
    // The reader of a new process knows nothing of the pack.
    let repo = open(Arc::clone(&w.repo.store)).await;
    for level in [Level::Quick, Level::Full] {
        let found = verify(&repo, &report.snapshot, &level, &Task::default()).await.unwrap();
        assert!(!found.problems.is_empty(), "{level:?}");
    }
    let w = World { repo, ..w };
    let (target, report) = w.restore_all("latest").await;
    assert_eq!(report.problems.kept()[0].path, b"lost");
    assert_eq!(fs::read(target.join("kept")).unwrap(), b"inline content");
    assert!(!target.join("lost").exists(), "nothing half restored is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upload_fails_the_backup_with_its_cause() {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
    fs::write(w.volume().join("f"), noise(1, 1 << 20)).unwrap();
    faulty.add(Fault::always(Op::Put, "default/p/*", Effect::Full));
    let err = backup(&w.repo, request(&w.volume()), None, &Task::default()).await.unwrap_err();
    assert_eq!(err.kind(), crate::ErrorKind::Store, "{}", err.chain());
    assert!(err.chain().contains("default/p/"), "{}", err.chain());
    faulty.replace(FaultPlan::default());
    assert!(snapshots::list(&w.repo).await.unwrap().0.is_empty());
    let folder = w.repo.layout.folder(ObjectKind::Outcome);
    let outcomes: Vec<_> = w.repo.store.list(&folder, None).try_collect().await.unwrap();
    assert_eq!(outcomes.len(), 1, "the session is closed with ABORTED");
    w.back_up().await;
    w.check_round_trip().await;
}
