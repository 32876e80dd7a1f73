//! The one stream to the coordinator: opened again and again, with growing, random waits. Jobs do not depend on it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::job::{Job, JobId, JobResult};
use proto::v1::agent_message::Message;
use proto::v1::agents_client::AgentsClient;
use proto::v1::coordinator_message::Message as Answer;
use proto::{MESSAGE_BYTES_MAX, convert, v1};
use repository::env::Env;
use repository::ids::DomainName;
use repository::{Error, ErrorKind, Result};
use service::client::Dialer;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::config::Domain;
use crate::jobs::Jobs;
use crate::limits::{HEARTBEAT_SECONDS_MAX, OUTBOX, PROGRESS_SECONDS, RECONNECT_MILLIS_MIN, WELCOME_SECONDS};
use crate::standing::{NOT_CONNECTED, Standing};

/// What the stream is made of.
#[derive(Debug)]
pub(crate) struct Link {
    dialer: Dialer,
    domain: DomainName,
    jobs: Arc<Jobs>,
    standing: Arc<Standing>,
    env: Env,
    who: Who,
    offered: watch::Receiver<Arc<v1::Volumes>>,
}

/// Who the agent says that it is, in every domain.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) agent_id: String,
    pub(crate) host: String,
    pub(crate) jobs_max: u32,
    pub(crate) reconnect_seconds_max: u64,
}

/// What an agent reads by its settings, and where it restores: the same for ever.
pub(crate) fn offer_of(host: &str, domain: &Domain) -> watch::Receiver<Arc<v1::Volumes>> {
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec().into();
    let volume = |v: &crate::config::Volume| v1::Volume {
        name: v.name.clone(),
        host: host.to_owned(),
        path: bytes(&v.path),
    };
    let volumes = domain.volumes.iter().map(volume).collect();
    let restore_roots = domain.restore_roots.iter().map(|r| bytes(r)).collect();
    watch::channel(Arc::new(v1::Volumes { volumes, restore_roots })).1
}

/// Why a connection ended.
enum End {
    /// We stop.
    Stop,
    /// It broke after it had worked, or before.
    Broken { welcomed: bool, error: Error },
}

impl Link {
    /// Of one domain: no other one's volumes, jobs or results are ever told. What is offered may change.
    pub(crate) fn new(
        (domain, dialer): (&DomainName, &Dialer),
        who: Who,
        offered: watch::Receiver<Arc<v1::Volumes>>,
        jobs: Arc<Jobs>,
        standing: Arc<Standing>,
        env: Env,
    ) -> Result<Self> {
        let dialer = dialer.about(domain)?;
        Ok(Self { dialer, domain: domain.clone(), jobs, standing, env, who, offered })
    }

    fn hello(&self, offered: &v1::Volumes) -> v1::Hello {
        v1::Hello {
            agent_id: self.who.agent_id.clone(),
            host: self.who.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            volumes: offered.volumes.clone(),
            restore_roots: offered.restore_roots.clone(),
            jobs_max: self.who.jobs_max,
            jobs: self.jobs.held().iter().map(convert::job_to_wire).collect(),
        }
    }

