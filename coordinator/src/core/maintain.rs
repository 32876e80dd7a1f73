//! Maintenance as time passes: what is due is queued, one task at a time is run, stopped, and taken up again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, stream};
use proto::task::{
    CopySpec, GcSpec, LockSpec, MirrorSpec, RestoreTestSpec, ScrubSpec, TaskId, TaskKind, TaskResult,
    TaskSpec,
};
use repository::env::Timestamp;
use repository::monitor::Figures;
use repository::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::keeper::{Running, Stop, TaskView};
use crate::db::tasks::Queued;
use crate::jobs::State;
use crate::limits::STOP_SECONDS;
use crate::maintenance::plan::Last;
use crate::maintenance::record::{Event, SCHEDULE};
use crate::maintenance::{Record, Slot, destination};

/// Schedules and windows are looked at this often; tasks that come are begun at once.
const TICK: Duration = Duration::from_secs(1);

/// What is known of a kind's schedule.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) slot: Slot,
    pub(crate) schedule: String,
    pub(crate) window: String,
    pub(crate) next: Option<Timestamp>,
}

impl Core {
    /// Queues a task. Gives an equal one that has not ended instead; refuses if one of its kind with other options has
    /// not, or if this coordinator does not run maintenance.
    pub(crate) async fn start_task(&self, spec: TaskSpec, by: &str, reason: &str) -> Result<(TaskId, bool)> {
        let refuse = |what: String| Error::new(ErrorKind::Refused, what);
        self.keeper.leader.leads().map_err(refuse)?;
        destination::check(&self.keeper.settings.destinations, &spec)?;
        let id = TaskId::new(&self.env);
        let record = Record::new(id, spec, by.to_owned(), reason.to_owned(), self.env.now());
        match self.db.put_task(record.clone()).await? {
            Queued::New => {
                tracing::info!(task = %id, kind = record.spec.kind().name(), by, "maintenance queued");
                self.keeper.changed();
                self.keeper.wake.notify_one();
                Ok((id, false))
            }
            Queued::Exists(other) if other.spec == record.spec => Ok((other.id, true)),
            Queued::Exists(other) => {
                let (kind, state) = (Slot::of(&record.spec), other.state.name());
                let what =
                    format!("a {kind} with other options is {state} (task {}); cancel it first", other.id);
                Err(refuse(what))
            }
        }
    }

    /// Asks for the end of a task.
    pub(crate) async fn cancel_task(&self, id: TaskId) -> Result<TaskView> {
        let record = self.change_task(id, Event::Cancel).await?.ok_or_else(|| unknown_task(id))?;
        if let Some(running) = self.keeper.running().filter(|r| r.id == id) {
            running.stop(Stop::Cancelled);
        }
        Ok(self.keeper.view(record))
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<TaskView> {
        let record = self.db.task(id).await?.ok_or_else(|| unknown_task(id))?;
        Ok(self.keeper.view(record))
    }

    /// The task now, then each change and its progress, until it has ended.
    pub(crate) async fn watch_task(
        self: &Arc<Self>,
        id: TaskId,
    ) -> Result<BoxStream<'static, Result<TaskView>>> {
        // Subscribed first, read then: no change falls in between.
        let changes = self.keeper.changes();
        let first = self.task(id).await?;
        let state = Some((self.clone(), changes, id, None, Some(first)));
        Ok(stream::unfold(state, next_view).boxed())
    }

    async fn change_task(&self, id: TaskId, event: Event) -> Result<Option<Record>> {
        let Some((record, applied)) = self.db.apply_task(id, event, self.env.now()).await? else {
            return Ok(None);
        };
        if applied {
            let (kind, state) = (record.spec.kind().name(), record.state.name());
            match record.result.as_ref().map(|r| (r.outcome(), &r.failure)) {
                Some((_, Some(failure))) if failure.kind != ErrorKind::Cancelled => {
                    tracing::error!(task = %id, kind, error = failure.what, "maintenance failed");
                }
                result => tracing::info!(
                    task = %id, kind, state, result = result.map_or("", |r| r.0), "maintenance changed"
                ),
            }
            if record.state.has_ended() {
                self.metrics.maintenance.count(&record);
            }
            self.keeper.changed();
        }
        Ok(Some(record))
    }

