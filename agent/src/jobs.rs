//! The jobs that this agent holds: running ones, and ended ones of which the coordinator has not taken the result yet.
//!
//! Results are written to disk before anybody hears of them, so that they outlive the agent; running jobs do not.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::job::{Job, JobId, JobResult};
use repository::monitor::{Figures, Monitor};
use repository::ops::Task;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::executor::{Executor, Outcome};
use crate::metrics::Metrics;
use crate::slots::{Slot, Slots};

mod kept;

pub use kept::Kept;

#[derive(Debug)]
struct Running {
    job: Job,
    cancel: CancellationToken,
    monitor: Arc<Monitor>,
    counted: Figures,
    wanted: bool,
    /// Given back when the job has ended.
    _slot: Slot,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<JobId, Running>,
    ended: BTreeMap<JobId, (Job, JobResult)>,
    /// Given back since the last look, and why.
    returned: Vec<(JobId, String)>,
    acknowledged: Option<Acknowledged>,
}

/// How the last job ended of which the coordinator has taken the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// All was done.
    Done,
    /// Done, but for some entries.
    Partial,
    /// It failed, or was cancelled.
    Failed,
}

/// The jobs that this agent holds of one domain.
#[derive(Debug)]
pub struct Jobs {
    executor: Arc<dyn Executor>,
    kept: Kept,
    slots: Slots,
    number: usize,
    metrics: Metrics,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    ended: Notify,
    acknowledged: Notify,
    state: Mutex<State>,
}

impl Jobs {
    /// With the results that an earlier process left. The domain's number is its own among those that share the slots.
    #[must_use]
    pub fn new(
        executor: Arc<dyn Executor>,
        kept: Kept,
        (slots, number): (Slots, usize),
        metrics: Metrics,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let ended = kept.load();
        metrics.results_waiting.inc_by(i64::try_from(ended.len()).unwrap_or(i64::MAX));
        let state = Mutex::new(State { ended, ..State::default() });
        let (tasks, ended, acknowledged) = (TaskTracker::new(), Notify::new(), Notify::new());
        Arc::new(Self { executor, kept, slots, number, metrics, shutdown, tasks, ended, acknowledged, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, or says why not now. One that is held already is taken as begun.
    pub fn begin(self: &Arc<Self>, job: Job) -> Result<(), String> {
        let mut state = self.lock();
        if state.running.contains_key(&job.id) || state.ended.contains_key(&job.id) {
            return Ok(());
        }
        if self.shutdown.is_cancelled() {
            return Err("the agent is stopping".to_owned());
        }
        if state.ended.len() >= self.slots.results_max() {
            return Err(format!("{} results wait to be acknowledged", state.ended.len()));
        }
        let slot = self.slots.take(self.number, Instant::now())?;
        let task = Task { cancel: self.shutdown.child_token(), ..Task::default() };
        let running = Running {
            job: job.clone(),
            cancel: task.cancel.clone(),
            monitor: task.monitor.clone(),
            counted: Figures::default(),
            wanted: true,
            _slot: slot,
        };
        state.running.insert(job.id, running);
        self.metrics.count_running(job.spec.kind(), 1);
        drop(state);
        tracing::info!(job = %job.id, kind = job.spec.kind(), volume = job.spec.volume(), "job begins");
        let this = self.clone();
        self.tasks.spawn(async move { this.work(job, task).await });
        Ok(())
    }

    async fn work(&self, job: Job, task: Task) {
        let result = match self.executor.execute(&job.spec, &task).await {
            Outcome::Ended(result) => *result,
            Outcome::Returned(reason) => return self.give_back(&job, reason),
        };
        let wanted = self.lock().running.get(&job.id).is_some_and(|r| r.wanted);
        let what = result.failure.as_ref().map_or("", |f| f.what.as_str());
        tracing::info!(job = %job.id, problems = result.problems.count(), failure = what, "job ended");
        // Ended by our own stop: whoever starts next begins it anew, and finds what was uploaded.
        let stopped = self.shutdown.is_cancelled() && wanted && result.is_cancelled();
        if !stopped {
            self.kept.put(&job, &result);
        }
        self.count_progress();
        let mut state = self.lock();
        state.running.remove(&job.id);
        self.metrics.count_running(job.spec.kind(), -1);
        if !stopped {
            self.metrics.finished.count(&job.spec, &result);
            self.metrics.results_waiting.inc();
            state.ended.insert(job.id, (job, result));
        }
        drop(state);
        self.ended.notify_one();
    }

    /// The coordinator hears of it while it is connected, and sees by what is held otherwise.
    fn give_back(&self, job: &Job, reason: String) {
        tracing::info!(job = %job.id, reason, "job is given back");
        self.count_progress();
        let mut state = self.lock();
        state.running.remove(&job.id);
        state.returned.push((job.id, reason));
        self.metrics.count_running(job.spec.kind(), -1);
        self.metrics.jobs_returned.inc();
        drop(state);
        self.ended.notify_one();
    }

    /// What was given back since the last call, and why.
    pub(crate) fn take_returned(&self) -> Vec<(JobId, String)> {
        std::mem::take(&mut self.lock().returned)
    }

    /// Waits until a result was acknowledged and none is held any more, and says how that job ended.
    pub(crate) async fn wait_last(&self) -> Acknowledged {
        loop {
            if let Some(last) = self.find_last() {
                return last;
            }
            self.acknowledged.notified().await;
        }
    }

    fn find_last(&self) -> Option<Acknowledged> {
        let state = self.lock();
        state.acknowledged.filter(|_| state.running.is_empty() && state.ended.is_empty())
    }

    /// Ends a job soon; its result will say that it was cancelled.
    pub fn cancel(&self, id: JobId) {
        if let Some(running) = self.lock().running.get_mut(&id) {
            tracing::info!(job = %id, "job is cancelled");
            running.wanted = false;
            running.cancel.cancel();
        }
    }

    /// All jobs held, running and ended.
    #[must_use]
    pub fn held(&self) -> Vec<Job> {
        let state = self.lock();
        state
            .running
            .values()
            .map(|r| &r.job)
            .chain(state.ended.values().map(|(job, _)| job))
            .cloned()
            .collect()
    }

    /// Results that the coordinator has not taken yet.
    #[must_use]
    pub fn results(&self) -> Vec<(JobId, JobResult)> {
        self.lock().ended.iter().map(|(id, (_, result))| (*id, result.clone())).collect()
    }

    /// The coordinator has the result.
    pub fn acknowledge(&self, id: JobId) {
        let mut state = self.lock();
        if let Some((_, result)) = state.ended.remove(&id) {
            state.acknowledged = Some(match result.outcome() {
                "done" => Acknowledged::Done,
                "partial" => Acknowledged::Partial,
                _ => Acknowledged::Failed,
            });
            self.metrics.results_waiting.dec();
            drop(state);
            self.kept.remove(id);
            self.acknowledged.notify_one();
        }
    }

    /// Waits until a job has ended since the last call.
    pub async fn wait_ended(&self) {
        self.ended.notified().await;
    }

    /// Figures of all running jobs.
    #[must_use]
    pub fn progress(&self) -> Vec<(JobId, Figures)> {
        self.lock().running.iter().map(|(id, r)| (*id, r.monitor.figures())).collect()
    }

    /// Adds what running jobs did since the last call to the metrics.
    pub fn count_progress(&self) {
        for running in self.lock().running.values_mut() {
            let now = running.monitor.figures();
            self.metrics.count_figures(&running.counted, &now);
            running.counted = now;
        }
    }

    /// Waits for the jobs to end, after the shutdown.
    pub async fn stop(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests;
