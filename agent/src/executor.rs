//! Does jobs: a trait, so that everything around jobs can be tested without the engine; and the engine's own.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use proto::job::{BackupSpec, JobResult, JobSpec, RestoreSpec};
use repository::env::Env;
use repository::index::Lookup;
use repository::ops::backup::{BackupReport, BackupRequest, Reuse};
use repository::ops::restore::{RestoreReport, RestoreRequest};
use repository::ops::{Repository, Task, backup, restore, snapshots};
use repository::{Error, ErrorKind, Result};
use service::client::Dialer;
use service::paths;
use service::repo::Probe;

use crate::config::{Config, Domain, Volume};
use crate::limits::INDEX_SECONDS;
use crate::lookup::RemoteLookup;
use crate::metrics::Metrics;

/// Does one job. Must end soon after the task is cancelled.
#[async_trait]
pub trait Executor: Send + Sync + Debug {
    /// Does it; failures are part of the result.
    async fn execute(&self, spec: &JobSpec, task: &Task) -> Outcome;
}

/// What became of a job.
#[derive(Debug)]
pub enum Outcome {
    /// It ended.
    Ended(Box<JobResult>),
    /// It can't go on here, by nobody's fault, and should go on where its volume is; why.
    Returned(String),
}

impl From<JobResult> for Outcome {
    fn from(result: JobResult) -> Self {
        Self::Ended(Box::new(result))
    }
}

/// A backup that was fenced this often in a row is given up.
const FENCED_MAX: u32 = 5;

/// Does jobs with the engine, on an opened repository.
#[derive(Debug)]
pub struct RepositoryExecutor {
    repo: Arc<Repository>,
    lookup: Arc<dyn Lookup>,
    host: String,
    volumes: Vec<Volume>,
    restore_roots: Vec<PathBuf>,
    zstd_level: i32,
    reread_days: u32,
    reuse: Reuse,
    readers: usize,
    memory_bytes_max: usize,
}

impl RepositoryExecutor {
    /// Opens the repository; blobs are looked up at the coordinator, and locally while it is away.
    pub async fn open(
        (config, domain): (&Config, &Domain),
        dialer: Dialer,
        metrics: &Metrics,
        env: &Env,
    ) -> Result<Self> {
        let repo = domain.repository.open(metrics.store.clone(), Probe::Skip, env).await?;
        Ok(Self::with(config, domain, repo, dialer, metrics))
    }

    /// The same in a repository that was opened.
    #[must_use]
    pub fn with(
        config: &Config,
        domain: &Domain,
        repo: Arc<Repository>,
        dialer: Dialer,
        metrics: &Metrics,
    ) -> Self {
        let local = service::repo::open_index(&repo, INDEX_SECONDS);
        let lookup = RemoteLookup::new(dialer, local, metrics.clone());
        Self::new(config, domain, repo, Arc::new(lookup))
    }

    /// The memory bound is shared out among the jobs that may run at once.
    #[must_use]
    pub fn new(config: &Config, domain: &Domain, repo: Arc<Repository>, lookup: Arc<dyn Lookup>) -> Self {
        let jobs = usize::try_from(config.jobs_max.max(1)).unwrap_or(usize::MAX);
        Self {
            repo,
            lookup,
            host: config.host.clone(),
            volumes: domain.volumes.clone(),
            restore_roots: domain.restore_roots.clone(),
            zstd_level: config.zstd_level,
            reread_days: config.reread_days,
            reuse: domain.reuse,
            readers: config.readers,
            memory_bytes_max: config.memory_bytes_max / jobs,
        }
    }

    async fn backup(&self, spec: &BackupSpec, task: &Task) -> Result<BackupReport> {
        let volume = self.volumes.iter().find(|v| v.name == spec.volume);
        let volume = volume.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("this agent has no volume {:?}", spec.volume))
        })?;
        let request = BackupRequest {
            root: volume.path.clone(),
            volume: volume.name.clone(),
            host: self.host.clone(),
            rules: volume.rules.clone(),
            tags: spec.tags.clone(),
            origin: spec.origin.clone(),
            read_all: spec.read_all,
            reread_days: self.reread_days,
            reuse: self.reuse,
            zstd_level: self.zstd_level,
            memory_bytes_max: self.memory_bytes_max,
            readers: self.readers,
            shown: None,
            guard: None,
        };
        back_up(&self.repo, request, self.lookup.clone(), task).await
    }

    async fn restore(&self, spec: &RestoreSpec, task: &Task) -> Result<RestoreReport> {
        let target = check_target(&spec.target, &self.restore_roots)?;
        restore_to(&self.repo, spec, target, self.memory_bytes_max, task).await
    }
}

