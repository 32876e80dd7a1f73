//! Who calls, by the token of a service account of ours: one of our own agents, a mover of ours, or a person who may make tokens of an
//! account for people; nobody else.
//!
//! 1. The token must be for us (audience), and be of a pod that is there with this very uid, made by our own DaemonSet: a token that was
//!    made for a node by somebody who may make tokens names no such pod.
//! 2. An account for people needs no pod: RBAC says who may make tokens of it, and the account what they may do.
//! 3. An agent is its node, a mover its pod, whatever they say of themselves. They may have the domains of their plan only.
//! 4. What the API server said of a token is believed for a minute; whether its pod is still there is looked at each time.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use coordinator::gate::{Access, Grant, Identify};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use repository::env::{Env, Timestamp};
use repository::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::limits::{REQUEST_SECONDS, REVIEWS_AT_ONCE_MAX, TOKEN_BYTES_MAX, TOKEN_SECONDS, TOKENS_MAX};
use crate::world::watch::Watched;
use crate::world::{Key, Pod, PodPhase, World};

/// The audience of tokens for us.
pub const AUDIENCE: &str = "holdfast-coordinator";
/// The service account and the DaemonSet of agents.
pub const AGENT: &str = "holdfast-agent";
/// The service account of movers.
pub const MOVER: &str = "holdfast-mover";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// The domains that each agent may have, by its id; as the last plans have them. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Domains(Arc<RwLock<BTreeMap<String, Vec<String>>>>);

impl Domains {
    /// Replaces all.
    pub fn set(&self, all: BTreeMap<String, Vec<String>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn of(&self, agent: &str) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(agent).cloned().unwrap_or_default()
    }
}

/// The accounts for people, and what each may do (manifests/base/rbac-clients.yaml).
const PEOPLE: [(&str, Access); 3] = [
    ("holdfast-reader", Access::Read),
    ("holdfast-writer", Access::Write),
    ("holdfast-administrator", Access::Admin),
];

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A pod's.
    Pod(InPod),
    /// A person's, who acts as this account.
    Person(&'static str, Access),
}

/// A pod of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InPod {
    account: &'static str,
    pod: Key,
    uid: String,
    node: Option<String>,
}

/// What was found out about tokens, by their hashes, and until when it counts.
type Known = HashMap<[u8; 32], (Timestamp, Option<Holder>)>;

/// Asks the API server.
pub struct Reviewer {
    client: Client,
    watched: Watched,
    namespace: String,
    domains: Domains,
    env: Env,
    known: Mutex<Known>,
    turns: Semaphore,
}

impl Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Reviewer {
    /// Knows agents of this namespace.
    #[must_use]
    pub fn new(client: Client, watched: Watched, namespace: &str, domains: Domains, env: Env) -> Self {
        Self {
            client,
            watched,
            namespace: namespace.to_owned(),
            domains,
            env,
            known: Mutex::default(),
            turns: Semaphore::new(REVIEWS_AT_ONCE_MAX),
        }
    }

    fn find(&self, token: &[u8; 32]) -> Option<Option<Holder>> {
        let now = self.env.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(token).filter(|(until, _)| *until > now).map(|(_, holder)| holder.clone())
    }

    fn remember(&self, token: [u8; 32], holder: Option<Holder>) {
        let now = self.env.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        // Full of living ones: somebody sends many; who is not remembered is asked about again.
        if known.len() < TOKENS_MAX {
            known.insert(token, (now.plus_seconds(TOKEN_SECONDS), holder));
        }
    }

    async fn review(&self, token: &str) -> Result<Option<Holder>> {
        let unknown = |what: String| Error::new(ErrorKind::Store, format!("review a token: {what}"));
        let _turn = self.turns.acquire().await.map_err(|e| unknown(e.to_string()))?;
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let asked = api.create(&params, &review);
        let answer = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS), asked).await;
        let answer = answer.map_err(|_| unknown("the API server did not answer".to_owned()))?;
        let status = answer.map_err(|e| unknown(crate::chain(&e)))?.status.unwrap_or_default();
        let ours = status.audiences.iter().flatten().any(|a| a == AUDIENCE);
        if status.authenticated != Some(true) || !ours {
            tracing::debug!(error = status.error, "a token that is not for us");
            return Ok(None);
        }
        Ok(holder(&status.user.unwrap_or_default(), &self.namespace))
    }
}

#[async_trait]
impl Identify for Reviewer {
    async fn identify(&self, token: &str) -> Result<Option<Grant>> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let holder = match self.find(&hash) {
            Some(known) => known,
            None => {
                let found = self.review(token).await?;
                self.remember(hash, found.clone());
                found
            }
        };
        let holder = match holder {
            None => return Ok(None),
            Some(Holder::Person(account, access)) => {
                let (name, clients) = (account.to_owned(), Some(access));
                return Ok(Some(Grant { name, clients, ..Grant::default() }));
            }
            Some(Holder::Pod(holder)) => holder,
        };
        match judge(&self.watched.read(), &holder) {
            Ok(agent) => Ok(Some(Grant {
                name: format!("{} {}", holder.account, holder.pod.name),
                domains: Some(self.domains.of(&agent)),
                agents: vec![agent],
                clients: None,
                planned: true,
            })),
            Err(why) => {
                tracing::info!(pod = %holder.pod, why, "a token of no agent of ours");
                Ok(None)
            }
        }
    }
}

/// Whose token it is, as the API server says; `None` for anybody but agents, movers and people's accounts of `namespace`.
fn holder(user: &UserInfo, namespace: &str) -> Option<Holder> {
    let account = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let account = account.strip_prefix(namespace)?.strip_prefix(':')?;
    if let Some((account, access)) = PEOPLE.into_iter().find(|(known, _)| *known == account) {
        return Some(Holder::Person(account, access));
    }
    let account = [AGENT, MOVER].into_iter().find(|known| *known == account)?;
    let extra = user.extra.as_ref()?;
    let one = |name: &str| match extra.get(name).map(Vec::as_slice) {
        Some([one]) => Some(one.clone()),
        _ => None,
    };
    Some(Holder::Pod(InPod {
        account,
        pod: Key::new(namespace, &one(POD_NAME)?),
        uid: one(POD_UID)?,
        node: one(NODE_NAME),
    }))
}

/// The agent's id: of a node's agent the node, of a mover its pod's uid. Else why it is none.
fn judge(world: &World, holder: &InPod) -> std::result::Result<String, &'static str> {
    let pod: &Pod = world.pods.get(&holder.pod).ok_or("there is no such pod")?;
    if pod.uid != holder.uid {
        return Err("it is another pod of that name");
    }
    if pod.phase == PodPhase::Ended {
        return Err("the pod has ended");
    }
    if pod.service_account != holder.account {
        return Err("the pod has another service account");
    }
    let node = pod.node.as_ref().ok_or("the pod is on no node")?;
    if holder.node.as_ref().is_some_and(|n| n != node) {
        return Err("the token is of another node");
    }
    if holder.account == MOVER {
        return match pod.labels.get(MOVER_LABEL.0).map(String::as_str) {
            Some(value) if value == MOVER_LABEL.1 && pod.controller.is_none() => Ok(pod.uid.clone()),
            _ => Err("it is no mover of ours"),
        };
    }
    match pod.controller.as_deref().and_then(|c| c.strip_prefix("DaemonSet/")) {
        Some(AGENT) => Ok(node.clone()),
        _ => Err("our DaemonSet did not make it"),
    }
}

/// What movers that we made are labelled with.
pub const MOVER_LABEL: (&str, &str) = ("app.kubernetes.io/component", "mover");

#[cfg(test)]
mod tests;
