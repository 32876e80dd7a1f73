//! Writes to the API server: what differs, a bounded number in a round, each within a time limit. What fails is told, and made again by
//! a later round.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt as _};
use repository::env::{Env, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{REQUEST_SECONDS, WRITES_A_ROUND_MAX};
use crate::metrics::{Metrics, Wrote};
use crate::world::Key;

/// Writes.
pub(crate) struct Writer {
    recorder: Recorder,
    env: Env,
    metrics: Metrics,
    left: usize,
    /// When each status was last written.
    paced: HashMap<(&'static str, Key), Timestamp>,
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("left", &self.left).finish_non_exhaustive()
    }
}

/// What an event says.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Somebody should look.
    pub(crate) warning: bool,
    /// One word.
    pub(crate) reason: &'static str,
    /// What was being done.
    pub(crate) action: &'static str,
    /// For a person.
    pub(crate) note: String,
}

/// Longest note of an event.
const NOTE_BYTES_MAX: usize = 1000;
/// Figures that change all the time are written this often.
const PACE_SECONDS: i64 = 5;

impl Writer {
    pub(crate) fn new(recorder: Recorder, env: Env, metrics: Metrics) -> Self {
        Self { recorder, env, metrics, left: 0, paced: HashMap::new() }
    }

    /// A new round.
    pub(crate) fn begin(&mut self) {
        self.left = WRITES_A_ROUND_MAX;
        let now = self.env.now();
        self.paced.retain(|_, at| at.plus_seconds(PACE_SECONDS) > now);
    }

    /// Now, as statuses have it.
    pub(crate) fn now(&self) -> Time {
        time(self.env.now())
    }

    fn may(&mut self) -> bool {
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    /// True if a status whose figures changed may be written now.
    pub(crate) fn paces(&mut self, kind: &'static str, key: &Key) -> bool {
        let now = self.env.now();
        if self.paced.contains_key(&(kind, key.clone())) {
            return false;
        }
        self.paced.insert((kind, key.clone()), now);
        true
    }

    async fn done<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>> + Send) -> Option<T> {
        let done = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS), call).await;
        let (wrote, out) = match done {
            Ok(Ok(value)) => (Wrote::Done, Some(value)),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                tracing::debug!(what, error = %status.message, "the object changed meanwhile");
                (Wrote::Conflict, None)
            }
            Ok(Err(e)) => {
                tracing::warn!(what, error = %crate::chain(&e), "the API server refused");
                (Wrote::Failed, None)
            }
            Err(_) => {
                tracing::warn!(what, "the API server did not answer");
                (Wrote::Failed, None)
            }
        };
        self.metrics.note_write(wrote);
        out
    }

    /// Replaces the status of `object`, which has the new one.
    pub(crate) async fn put_status<K>(&mut self, api: &Api<K>, object: &K) -> bool
    where
        K: Resource + Clone + Debug + DeserializeOwned + Serialize + Sync,
    {
        if !self.may() {
            return false;
        }
        let (name, params) = (object.name_any(), PostParams::default());
        self.done("put a status", api.replace_status(&name, &params, object)).await.is_some()
    }

    /// Creates an object. False also if it is there already.
    pub(crate) async fn create<K>(&mut self, api: &Api<K>, object: &K) -> bool
    where
        K: Resource + Clone + Debug + DeserializeOwned + Serialize + Sync,
    {
        self.may()
            && self.done("create an object", api.create(&PostParams::default(), object)).await.is_some()
    }

    /// Creates an object, or says why not. One that is there already is no failure.
    pub(crate) async fn try_create<K>(&mut self, api: &Api<K>, object: &K) -> Result<(), String>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Serialize + Sync,
    {
        let params = PostParams::default();
        let made =
            tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS), api.create(&params, object)).await;
        match made {
            Ok(Ok(_)) => {
                self.metrics.note_write(Wrote::Done);
                Ok(())
            }
            Ok(Err(kube::Error::Api(status))) if status.reason == "AlreadyExists" => Ok(()),
            Ok(Err(kube::Error::Api(status))) => {
                self.metrics.note_write(Wrote::Failed);
                Err(status.message)
            }
            Ok(Err(e)) => Err(crate::chain(&e)),
            Err(_) => Err("it did not answer".to_owned()),
        }
    }

    /// Deletes the object of this name, which is of our own making.
    pub(crate) async fn delete_named<K>(&mut self, api: &Api<K>, name: &str) -> bool
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let params = DeleteParams::default();
        self.may() && self.done("delete an object", api.delete(name, &params)).await.is_some()
    }

    /// Deletes this very object, not one of the same name that came after it.
    pub(crate) async fn delete<K>(&mut self, api: &Api<K>, object: &K) -> bool
    where
        K: Resource + Clone + Debug + DeserializeOwned + Sync,
    {
        if !self.may() {
            return false;
        }
        let preconditions = Some(Preconditions { uid: object.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        self.done("delete an object", api.delete(&object.name_any(), &params)).await.is_some()
    }

    /// Says something about one of our objects.
    pub(crate) async fn tell<K: Resource<DynamicType = ()>>(&mut self, object: &K, told: Told) {
        self.publish(&object.object_ref(&()), told).await;
    }

    /// Says something about a claim.
    pub(crate) async fn tell_claim(&mut self, key: &Key, uid: &str, told: Told) {
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.publish(&reference, told).await;
    }

    async fn publish(&mut self, about: &ObjectReference, told: Told) {
        if !self.may() {
            return;
        }
        let mut note = told.note;
        if note.len() > NOTE_BYTES_MAX {
            let end = (0..=NOTE_BYTES_MAX).rev().find(|&at| note.is_char_boundary(at)).unwrap_or(0);
            note.truncate(end);
        }
        let event = Event {
            type_: if told.warning { EventType::Warning } else { EventType::Normal },
            reason: told.reason.to_owned(),
            note: Some(note),
            action: told.action.to_owned(),
            secondary: None,
        };
        self.done("publish an event", self.recorder.publish(&event, about)).await;
    }
}

/// All objects of a kind in a namespace.
pub(crate) fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// A moment as Kubernetes has it: whole seconds.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(at.seconds()).unwrap_or_default())
}

/// A moment as text.
pub(crate) fn text(at: Timestamp) -> String {
    time(at).0.to_string()
}