    /// Stays connected until `shutdown`.
    pub(crate) async fn keep(&self, shutdown: &CancellationToken) {
        let mut failures = 0;
        loop {
            let end = self.connect(shutdown).await;
            let End::Broken { welcomed, error } = end else {
                self.standing.set(&self.domain, Err(NOT_CONNECTED.to_owned()));
                return;
            };
            failures = if welcomed { 0 } else { failures + 1 };
            let wait_max = Duration::from_secs(self.who.reconnect_seconds_max);
            let wait = backoff(failures, u64::from_le_bytes(self.env.random()), wait_max);
            self.standing.metrics.connection_failures.inc();
            let wait_millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.standing.set(&self.domain, Err(format!("{NOT_CONNECTED}: {}", error.chain())));
            tracing::warn!(error = %error.chain(), wait_millis, "no connection to the coordinator");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn connect(&self, shutdown: &CancellationToken) -> End {
        let mut welcomed = false;
        let talk = self.talk(&mut welcomed);
        let talked = tokio::select! {
            () = shutdown.cancelled() => None,
            talked = talk => Some(talked),
        };
        match talked {
            None => End::Stop,
            Some(error) => End::Broken { welcomed, error },
        }
    }

    /// Talks until the connection breaks, and says why it did.
    async fn talk(&self, welcomed: &mut bool) -> Error {
        match self.try_talk(welcomed).await {
            Ok(()) => Error::new(ErrorKind::Refused, "the coordinator ended the connection"),
            Err(e) => e,
        }
    }

    async fn try_talk(&self, welcomed: &mut bool) -> Result<()> {
        let mut client =
            AgentsClient::new(self.dialer.connect()?).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let mut offered = self.offered.clone();
        let hello = self.hello(&offered.borrow_and_update());
        // Of what was given back until now, the coordinator hears by what is held.
        drop(self.jobs.take_returned());
        send(&outbox, Message::Hello(hello)).await?;
        let error = |status: tonic::Status| convert::error_from_status(&status);
        let timeout = Duration::from_secs(WELCOME_SECONDS);
        let late = |_| Error::new(ErrorKind::Refused, "the coordinator did not welcome the agent in time");
        let attached = client.attach(ReceiverStream::new(outgoing));
        let mut incoming = tokio::time::timeout(timeout, attached)
            .await
            .map_err(late)?
            .map_err(|refusal| {
                // Elsewhere, or not where the leader was said to be.
                if !self.dialer.heed(&refusal) {
                    self.dialer.forget_leader();
                }
                error(refusal)
            })?
            .into_inner();
        let first = tokio::time::timeout(timeout, incoming.message()).await.map_err(late)?.map_err(error)?;
        let Some(v1::CoordinatorMessage { message: Some(Answer::Welcome(welcome)) }) = first else {
            return Err(Error::new(ErrorKind::Refused, "the coordinator did not begin with a welcome"));
        };
        *welcomed = true;
        self.standing.set(&self.domain, Ok(()));
        tracing::info!(coordinator = self.dialer.url(), domain = %self.domain, "connected");
        let heartbeat =
            Duration::from_secs(u64::from(welcome.heartbeat_seconds.clamp(1, HEARTBEAT_SECONDS_MAX)));
        let (mut heartbeat, mut progress) =
            (interval(heartbeat), interval(Duration::from_secs(PROGRESS_SECONDS)));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.send_results(&outbox).await?;
        loop {
            tokio::select! {
                answer = incoming.message() => {
                    let Some(answer) = answer.map_err(error)? else { return Ok(()) };
                    // A message of a kind that we don't know is of a newer coordinator: ignored.
                    if let Some(answer) = answer.message {
                        self.hear(&outbox, answer).await?;
                    }
                }
                () = self.jobs.wait_ended() => self.send_results(&outbox).await?,
                () = changed(&mut offered) => {
                    let now = v1::Volumes::clone(&offered.borrow_and_update());
                    send(&outbox, Message::Volumes(now)).await?;
                }
                _ = heartbeat.tick() => send(&outbox, Message::Heartbeat(v1::Heartbeat {})).await?,
                _ = progress.tick() => self.send_progress(&outbox).await?,
            }
        }
    }

    async fn hear(&self, outbox: &Outbox, answer: Answer) -> Result<()> {
        match answer {
            Answer::Welcome(_) => Ok(()),
            Answer::Offer(offer) => {
                let id = offer.job.as_ref().map(|j| j.id.clone()).unwrap_or_default();
                let job = offer.job.ok_or_else(|| Error::new(ErrorKind::Input, "an offer without a job"));
                let begun = match job.and_then(convert::job_from_wire) {
                    Ok(job) => self.begin(job),
                    // A kind of job that this version does not know, for example.
                    Err(e) => Err(e.chain()),
                };
                let message = match begun {
                    Ok(()) => Message::Accept(v1::Accept { job_id: id }),
                    Err(reason) => Message::Decline(v1::Decline { job_id: id, reason }),
                };
                send(outbox, message).await?;
                self.send_results(outbox).await
            }
            Answer::Cancel(cancel) => {
                self.jobs.cancel(convert::job_id_from_wire(&cancel.job_id)?);
                Ok(())
            }
            Answer::Acknowledge(done) => {
                self.jobs.acknowledge(convert::job_id_from_wire(&done.job_id)?);
                Ok(())
            }
        }
    }

    fn begin(&self, job: Job) -> Result<(), String> {
        self.jobs.begin(job)
    }

    /// All that are not acknowledged; the coordinator takes repeated ones as one.
    async fn send_results(&self, outbox: &Outbox) -> Result<()> {
        for (id, result) in self.jobs.results() {
            send(outbox, finished(id, &result)).await?;
        }
        for (id, reason) in self.jobs.take_returned() {
            let job_id = id.0.to_vec().into();
            send(outbox, Message::Returned(v1::Returned { job_id, reason })).await?;
        }
        Ok(())
    }

    async fn send_progress(&self, outbox: &Outbox) -> Result<()> {
        for (id, figures) in self.jobs.progress() {
            let figures = Some(convert::figures_to_wire(&figures));
            send(outbox, Message::Progress(v1::Progress { job_id: id.0.to_vec().into(), figures })).await?;
        }
        Ok(())
    }
}

/// Waits for the next change; for ever where none can come.
pub(crate) async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

type Outbox = mpsc::Sender<v1::AgentMessage>;

fn finished(id: JobId, result: &JobResult) -> Message {
    let result = Some(convert::result_to_wire(result));
    Message::Finished(v1::Finished { job_id: id.0.to_vec().into(), result })
}

async fn send(outbox: &Outbox, message: Message) -> Result<()> {
    let sent = outbox.send(v1::AgentMessage { message: Some(message) }).await;
    sent.map_err(|_| Error::new(ErrorKind::Refused, "the connection to the coordinator is closed"))
}

/// Doubled with each failure up to `max`; of that, a random half to whole, so that many agents don't come at once.
pub(crate) fn backoff(failures: u32, random: u64, max: Duration) -> Duration {
    let base = Duration::from_millis(RECONNECT_MILLIS_MIN).saturating_mul(1 << failures.min(16)).min(max);
    let half = base / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(random % millis.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests;
