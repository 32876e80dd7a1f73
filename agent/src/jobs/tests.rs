//! The life of jobs and results without a coordinator.

use std::sync::Arc;

use async_trait::async_trait;
use proto::job::{BackupSpec, Job, JobId, JobResult, JobSpec};
use repository::ops::Task;
use repository::{Error, ErrorKind};
use tokio_util::sync::CancellationToken;

use super::{Jobs, Kept};
use crate::executor::{Executor, Outcome};
use crate::metrics::Metrics;
use crate::slots::Slots;

/// Does `quick` at once, and everything else until it is cancelled.
#[derive(Debug)]
struct Fake;

#[async_trait]
impl Executor for Fake {
    async fn execute(&self, spec: &JobSpec, task: &Task) -> Outcome {
        task.monitor.files.add(3);
        if spec.volume() == Some("quick") {
            return JobResult { figures: task.monitor.figures(), ..JobResult::default() }.into();
        }
        if spec.volume() == Some("left") {
            return Outcome::Returned("it left".to_owned());
        }
        task.cancel.cancelled().await;
        JobResult::failed(&Error::new(ErrorKind::Cancelled, "cancelled"), task.monitor.figures()).into()
    }
}

fn job(n: u8, volume: &str) -> Job {
    Job {
        id: JobId([n; 16]),
        spec: JobSpec::Backup(BackupSpec { volume: volume.into(), ..Default::default() }),
    }
}

fn jobs_of(dir: &std::path::Path, slots: (Slots, usize), shutdown: &CancellationToken) -> Arc<Jobs> {
    Jobs::new(Arc::new(Fake), Kept::open(dir).unwrap(), slots, Metrics::default(), shutdown.clone())
}

fn jobs(dir: &std::path::Path, shutdown: &CancellationToken) -> Arc<Jobs> {
    jobs_of(dir, (Slots::new(1, 1), 0), shutdown)
}

#[tokio::test]
async fn a_result_outlives_the_process_until_it_is_acknowledged() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let first = jobs(dir.path(), &stop);
    first.begin(job(1, "quick")).unwrap();
    first.wait_ended().await;
    assert_eq!(first.results()[0].1.figures.files, 3);

    let second = jobs(dir.path(), &stop);
    assert_eq!(second.held(), [job(1, "quick")]);
    assert_eq!(second.results().len(), 1);
    second.acknowledge(JobId([1; 16]));
    assert!(second.held().is_empty());
    assert!(jobs(dir.path(), &stop).held().is_empty());
}

#[tokio::test]
async fn jobs_at_once_are_bounded_and_offers_may_be_repeated() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let jobs = jobs(dir.path(), &stop);
    jobs.begin(job(1, "slow")).unwrap();
    jobs.begin(job(1, "slow")).unwrap();
    assert!(jobs.begin(job(2, "slow")).unwrap_err().contains("running already"));
    assert_eq!(jobs.held().len(), 1);
    jobs.cancel(JobId([1; 16]));
    jobs.wait_ended().await;
    assert!(jobs.results()[0].1.is_cancelled());
    jobs.begin(job(2, "slow")).unwrap();
}

#[tokio::test]
async fn a_stop_leaves_no_result_behind() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let first = jobs(dir.path(), &stop);
    first.begin(job(1, "slow")).unwrap();
    stop.cancel();
    first.stop().await;
    assert!(first.held().is_empty());
    assert!(first.begin(job(2, "slow")).unwrap_err().contains("stopping"));
    assert!(jobs(dir.path(), &CancellationToken::new()).held().is_empty());
}

#[tokio::test]
async fn domains_share_the_places_and_nothing_else() {
    let (a, b, stop) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), CancellationToken::new());
    let slots = Slots::new(1, 2);
    let one = jobs_of(a.path(), (slots.clone(), 0), &stop);
    let two = jobs_of(b.path(), (slots, 1), &stop);
    one.begin(job(1, "slow")).unwrap();
    assert!(two.begin(job(2, "quick")).unwrap_err().contains("running already"));
    // What one holds the other neither tells, cancels nor forgets.
    assert!(two.held().is_empty() && two.progress().is_empty());
    two.cancel(JobId([1; 16]));
    one.cancel(JobId([1; 16]));
    one.wait_ended().await;
    assert!(two.results().is_empty());
    two.acknowledge(JobId([1; 16]));
    assert_eq!(one.results().len(), 1);
    two.begin(job(2, "quick")).unwrap();
    two.wait_ended().await;
    assert_eq!(two.results()[0].0, JobId([2; 16]));
}

#[test]
fn damaged_files_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::open(dir.path()).unwrap();
    kept.put(&job(1, "v"), &JobResult::default());
    let results = dir.path().join("results");
    std::fs::write(results.join("ff"), b"\xff\xff\xff").unwrap();
    std::fs::copy(results.join(JobId([1; 16]).to_string()), results.join(JobId([2; 16]).to_string()))
        .unwrap();
    std::fs::write(results.join("half.new"), b"").unwrap();
    assert_eq!(kept.load().into_keys().collect::<Vec<_>>(), [JobId([1; 16])]);
}

#[tokio::test]
async fn a_job_whose_volume_left_is_given_back_and_not_held() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let jobs = jobs(dir.path(), &stop);
    jobs.begin(job(1, "left")).unwrap();
    jobs.wait_ended().await;
    assert_eq!(jobs.take_returned(), [(JobId([1; 16]), "it left".to_owned())]);
    assert!(jobs.held().is_empty());
    assert!(jobs.take_returned().is_empty());
    // Its place is free again.
    jobs.begin(job(2, "quick")).unwrap();
    jobs.wait_ended().await;
    assert_eq!(jobs.find_last(), None);
    jobs.acknowledge(JobId([2; 16]));
    assert_eq!(jobs.find_last(), Some(super::Acknowledged::Done));
}
