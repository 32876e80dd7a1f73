//! The stream over which the node hears its plan and tells what it found: opened again and again, with growing, random waits.
//!
//! While the coordinator is away the last plan holds: jobs go on, and volumes are let go of all the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::v1::node_message::Message;
use proto::v1::node_order::Message as Order;
use proto::v1::nodes_client::NodesClient;
use proto::{convert, v1};
use repository::env::Env;
use repository::{Error, ErrorKind, Result};
use service::client::Dialer;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::find::Seen;
use super::plan::Plan;
use super::sights::Sights;
use crate::limits::{OUTBOX, PLAN_BYTES_MAX, PULSE_SECONDS, WELCOME_SECONDS};
use crate::link::{backoff, changed};
use crate::metrics::Metrics;
use crate::standing::NOT_CONNECTED;

/// What the stream is made of.
#[derive(Debug)]
pub(crate) struct Attendance {
    pub(crate) dialer: Dialer,
    pub(crate) arrival: v1::Arrival,
    pub(crate) plans: watch::Sender<Arc<Plan>>,
    pub(crate) sights: watch::Receiver<Arc<Sights>>,
    pub(crate) reconnect_max: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) env: Env,
    /// Whether a plan is being followed, or why not.
    pub(crate) state: Arc<Mutex<Result<(), String>>>,
}

impl Attendance {
    /// Attends until `shutdown`.
    pub(crate) async fn keep(&self, shutdown: &CancellationToken) {
        let mut failures = 0;
        loop {
            let mut planned = false;
            let talked = tokio::select! {
                () = shutdown.cancelled() => return,
                talked = self.talk(&mut planned) => talked,
            };
            let ended = || Error::new(ErrorKind::Refused, "the coordinator ended the connection");
            let error = talked.err().unwrap_or_else(ended).chain();
            failures = if planned { 0 } else { failures + 1 };
            let wait = backoff(failures, u64::from_le_bytes(self.env.random()), self.reconnect_max);
            self.metrics.connection_failures.inc();
            self.set(Err(format!("{NOT_CONNECTED}: {error}")));
            tracing::warn!(error, wait = ?wait, "not attending");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn set(&self, state: Result<(), String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    async fn talk(&self, planned: &mut bool) -> Result<()> {
        let client = NodesClient::new(self.dialer.connect()?);
        let mut client = client.max_decoding_message_size(PLAN_BYTES_MAX);
        let client = &mut client;
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        send(&outbox, Message::Arrival(self.arrival.clone())).await?;
        let late = |_| Error::new(ErrorKind::Refused, "the coordinator did not answer in time");
        let attended = client.attend(ReceiverStream::new(outgoing));
        let attended =
            tokio::time::timeout(Duration::from_secs(WELCOME_SECONDS), attended).await.map_err(late)?;
        let mut incoming = attended
            .map_err(|refusal| {
                // Elsewhere, or not where the leader was said to be.
                if !self.dialer.heed(&refusal) {
                    self.dialer.forget_leader();
                }
                convert::error_from_status(&refusal)
            })?
            .into_inner();
        let mut sights = self.sights.clone();
        sights.mark_changed();
        // Shown also before there is a plan: a node that is silent is taken for gone.
        let mut pulse = every(Duration::from_secs(PULSE_SECONDS));
        let (mut revision, mut told) = (None, None::<v1::Sightings>);
        loop {
            tokio::select! {
                order = incoming.message() => {
                    let order = order.map_err(|status| convert::error_from_status(&status))?;
                    let Some(order) = order else { return Ok(()) };
                    // An order of a kind that we don't know is of a newer coordinator: ignored.
                    if let Some(Order::Plan(plan)) = order.message {
                        revision = Some(plan.revision);
                        *planned = true;
                        if let Some(each) = self.take(plan) {
                            pulse = every(each);
                        }
                    }
                }
                () = changed(&mut sights) => {
                    let now = to_wire(&sights.borrow_and_update());
                    // What was found of an older plan is of no use.
                    if revision == Some(now.revision) && told.as_ref() != Some(&now) {
                        send(&outbox, Message::Sightings(now.clone())).await?;
                        told = Some(now);
                    }
                }
                _ = pulse.tick() => send(&outbox, Message::Pulse(v1::NodePulse {})).await?,
            }
        }
    }

    /// A plan that makes no sense changes nothing: what was read before is read on.
    fn take(&self, plan: v1::NodePlan) -> Option<Duration> {
        match Plan::from_wire(plan) {
            Ok(plan) => {
                let (revision, volumes) = (plan.revision, plan.volumes.len());
                tracing::info!(
                    revision,
                    volumes,
                    domains = plan.repositories.len(),
                    "the coordinator's plan"
                );
                self.set(Ok(()));
                let pulse = plan.pulse;
                self.plans.send_replace(Arc::new(plan));
                Some(pulse)
            }
            Err(e) => {
                self.metrics.plans_refused.inc();
                tracing::error!(error = %e.chain(), "the coordinator's plan is refused");
                self.set(Err(format!("the coordinator's plan is refused: {}", e.chain())));
                None
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period.max(Duration::from_secs(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn send(outbox: &mpsc::Sender<v1::NodeMessage>, message: Message) -> Result<()> {
    let sent = outbox.send(v1::NodeMessage { message: Some(message) }).await;
    sent.map_err(|_| Error::new(ErrorKind::Refused, "the connection to the coordinator is closed"))
}

/// What is said of each volume once, whatever many domains it is backed up into.
fn to_wire(sights: &Sights) -> v1::Sightings {
    let mut said = std::collections::HashSet::new();
    let of = |name: &str, seen: &Seen| {
        let (kind, what, pod) = match seen {
            Seen::Ready(spot) => (v1::Seen::Ready, String::new(), spot.pod.clone()),
            Seen::Absent(why) => (v1::Seen::Absent, why.clone(), None),
            Seen::Ambiguous(why) => (v1::Seen::Ambiguous, why.clone(), None),
            Seen::Refused(why) => (v1::Seen::Refused, why.clone(), None),
        };
        let pod_uid = pod.unwrap_or_default();
        v1::Sighting { volume: name.to_owned(), seen: kind.into(), what, pod_uid }
    };
    let refused = sights.refused.iter().map(|(name, why)| (name.as_str(), Seen::Refused(why.clone())));
    let planned = sights.volumes.iter().map(|s| (s.volume.name.as_str(), s.seen.clone()));
    let all = planned.chain(refused).filter(|(name, _)| said.insert((*name).to_owned()));
    v1::Sightings { revision: sights.revision, volumes: all.map(|(name, seen)| of(name, &seen)).collect() }
}

#[cfg(test)]
mod tests;
