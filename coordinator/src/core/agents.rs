//! What agents say, and what follows from it.

use std::collections::HashSet;

use proto::convert::{self, Check as _};
use proto::job::{Job, JobId};
use proto::v1;
use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};

use super::Core;
use crate::db::agents::{AgentRow, VolumeRow};
use crate::hub::{Info, Outbox};
use crate::jobs::{Event, Record};
use crate::limits::REASON_CHARS_MAX;

impl Core {
    /// An agent came. Jobs that it still holds are its own again; those that it lost are queued again.
    /// Gives the number of its connection.
    pub(crate) async fn hello(&self, hello: v1::Hello, outbox: Outbox) -> Result<u64> {
        let (info, held) = read_hello(hello)?;
        let id = info.id.clone();
        self.note_agent(&info).await?;
        let ids: HashSet<JobId> = held.iter().map(|j| j.id).collect();
        tracing::info!(agent = id, volumes = info.volumes.len(), jobs = ids.len(), "agent connected");
        let welcome = v1::Welcome { heartbeat_seconds: self.heartbeat_seconds };
        let number = self.hub.join(info.clone(), outbox, ids.clone());
        self.hub.send(&id, v1::coordinator_message::Message::Welcome(welcome));
        for job in held {
            self.adopt(&info, job).await?;
        }
        for record in self.db.active_jobs().await? {
            if record.agent.as_deref() == Some(&id) && !ids.contains(&record.job.id) {
                self.change(record.job.id, Event::Lost).await?;
            }
        }
        self.count_agents();
        self.wake.notify_one();
        Ok(number)
    }

    /// Writes down who an agent is and what it has.
    async fn note_agent(&self, info: &Info) -> Result<()> {
        let now = self.env.now();
        let row = |v: &v1::Volume| VolumeRow {
            name: v.name.clone(),
            host: v.host.clone(),
            path: v.path.to_vec(),
            agent: Some(info.id.clone()),
            first_seen: now,
        };
        let volumes = info.volumes.iter().map(row).collect();
        let (id, host, version) = (info.id.clone(), info.host.clone(), info.version.clone());
        self.db.put_agent(AgentRow { id, host, version, seen: now }, volumes).await
    }

