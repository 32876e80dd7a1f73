//! A parent that is damaged, which nobody has noticed yet, costs reading: never the backup, and the new snapshot refers to
//! nothing of the damage.

use std::collections::HashSet;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::heal::keys;
use super::*;
use crate::ids::PackId;
use crate::layout::ObjectKind;
use crate::manifest::summary;
use crate::pack::PackKind;
use crate::pack::footer::GroupInfo;
use crate::pack::frame::Shape;
use crate::session::forbidden::load_quarantine;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, Key, StoreErrorKind};

/// Links whose targets are long, so that metadata takes several frames and groups.
fn link(folder: &Path, seed: u64) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..60u64 {
        let target = crate::ids::hex(&noise(seed + i, 1900));
        symlink(target, folder.join(format!("l{i:02}"))).unwrap();
    }
}

/// A volume of which the parent's leaves lie in one pack of metadata, and the segments of large files, with some leaves, in
/// another; one large file has changed since. All that is stored, and these packs.
async fn filled() -> (World, Vec<(Key, Bytes)>, Vec<PackId>) {
    let w = world().await;
    for dir in 0..3u64 {
        let folder = w.volume().join(format!("d{dir}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("large"), noise(dir * 1000, 1 << 20)).unwrap();
    }
    link(&w.volume().join("z"), 5000);
    w.back_up().await;
    for dir in 0..3u64 {
        let folder = w.volume().join(format!("d{dir}"));
        link(&folder, dir * 1000 + 100);
        for i in 0..5 {
            fs::write(folder.join(format!("f{i}")), noise(dir * 1000 + 200 + i, 3000)).unwrap();
        }
    }
    w.back_up().await;
    let mut meta = Vec::new();
    for key in keys(&w, ObjectKind::Pack).await {
        let pack = w.repo.layout.parse_pack(&key).unwrap();
        if w.repo.reader().describe(pack).await.unwrap().kind == PackKind::Meta {
            meta.push(pack);
        }
    }
    assert_eq!(meta.len(), 2);
    let large = fs::OpenOptions::new().write(true).open(w.volume().join("d1/large")).unwrap();
    large.write_all_at(&noise(7, 5000), 600_000).unwrap();
    let listed: Vec<_> = w.repo.store.list("", None).try_collect().await.unwrap();
    let mut stored = Vec::new();
    for one in listed {
        let bytes = w.repo.store.get(&one.key).await.unwrap();
        stored.push((one.key, bytes));
    }
    (w, stored, meta)
}

/// The same volume, and what is stored in a store of its own, as a new process sees it; `pack` as given, or gone.
async fn with_pack(
    w: World,
    stored: &[(Key, Bytes)],
    pack: PackId,
    bytes: Option<Bytes>,
) -> (World, Arc<FaultStore>) {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let changed = w.repo.layout.pack(pack);
    for (key, healthy) in stored {
        let bytes = if *key == changed { bytes.clone() } else { Some(healthy.clone()) };
        if let Some(bytes) = bytes {
            memory.put_new(key, bytes).await.unwrap();
        }
    }
    let store = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let repo = open(Arc::clone(&store) as Arc<dyn Store>).await;
    (World { repo, ..w }, store)
}

/// Backs up and looks at all that came of it: `lost` blobs of `pack` (none: all) are not needed by it.
async fn check(w: &World, pack: PackId, lost: Option<&HashSet<u32>>) -> BackupReport {
    let report = w.back_up().await;
    let reader = w.repo.reader();
    for used in summary::load(&report.snapshot.manifest.summary, &*reader).await.unwrap() {
        let is_lost = |ordinal| lost.is_none_or(|lost| lost.contains(&ordinal));
        assert!(used.pack.id != pack || !used.ordinals.iter().any(is_lost), "refers to what is damaged");
    }
    let other = open(Arc::clone(&w.repo.store)).await;
    let proof = verify(&other, &report.snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert_eq!(proof.problems, Problems::default());
    w.check_round_trip().await;
    // The data that is still there, two files of 1 MiB and more, is not stored again.
    assert!(report.figures.bytes_new < 2 << 20, "{:?}", report.figures);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_frame_of_a_parents_metadata_may_be_damaged() {
    let (mut w, stored, packs) = filled().await;
    let mut unchanged_max = 0;
    for pack in packs {
        let key = w.repo.layout.pack(pack);
        let (_, healthy) = stored.iter().find(|(k, _)| *k == key).unwrap();
        let healthy_world = with_pack(w, &stored, pack, Some(healthy.clone())).await.0;
        let footer = healthy_world.repo.reader().footer(pack).await.unwrap();
        w = healthy_world;
        let shape = Shape::of(healthy.len() as u64).unwrap();
        assert!(shape.frames > 1, "{shape:?}");
        let footer_at = shape.plain_len - (footer.encode().len() + 8) as u64;
        for frame in 0..shape.frames {
            let mut bytes = healthy.to_vec();
            bytes[usize::try_from(shape.stored(&(frame..frame + 1)).start).unwrap() + 5] ^= 64;
            let is_whole = shape.frames_of(&(footer_at..shape.plain_len)).contains(&frame);
            let frames = |g: &GroupInfo| shape.frames_of(&(g.at..g.at + u64::from(g.stored)));
            let hit = footer.groups.iter().filter(|g| frames(g).contains(&frame));
            let lost: HashSet<u32> = hit.flat_map(|g| g.first_ordinal..g.first_ordinal + g.blobs).collect();
            let lost = (!is_whole).then_some(lost);
            w = with_pack(w, &stored, pack, Some(bytes.into())).await.0;
            let report = check(&w, pack, lost.as_ref()).await;
            let named = load_quarantine(&w.repo.objects()).await.unwrap();
            let expected = lost.as_ref().is_none_or(|lost| !lost.is_empty()).then_some(&lost);
            assert_eq!(named.get(&pack), expected, "{pack}, frame {frame}");
            unchanged_max = unchanged_max.max(report.figures.files_unchanged);
        }
    }
    assert!(unchanged_max > 0, "damage of one frame costs less than all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_of_a_parents_metadata_may_be_gone() {
    let (mut w, stored, packs) = filled().await;
    for pack in packs {
        for recorded in [true, false] {
            let store;
            (w, store) = with_pack(w, &stored, pack, None).await;
            if !recorded {
                store.add(Fault::always(Op::Put, "default/q/*", Effect::Fail(StoreErrorKind::Denied)));
            }
            check(&w, pack, None).await;
            let named = load_quarantine(&w.repo.objects()).await.unwrap();
            assert_eq!(named.get(&pack), recorded.then_some(&None));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_once_came_wrong_is_not_damaged() {
    let (mut w, stored, packs) = filled().await;
    for pack in packs {
        let key = w.repo.layout.pack(pack);
        let (_, healthy) = stored.iter().find(|(k, _)| *k == key).unwrap();
        let store;
        (w, store) = with_pack(w, &stored, pack, Some(healthy.clone())).await;
        // In the footer's frame, which is read first.
        let read = healthy.len().min(192 << 10) as u64;
        store.add(Fault::once(Op::Get, key.as_str(), Effect::FlipBit((read - 200) * 8)));
        let report = w.back_up().await;
        assert!(store.requests() > 0 && keys(&w, ObjectKind::Quarantine).await.is_empty());
        assert_eq!(report.figures.files_unchanged, 17, "only the file that changed is read");
        w.check_round_trip().await;
    }
}
