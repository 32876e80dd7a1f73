//! Who leads: a Lease, taken and renewed by compare-and-swap of its resourceVersion.
//!
//! 1. A holder counts its own time only, from before the request that renewed: it ends before anybody else can believe that it is gone.
//! 2. A follower takes a Lease that it saw unchanged for its whole length, by its own clock: times that others wrote are never compared.
//! 3. A Lease is no lock: two may believe to lead for a moment. Nothing relies on it but who does the work; the repositories' own
//!    protocol keeps what is stored safe.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use repository::env::Env;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::{LEASE_LOOK_SECONDS, LEASE_RENEW_SECONDS, LEASE_SECONDS};

/// The Lease's name.
pub(crate) const LEASE: &str = "holdfast-coordinator";
/// Where the leader is reached, `host:port`.
const ADDRESS: &str = "holdfast.dev/address";

/// A candidate. Its identity is of this process, not of its pod: a container that was started anew is another one.
#[derive(Clone)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    namespace: String,
    me: String,
    address: Option<String>,
    env: Env,
}

/// What a candidate saw, and when it first saw it.
#[derive(Clone, Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Create,
    /// It is ours, free, or its holder was silent for too long.
    Take,
    /// Somebody has it.
    Wait,
}

/// Decides. `silent` is how long it was seen unchanged.
fn decide(lease: Option<&LeaseSpec>, me: &str, silent: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let seconds = lease.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(LEASE_SECONDS);
    // What others wrote has its bounds: a length of years would never end.
    let length = Duration::from_secs(seconds.clamp(1, 10 * LEASE_SECONDS));
    if holder.is_empty() || holder == me || silent >= length { Step::Take } else { Step::Wait }
}

impl Candidate {
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        me: String,
        address: Option<String>,
        env: Env,
    ) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        Self { api, namespace: namespace.to_owned(), me, address, env }
    }

    /// Waits until it leads. False when it was stopped before. `told` hears where the leader is.
    pub(crate) async fn win(&self, stop: &CancellationToken, told: impl Fn(Option<String>)) -> bool {
        let mut seen = Seen::default();
        loop {
            match self.attempt(&mut seen, &told).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %crate::chain(&e), "the Lease could not be read or taken"),
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = sleep(Duration::from_secs(LEASE_LOOK_SECONDS)) => {}
            }
        }
    }

    async fn attempt(&self, seen: &mut Seen, told: &impl Fn(Option<String>)) -> kube::Result<bool> {
        let lease = self.api.get_opt(LEASE).await?;
        let version = lease.as_ref().and_then(|l| l.metadata.resource_version.clone());
        if seen.version != version || seen.since.is_none() {
            *seen = Seen { version, since: Some(Instant::now()) };
        }
        let silent = seen.since.map_or(Duration::ZERO, |at| at.elapsed());
        told(lease.as_ref().and_then(|l| l.metadata.annotations.as_ref()?.get(ADDRESS).cloned()));
        let spec = lease.as_ref().map(|l| l.spec.clone().unwrap_or_default());
        match decide(spec.as_ref(), &self.me, silent) {
            Step::Wait => Ok(false),
            Step::Create => self.put(None, &self.me).await,
            Step::Take => self.put(lease, &self.me).await,
        }
    }

    /// Writes the Lease with this holder, if nobody else wrote it since it was read. False if somebody did.
    async fn put(&self, old: Option<Lease>, holder: &str) -> kube::Result<bool> {
        let now = Timestamp::from_nanosecond(i128::from(self.env.now().0)).unwrap_or_default();
        let fresh = old.is_none();
        let mut lease = old.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        });
        let before = lease.spec.take().unwrap_or_default();
        let changes = before.holder_identity.as_deref() != Some(holder);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE_SECONDS).ok(),
            renew_time: Some(MicroTime(now)),
            acquire_time: if changes { Some(MicroTime(now)) } else { before.acquire_time },
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(changes && !fresh)),
            ..before
        });
        let annotations = lease.metadata.annotations.get_or_insert_default();
        match &self.address {
            Some(address) if !holder.is_empty() => annotations.insert(ADDRESS.to_owned(), address.clone()),
            _ => annotations.remove(ADDRESS),
        };
        let params = PostParams::default();
        let put = match fresh {
            true => self.api.create(&params, &lease).await,
            false => self.api.replace(LEASE, &params, &lease).await,
        };
        match put {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Renews until `stop`, and then gives the Lease back. Ends before with the reason why it is lost.
    pub(crate) async fn hold(&self, stop: &CancellationToken) -> Result<(), String> {
        let mut good = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(Duration::from_secs(LEASE_LOOK_SECONDS)) => {}
            }
            // Counted from before the request: when the answer comes, that much is gone already.
            let begun = Instant::now();
            let left = Duration::from_secs(LEASE_RENEW_SECONDS).saturating_sub(good.elapsed());
            match timeout(left, self.renew()).await {
                Ok(Ok(true)) => good = begun,
                Ok(Ok(false)) => return Err("somebody else has the Lease".to_owned()),
                Ok(Err(e)) => tracing::warn!(error = %crate::chain(&e), "the Lease could not be renewed"),
                Err(_) => {}
            }
            if good.elapsed() >= Duration::from_secs(LEASE_RENEW_SECONDS) {
                return Err(format!("the Lease could not be renewed for {LEASE_RENEW_SECONDS} s"));
            }
        }
        let give = async {
            let lease = self.api.get_opt(LEASE).await?;
            match lease.filter(|l| self.is_mine(l)) {
                Some(lease) => self.put(Some(lease), "").await,
                None => Ok(false),
            }
        };
        if let Ok(Err(e)) = timeout(Duration::from_secs(LEASE_LOOK_SECONDS), give).await {
            tracing::info!(error = %crate::chain(&e), "the Lease was not given back: it ends by itself");
        }
        Ok(())
    }

    async fn renew(&self) -> kube::Result<bool> {
        match self.api.get_opt(LEASE).await? {
            Some(lease) if !self.is_mine(&lease) => Ok(false),
            Some(lease) => self.put(Some(lease), &self.me).await,
            // Somebody deleted it: whoever makes it first has it.
            None => self.put(None, &self.me).await,
        }
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().is_some_and(|s| s.holder_identity.as_deref() == Some(&self.me))
    }
}
