//! Follows the cluster: one list and watch for each kind, into one [`World`].
//!
//! 1. A list replaces all of its kind at once, when it is complete: what was deleted unseen (a dropped watch, 410 Gone) is gone then.
//! 2. Until each kind was listed once, nothing is decided: half a cluster looks like one whose other half was deleted.
//! 3. Errors are waited out, ever longer; the world stays as last heard meanwhile.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Key, Objects, Trim, World};
use crate::limits::{PAGE_OBJECTS_MAX, WATCH_SECONDS};
use crate::resources::{Backup, BackupPolicy, Repository, Restore, Snapshot};

/// The cluster, and news of it. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    world: RwLock<World>,
    /// Kinds that were not listed yet.
    missing: Mutex<HashSet<&'static str>>,
    changes: Sender<u64>,
    /// Snapshot objects that somebody deleted, as far as it was seen.
    deleted: Mutex<Vec<(Key, Arc<Snapshot>)>>,
    errors: AtomicU64,
}

/// Deleted objects that wait to be looked at; more are not remembered: then their snapshots stay, which is the safe side.
const DELETED_MAX: usize = 10_000;

impl Default for Watched {
    fn default() -> Self {
        let changes = tokio::sync::watch::channel(0).0;
        let (world, missing, deleted) = Default::default();
        Self(Arc::new(Inner { world, missing, changes, deleted, errors: AtomicU64::new(0) }))
    }
}

/// One kind of the world.
struct Kind<T> {
    name: &'static str,
    of: fn(&mut World) -> &mut Objects<T>,
}

impl Watched {
    /// What was last heard.
    pub fn read(&self) -> RwLockReadGuard<'_, World> {
        self.0.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts up with each change.
    #[must_use]
    pub fn changes(&self) -> Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Kinds that were not listed yet; decisions wait until there are none.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self.lock(&self.0.missing).iter().copied().collect();
        all.sort_unstable();
        all
    }

    /// Lists and watches that failed since the start.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.0.errors.load(Ordering::Relaxed)
    }

    /// Snapshot objects that were deleted since this was last asked.
    #[must_use]
    pub fn take_deleted(&self) -> Vec<(Key, Arc<Snapshot>)> {
        std::mem::take(&mut *self.lock(&self.0.deleted))
    }

    fn lock<'a, T>(&self, of: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world by hand, where no API server is: for tests of what is behind it.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.0.world.write().unwrap_or_else(PoisonError::into_inner));
        self.0.changes.send_modify(|n| *n += 1);
    }

    /// Begins to follow everything until `stop`.
    pub fn start(&self, client: &Client, tasks: &TaskTracker, stop: &CancellationToken) {
        let run = Run { watched: self, client, tasks, stop };
        run.kind::<core::Pod, _>(Kind { name: "pods", of: |w| &mut w.pods });
        run.kind::<core::PersistentVolumeClaim, _>(Kind {
            name: "persistentvolumeclaims",
            of: |w| &mut w.claims,
        });
        run.kind::<core::PersistentVolume, _>(Kind { name: "persistentvolumes", of: |w| &mut w.volumes });
        run.kind::<core::Namespace, _>(Kind { name: "namespaces", of: |w| &mut w.namespaces });
        run.kind::<StorageClass, _>(Kind { name: "storageclasses", of: |w| &mut w.classes });
        run.kind::<core::Node, _>(Kind { name: "nodes", of: |w| &mut w.nodes });
        run.kind::<Repository, _>(Kind { name: "repositories", of: |w| &mut w.repositories });
        run.kind::<BackupPolicy, _>(Kind { name: "backuppolicies", of: |w| &mut w.policies });
        run.kind::<Backup, _>(Kind { name: "backups", of: |w| &mut w.backups });
        run.kind::<Restore, _>(Kind { name: "restores", of: |w| &mut w.restores });
        run.kind::<Snapshot, _>(Kind { name: "snapshots", of: |w| &mut w.snapshots });
    }

    async fn follow<K, T>(self, kind: Kind<T>, events: impl Stream<Item = watcher::Result<Event<K>>> + Send)
    where
        K: Resource + Send,
        T: Trim<From = K> + PartialEq,
    {
        let mut events = std::pin::pin!(events);
        let mut listed = Objects::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(key_of(&object), Arc::new(T::trim(object)));
                }
                Ok(Event::InitDone) => {
                    let all = std::mem::take(&mut listed);
                    let count = all.len();
                    self.change(|world| *(kind.of)(world) = all);
                    if self.lock(&self.0.missing).remove(kind.name) {
                        tracing::info!(kind = kind.name, count, "listed");
                    }
                }
                Ok(Event::Apply(object)) => {
                    let (key, new) = (key_of(&object), T::trim(object));
                    // Most changes are of what is not kept.
                    let known = (kind.of)(&mut self.0.world.write().unwrap_or_else(PoisonError::into_inner))
                        .get(&key)
                        .is_some_and(|old| **old == new);
                    if !known {
                        self.change(|world| {
                            (kind.of)(world).insert(key, Arc::new(new));
                        });
                    }
                }
                Ok(Event::Delete(object)) => self.deleted(&kind, &key_of(&object)),
                Err(e) => {
                    self.0.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(kind = kind.name, error = %crate::chain(&e), "the API server could not be followed");
                }
            }
        }
    }

    fn deleted<T>(&self, kind: &Kind<T>, key: &Key) {
        self.change(|world| {
            if kind.name == "snapshots"
                && let Some(gone) = world.snapshots.get(key)
            {
                let mut deleted = self.lock(&self.0.deleted);
                if deleted.len() < DELETED_MAX {
                    deleted.push((key.clone(), gone.clone()));
                }
            }
            (kind.of)(world).remove(key);
        });
    }
}

/// What each kind is followed with.
struct Run<'a> {
    watched: &'a Watched,
    client: &'a Client,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    fn kind<K, T>(&self, kind: Kind<T>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
        T: Trim<From = K> + PartialEq,
    {
        let watched = self.watched.clone();
        watched.lock(&watched.0.missing).insert(kind.name);
        let config = watcher::Config::default().page_size(PAGE_OBJECTS_MAX).timeout(WATCH_SECONDS);
        let events = watcher(Api::<K>::all(self.client.clone()), config).default_backoff();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = watched.follow(kind, events) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

fn key_of<K: Resource>(object: &K) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
