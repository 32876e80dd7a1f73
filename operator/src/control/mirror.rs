//! Shows the newest snapshots of each volume as objects, and takes those away that are gone from the bucket.
//!
//! 1. The bucket is the truth: an object that somebody deletes comes back while its snapshot is among the newest.
//! 2. Nothing is taken away before the snapshots of its repository were read: a store that does not answer has not lost them.
//! 3. Deleting an object forgets its snapshot only if the object and its Repository both say `Forget`, and its namespace stays. All of a
//!    round at once, so that the breaker against mass deletion sees them together. What was deleted unseen is kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use repository::ids::{DomainName, Sid};
use repository::ops::snapshots::Snapshot as Stored;

use super::{Told, Tools, Writer, write};
use crate::decide::Facts;
use crate::limits::MIRROR_A_ROUND_MAX;
use crate::resources::{
    ClaimRef, Consistency, DeletionPolicy, NamespaceRef, Repository, Snapshot, SnapshotSpec,
};
use crate::world::{Key, World};

/// Says that an object is ours.
const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "holdfast");
/// Says which repository an object's snapshot is in.
const REPOSITORY_LABEL: &str = "holdfast.dev/repository";

/// What the mirror remembers.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// Objects that we deleted ourselves, by their uids.
    own: HashSet<String>,
    /// Snapshots that somebody wants forgotten, and which the breaker did not refuse yet.
    unwanted: HashMap<DomainName, Vec<Sid>>,
}

/// What should be shown.
type Wanted = BTreeMap<Key, SnapshotSpec>;

impl Mirror {
    /// Makes objects and takes them away, a bounded number in a round.
    pub(super) async fn look(&mut self, tools: &Tools, facts: &Facts, writer: &mut Writer) {
        self.hear_deletions(tools);
        self.forget(tools, writer).await;
        let (wanted, read) = wanted(tools, facts);
        let (missing, surplus) = {
            let world = tools.watched.read();
            differences(&world, wanted, &read)
        };
        for (key, spec) in missing.into_iter().take(MIRROR_A_ROUND_MAX) {
            let mut object = Snapshot::new(&key.name, spec);
            object.metadata.namespace = Some(key.namespace.clone());
            let labels = [MANAGED, (REPOSITORY_LABEL, object.spec.repository.as_str())];
            let labels = labels.into_iter().filter(|(_, v)| v.len() <= 63);
            object.metadata.labels = Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
            writer.create(&write::namespaced(&tools.client, &key.namespace), &object).await;
        }
        for (key, object) in surplus.into_iter().take(MIRROR_A_ROUND_MAX) {
            self.own.extend(object.uid());
            writer.delete(&write::namespaced(&tools.client, &key.namespace), &*object).await;
        }
    }

    fn hear_deletions(&mut self, tools: &Tools) {
        let deleted = tools.watched.take_deleted();
        if deleted.is_empty() {
            return;
        }
        let world = tools.watched.read();
        for (key, object) in deleted {
            if self.own.remove(&object.uid().unwrap_or_default()) {
                continue;
            }
            if let Some((domain, sid)) = meant(&world, &key, &object) {
                tracing::info!(object = %key, snapshot = %sid, "deleted by somebody who wants its snapshot forgotten");
                self.unwanted.entry(domain).or_default().push(sid);
            }
        }
    }

    async fn forget(&mut self, tools: &Tools, writer: &mut Writer) {
        for (domain, snapshots) in std::mem::take(&mut self.unwanted) {
            let because = ("kubernetes", "their Snapshot objects were deleted");
            let Err(e) = tools.port.forget(&domain, &snapshots, because).await else { continue };
            tracing::warn!(%domain, count = snapshots.len(), error = %e.chain(), "snapshots were not forgotten");
            let repository = tools.watched.read().repositories.values().find(|r| is_of(r, &domain)).cloned();
            if let Some(repository) = repository {
                let note = format!("{} snapshots were not forgotten: {}", snapshots.len(), e.chain());
                let told = Told { warning: true, reason: "NotForgotten", action: "Forget", note };
                writer.tell(&*repository, told).await;
            }
        }
    }
}

fn is_of(repository: &Repository, domain: &DomainName) -> bool {
    repository.spec.domain.clone().unwrap_or_else(|| repository.name_any()) == domain.as_str()
}

/// Which snapshot is to be forgotten because this object was deleted.
fn meant(world: &World, key: &Key, object: &Snapshot) -> Option<(DomainName, Sid)> {
    let repository = world.repositories.get(&Key::cluster(&object.spec.repository))?;
    let allowed = repository.spec.deletion_policy == DeletionPolicy::Forget
        && object.spec.deletion_policy == DeletionPolicy::Forget;
    // A namespace that goes takes its objects along; nobody asked for the end of its backups.
    let stays = world.namespaces.get(&Key::cluster(&key.namespace)).is_some_and(|n| !n.deleting);
    let ours = object.labels().get(MANAGED.0).is_some_and(|v| v == MANAGED.1);
    let domain = repository.spec.domain.clone().unwrap_or_else(|| repository.name_any());
    (allowed && stays && ours).then_some(())?;
    Some((domain.parse().ok()?, object.spec.id.parse().ok()?))
}

