//! Damage is named, and costs only what it hit; a backup that fails commits nothing.

use super::*;
use crate::layout::ObjectKind;
use crate::store::{Effect, Fault, FaultPlan, FaultStore};
use futures::TryStreamExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_pack_is_named_and_the_rest_restored() {
    let w = world().await;
    let v = w.volume();
    fs::write(v.join("kept"), b"tiny content").unwrap();
    w.back_up().await;
    fs::write(v.join("lost"), noise(1, 100_000)).unwrap();
    let report = w.back_up().await;
    let uses =
        crate::manifest::summary::load(&report.snapshot.manifest.summary, &*w.repo.reader()).await.unwrap();
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
    assert_eq!(fs::read(target.join("kept")).unwrap(), b"tiny content");
    assert!(!target.join("lost").exists(), "nothing half restored is left");
}

/// Every frame of a pack of data, flipped in turn: a restore and a verification name exactly the files in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damaged_frame_is_told_by_its_files() {
    let w = world().await;
    let v = w.volume();
    for i in 0..30u64 {
        fs::write(v.join(format!("f{i:02}")), noise(i, 8000 + (i as usize % 6) * 19_000)).unwrap();
    }
    let snapshot = w.back_up().await.snapshot;
    let entries: Vec<_> = browse::list(&w.repo, &snapshot, b"", true)
        .try_collect::<Vec<crate::items::entry::Entry>>()
        .await
        .unwrap();
    let pack = entries.iter().find_map(|e| e.blobs().next()).unwrap().place.pack;
    let key = w.repo.layout.pack(pack);
    let (healthy, footer) =
        (w.repo.store.get(&key).await.unwrap(), w.repo.reader().footer(pack).await.unwrap());
    let shape = crate::pack::frame::Shape::of(healthy.len() as u64).unwrap();
    let footer_at = shape.plain_len - (footer.encode().len() + 8) as u64;
    for frame in 0..shape.frames {
        let mut bytes = healthy.to_vec();
        bytes[usize::try_from(shape.stored(&(frame..frame + 1)).start).unwrap() + 5] ^= 64;
        w.repo.store.delete(&key).await.unwrap();
        w.repo.store.put_new(&key, bytes.into()).await.unwrap();
        let is_lost = |blob: &crate::ids::BlobRef| {
            let group = footer.groups[footer.blobs[blob.place.ordinal as usize].group as usize];
            let frames = shape.frames_of(&(group.at..group.at + u64::from(group.stored)));
            frames.contains(&frame) || shape.frames_of(&(footer_at..shape.plain_len)).contains(&frame)
        };
        let lost: Vec<_> =
            entries.iter().filter(|e| e.blobs().any(|b| is_lost(&b))).map(|e| e.path.clone()).collect();
        let named = |p: &Problems| {
            let mut paths: Vec<_> = p.kept().iter().map(|p| p.path.clone()).collect();
            paths.sort();
            paths
        };
        let repo = open(Arc::clone(&w.repo.store)).await;
        let report = verify(&repo, &snapshot, &Level::Full, &Task::default()).await.unwrap();
        assert_eq!(named(&report.problems), lost, "verify, frame {frame}");
        let other = World { repo, counts: Arc::clone(&w.counts), dir: tempfile::tempdir_in(disk()).unwrap() };
        let (target, report) = other.restore_all("latest").await;
        assert_eq!(named(&report.problems), lost, "restore, frame {frame}");
        for entry in entries.iter().filter(|e| !e.path.is_empty()) {
            let path = std::str::from_utf8(&entry.path).unwrap();
            let there = fs::read(target.join(path)).ok();
            let expected = (!lost.contains(&entry.path)).then(|| fs::read(v.join(path)).unwrap());
            assert!(there == expected, "frame {frame}: {path}");
        }
    }
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
