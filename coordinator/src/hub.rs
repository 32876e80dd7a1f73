//! The agents that are connected now: how to reach them, what they have, and which jobs they hold.
//!
//! Plain bookkeeping under one lock, without waiting.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::job::{JobId, JobSpec};
use proto::v1;
use repository::env::Timestamp;
use repository::monitor::Figures;
use service::paths::is_below;
use tokio::sync::mpsc;
use tonic::Status;

/// Where messages to an agent go.
pub(crate) type Outbox = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// What an agent said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) volumes: Vec<v1::Volume>,
    pub(crate) restore_roots: Vec<Vec<u8>>,
    pub(crate) jobs_max: usize,
}

#[derive(Debug)]
struct Link {
    number: u64,
    outbox: Outbox,
    info: Info,
    jobs: HashSet<JobId>,
}

#[derive(Debug, Default)]
struct State {
    links: HashMap<String, Link>,
    /// Which connected agents can read a volume, in the order in which they came.
    readers: HashMap<String, Vec<String>>,
    left: HashMap<String, Timestamp>,
    figures: HashMap<JobId, Figures>,
    next_number: u64,
}

/// The agents that are connected now.
#[derive(Debug, Default)]
pub(crate) struct Hub(Mutex<State>);

impl State {
    /// Takes a link in, and gives the older one of the same agent.
    fn put(&mut self, link: Link) -> Option<Link> {
        let old = self.take(&link.info.id.clone());
        self.read_by(&link.info);
        self.links.insert(link.info.id.clone(), link);
        old
    }

    fn take(&mut self, agent: &str) -> Option<Link> {
        let link = self.links.remove(agent)?;
        self.unread_by(&link.info);
        Some(link)
    }

    fn read_by(&mut self, info: &Info) {
        for volume in &info.volumes {
            let readers = self.readers.entry(volume.name.clone()).or_default();
            if !readers.contains(&info.id) {
                readers.push(info.id.clone());
            }
        }
    }

