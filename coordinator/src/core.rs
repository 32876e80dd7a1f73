//! The coordinator's one state, and everything that happens to it: agents come and go, clients ask, time passes.
//!
//! Every change of a job goes through [`Core::change`], which writes it down before anybody hears of it.

mod agents;
mod keeper;
mod maintain;
mod passing;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use proto::job::{BackupSpec, Job, JobId, JobSpec, RestoreSpec};
use proto::v1;
use repository::env::{Env, Timestamp};
use repository::ids::{DomainName, Sid, hex};
use repository::ops::snapshots::Snapshot;
use repository::{Error, ErrorKind, Result};
use service::paths::is_below;
use tokio::sync::{Notify, Semaphore};

use crate::config::{Config, Domain};
use crate::db::Db;
use crate::db::jobs::Queued;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::jobs::{Event, Record, State};
use crate::limits::{CLIENT_STREAMS_DOMAIN_MIN, CLIENT_STREAMS_MAX, WATCHES_MAX};
use crate::maintenance::{Follower, Leader, LockFile};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::schedule::{Rule, Rules};

pub(crate) use keeper::{Running, TaskView};
pub(crate) use maintain::Planned;
pub(crate) use watch::View;

/// The snapshots as last read, and what was damaged.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// The committed ones, the oldest first, without the objects of their origins.
    pub all: Vec<Arc<Snapshot>>,
    /// Outcomes that can't be read.
    pub damaged: Vec<(ErrorKind, String)>,
    /// When they were read; never yet.
    pub read: Option<Timestamp>,
    /// Those that agents reported, and when: a listing that began before may lack them.
    reported: HashMap<Sid, Timestamp>,
}

/// The coordinator's one state of a domain.
#[derive(Debug)]
pub struct Core {
    pub(crate) db: Db,
    pub(crate) hub: Hub,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) env: Env,
    pub(crate) metrics: Metrics,
    rules: RwLock<Arc<Rules>>,
    /// What backups of single volumes have besides what they were asked with.
    specs: RwLock<Arc<HashMap<String, BackupSpec>>>,
    pub(crate) heartbeat_seconds: u32,
    pub(crate) keeper: keeper::Keeper,
    /// Its name.
    pub(crate) domain: DomainName,
    /// Log lines are told within it.
    pub(crate) span: tracing::Span,
    /// Streams behind which the repository works, of all clients.
    pub(crate) streams: Arc<Semaphore>,
    /// Watched runs and tasks.
    pub(crate) watches_open: Arc<Semaphore>,
    lost_seconds: i64,
    started: Timestamp,
    snapshots: RwLock<Arc<Snapshots>>,
    watches: Mutex<HashMap<JobId, tokio::sync::watch::Sender<Option<View>>>>,
    /// Snapshots are brought back one after the other: each may hold a tree's worth of work.
    pub(crate) undoing: tokio::sync::Mutex<()>,
    wake: Notify,
    pulse: Pulse,
}