    /// Runs maintenance until `shutdown`.
    pub(crate) async fn keep_maintaining(self: &Arc<Self>, shutdown: &CancellationToken) {
        if let Err(e) = self.recover_tasks().await {
            tracing::error!(error = %e.chain(), "maintenance of the last run could not be taken up");
        }
        let mut work: OptionFuture<BoxFuture<'_, ()>> = None.into();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(()) = &mut work => work = None.into(),
                () = self.keeper.wake.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
            match self.next_task().await {
                Ok(Some((record, running))) => {
                    let core = self.clone();
                    work = Some(async move { core.perform(record, running).await }.boxed()).into();
                }
                Ok(None) => {}
                Err(e) => tracing::error!(error = %e.chain(), "maintenance could not go on"),
            }
        }
        if let Some(running) = self.keeper.running() {
            running.stop(Stop::Interrupted);
            let end = tokio::time::timeout(Duration::from_secs(STOP_SECONDS), work).await;
            if end.is_err() {
                tracing::warn!(task = %running.id, "a task was cut off at the stop; it goes on at the next start");
            }
        }
    }

    /// What was running when the coordinator ended waits again; how each kind last ended is told to the metrics.
    async fn recover_tasks(&self) -> Result<()> {
        for slot in self.keeper.settings.slots() {
            if let Some(to) = &slot.to {
                self.metrics.maintenance.know_destination(slot.kind, to);
            }
        }
        for record in self.db.last_tasks().await? {
            self.metrics.maintenance.recall(&record);
        }
        for record in self.db.active_tasks().await? {
            if record.state == State::Running {
                tracing::info!(task = %record.id, "maintenance goes on after a restart");
                self.change_task(record.id, Event::Interrupt).await?;
            }
        }
        Ok(())
    }

    /// Stops what must stop, queues what is due, and gives what is to begin now.
    async fn next_task(&self) -> Result<Option<(Record, Running)>> {
        let now = self.env.now();
        let leads = self.keeper.leader.leads().is_ok();
        self.metrics.maintenance.leader.set(i64::from(leads));
        if let Some(running) = self.keeper.running() {
            if !leads {
                running.stop(Stop::Interrupted);
            } else if running.scheduled && self.keeper.settings.timing(running.slot.clone()).has_closed(now) {
                running.stop(Stop::Window);
            }
            return Ok(None);
        }
        if !leads {
            return Ok(None);
        }
        self.queue_due(now).await?;
        let Some(record) = self.db.active_tasks().await?.into_iter().find(|r| self.may_begin(r, now)) else {
            return Ok(None);
        };
        let running = Running::new(&record);
        self.keeper.set_running(Some(running.clone()));
        match self.change_task(record.id, Event::Begin).await {
            Ok(Some(record)) if record.state == State::Running => Ok(Some((record, running))),
            other => {
                self.keeper.set_running(None);
                other.map(|_| None)
            }
        }
    }

    /// A task of the schedule that was interrupted keeps to its window, too.
    fn may_begin(&self, record: &Record, now: Timestamp) -> bool {
        let closed = || self.keeper.settings.timing(Slot::of(&record.spec)).has_closed(now);
        record.state == State::Queued && !(record.is_scheduled() && closed())
    }

    async fn queue_due(&self, now: Timestamp) -> Result<()> {
        // Before the snapshots were read nothing is known of the store.
        if self.snapshots().read.is_none() {
            return Ok(());
        }
        for slot in self.keeper.settings.slots() {
            let timing = self.keeper.settings.timing(slot.clone());
            let (last, begun) = self.last_and_begun(&slot).await?;
            if timing.is_due(last, begun, now)
                && let Some(spec) = scheduled(slot)
            {
                self.start_task_of_schedule(spec, now).await?;
            }
        }
        Ok(())
    }

    async fn start_task_of_schedule(&self, spec: TaskSpec, now: Timestamp) -> Result<()> {
        let kind = Slot::of(&spec);
        let record = Record::new(TaskId::new(&self.env), spec, SCHEDULE.to_owned(), String::new(), now);
        let id = record.id;
        // One that somebody asked for meanwhile does as well.
        if self.db.put_task(record).await? == Queued::New {
            tracing::info!(task = %id, %kind, by = SCHEDULE, "maintenance queued");
            self.keeper.changed();
        }
        Ok(())
    }

    async fn last_and_begun(&self, slot: &Slot) -> Result<(Option<Last>, Timestamp)> {
        let begun = match self.keeper.begun.get() {
            Some(begun) => begun,
            None => {
                let slots = self.keeper.settings.slots().iter().map(Slot::to_string).collect();
                let begun = self.db.schedules_begun(slots, self.env.now()).await?;
                self.keeper.begun.get_or_init(|| begun)
            }
        };
        let name = slot.to_string();
        let begun = begun.iter().find(|(n, _)| *n == name).map_or(self.started, |(_, at)| *at);
        let last = self.db.last_tasks().await?.into_iter().find(|r| Slot::of(&r.spec) == *slot);
        Ok((last.and_then(|r| r.as_last()), begun))
    }

    /// What runs when.
    pub(crate) async fn planned(&self) -> Result<Vec<Planned>> {
        let mut out = Vec::new();
        for slot in self.keeper.settings.slots() {
            let timing = self.keeper.settings.timing(slot.clone());
            let (last, begun) = self.last_and_begun(&slot).await?;
            out.push(Planned {
                slot,
                schedule: timing.describe(),
                window: timing.window.map(|w| w.to_string()).unwrap_or_default(),
                next: timing.next(last, begun),
            });
        }
        Ok(out)
    }

    async fn perform(self: Arc<Self>, record: Record, running: Running) {
        let turn = self.keeper.turn(&running).await;
        // One that was told to end meanwhile looks at that first of all.
        let done = match turn {
            Some(_) => self.work(&record, &running).await,
            None => running.task.check().and_then(|()| Err(Error::new(ErrorKind::Cancelled, "cancelled"))),
        };
        let waited = turn.is_none();
        drop(turn);
        let figures = running.task.monitor.figures();
        let event = match end_of(done, running.why_stopped(), figures) {
            Event::Interrupt if waited => Event::InterruptWaiting,
            event => event,
        };
        let changed = self.change_task(record.id, event).await;
        self.keeper.set_running(None);
        self.keeper.changed();
        if let Err(e) = changed {
            tracing::error!(task = %record.id, error = %e.chain(), "the end of a task could not be noted");
        }
        // Space, snapshots and what is proven may be others now.
        if let Err(e) = self.refresh().await {
            self.metrics.refresh_failures.inc();
            tracing::warn!(error = %e.chain(), "snapshots could not be read");
        }
    }
}

