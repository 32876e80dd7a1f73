//! A member of the domain that stores junk under ids of content that others will have.

use bytes::Bytes;

use super::backup::Reuse;
use super::*;
use crate::index::DeltaPack;
use crate::manifest::proof::{PackProof, Proofs};
use crate::ops::scrub::{ScrubRequest, scrub};
use crate::pack::writer::PackBuilder;
use crate::pack::{PackKind, group};
use crate::session::{Session, Who};

const FILES: u64 = 12;

fn content(n: u64) -> Vec<u8> {
    noise(n, 20_000)
}

fn fill(volume: &Path) {
    for n in 0..FILES {
        fs::write(volume.join(format!("f{n}")), content(n)).unwrap();
    }
}

/// Stores other bytes under the ids of all that the volume will hold, and tells everybody.
async fn poison(repo: &Repository) {
    let session = Session::open(repo.objects(), &Who::writer("evil", "evil")).await.unwrap();
    let junk = |n| (repo.keys.blob_id(&content(n)), Bytes::from(noise(1000 + n, 20_000)));
    let blobs: Vec<_> = (0..FILES).map(junk).collect();
    let mut builder = PackBuilder::new(&repo.keys, session.sid(), PackKind::Data, &repo.env, 1 << 20);
    for blobs in blobs.chunks(4) {
        builder.append(&group::build(blobs, 1));
    }
    let pack = builder.finish_unchecked();
    session.put_pack(pack.pack.id, pack.bytes.clone()).await.unwrap();
    session.publish_delta(&[DeltaPack::new(pack.pack, PackKind::Data, &pack.footer)]).await.unwrap();
    session.abort("done harm").await.unwrap();
}

async fn back_up(w: &World, volume: &str, reuse: Reuse) -> BackupReport {
    let request = BackupRequest { reuse, volume: volume.to_owned(), ..request(&w.volume()) };
    backup(&w.repo, request, None, &Task::default()).await.unwrap()
}

async fn is_good(w: &World, report: &BackupReport) -> bool {
    verify(&w.repo, &report.snapshot, &Level::Full, &Task::default()).await.unwrap().problems.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_hurts_only_those_who_refer_to_anything() {
    for (reuse, good) in [(Reuse::Any, false), (Reuse::Verified, true), (Reuse::Own, true)] {
        let w = world().await;
        fill(&w.volume());
        poison(&w.repo).await;
        let report = back_up(&w, "victim", reuse).await;
        let stored_all = report.figures.bytes_new >= FILES * 20_000;
        assert_eq!(stored_all, good, "{reuse}: {} new", report.figures.bytes_new);
        assert_eq!(is_good(&w, &report).await, good, "{reuse}");
        if good {
            // What is its own it finds again; for the copy the index may name the junk, so that it is stored once more.
            fs::write(w.volume().join("copy"), content(3)).unwrap();
            let next = back_up(&w, "victim", reuse).await;
            assert!(next.figures.bytes_new <= 20_000, "{reuse}: {}", next.figures.bytes_new);
            w.check_round_trip().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_stored_well_is_found_where_it_may_be() {
    let w = world().await;
    fill(&w.volume());
    back_up(&w, "first", Reuse::Own).await;
    let new = |r: &BackupReport| r.figures.bytes_new;
    assert!(new(&back_up(&w, "second", Reuse::Any).await) < 20_000);
    let verified = back_up(&w, "third", Reuse::Verified).await;
    assert!(new(&verified) < 20_000, "it reads and finds them good: {}", new(&verified));
    let own = back_up(&w, "fourth", Reuse::Own).await;
    assert!(new(&own) >= FILES * 20_000);
    for report in [verified, own] {
        assert!(is_good(&w, &report).await);
    }
}

/// Packs of data that the store reads for a backup of a volume, and the backup.
async fn reads(w: &World, volume: &str) -> (u64, BackupReport) {
    // As another process, which has nothing in its caches.
    let fresh = world_with_volume(w).await;
    let before = w.counts.figures();
    let report = back_up(&fresh, volume, Reuse::Verified).await;
    let read = w.counts.figures().since(&before).bytes(Op::Get);
    assert!(is_good(&fresh, &report).await, "{volume}");
    (read, report)
}

/// What a scrub has read is referred to as it is; else each blob is read once, and what is not as it should be is stored again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_stands_for_a_pack_and_only_for_the_one_that_it_found_whole() {
    let w = world().await;
    fill(&w.volume());
    let first = back_up(&w, "first", Reuse::Any).await;
    let data = FILES * 20_000;
    let (read, unproven) = reads(&w, "unproven").await;
    assert!(read > data && unproven.figures.bytes_new < 20_000, "{read} {:?}", unproven.figures);
    let found = scrub(&w.repo, &ScrubRequest::default(), &Task::default()).await.unwrap();
    assert!(found.problems.is_empty() && found.packs == found.packs_total);
    let (read, proven) = reads(&w, "proven").await;
    assert!(read < data / 2 && proven.figures.bytes_new < 20_000, "{read} {:?}", proven.figures);

    // The pack goes bad, and a scrub says so without quarantine: that proof is no leave to refer to it.
    let place = heal::place_of(&w, &first.snapshot, "f3").await;
    heal::damage(&w, place).await;
    let w = heal::reopened(w).await;
    let told = ScrubRequest { no_quarantine: true, ..ScrubRequest::default() };
    let found = scrub(&w.repo, &told, &Task::default()).await.unwrap();
    assert_eq!(found.damaged.len(), 1);
    let (_, damaged) = reads(&w, "damaged").await;
    let new = damaged.figures.bytes_new;
    assert!(new >= data, "all of them lie in the group that is lost, and are stored again: {new}");
    // What was stored again serves the next one, which reads it: it is not proven.
    let (read, healed) = reads(&w, "healed").await;
    assert!(read > data && healed.figures.bytes_new < 20_000, "{read} {:?}", healed.figures);
}

/// Junk decodes; what is proven is what has its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_does_not_prove_junk() {
    let w = world().await;
    fill(&w.volume());
    poison(&w.repo).await;
    let told = ScrubRequest { no_quarantine: true, ..ScrubRequest::default() };
    let found = scrub(&w.repo, &told, &Task::default()).await.unwrap();
    assert_eq!(found.damaged.len(), 1, "bytes that are not those of their ids are damage");
    let report = back_up(&w, "victim", Reuse::Verified).await;
    assert!(report.figures.bytes_new >= FILES * 20_000);
    assert!(is_good(&w, &report).await);
    // The other way round, so that this test can fail: had it been proven, it would have been believed.
    let listed = crate::ops::gc::list_packs(&w.repo.objects()).await.unwrap();
    let proof = PackProof { at: w.repo.env.now().plus_seconds(60), damaged: 0 };
    let packs = listed.keys().map(|pack| (*pack, proof)).collect();
    proofs::write(&w.repo, &Proofs { packs, ..Proofs::default() }).await.unwrap();
    let other = world_with_volume(&w).await;
    let believed = back_up(&other, "believer", Reuse::Verified).await;
    assert!(believed.figures.bytes_new < FILES * 20_000, "{:?}", believed.figures);
}

async fn world_with_volume(w: &World) -> World {
    let dir = tempfile::Builder::new().tempdir_in(disk()).unwrap();
    let other = World { repo: open(Arc::clone(&w.repo.store)).await, counts: Arc::clone(&w.counts), dir };
    fill(&other.volume());
    other
}
