//! A member of the domain that stores junk under ids of content that others will have.

use bytes::Bytes;

use super::backup::Reuse;
use super::*;
use crate::index::DeltaPack;
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