/// What should be shown, and the repositories that were read.
fn wanted(tools: &Tools, facts: &Facts) -> (Wanted, HashSet<String>) {
    let (mut wanted, mut read) = (Wanted::new(), HashSet::new());
    let world = tools.watched.read();
    for (name, fact) in &facts.repositories {
        let Ok(domain) = fact.domain.parse::<DomainName>() else { continue };
        let Some(object) = world.repositories.get(&Key::cluster(name)) else { continue };
        let Ok(snapshots) = tools.port.snapshots(&domain) else { continue };
        if fact.open.is_err() || snapshots.read.is_none() {
            continue;
        }
        read.insert(name.clone());
        let mut shown: HashMap<&str, u32> = HashMap::new();
        for snapshot in snapshots.all.iter().rev() {
            let count = shown.entry(&snapshot.manifest.volume).or_default();
            *count += 1;
            if *count <= object.spec.snapshots_shown {
                let home = home(&world, &facts.cluster, &tools.config.namespace, snapshot);
                wanted.insert(Key::new(&home, &name_of(snapshot)), spec(name, snapshot));
            }
        }
    }
    (wanted, read)
}

/// The namespace that a snapshot is shown in: that of its claim, or one that took it over; else Holdfast's own, where administrators are.
fn home(world: &World, cluster: &str, own: &str, snapshot: &Stored) -> String {
    let origin = snapshot.manifest.origin.as_ref().filter(|o| !o.namespace.is_empty());
    let Some(origin) = origin else { return own.to_owned() };
    let at_home = |name: &str| {
        let namespace = world.namespaces.get(&Key::cluster(name));
        namespace.is_some_and(|n| !n.deleting && n.may_see(cluster, origin))
    };
    if at_home(&origin.namespace) {
        return origin.namespace.clone();
    }
    let adopts = world.namespaces.keys().find(|key| at_home(&key.name));
    adopts.map_or_else(|| own.to_owned(), |key| key.name.clone())
}

/// The name of a snapshot's object: what it is of, when, and enough of its id to be the only one.
fn name_of(snapshot: &Stored) -> String {
    let (m, id) = (&snapshot.manifest, snapshot.id.to_string());
    let claim = m.origin.as_ref().map(|o| o.claim.as_str()).filter(|c| !c.is_empty());
    let claim: String = claim.unwrap_or("volume").chars().take(200).collect();
    let when: String = write::text(m.started).chars().filter(char::is_ascii_digit).take(14).collect();
    let digits = id.get(..8).unwrap_or(&id);
    format!("{}-{when}-{digits}", claim.trim_end_matches(['-', '.']))
}

fn spec(repository: &str, snapshot: &Stored) -> SnapshotSpec {
    let m = &snapshot.manifest;
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let origin = m.origin.as_ref().filter(|o| !o.namespace.is_empty());
    SnapshotSpec {
        repository: repository.to_owned(),
        id: snapshot.id.to_string(),
        volume: m.volume.clone(),
        claim: origin.map(|o| ClaimRef { name: o.claim.clone(), uid: o.claim_uid.clone() }),
        namespace: origin.map(|o| NamespaceRef {
            name: o.namespace.clone(),
            uid: o.namespace_uid.clone(),
            cluster: o.cluster.clone(),
        }),
        node: m.host.clone(),
        started: write::text(m.started),
        finished: write::text(m.finished),
        bytes: count(m.bytes),
        bytes_new: count(m.bytes_new),
        files: count(m.files),
        problems: count(m.problems),
        changed: count(m.changed),
        consistency: if m.changed > 0 { Consistency::Torn } else { Consistency::Live },
        parent: m.parent.map(|p| p.to_string()),
        tags: m.tags.clone(),
        deletion_policy: DeletionPolicy::Retain,
    }
}

/// What is to be made, and what is to be taken away.
fn differences(
    world: &World,
    mut wanted: Wanted,
    read: &HashSet<String>,
) -> (Wanted, Vec<(Key, Arc<Snapshot>)>) {
    let mut surplus = Vec::new();
    for (key, object) in &world.snapshots {
        if wanted.get(key).is_some_and(|w| w.id == object.spec.id && w.repository == object.spec.repository) {
            wanted.remove(key);
            continue;
        }
        let ours = object.labels().get(MANAGED.0).is_some_and(|v| v == MANAGED.1);
        let known = read.contains(&object.spec.repository)
            || !world.repositories.contains_key(&Key::cluster(&object.spec.repository));
        if ours && known && object.metadata.deletion_timestamp.is_none() {
            surplus.push((key.clone(), object.clone()));
        }
    }
    (wanted, surplus)
}
