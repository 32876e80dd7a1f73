//! The life of a task, as a plain state machine:
//!
//! ```text
//! queued -> running -> done | failed | cancelled
//! ```
//!
//! A task goes back to `queued` when the coordinator stops, or stops leading, while it runs: it goes on where the repository
//! says that it was.

use proto::task::{TaskId, TaskResult, TaskSpec};
use repository::env::Timestamp;
use repository::monitor::Figures;
use repository::{Error, ErrorKind};

use super::plan::{End, Last};
use crate::jobs::State;
use crate::limits::TASK_ATTEMPTS_MAX;

/// Whom the schedule is called.
pub const SCHEDULE: &str = "schedule";

/// A task and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: TaskId,
    /// What to do.
    pub spec: TaskSpec,
    /// Where it is; never `Offered`.
    pub state: State,
    /// Who asked for it.
    pub by: String,
    /// Why, if somebody said.
    pub reason: String,
    /// How often it was begun.
    pub attempts: u32,
    /// Somebody wants it ended.
    pub cancel_requested: bool,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it first began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What came of it.
    pub result: Option<TaskResult>,
}

/// What happens to a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// It begins.
    Begin,
    /// The coordinator stopped while it ran.
    Interrupt,
    /// The coordinator stopped while it waited for its turn.
    InterruptWaiting,
    /// Somebody wants it ended.
    Cancel,
    /// It ended.
    Finish(Box<TaskResult>),
}

impl Record {
    /// A new, queued one.
    #[must_use]
    pub fn new(id: TaskId, spec: TaskSpec, by: String, reason: String, now: Timestamp) -> Self {
        Self {
            id,
            spec,
            state: State::Queued,
            by,
            reason,
            attempts: 0,
            cancel_requested: false,
            queued: now,
            started: None,
            finished: None,
            result: None,
        }
    }

    /// True for one that nobody asked for.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.by == SCHEDULE
    }

    /// How it ended, for the schedule; `None` if it has not, or the schedule does not count it.
    #[must_use]
    pub fn as_last(&self) -> Option<Last> {
        let (Some(finished), Some(result)) = (self.finished, &self.result) else { return None };
        let end = match &result.failure {
            Some(f) if f.kind == ErrorKind::Cancelled => End::Whole,
            Some(_) => End::Failed,
            None if result.complete => End::Whole,
            None => End::More,
        };
        (!self.spec.is_beside_schedule()).then_some(Last { queued: self.queued, finished, end })
    }

    /// Lets the event happen. False when it does not apply: then nothing changed.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> bool {
        use State::{Queued, Running};
        match (self.state, event) {
            (Queued, Event::Begin) => {
                self.state = Running;
                self.started.get_or_insert(now);
                self.attempts += 1;
            }
            (Running, Event::Interrupt | Event::InterruptWaiting) if self.cancel_requested => {
                self.end_cancelled(now);
            }
            (Running, Event::InterruptWaiting) => {
                self.state = Queued;
                self.attempts = self.attempts.saturating_sub(1);
            }
            (Running, Event::Interrupt) if self.attempts >= TASK_ATTEMPTS_MAX => {
                let what = format!("given up: the coordinator ended {} times while it ran", self.attempts);
                let error = Error::new(ErrorKind::Internal, what);
                self.end(TaskResult::failed(&error, Figures::default()), now);
            }
            (Running, Event::Interrupt) => self.state = Queued,
            (Queued, Event::Cancel) => {
                self.cancel_requested = true;
                self.end_cancelled(now);
            }
            (Running, Event::Cancel) if !self.cancel_requested => self.cancel_requested = true,
            (Running, Event::Finish(result)) => self.end(*result, now),
            _ => return false,
        }
        true
    }

    fn end_cancelled(&mut self, now: Timestamp) {
        let error = Error::new(ErrorKind::Cancelled, "cancelled before it was done");
        self.end(TaskResult::failed(&error, Figures::default()), now);
    }

    fn end(&mut self, result: TaskResult, now: Timestamp) {
        self.state = State::of_end(result.failure.as_ref());
        self.finished = Some(now);
        self.result = Some(result);
    }
}

#[cfg(test)]
mod tests;