/// Backs up; when a GC fenced it, again.
pub(crate) async fn back_up(
    repo: &Arc<Repository>,
    request: BackupRequest,
    lookup: Arc<dyn Lookup>,
    task: &Task,
) -> Result<BackupReport> {
    let mut fenced = 0;
    loop {
        match backup::backup(repo, request.clone(), Some(lookup.clone()), task).await {
            // What was uploaded is found again, so starting anew is cheap.
            Err(e) if e.kind() == ErrorKind::Fenced && fenced < FENCED_MAX => {
                fenced += 1;
                tracing::info!(volume = request.volume, fenced, "backup was fenced by a GC, starting again");
            }
            done => return done.map_err(|e| e.context(format!("backup {}", request.volume))),
        }
    }
}

/// Restores what a job names into a folder that was checked.
pub(crate) async fn restore_to(
    repo: &Arc<Repository>,
    spec: &RestoreSpec,
    target: PathBuf,
    memory_bytes_max: usize,
    task: &Task,
) -> Result<RestoreReport> {
    let snapshot = snapshots::get(repo, &spec.snapshot.to_string(), None).await?;
    let what = format!("restore {} to {}", spec.snapshot, OsStr::from_bytes(&spec.target).display());
    let request = RestoreRequest {
        snapshot,
        path: spec.path.clone(),
        patterns: spec.patterns.clone(),
        target,
        existing: spec.existing,
        memory_bytes_max,
    };
    restore::restore(repo, request, task).await.map_err(|e| e.context(what))
}

/// A backup's end as a job's.
pub(crate) fn backup_result(done: Result<BackupReport>, task: &Task) -> JobResult {
    match done {
        Ok(r) => JobResult {
            figures: r.figures,
            problems: r.problems,
            snapshot: Some(r.snapshot),
            ..JobResult::default()
        },
        Err(e) => JobResult::failed(&e, task.monitor.figures()),
    }
}

/// A restore's end as a job's.
pub(crate) fn restore_result(done: Result<RestoreReport>, task: &Task) -> JobResult {
    match done {
        Ok(r) => {
            JobResult { figures: r.figures, problems: r.problems, skipped: r.skipped, ..JobResult::default() }
        }
        Err(e) => JobResult::failed(&e, task.monitor.figures()),
    }
}

#[async_trait]
impl Executor for RepositoryExecutor {
    async fn execute(&self, spec: &JobSpec, task: &Task) -> Outcome {
        match spec {
            JobSpec::Backup(spec) => backup_result(self.backup(spec, task).await, task),
            JobSpec::Restore(spec) => restore_result(self.restore(spec, task).await, task),
        }
        .into()
    }
}

/// The target as a path, if it is below a restore root and no symlink stands between the two: who can ask for restores
/// must not be able to write elsewhere.
pub(crate) fn check_target(target: &[u8], roots: &[PathBuf]) -> Result<PathBuf> {
    let path = PathBuf::from(OsStr::from_bytes(target));
    let refuse =
        |why: String| Err(Error::new(ErrorKind::Refused, format!("restore to {}: {why}", path.display())));
    let root = roots.iter().find(|r| paths::is_below(target, r.as_os_str().as_bytes()));
    let Some(root) = root else {
        return refuse("not below one of this agent's restore roots".to_owned());
    };
    let between = path.ancestors().take_while(|p| *p != root.as_path());
    for part in between {
        match is_symlink(part) {
            Ok(false) => {}
            Ok(true) => return refuse(format!("{} is a symlink", part.display())),
            Err(e) => return refuse(format!("{}: {e}", part.display())),
        }
    }
    Ok(path)
}

fn is_symlink(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(meta.is_symlink()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