    /// An agent has other volumes now. What it does is not touched: it gives back what it can't do any more.
    async fn revise(&self, agent: &str, said: v1::Volumes) -> Result<()> {
        said.check()?;
        let Some(info) = self.hub.revise(agent, said) else { return Ok(()) };
        tracing::debug!(agent, volumes = info.volumes.len(), "agent's volumes changed");
        self.note_agent(&info).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// An agent takes over what it was given before. It can't take what it never had.
    async fn adopt(&self, info: &Info, job: Job) -> Result<()> {
        let (id, agent) = (job.id, info.id.as_str());
        // Unknown when the database was deleted meanwhile: the agent knows the job whole.
        if info.can_do(&job.spec) {
            self.db.put_job_if_absent(Record::held(job, agent, self.env.now())).await?;
        }
        let before = self.db.job(id).await?.and_then(|r| r.agent);
        let record = self.change(id, Event::Adopt(agent.to_owned())).await?;
        let own = record.as_ref().is_some_and(|r| r.agent.as_deref() == Some(agent));
        if !own || record.is_some_and(|r| r.cancel_requested || r.state.has_ended()) {
            self.tell_cancel(agent, id);
        }
        // Given out again meanwhile: one of the two is enough, and this one is further.
        if let Some(before) = before.filter(|b| own && b != agent) {
            self.tell_cancel(&before, id);
        }
        Ok(())
    }

    /// An agent's connection ended. Its jobs wait for it.
    pub(crate) async fn goodbye(&self, agent: &str, number: u64) {
        let now = self.env.now();
        if self.hub.leave(agent, number, now) {
            tracing::info!(agent, "agent disconnected");
            self.count_agents();
            if let Err(e) = self.db.put_agent_seen(agent.to_owned(), now).await {
                tracing::warn!(agent, error = %e.chain(), "agent's sign of life not noted");
            }
        }
    }

    fn count_agents(&self) {
        self.metrics.agents_connected.set(i64::try_from(self.hub.infos().len()).unwrap_or(i64::MAX));
    }

    /// An agent said something.
    pub(crate) async fn hear(&self, agent: &str, message: v1::agent_message::Message) -> Result<()> {
        use v1::agent_message::Message;
        match message {
            Message::Hello(_) => {
                return Err(Error::new(ErrorKind::Input, "a second hello on one connection"));
            }
            Message::Heartbeat(_) => {}
            Message::Accept(m) => {
                let id = convert::job_id_from_wire(&m.job_id)?;
                let record = self.change(id, Event::Accept(agent.to_owned())).await?;
                // Taken back meanwhile, or cancelled between offer and answer.
                let own = record.as_ref().is_some_and(|r| r.agent.as_deref() == Some(agent));
                if !own || record.is_some_and(|r| r.cancel_requested || r.state.has_ended()) {
                    self.tell_cancel(agent, id);
                }
            }
            Message::Decline(m) => {
                let id = convert::job_id_from_wire(&m.job_id)?;
                let reason: String = m.reason.chars().take(REASON_CHARS_MAX).collect();
                tracing::info!(agent, run = %id, reason, "job declined");
                self.change(id, Event::Decline(agent.to_owned())).await?;
            }
            Message::Volumes(m) => self.revise(agent, m).await?,
            Message::Returned(m) => {
                let id = convert::job_id_from_wire(&m.job_id)?;
                let reason: String = m.reason.chars().take(REASON_CHARS_MAX).collect();
                tracing::info!(agent, run = %id, reason, "job returned");
                self.change(id, Event::Return(agent.to_owned())).await?;
                self.hub.drop_job(agent, id);
                let done = v1::Acknowledge { job_id: m.job_id };
                self.hub.send(agent, v1::coordinator_message::Message::Acknowledge(done));
            }
            Message::Progress(m) => {
                let id = convert::job_id_from_wire(&m.job_id)?;
                if self.hub.holds(agent, id) {
                    self.publish_figures(id, convert::figures_from_wire(m.figures.as_ref()));
                }
            }
            Message::Finished(m) => self.finish(agent, m).await?,
        }
        Ok(())
    }

    async fn finish(&self, agent: &str, m: v1::Finished) -> Result<()> {
        let id = convert::job_id_from_wire(&m.job_id)?;
        let result = m.result.ok_or_else(|| Error::new(ErrorKind::Input, "message field result: missing"))?;
        let result = Box::new(convert::result_from_wire(result)?);
        let known = self.db.job(id).await?;
        if known.as_ref().is_some_and(|r| !r.was_given_to(agent)) {
            tracing::warn!(agent, run = %id, "an agent reported a job that it was never given");
        }
        if let (Some(record), Some(snapshot)) = (&known, &result.snapshot)
            && record.job.spec.volume() != Some(&snapshot.manifest.volume)
        {
            let what = format!("message field result.snapshot.volume: run {id} is not of that volume");
            return Err(Error::new(ErrorKind::Input, what));
        }
        self.change(id, Event::Finish(agent.to_owned(), result)).await?;
        self.hub.drop_job(agent, id);
        // Written down, or not wanted any more: either way the agent may forget it.
        let done = v1::Acknowledge { job_id: m.job_id };
        self.hub.send(agent, v1::coordinator_message::Message::Acknowledge(done));
        Ok(())
    }

    /// Answers a batch of ids.
    pub(crate) async fn lookup(&self, request: v1::LookupRequest) -> Result<v1::LookupResponse> {
        let ids = convert::ids_from_wire(&request)?;
        let places = self.engine.find_blobs(&ids).await?;
        let found = places.iter().filter(|p| p.is_some()).count() as u64;
        self.metrics.count_lookup(found, places.len() as u64 - found);
        Ok(convert::places_to_wire(&places))
    }
}

fn read_hello(hello: v1::Hello) -> Result<(Info, Vec<Job>)> {
    let held = hello.jobs.into_iter().map(convert::job_from_wire).collect::<Result<Vec<_>>>()?;
    let info = Info {
        id: hello.agent_id,
        host: hello.host,
        version: hello.version,
        volumes: hello.volumes,
        restore_roots: hello.restore_roots.iter().map(|r| r.to_vec()).collect(),
        jobs_max: usize::try_from(hello.jobs_max.max(1))
            .context(ErrorKind::Input, || "jobs_max".to_owned())?,
    };
    Ok((info, held))
}
