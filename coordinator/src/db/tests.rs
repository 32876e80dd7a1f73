//! What outlives the process, and files that are refused.

use proto::job::{BackupSpec, Job, JobId, JobSpec};
use repository::env::Timestamp;

use super::agents::{AgentRow, VolumeRow};
use super::jobs::Queued;
use super::{Db, MIGRATIONS};
use crate::jobs::{Event, Record, State};

fn record(n: u8, volume: &str) -> Record {
    let spec = JobSpec::Backup(BackupSpec { volume: volume.into(), ..BackupSpec::default() });
    Record::new(Job { id: JobId([n; 16]), spec }, None, Timestamp(i64::from(n)))
}

#[tokio::test]
async fn jobs_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.db");
    let db = Db::open(&path).unwrap();
    assert_eq!(db.put_job(record(1, "v")).await.unwrap(), Queued::New);
    assert_eq!(db.put_job(record(2, "v")).await.unwrap(), Queued::Exists(JobId([1; 16])));
    assert_eq!(db.put_job(record(3, "w")).await.unwrap(), Queued::New);
    let (r, applied) =
        db.apply(JobId([1; 16]), Event::Offer("a".into()), Timestamp(5)).await.unwrap().unwrap();
    assert!(applied && r.state == State::Offered);
    drop(db);

    let db = Db::open(&path).unwrap();
    let active = db.active_jobs().await.unwrap();
    assert_eq!(active.len(), 2);
    assert_eq!((active[0].state, active[0].agent.as_deref()), (State::Offered, Some("a")));
    assert_eq!(active[0].job, record(1, "v").job);
    let finish = Event::Finish("a".into(), Box::default());
    db.apply(JobId([1; 16]), finish, Timestamp(9)).await.unwrap().unwrap();
    assert_eq!(db.active_jobs().await.unwrap().len(), 1);
    assert_eq!(db.put_job(record(4, "v")).await.unwrap(), Queued::New);
    assert_eq!(db.runs(Some("v".into()), 10).await.unwrap().len(), 2);
    assert_eq!(db.runs(None, 2).await.unwrap()[0].job.id, JobId([4; 16]));
    assert!(db.apply(JobId([9; 16]), Event::Lost, Timestamp(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn only_the_newest_end_makes_a_volume_failed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("c.db")).unwrap();
    db.put_job(record(1, "v")).await.unwrap();
    db.apply(JobId([1; 16]), Event::Cancel, Timestamp(10)).await.unwrap();
    assert_eq!(db.failed_volumes().await.unwrap(), [("v".to_owned(), Timestamp(10))]);
    db.put_job(record(2, "v")).await.unwrap();
    db.apply(JobId([2; 16]), Event::Offer("a".into()), Timestamp(11)).await.unwrap();
    db.apply(JobId([2; 16]), Event::Finish("a".into(), Box::default()), Timestamp(20)).await.unwrap();
    assert!(db.failed_volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_volume_moves_between_agents() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("c.db")).unwrap();
    let agent =
        |id: &str| AgentRow { id: id.into(), host: "h".into(), version: "1".into(), seen: Timestamp(1) };
    let volume = |name: &str, agent: Option<&str>, seen| VolumeRow {
        name: name.into(),
        host: "h".into(),
        path: b"/p".to_vec(),
        agent: agent.map(str::to_owned),
        first_seen: Timestamp(seen),
    };
    db.put_agent(agent("a"), vec![volume("v", Some("a"), 1), volume("w", Some("a"), 1)]).await.unwrap();
    db.put_agent(agent("a"), vec![volume("w", Some("a"), 2)]).await.unwrap();
    db.put_volumes_unless_known(vec![volume("w", None, 3), volume("x", None, 3)]).await.unwrap();
    db.put_agent_seen("a".into(), Timestamp(7)).await.unwrap();
    assert_eq!(
        db.volumes().await.unwrap(),
        [volume("v", None, 1), volume("w", Some("a"), 1), volume("x", None, 3)]
    );
    assert_eq!(db.agents().await.unwrap()[0].seen, Timestamp(7));
}

#[test]
fn a_newer_or_foreign_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.db");
    drop(Db::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len()).unwrap() + 1).unwrap();
    drop(connection);
    let e = Db::open(&path).unwrap_err().chain();
    assert!(e.contains("c.db") && e.contains("newer"), "{e}");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert!(Db::open(&path).unwrap_err().chain().contains("may be deleted"));
}
