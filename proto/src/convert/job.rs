//! Jobs and their results; also as bytes, for the coordinator's queue and the agent's unacknowledged results.

use bytes::Bytes;
use prost::Message as _;
use repository::ops::restore::Existing;
use repository::{Error, ErrorKind, Result};

use super::report::{
    failure_from_wire, failure_to_wire, figures_from_wire, figures_to_wire, problems_from_wire,
    problems_to_wire,
};
use super::snapshot::{
    origin_from_wire, origin_to_wire, sid_from_wire, snapshot_from_wire, snapshot_to_wire,
};
use super::{Check as _, bad, fixed};
use crate::job::{BackupSpec, Job, JobId, JobResult, JobSpec, RestoreSpec};
use crate::v1;

/// A job's id.
pub fn job_id_from_wire(bytes: &[u8]) -> Result<JobId> {
    fixed(bytes, "job id").map(JobId)
}

/// A job.
#[must_use]
pub fn job_to_wire(job: &Job) -> v1::Job {
    v1::Job { id: Bytes::copy_from_slice(&job.id.0), spec: Some(spec_to_wire(&job.spec)) }
}

/// A job of a kind that we don't know is refused.
pub fn job_from_wire(job: v1::Job) -> Result<Job> {
    Ok(Job { id: job_id_from_wire(&job.id)?, spec: spec_from_wire(job.spec)? })
}

fn spec_to_wire(spec: &JobSpec) -> v1::job::Spec {
    match spec.clone() {
        JobSpec::Backup(b) => v1::job::Spec::Backup(v1::BackupJob {
            volume: b.volume,
            read_all: b.read_all,
            tags: b.tags,
            origin: b.origin.as_ref().map(origin_to_wire),
        }),
        JobSpec::Restore(r) => v1::job::Spec::Restore(v1::RestoreJob {
            snapshot: Bytes::copy_from_slice(&r.snapshot.0),
            path: r.path.into(),
            patterns: r.patterns,
            target: r.target.into(),
            existing: existing_to_wire(r.existing).into(),
        }),
    }
}

fn spec_from_wire(spec: Option<v1::job::Spec>) -> Result<JobSpec> {
    match spec {
        Some(v1::job::Spec::Backup(b)) => {
            b.check()?;
            let origin = b.origin.map(origin_from_wire).transpose()?;
            Ok(JobSpec::Backup(BackupSpec { volume: b.volume, read_all: b.read_all, tags: b.tags, origin }))
        }
        Some(v1::job::Spec::Restore(r)) => {
            r.check()?;
            Ok(JobSpec::Restore(RestoreSpec {
                snapshot: sid_from_wire(&r.snapshot)?,
                existing: existing_from_wire(r.existing()),
                path: r.path.to_vec(),
                patterns: r.patterns,
                target: r.target.to_vec(),
            }))
        }
        None => Err(bad("spec", "not a known kind of job")),
    }
}

/// What to do with what is in the target.
#[must_use]
pub fn existing_to_wire(e: Existing) -> v1::Existing {
    match e {
        Existing::Fail => v1::Existing::Fail,
        Existing::Skip => v1::Existing::Skip,
        Existing::Overwrite => v1::Existing::Overwrite,
        Existing::IfChanged => v1::Existing::IfChanged,
    }
}

/// Unspecified is the careful one: fail.
#[must_use]
pub fn existing_from_wire(e: v1::Existing) -> Existing {
    match e {
        v1::Existing::Fail | v1::Existing::Unspecified => Existing::Fail,
        v1::Existing::Skip => Existing::Skip,
        v1::Existing::Overwrite => Existing::Overwrite,
        v1::Existing::IfChanged => Existing::IfChanged,
    }
}

/// A job's result.
#[must_use]
pub fn result_to_wire(r: &JobResult) -> v1::JobResult {
    v1::JobResult {
        failure: r.failure.as_ref().map(failure_to_wire),
        figures: Some(figures_to_wire(&r.figures)),
        problems: Some(problems_to_wire(&r.problems)),
        snapshot: r.snapshot.as_ref().map(snapshot_to_wire),
        skipped: r.skipped,
    }
}

/// The reverse.
pub fn result_from_wire(r: v1::JobResult) -> Result<JobResult> {
    Ok(JobResult {
        failure: r.failure.map(failure_from_wire),
        figures: figures_from_wire(r.figures.as_ref()),
        problems: problems_from_wire(r.problems),
        snapshot: r.snapshot.map(snapshot_from_wire).transpose()?,
        skipped: r.skipped,
    })
}

/// A job's spec as bytes.
#[must_use]
pub fn encode_spec(spec: &JobSpec) -> Vec<u8> {
    v1::Job { id: Bytes::new(), spec: Some(spec_to_wire(spec)) }.encode_to_vec()
}

/// The reverse.
pub fn decode_spec(bytes: &[u8]) -> Result<JobSpec> {
    let job = v1::Job::decode(bytes).map_err(|e| Error::with_source(ErrorKind::Damaged, "decode job", e))?;
    spec_from_wire(job.spec)
}

/// A result as bytes.
#[must_use]
pub fn encode_result(result: &JobResult) -> Vec<u8> {
    result_to_wire(result).encode_to_vec()
}

/// The reverse.
pub fn decode_result(bytes: &[u8]) -> Result<JobResult> {
    let result = v1::JobResult::decode(bytes);
    result_from_wire(result.map_err(|e| Error::with_source(ErrorKind::Damaged, "decode job result", e))?)
}

/// A finished job as an agent keeps it.
#[must_use]
pub fn encode_kept(job: &Job, result: &JobResult) -> Vec<u8> {
    v1::KeptResult { job: Some(job_to_wire(job)), result: Some(result_to_wire(result)) }.encode_to_vec()
}

/// The reverse.
pub fn decode_kept(bytes: &[u8]) -> Result<(Job, JobResult)> {
    let kept = v1::KeptResult::decode(bytes);
    let kept = kept.map_err(|e| Error::with_source(ErrorKind::Damaged, "decode kept result", e))?;
    let job = kept.job.ok_or_else(|| bad("job", "missing"))?;
    let result = kept.result.ok_or_else(|| bad("result", "missing"))?;
    Ok((job_from_wire(job)?, result_from_wire(result)?))
}