    fn unread_by(&mut self, info: &Info) {
        for volume in &info.volumes {
            if let Some(readers) = self.readers.get_mut(&volume.name) {
                readers.retain(|id| *id != info.id);
                if readers.is_empty() {
                    self.readers.remove(&volume.name);
                }
            }
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent came; an older connection of the same agent is dropped. Gives the connection's number.
    pub(crate) fn join(&self, info: Info, outbox: Outbox, jobs: HashSet<JobId>) -> u64 {
        let mut state = self.lock();
        state.next_number += 1;
        let number = state.next_number;
        state.left.remove(&info.id);
        let old = state.put(Link { number, outbox, info, jobs });
        if let Some(old) = old {
            // If its queue is full the closed queue says the same.
            let _full = old.outbox.try_send(Err(Status::aborted("the same agent id connected again")));
        }
        number
    }

    /// An agent's connection ended, unless a newer one took its place. True if the agent is gone now.
    pub(crate) fn leave(&self, agent: &str, number: u64, now: Timestamp) -> bool {
        let mut state = self.lock();
        let gone = state.links.get(agent).is_some_and(|l| l.number == number);
        if gone {
            state.take(agent);
            state.left.insert(agent.to_owned(), now);
        }
        gone
    }

    /// The last word to an agent whose connection ends.
    pub(crate) fn end(&self, agent: &str, number: u64, why: Status) {
        let state = self.lock();
        if let Some(link) = state.links.get(agent).filter(|l| l.number == number) {
            // If its queue is full it learns the end without the reason.
            let _full = link.outbox.try_send(Err(why));
        }
    }

    /// True while this connection is the agent's newest.
    pub(crate) fn is_current(&self, agent: &str, number: u64) -> bool {
        self.lock().links.get(agent).is_some_and(|l| l.number == number)
    }

    /// Queues a message. False when the agent is away or does not keep up.
    pub(crate) fn send(&self, agent: &str, message: v1::coordinator_message::Message) -> bool {
        let state = self.lock();
        let message = v1::CoordinatorMessage { message: Some(message) };
        state.links.get(agent).is_some_and(|l| l.outbox.try_send(Ok(message)).is_ok())
    }

    /// An agent has other volumes now. Gives all that is known of it; `None` when it is away.
    pub(crate) fn revise(&self, agent: &str, said: v1::Volumes) -> Option<Info> {
        let mut state = self.lock();
        let mut link = state.take(agent)?;
        link.info.volumes = said.volumes;
        link.info.restore_roots = said.restore_roots.iter().map(|r| r.to_vec()).collect();
        let info = link.info.clone();
        state.put(link);
        Some(info)
    }

    /// Counts a job as held by an agent.
    pub(crate) fn hold(&self, agent: &str, job: JobId) {
        if let Some(link) = self.lock().links.get_mut(agent) {
            link.jobs.insert(job);
        }
    }

    /// True while this agent is connected and holds the job.
    pub(crate) fn holds(&self, agent: &str, job: JobId) -> bool {
        self.lock().links.get(agent).is_some_and(|l| l.jobs.contains(&job))
    }

    /// One agent does not hold a job any more.
    pub(crate) fn drop_job(&self, agent: &str, job: JobId) {
        if let Some(link) = self.lock().links.get_mut(agent) {
            link.jobs.remove(&job);
        }
    }

    /// A job is nobody's any more.
    pub(crate) fn release(&self, job: JobId) {
        let mut state = self.lock();
        state.figures.remove(&job);
        for link in state.links.values_mut() {
            link.jobs.remove(&job);
        }
    }

    /// The connected agent with room for one more job that can read the volume.
    pub(crate) fn find_for_volume(&self, volume: &str) -> Option<String> {
        let state = self.lock();
        let readers = state.readers.get(volume)?;
        readers.iter().find(|id| state.links.get(*id).is_some_and(Link::has_room)).cloned()
    }

    /// True when the agent is connected and has room for one more job.
    pub(crate) fn has_room(&self, agent: &str) -> bool {
        self.lock().links.get(agent).is_some_and(Link::has_room)
    }

    /// True while the agent is connected.
    pub(crate) fn is_connected(&self, agent: &str) -> bool {
        self.lock().links.contains_key(agent)
    }

    /// Since when the agent is away; `start` for one that was never here.
    pub(crate) fn away_since(&self, agent: &str, start: Timestamp) -> Option<Timestamp> {
        let state = self.lock();
        if state.links.contains_key(agent) {
            return None;
        }
        Some(state.left.get(agent).copied().unwrap_or(start))
    }

    /// All connected agents.
    pub(crate) fn infos(&self) -> Vec<Info> {
        let mut infos: Vec<_> = self.lock().links.values().map(|l| l.info.clone()).collect();
        infos.sort_by(|a, b| a.id.cmp(&b.id));
        infos
    }

    /// The newest figures of a running job.
    pub(crate) fn set_figures(&self, job: JobId, figures: Figures) {
        self.lock().figures.insert(job, figures);
    }

    /// The newest figures of a running job.
    pub(crate) fn figures(&self, job: JobId) -> Figures {
        self.lock().figures.get(&job).copied().unwrap_or_default()
    }

    /// Ends all connections.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.links.clear();
        state.readers.clear();
    }
}

impl Info {
    /// True for a backup of one of its volumes, or a restore below one of its roots.
    pub(crate) fn can_do(&self, spec: &JobSpec) -> bool {
        match spec {
            JobSpec::Backup(b) => self.volumes.iter().any(|v| v.name == b.volume),
            JobSpec::Restore(r) => self.restore_roots.iter().any(|root| is_below(&r.target, root)),
        }
    }
}

impl Link {
    fn has_room(&self) -> bool {
        self.jobs.len() < self.info.jobs_max
    }
}
