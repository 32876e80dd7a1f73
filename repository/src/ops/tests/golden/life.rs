//! The golden repository is in use: today's writers and collectors go on with what was stored then.

use super::*;
use crate::ops::forget::{Because, forget, unforget};
use crate::ops::gc::{Compaction, GcRequest, collect};
use crate::ops::tests::gc::AT_ONCE;
use crate::session::history;

/// The fixture in memory, where all may be done with it.
async fn a_copy() -> Arc<dyn Store> {
    let files = FileStore::open(&folder().join("repo"), &env()).unwrap();
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let listed: Vec<_> = files.list("", None).try_collect().await.unwrap();
    for object in listed {
        memory.put_new(&object.key, files.get(&object.key).await.unwrap()).await.unwrap();
    }
    memory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_opens_nothing_goes_on_with_it() {
    let store = a_copy().await;
    let key = Credential::read_key_file(&folder().join("writer-key-file")).unwrap();
    let writer = open_with(Arc::clone(&store), key).await.unwrap();
    let dir = tempfile::Builder::new().tempdir_in(disk()).unwrap();
    // Of the relocated ones, and of the newest.
    let seeds = [0, 1, 2, 200];
    for n in seeds {
        fs::write(dir.path().join(format!("file {n}")), noise(n, 20_000)).unwrap();
    }
    let request = BackupRequest { volume: "churn".to_owned(), ..request(dir.path()) };
    let report = backup(&writer, request, None, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    assert_eq!((report.figures.blobs_new, report.figures.bytes_new), (0, 0), "{:?}", report.figures);
    let snapshot = snapshots::get(&writer, &report.snapshot.id.to_string(), None).await.unwrap();
    let target = dir.path().join("out");
    let refused = restore(&writer, restore_request(snapshot, target.clone()), &Task::default()).await;
    assert!(!target.exists(), "{refused:?}");
    let full = open_with(store, key_file()).await.unwrap();
    let snapshot = snapshots::get(&full, &report.snapshot.id.to_string(), None).await.unwrap();
    restore(&full, restore_request(snapshot, target.clone()), &Task::default()).await.unwrap();
    for n in seeds {
        assert_eq!(fs::read(target.join(format!("file {n}"))).unwrap(), noise(n, 20_000));
    }
}

/// Its whole life goes on: what was forgotten comes back, two runs of GC end the dead session, and all snapshots are what they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_goes_on_with_it() {
    let store = a_copy().await;
    let repo = open_with(Arc::clone(&store), key_file()).await.unwrap();
    let forgotten = history::list_forgotten(&repo.objects()).await.unwrap();
    let [(_, forgotten)] = forgotten[..] else { panic!("{forgotten:?}") };
    let back = unforget(&repo, forgotten, "golden", &Task::default()).await.unwrap();
    forget(&repo, back, &Because::default()).await.unwrap();
    for _ in 0..2 {
        let request = GcRequest { compaction: Compaction::default(), ..AT_ONCE };
        let run = collect(&repo, request, &Task::default()).await.unwrap();
        assert!(run.done, "{run:?}");
    }
    let repo = open_with(store, key_file()).await.unwrap();
    let (snapshots, damaged) = snapshots::list(&repo).await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let expected = expected();
    assert_eq!(snapshots.len(), expected.len());
    for (snapshot, (id, expected)) in snapshots.iter().zip(&expected) {
        assert_eq!(lines_of_snapshot(&repo, snapshot).await.unwrap(), *expected, "{id}");
        let report = verify(&repo, snapshot, &Level::Full, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default(), "{id}");
    }
}
