//! The life of a job, as a plain state machine:
//!
//! ```text
//! queued -> offered -> running -> done | failed | cancelled
//! ```
//!
//! A job goes back to `queued` when its agent declined it, or lost it. An agent that still holds it takes it over again
//! from any state that has not ended. Only agents that a job was given to can take it over or report it.

use repository::env::Timestamp;
use repository::{Error, ErrorKind};

use proto::job::{Failure, Job, JobResult};

use crate::limits::{ATTEMPTS_MAX, DECLINED_SECONDS, RETURNED_SECONDS};

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for an agent.
    Queued,
    /// Offered to an agent that has not answered yet.
    Offered,
    /// An agent works on it.
    Running,
    /// Ended well, perhaps with problems.
    Done,
    /// Ended badly.
    Failed,
    /// Ended by somebody's wish.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Offered, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Offered => "offered",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Where work is that ended with this failure, or none.
    #[must_use]
    pub fn of_end(failure: Option<&Failure>) -> Self {
        match failure {
            None => Self::Done,
            Some(f) if f.kind == ErrorKind::Cancelled => Self::Cancelled,
            Some(_) => Self::Failed,
        }
    }

    /// True when nothing can happen to it any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A job and all that is known of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// What to do.
    pub job: Job,
    /// Where it is.
    pub state: State,
    /// The only agent that may do it, if just one may.
    pub wanted_agent: Option<String>,
    /// The agent that has it.
    pub agent: Option<String>,
    /// All agents that it was ever given to: only they may report it.
    pub given_to: Vec<String>,
    /// How often it was offered, without declined offers.
    pub attempts: u32,
    /// Somebody wants it ended.
    pub cancel_requested: bool,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it was last offered.
    pub offered: Option<Timestamp>,
    /// When an agent first began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Not offered before this.
    pub not_before: Timestamp,
    /// What came of it.
    pub result: Option<JobResult>,
}

/// What happens to a job.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is offered to this agent.
    Offer(String),
    /// The agent takes it.
    Accept(String),
    /// The agent can't take it now.
    Decline(String),
    /// The agent had taken it, and can't go on with it: its volume left the agent's reach. Not a failure, not an attempt.
    Return(String),
    /// The agent connected again and still holds it.
    Adopt(String),
    /// Its agent does not have it any more, or never answered.
    Lost,
    /// Somebody wants it ended.
    Cancel,
    /// The agent reports its end.
    Finish(String, Box<JobResult>),
}

impl Record {
    /// A new, queued one.
    #[must_use]
    pub fn new(job: Job, wanted_agent: Option<String>, now: Timestamp) -> Self {
        Self {
            job,
            state: State::Queued,
            wanted_agent,
            agent: None,
            given_to: Vec::new(),
            attempts: 0,
            cancel_requested: false,
            queued: now,
            offered: None,
            started: None,
            finished: None,
            not_before: now,
            result: None,
        }
    }

    /// One that an agent holds and nobody else knows of. A restore stays with its agent: its target is there.
    #[must_use]
    pub fn held(job: Job, agent: &str, now: Timestamp) -> Self {
        let wanted_agent = job.spec.volume().is_none().then(|| agent.to_owned());
        Self { given_to: vec![agent.to_owned()], ..Self::new(job, wanted_agent, now) }
    }

    /// True for an agent that has it, or had it.
    #[must_use]
    pub fn was_given_to(&self, agent: &str) -> bool {
        self.given_to.iter().any(|a| a == agent)
    }

    /// Lets the event happen. False when it does not apply (late, repeated, or of an agent that does not have the job):
    /// then nothing changed.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> bool {
        use State::{Offered, Queued, Running};
        let own = |agent: &String| self.agent.as_ref() == Some(agent);
        match (self.state, event) {
            (Queued, Event::Offer(agent)) => {
                if !self.was_given_to(&agent) {
                    self.given_to.push(agent.clone());
                }
                (self.state, self.agent, self.offered) = (Offered, Some(agent), Some(now));
                self.attempts += 1;
            }
            (Offered, Event::Accept(agent)) if own(&agent) => self.run(agent, now),
            (Queued | Offered | Running, Event::Adopt(agent)) if self.was_given_to(&agent) => {
                self.run(agent, now);
            }
            (Offered, Event::Decline(agent)) if own(&agent) => self.come_back(DECLINED_SECONDS, now),
            (Offered | Running, Event::Return(agent)) if own(&agent) => self.come_back(RETURNED_SECONDS, now),
            (Offered | Running, Event::Lost) => {
                self.requeue(now);
                if self.state == Queued && self.attempts >= ATTEMPTS_MAX {
                    let what =
                        format!("given up: its agent was lost {} times while working on it", self.attempts);
                    let error = Error::new(ErrorKind::Internal, what);
                    self.end(JobResult::failed(&error, repository::monitor::Figures::default()), now);
                }
            }
            (Queued, Event::Cancel) => {
                self.cancel_requested = true;
                self.end_cancelled(now);
            }
            (Offered | Running, Event::Cancel) if !self.cancel_requested => self.cancel_requested = true,
            // The work of one that lost the job meanwhile counts if it is done; its failure is not the run's.
            (Queued | Offered | Running, Event::Finish(agent, result))
                if own(&agent) || (self.was_given_to(&agent) && result.failure.is_none()) =>
            {
                self.agent = Some(agent);
                self.end(*result, now);
            }
            _ => return false,
        }
        true
    }

    fn run(&mut self, agent: String, now: Timestamp) {
        self.state = State::Running;
        self.agent = Some(agent);
        self.started.get_or_insert(now);
    }

    /// Back in the queue for a while, by nobody's fault.
    fn come_back(&mut self, seconds: i64, now: Timestamp) {
        self.attempts = self.attempts.saturating_sub(1);
        self.not_before = now.plus_seconds(seconds);
        self.requeue(now);
    }

    fn requeue(&mut self, now: Timestamp) {
        self.agent = None;
        self.offered = None;
        if self.cancel_requested {
            self.end_cancelled(now);
        } else {
            self.state = State::Queued;
        }
    }

    fn end_cancelled(&mut self, now: Timestamp) {
        let error = Error::new(ErrorKind::Cancelled, "cancelled before it ran");
        self.end(JobResult::failed(&error, repository::monitor::Figures::default()), now);
    }

    fn end(&mut self, result: JobResult, now: Timestamp) {
        self.state = State::of_end(result.failure.as_ref());
        self.finished = Some(now);
        self.result = Some(result);
    }
}

#[cfg(test)]
mod tests;