/// How the work's end ends the task.
fn end_of(done: Result<TaskResult>, stop: Option<Stop>, figures: Figures) -> Event {
    let result = match (done, stop) {
        (Err(e), Some(Stop::Interrupted)) if e.kind() == ErrorKind::Cancelled => return Event::Interrupt,
        (Err(e), Some(Stop::Window)) if e.kind() == ErrorKind::Cancelled => TaskResult {
            note: "its window has closed; it goes on in the next".to_owned(),
            ..TaskResult::default()
        },
        (Err(e), _) => TaskResult::failed(&e, figures),
        (Ok(result), _) => result,
    };
    Event::Finish(Box::new(TaskResult { figures, ..result }))
}

/// What the schedule asks for: all as configured.
fn scheduled(slot: Slot) -> Option<TaskSpec> {
    match slot.kind {
        TaskKind::Forget => Some(TaskSpec::Forget),
        TaskKind::Gc => Some(TaskSpec::Gc(GcSpec::default())),
        TaskKind::Scrub => Some(TaskSpec::Scrub(ScrubSpec::default())),
        TaskKind::RestoreTest => Some(TaskSpec::RestoreTest(RestoreTestSpec::default())),
        TaskKind::Lock => Some(TaskSpec::Lock(LockSpec::default())),
        TaskKind::Copy => Some(TaskSpec::Copy(CopySpec { to: slot.to?, ..CopySpec::default() })),
        TaskKind::Mirror => Some(TaskSpec::Mirror(MirrorSpec { to: slot.to?, ..MirrorSpec::default() })),
        TaskKind::Verify | TaskKind::Repair => None,
    }
}

fn unknown_task(id: TaskId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no maintenance task {id}"))
}

/// The core, its changes, the task, what was told last, and what to tell at once.
type Watching = (Arc<Core>, watch::Receiver<u64>, TaskId, Option<TaskView>, Option<TaskView>);

async fn next_view(state: Option<Watching>) -> Option<(Result<TaskView>, Option<Watching>)> {
    let (core, mut changes, id, mut told, mut first) = state?;
    loop {
        let view = match first.take() {
            Some(view) => Ok(view),
            None => {
                tokio::select! {
                    changed = changes.changed() => changed.ok()?,
                    () = tokio::time::sleep(TICK) => {}
                }
                core.task(id).await
            }
        };
        match view {
            Err(e) => return Some((Err(e), None)),
            Ok(view) if told.as_ref() == Some(&view) => {}
            Ok(view) => {
                let rest = !view.record.state.has_ended();
                told = Some(view.clone());
                return Some((Ok(view), rest.then_some((core, changes, id, told, None))));
            }
        }
    }
}