impl Core {
    /// Opens the database of one of the configuration's domains.
    pub fn open(
        config: &Config,
        domain: &Domain,
        engine: Arc<dyn Engine>,
        env: Env,
        metrics: Metrics,
    ) -> Result<Self> {
        let leader: Box<dyn Leader> = match domain.maintenance.leader {
            true => Box::new(LockFile::open(&domain.database.with_file_name("maintenance.lock"))?),
            false => Box::new(Follower),
        };
        let part = |max| Arc::new(Semaphore::new(part_of(max, config.domains.len())));
        Ok(Self {
            keeper: keeper::Keeper::new(domain.maintenance.clone(), leader),
            db: Db::open(&domain.database)?,
            domain: domain.repository.domain.clone(),
            span: tracing::Span::none(),
            streams: part(CLIENT_STREAMS_MAX),
            watches_open: part(WATCHES_MAX),
            hub: Hub::default(),
            engine,
            metrics,
            rules: RwLock::new(Arc::new(Rules { patterns: domain.rules.clone(), ..Rules::default() })),
            specs: RwLock::default(),
            pulse: Pulse::default(),
            heartbeat_seconds: config.heartbeat_seconds,
            lost_seconds: i64::try_from(config.lost_seconds).unwrap_or(i64::MAX),
            started: env.now(),
            env,
            snapshots: RwLock::default(),
            watches: Mutex::default(),
            undoing: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The same, telling others when something happened.
    pub(crate) fn telling(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }

    /// When what is backed up.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives single volumes rules of their own, instead of all that were given so before.
    pub(crate) fn set_named_rules(&self, named: HashMap<String, Rule>) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        *rules = Arc::new(Rules { named, patterns: rules.patterns.clone() });
        self.wake.notify_one();
    }

    /// What backups of single volumes have besides what they were asked with, instead of all that was said before.
    pub(crate) fn set_specs(&self, specs: HashMap<String, BackupSpec>) {
        *self.specs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(specs);
    }

    /// A backup as it was asked for, with what is known of its volume.
    fn complete(&self, mut spec: BackupSpec) -> BackupSpec {
        let specs = self.specs.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = specs.get(&spec.volume) {
            spec.origin = spec.origin.or_else(|| known.origin.clone());
            spec.read_all |= known.read_all;
            let more: Vec<_> = known.tags.iter().filter(|t| !spec.tags.contains(t)).cloned().collect();
            spec.tags.extend(more);
        }
        spec
    }

    /// The same beside other domains: maintenance takes its turns with theirs, and log lines say which it is.
    pub(crate) fn beside_others(mut self, turns: Arc<Semaphore>, span: tracing::Span) -> Self {
        self.keeper.turns = turns;
        self.span = span;
        self
    }

    /// Queues a backup; the run of one that has not ended yet is given instead.
    pub(crate) async fn run_backup(&self, spec: BackupSpec) -> Result<(JobId, bool)> {
        let known = self.db.volumes().await?;
        if !known.iter().any(|v| v.name == spec.volume) {
            let names: Vec<_> = known.iter().map(|v| v.name.as_str()).take(20).collect();
            let what = format!("no volume {:?}; known are: {}", spec.volume, names.join(", "));
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        self.queue(JobSpec::Backup(self.complete(spec)), None).await
    }

    /// Queues a restore on `agent`, or on the only one that allows its target.
    pub(crate) async fn run_restore(&self, spec: RestoreSpec, agent: Option<String>) -> Result<JobId> {
        let agent = self.choose_restore_agent(&spec.target, agent)?;
        Ok(self.queue(JobSpec::Restore(spec), Some(agent)).await?.0)
    }

    /// Queues a backup that is due, of a volume that is known.
    pub(super) async fn run_scheduled(&self, spec: BackupSpec) -> Result<Queued> {
        Ok(self.put_job(JobSpec::Backup(self.complete(spec)), None).await?.1)
    }

    async fn put_job(&self, spec: JobSpec, wanted_agent: Option<String>) -> Result<(JobId, Queued)> {
        let id = JobId::new(&self.env);
        let queued = self.db.put_job(Record::new(Job { id, spec }, wanted_agent, self.env.now())).await?;
        if queued == Queued::New {
            tracing::info!(run = %id, "job queued");
            self.wake.notify_one();
        }
        Ok((id, queued))
    }

    async fn queue(&self, spec: JobSpec, wanted_agent: Option<String>) -> Result<(JobId, bool)> {
        let (id, queued) = self.put_job(spec, wanted_agent).await?;
        match queued {
            Queued::New => Ok((id, false)),
            Queued::Exists(id) => Ok((id, true)),
            Queued::Full => Err(Error::new(ErrorKind::Refused, "too many jobs are waiting; try again later")),
        }
    }

    fn choose_restore_agent(&self, target: &[u8], agent: Option<String>) -> Result<String> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Refused, what));
        let shown = String::from_utf8_lossy(target).into_owned();
        let infos = self.hub.infos();
        let allows = |roots: &[Vec<u8>]| roots.iter().any(|root| is_below(target, root));
        if let Some(id) = agent {
            let Some(info) = infos.iter().find(|i| i.id == id) else {
                return refuse(format!("agent {id} is not connected"));
            };
            return match allows(&info.restore_roots) {
                true => Ok(id),
                false => refuse(format!("{shown} is not below a restore root of agent {id}")),
            };
        }
        let mut able = infos.iter().filter(|i| allows(&i.restore_roots));
        match (able.next(), able.next()) {
            (Some(one), None) => Ok(one.id.clone()),
            (Some(_), Some(_)) => refuse(format!("several agents can restore to {shown}: name one")),
            (None, _) => refuse(format!("no connected agent has {shown} below one of its restore roots")),
        }
    }

    /// Asks for the end of a run.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<Record> {
        let record = self.change(id, Event::Cancel).await?.ok_or_else(|| unknown_run(id))?;
        if let (false, Some(agent)) = (record.state.has_ended(), &record.agent) {
            // Away: it is told when it comes back.
            self.tell_cancel(agent, id);
        }
        Ok(record)
    }

    pub(crate) fn tell_cancel(&self, agent: &str, id: JobId) {
        let cancel = v1::Cancel { job_id: id.0.to_vec().into() };
        let _away = self.hub.send(agent, v1::coordinator_message::Message::Cancel(cancel));
    }

    /// Lets an event happen to a job, writes it down, and tells those who watch. `None` for an unknown job.
    pub(crate) async fn change(&self, id: JobId, event: Event) -> Result<Option<Record>> {
        let Some((record, applied)) = self.db.apply(id, event, self.env.now()).await? else {
            return Ok(None);
        };
        if applied {
            let agent = record.agent.as_deref().unwrap_or("-");
            tracing::info!(run = %id, agent, state = record.state.name(), "job changed");
            if record.state.has_ended() {
                if let Some(result) = &record.result {
                    self.metrics.finished.count(&record.job.spec, result);
                }
                self.note_result(&record);
            }
            if record.state.has_ended() || record.state == State::Queued {
                self.hub.release(id);
                self.wake.notify_one();
            }
            self.publish(&record);
            self.pulse.beat();
        }
        Ok(Some(record))
    }

    /// The new snapshot counts at once, before the next reading of the bucket.
    fn note_result(&self, record: &Record) {
        let Some(snapshot) = record.result.as_ref().and_then(|r| r.snapshot.clone()) else { return };
        let snapshot = snapshot.light();
        let mut guard = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        if guard.all.iter().any(|s| s.id == snapshot.id) {
            return;
        }
        let (mut all, mut reported) = (guard.all.clone(), guard.reported.clone());
        reported.insert(snapshot.id, self.env.now());
        all.push(Arc::new(snapshot));
        all.sort_by_key(|s| s.manifest.started);
        *guard = Arc::new(Snapshots { all, damaged: guard.damaged.clone(), read: guard.read, reported });
    }

    /// The snapshots as last read.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        self.snapshots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the coordinator can do its work.
    pub fn ready(&self) -> Result<(), String> {
        if self.snapshots().read.is_none() {
            return Err("the snapshots have not been read from the store yet".to_owned());
        }
        Ok(())
    }
}

pub(crate) fn unknown_run(id: JobId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no run {}", hex(&id.0)))
}

/// What each of so many domains has of a bound: its clients can't take all of it, and never find nothing left by numbers alone.
fn part_of(max: usize, domains: usize) -> usize {
    (max / domains.max(1)).max(CLIENT_STREAMS_DOMAIN_MIN)
}

#[cfg(test)]
mod tests;
