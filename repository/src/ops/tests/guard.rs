//! A volume that leaves while it is read becomes no snapshot.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ops::backup::Guard;
use crate::{Error, ErrorKind};

#[tokio::test]
async fn a_volume_that_left_becomes_no_snapshot() {
    let w = world().await;
    fs::write(w.volume().join("file"), "content").unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let guard = Guard::new(move || match count.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Error::new(ErrorKind::Source, "it left")),
        _ => Ok(()),
    });
    let request =
        BackupRequest { guard: Some(guard), shown: Some("/where/it/was".into()), ..request(&w.volume()) };
    let e = backup(&w.repo, request.clone(), None, &Task::default()).await.unwrap_err();
    assert_eq!((e.kind(), e.chain().contains("it left")), (ErrorKind::Source, true), "{}", e.chain());
    let (listed, _) = snapshots::list(&w.repo).await.unwrap();
    assert!(listed.is_empty(), "the outcome must not be written");

    // The next one finds what was stored.
    let report = backup(&w.repo, request, None, &Task::default()).await.unwrap();
    // Its metadata may differ in times only: that is a pack, or none.
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert!(report.figures.packs <= 1, "{} packs", report.figures.packs);
    assert_eq!(report.snapshot.manifest.path, b"/where/it/was");
}
