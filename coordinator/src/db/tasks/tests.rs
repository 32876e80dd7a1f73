//! Never two of a kind, and the schedule's memory outlives the log.

use proto::task::{CopySpec, GcSpec, ScrubSpec, TaskResult, TaskSpec};

use super::*;

fn record(n: u8, spec: TaskSpec) -> Record {
    let at = Timestamp(i64::from(n));
    Record::new(TaskId([n; 16]), spec, "token ops".into(), "why".into(), at)
}

async fn end(db: &Db, n: u8, at: i64) -> Record {
    let finish = Event::Finish(Box::new(TaskResult { complete: true, ..TaskResult::default() }));
    for event in [Event::Begin, finish] {
        assert!(db.apply_task(TaskId([n; 16]), event, Timestamp(at)).await.unwrap().unwrap().1);
    }
    db.task(TaskId([n; 16])).await.unwrap().unwrap()
}

#[tokio::test]
async fn there_are_never_two_of_a_kind() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("db")).unwrap();
    let (first, other) = (record(1, TaskSpec::Gc(GcSpec::default())), record(2, TaskSpec::Forget));
    assert_eq!(db.put_task(first.clone()).await.unwrap(), Queued::New);
    assert_eq!(db.put_task(other.clone()).await.unwrap(), Queued::New);
    let second = record(3, TaskSpec::Gc(GcSpec { dry_run: true, ..GcSpec::default() }));
    assert_eq!(db.put_task(second.clone()).await.unwrap(), Queued::Exists(Box::new(first.clone())));
    assert_eq!(db.active_tasks().await.unwrap(), [first, other]);
    let to = |to: &str, newest| TaskSpec::Copy(CopySpec { to: to.into(), newest, ..CopySpec::default() });
    let (here, there) = (record(4, to("a", None)), record(5, to("b", None)));
    for one in [&here, &there] {
        assert_eq!(db.put_task(one.clone()).await.unwrap(), Queued::New, "each destination has its own");
    }
    let again = record(6, to("a", Some(1)));
    assert_eq!(db.put_task(again).await.unwrap(), Queued::Exists(Box::new(here)));
    end(&db, 1, 9).await;
    assert_eq!(db.put_task(second).await.unwrap(), Queued::New);
    assert!(db.apply_task(TaskId([9; 16]), Event::Cancel, Timestamp(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_last_of_each_kind_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = Db::open(&path).unwrap();
    db.put_task(record(1, TaskSpec::Scrub(ScrubSpec::default()))).await.unwrap();
    let scrub = end(&db, 1, 5).await;
    for n in 2..9 {
        let dry_run = n == 8;
        db.put_task(record(n, TaskSpec::Gc(GcSpec { dry_run, ..GcSpec::default() }))).await.unwrap();
        end(&db, n, 10 + i64::from(n)).await;
    }
    let mut last = db.last_tasks().await.unwrap();
    last.sort_by_key(|r| r.id);
    assert_eq!(last.iter().map(|r| r.id.0[0]).collect::<Vec<_>>(), [1, 7], "a dry run did nothing");
    assert_eq!(last[0], scrub);
    assert_eq!(db.tasks(2).await.unwrap().iter().map(|r| r.id.0[0]).collect::<Vec<_>>(), [8, 7]);
    let slots = || vec!["gc".to_owned(), "copy offsite".to_owned()];
    let begun = db.schedules_begun(slots(), Timestamp(3)).await.unwrap();
    assert_eq!(begun.len(), 2);
    drop(db);
    let again = Db::open(&path).unwrap().schedules_begun(slots(), Timestamp(99)).await.unwrap();
    assert_eq!(again, begun);
}

#[tokio::test]
async fn the_log_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("db")).unwrap();
    db.put_task(record(1, TaskSpec::Forget)).await.unwrap();
    end(&db, 1, 1).await;
    let many = TASKS_KEPT_MAX + 5;
    // In one transaction: each that is synced costs a disk's turn.
    let fill = move |t: &Transaction<'_>| {
        for n in 0..many {
            let mut id = [255; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let at = Timestamp(100 + i64::from(n));
            let spec = TaskSpec::Gc(GcSpec::default());
            let mut record = Record::new(TaskId(id), spec, String::new(), String::new(), at);
            assert!(record.apply(Event::Cancel, at));
            record.put(t)?;
        }
        Record::prune(t)
    };
    db.call("fill the log", fill).await.unwrap();
    let kept = db.tasks(many * 2).await.unwrap();
    assert_eq!(kept.len() as u32, TASKS_KEPT_MAX + 1, "and the one that the schedule counts from");
    assert!(kept.iter().any(|r| r.spec == TaskSpec::Forget));
}
