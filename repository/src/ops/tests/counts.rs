//! How much work an operation takes: requests, packs, opened files.

use super::*;
use crate::manifest::Summary;
use crate::ops::forget::{Because, forget};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_tree_costs_no_packs_and_opens_nothing() {
    let w = world().await;
    let v = w.volume();
    for i in 0..300u64 {
        fs::create_dir_all(v.join(format!("d{}", i % 7))).unwrap();
        fs::write(v.join(format!("d{}/f{i}", i % 7)), noise(i, 100 + (i as usize * 37) % 9000)).unwrap();
    }
    fs::write(v.join("large"), noise(9, 3 << 20)).unwrap();
    let first = w.back_up().await;
    assert_eq!(first.figures.files_opened, 301);
    let before = w.counts.figures();
    let second = w.back_up().await;
    let work = w.counts.figures().since(&before);
    assert_eq!(second.figures.files_opened, 0);
    assert_eq!(second.figures.files_unchanged, 301);
    assert_eq!(second.figures.packs, 0);
    assert!(work.requests(Op::Put) <= 6, "{} puts", work.requests(Op::Put));
    assert_eq!(work.requests_of(Op::Put, 'p'), 0);
    assert_eq!(second.snapshot.manifest.root, first.snapshot.manifest.root);
    assert_eq!(second.snapshot.manifest.parent, Some(first.snapshot.id));
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_volume_with_the_same_content_stores_no_data() {
    let w = world().await;
    let v = w.volume();
    for i in 0..50u64 {
        fs::write(v.join(format!("f{i}")), noise(i, 20_000)).unwrap();
    }
    fs::write(v.join("large"), noise(99, 5 << 20)).unwrap();
    w.back_up().await;
    let mut again = request(&v);
    again.volume = "other".to_owned();
    let report = backup(&w.repo, again, None, &Task::default()).await.unwrap();
    assert_eq!(report.snapshot.manifest.parent, None);
    assert_eq!(report.figures.bytes_new, 0, "all data is found in the index");
    assert_eq!(snapshots::list(&w.repo).await.unwrap().0.len(), 2);
    let ambiguous = snapshots::get(&w.repo, "latest", None).await.unwrap_err();
    assert_eq!(ambiguous.kind(), crate::ErrorKind::Input, "{}", ambiguous.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_files_are_stored_once() {
    let w = world().await;
    let v = w.volume();
    for i in 0..400u64 {
        fs::write(v.join(format!("f{i:04}")), noise(i % 5, 50_000)).unwrap();
    }
    let report = w.back_up().await;
    assert_eq!(report.figures.bytes_new, 250_000);
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_known_reads_only_what_is_new() {
    let w = world().await;
    fs::write(w.volume().join("f"), b"x").unwrap();
    for _ in 0..3 {
        w.back_up().await;
    }
    let outcomes =
        |before: &crate::store::CountFigures| w.counts.figures().since(before).requests_of(Op::Get, 'm');
    let before = w.counts.figures();
    let (known, _) = snapshots::list_light(&w.repo, &[]).await.unwrap();
    assert_eq!((known.len(), outcomes(&before)), (3, 3));
    let heavy = snapshots::list(&w.repo).await.unwrap().0;
    assert_eq!(
        known.iter().map(|s| s.id).collect::<Vec<_>>(),
        heavy.iter().map(|s| s.id).collect::<Vec<_>>()
    );
    assert!(known.iter().all(|s| s.manifest.summary == Summary::Inline(Vec::new())));
    assert!(heavy.iter().all(|s| s.manifest.summary != Summary::Inline(Vec::new())));
    w.back_up().await;
    let before = w.counts.figures();
    let (more, _) = snapshots::list_light(&w.repo, &known).await.unwrap();
    assert_eq!((more.len(), outcomes(&before)), (4, 1));
    // What was forgotten leaves the list.
    forget(&w.repo, more[0].id, &Because::default()).await.unwrap();
    let (fewer, _) = snapshots::list_light(&w.repo, &more).await.unwrap();
    assert_eq!(fewer.len(), 3);
}
