//! The one task that runs now, who leads, and how to tell those who watch.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use proto::task::TaskId;
use repository::env::Timestamp;
use repository::ids::Sid;
use repository::manifest::record::{Registration, SessionKind};
use repository::monitor::Figures;
use repository::ops::Task;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::jobs;
use crate::maintenance::{Leader, Maintenance, Record, Slot};

/// What keeps maintenance going.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) settings: Maintenance,
    pub(crate) leader: Box<dyn Leader>,
    running: Mutex<Option<Running>>,
    changes: watch::Sender<u64>,
    pub(super) wake: Notify,
    /// When the coordinator first knew of each kind's schedule.
    pub(super) begun: OnceLock<Vec<(String, Timestamp)>>,
    pub(crate) live: Arc<Live>,
    /// Who holds a permit may run a task.
    pub(super) turns: Arc<Semaphore>,
}

/// A task that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) id: TaskId,
    pub(crate) slot: Slot,
    /// Nobody asked for it: it keeps to its window.
    pub(crate) scheduled: bool,
    pub(crate) task: Task,
    note: Arc<Mutex<String>>,
    stop: Arc<OnceLock<Stop>>,
}

/// Why a task is to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody wants it.
    Cancelled,
    /// Its window has closed.
    Window,
    /// The coordinator stops, or another one leads now.
    Interrupted,
}

/// A task, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskView {
    pub(crate) record: Record,
    pub(crate) figures: Figures,
    pub(crate) note: String,
}

impl Keeper {
    pub(super) fn new(settings: Maintenance, leader: Box<dyn Leader>) -> Self {
        Self {
            settings,
            leader,
            running: Mutex::default(),
            changes: watch::channel(0).0,
            wake: Notify::new(),
            begun: OnceLock::new(),
            live: Arc::default(),
            turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until the task may run beside those of other domains: in the order in which they came, so that none of them
    /// waits for ever. `None` for one that was told to end meanwhile.
    pub(super) async fn turn(&self, running: &Running) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Some(turn);
        }
        running.say("waiting for tasks of other domains".to_owned());
        let turn = tokio::select! {
            turn = self.turns.clone().acquire_owned() => turn.ok(),
            () = running.task.cancel.cancelled() => None,
        };
        running.say(String::new());
        turn
    }

    /// The task that runs now.
    pub(crate) fn running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_running(&self, running: Option<Running>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// A task changed.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Learns of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How far the task is.
    pub(crate) fn view(&self, record: Record) -> TaskView {
        let running = self.running().filter(|r| r.id == record.id);
        let figures = match (&record.result, &running) {
            (Some(result), _) => result.figures,
            (None, Some(running)) => running.task.monitor.figures(),
            (None, None) => Figures::default(),
        };
        let note = match (&record.result, running) {
            (Some(result), _) => result.note.clone(),
            (None, running) => running.map(|r| r.note()).unwrap_or_default(),
        };
        TaskView { record, figures, note }
    }
}

impl Running {
    pub(super) fn new(record: &Record) -> Self {
        Self {
            id: record.id,
            slot: Slot::of(&record.spec),
            scheduled: record.is_scheduled(),
            task: Task::default(),
            note: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// What it is doing, in words.
    pub(crate) fn say(&self, note: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }

    fn note(&self) -> String {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells it to end; the first reason counts.
    pub(super) fn stop(&self, why: Stop) {
        self.stop.get_or_init(|| why);
        self.task.cancel.cancel();
    }

    /// Why it was told to end.
    pub(super) fn why_stopped(&self) -> Option<Stop> {
        self.stop.get().copied()
    }
}

/// What agents are at now, as far as is heard: GC waits for it.
#[derive(Debug, Default)]
pub(crate) struct Live(RwLock<(Vec<String>, Vec<Sid>)>);

impl Live {
    /// Notes all jobs that an agent was given, also one that is away: it may be at work all the same.
    pub(super) fn set(&self, active: &[jobs::Record]) {
        let given = || active.iter().filter(|r| r.state != jobs::State::Queued).map(|r| &r.job.spec);
        let volumes = given().filter_map(|s| s.volume().map(str::to_owned)).collect();
        let restored = given().filter_map(|s| match s {
            proto::job::JobSpec::Restore(r) => Some(r.snapshot),
            proto::job::JobSpec::Backup(_) => None,
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (volumes, restored.collect());
    }

    /// True for a session that may be one of theirs. A dead one of the same volume is waited for, too, until the job ends.
    pub(crate) fn knows(&self, session: &Registration) -> bool {
        let guard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match session.kind {
            SessionKind::Write => guard.0.contains(&session.volume),
            SessionKind::Read => session.snapshot.is_some_and(|s| guard.1.contains(&s)),
            SessionKind::Gc => false,
        }
    }
}

#[cfg(test)]
mod tests;
