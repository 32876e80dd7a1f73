//! The streams of the domains that the plan names: each comes and goes with it, with its jobs and kept results.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, RwLock};

use proto::v1;
use repository::env::Env;
use repository::ids::DomainName;
use service::client::Dialer;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::child::Nursery;
use super::config::{NodeConfig, Role};
use super::executor::{ChildExecutor, Watches};
use super::find::Seen;
use super::plan::{Access, Plan};
use super::sights::Sights;
use crate::jobs::{Acknowledged, Jobs, Kept};
use crate::link::{Link, Who, changed};
use crate::lookup::Remote;
use crate::metrics::{Metrics, SEEN};
use crate::server::keep;
use crate::slots::Slots;
use crate::standing::Standing;

/// What all domains share.
#[derive(Debug)]
pub(crate) struct Domains {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) dialer: Dialer,
    pub(crate) watches: Watches,
    pub(crate) nursery: Arc<Nursery>,
    pub(crate) slots: Slots,
    pub(crate) standing: Arc<Standing>,
    pub(crate) metrics: Metrics,
    pub(crate) env: Env,
}

/// A domain that is served.
#[derive(Debug)]
struct Served {
    stop: CancellationToken,
    executor: Arc<ChildExecutor>,
    offered: watch::Sender<Arc<v1::Volumes>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    served: BTreeMap<DomainName, Served>,
    stopping: HashMap<DomainName, JoinHandle<()>>,
    /// Each domain's number among those that share the slots: the same for ever.
    numbers: HashMap<DomainName, usize>,
    ends: JoinSet<Acknowledged>,
}

impl Domains {
    /// Follows the plan until `shutdown`; a mover's ends with its job, and says how that ended.
    pub(crate) async fn keep(&self, shutdown: &CancellationToken) -> Option<Acknowledged> {
        let (mut plan, mut sights) = (self.watches.plan.clone(), self.watches.sights.clone());
        let mut state = State::default();
        let mut end = None;
        let mut followed = Arc::<Plan>::default();
        loop {
            let (now, seen) = (plan.borrow_and_update().clone(), sights.borrow_and_update().clone());
            // With a new plan the coordinator judges anew what it was offered: it hears it again, changed or not.
            let again = !Arc::ptr_eq(&now, &followed);
            followed = now.clone();
            self.follow(&mut state, &now, shutdown).await;
            self.offer(&state, &seen, again);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changed(&mut plan) => {}
                () = changed(&mut sights) => {}
                Some(Ok(last)) = state.ends.join_next(), if self.config.role == Role::Mover => {
                    end = Some(last);
                    break;
                }
            }
        }
        for (_, served) in state.served {
            served.stop.cancel();
            state.stopping.insert(served.executor.domain.clone(), served.task);
        }
        futures::future::join_all(state.stopping.into_values()).await;
        end
    }

    async fn follow(&self, state: &mut State, plan: &Plan, shutdown: &CancellationToken) {
        let gone: Vec<_> =
            state.served.keys().filter(|d| !plan.repositories.contains_key(*d)).cloned().collect();
        for domain in gone {
            if let Some(served) = state.served.remove(&domain) {
                tracing::info!(%domain, "the plan no longer has the domain");
                served.stop.cancel();
                self.standing.forget(&domain);
                state.stopping.insert(domain, served.task);
            }
        }
        for (domain, access) in &plan.repositories {
            if let Some(served) = state.served.get(domain) {
                served.executor.set_access(access.clone());
                continue;
            }
            // The one before has its results in the same folder.
            if let Some(before) = state.stopping.remove(domain) {
                drop(before.await);
            }
            match self.serve(state, access, shutdown) {
                Ok(served) => drop(state.served.insert(domain.clone(), served)),
                Err(e) => {
                    let why = repository::error::one_line(e.as_ref());
                    tracing::error!(%domain, error = why, "the domain can't be served");
                    self.standing.set(domain, Err(why));
                }
            }
        }
    }

    /// Tells each domain what there is of its volumes.
    fn offer(&self, state: &State, sights: &Sights, again: bool) {
        let mut counts = [0; SEEN.len()];
        for sight in &sights.volumes {
            counts[number_of(&sight.seen)] += 1;
        }
        counts[SEEN.len() - 1] += i64::try_from(sights.refused.len()).unwrap_or(i64::MAX);
        self.metrics.set_volumes(counts);
        for (domain, served) in &state.served {
            let offer = offer(domain, sights, &self.config.host);
            served.offered.send_if_modified(|known| {
                let changed = again || **known != offer;
                *known = Arc::new(offer);
                changed
            });
        }
    }

    fn serve(
        &self,
        state: &mut State,
        access: &Arc<Access>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Served> {
        let domain = access.domain.clone();
        let dialer = self.dialer.about(&domain)?;
        let lookups = Arc::new(Remote::new(dialer, self.metrics.clone()));
        let executor = Arc::new(ChildExecutor {
            domain: domain.clone(),
            access: RwLock::new(access.clone()),
            watches: self.watches.clone(),
            nursery: self.nursery.clone(),
            lookups,
        });
        let next = state.numbers.len();
        let number = *state.numbers.entry(domain.clone()).or_insert(next);
        let kept = Kept::open(&self.config.state_dir.join("domains").join(domain.as_str()))?;
        let stop = shutdown.child_token();
        let slots = (self.slots.clone(), number);
        let jobs = Jobs::new(executor.clone(), kept, slots, self.metrics.clone(), stop.clone());
        let (offered, offers) = watch::channel(Arc::default());
        let who = Who {
            agent_id: self.config.id.clone(),
            host: self.config.host.clone(),
            jobs_max: self.config.jobs_max,
            reconnect_seconds_max: self.config.reconnect_seconds_max,
        };
        let about = (&domain, &self.dialer);
        let link = Link::new(about, who, offers, jobs.clone(), self.standing.clone(), self.env.clone())?;
        if self.config.role == Role::Mover {
            let jobs = jobs.clone();
            state.ends.spawn(async move { jobs.wait_last().await });
        }
        let (span, stopped) = (tracing::info_span!("domain", name = %domain), stop.clone());
        let task = tokio::spawn(async move { keep(&link, &jobs, &stopped).await }.instrument(span));
        Ok(Served { stop, executor, offered, task })
    }
}

/// The place of what was seen in [`SEEN`].
fn number_of(seen: &Seen) -> usize {
    match seen {
        Seen::Ready(_) => 0,
        Seen::Absent(_) => 1,
        Seen::Ambiguous(_) => 2,
        Seen::Refused(_) => 3,
    }
}

/// What a domain's coordinator may ask for: the volumes that can be read now.
fn offer(domain: &DomainName, sights: &Sights, host: &str) -> v1::Volumes {
    let mut out = v1::Volumes::default();
    for sight in sights.volumes.iter().filter(|s| s.volume.domain == *domain) {
        let Seen::Ready(spot) = &sight.seen else { continue };
        let path = bytes::Bytes::copy_from_slice(spot.path.as_os_str().as_bytes());
        if sight.volume.restore {
            out.restore_roots.push(path.clone());
        }
        out.volumes.push(v1::Volume { name: sight.volume.name.clone(), host: host.to_owned(), path });
    }
    out
}
