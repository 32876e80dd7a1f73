//! Whether a Restore may be: who may restore what where. Each refusal has a word of its own, but for snapshots: those of others and those
//! that do not exist are refused with the same one.

use std::sync::Arc;

use repository::ids::{DomainName, Sid};
use repository::ops::snapshots::Snapshot as Stored;

use super::super::{Writer, write};
use super::{Reason, Work};
use crate::identity;
use crate::resources::{Conditions as _, RestoreStatus, Standing};
use crate::world::{Claim, ClaimPhase, Key, Pod, PodPhase, Volume, VolumeOfPod, World};

/// The claim to be filled.
pub(super) struct Target {
    pub(super) claim: Arc<Claim>,
    pub(super) volume: Arc<Volume>,
    pub(super) id: String,
}

impl Work<'_> {
    /// Whether it may be, and what it is about.
    pub(super) async fn accept(&mut self, mut status: RestoreStatus, writer: &Writer) -> RestoreStatus {
        let (observed, now) = (self.object.metadata.generation, writer.now());
        status.observed_generation = observed;
        match self.judge().await {
            Ok((domain, snapshot, volume)) => {
                status.phase = Some("Waiting".to_owned());
                status.snapshot = Some(snapshot.to_string());
                (status.domain, status.volume) = (Some(domain.to_string()), Some(volume));
                status.conditions.put(Standing::yes("Accepted", "Allowed", ""), observed, now.clone());
                let waits = Standing::no("Complete", "Waiting", "its mover is being made");
                status.conditions.put(waits, observed, now);
            }
            Err((reason, what)) => {
                self.over = true;
                status.phase = Some("Refused".to_owned());
                status.finished = Some(write::text(self.facts.now));
                status.conditions.put(Standing::no("Accepted", reason, what), observed, now);
            }
        }
        status
    }

    async fn judge(&self) -> Result<(DomainName, Sid, String), Reason> {
        let (repository, id) = self.named()?;
        let unknown = || {
            let what =
                format!("namespace {} has no snapshot {id} in Repository {repository}", self.key.namespace);
            ("SnapshotNotFound", what)
        };
        let fact = self.facts.repositories.get(&repository).ok_or_else(unknown)?;
        fact.open
            .as_ref()
            .map_err(|why| ("RepositoryNotReady", format!("Repository {repository}: {why}")))?;
        let domain: DomainName = fact.domain.parse().map_err(|_| unknown())?;
        let sid: Sid = id.parse().map_err(|_| unknown())?;
        let stored = self.tools.port.snapshot(&domain, sid).await.map_err(|e| match e.kind() {
            repository::ErrorKind::NotFound | repository::ErrorKind::Input => unknown(),
            _ => ("SnapshotNotRead", e.chain()),
        })?;
        if !self.may_see(&stored) {
            return Err(unknown());
        }
        let target = self.target()?;
        Ok((domain, sid, target.id))
    }

    /// The repository and the id that it names.
    fn named(&self) -> Result<(String, String), Reason> {
        let named = &self.object.spec.snapshot;
        if let (Some(id), Some(repository)) = (&named.id, &named.repository) {
            return Ok((repository.clone(), id.clone()));
        }
        let name = named.name.clone().unwrap_or_default();
        let world = self.tools.watched.read();
        let object = world.snapshots.get(&Key::new(&self.key.namespace, &name));
        let object = object.ok_or_else(|| {
            ("SnapshotNotFound", format!("there is no Snapshot {}/{name}", self.key.namespace))
        })?;
        Ok((object.spec.repository.clone(), object.spec.id.clone()))
    }

    /// By cluster and uid, as the bucket says; administrators, in Holdfast's own namespace, see all.
    fn may_see(&self, stored: &Stored) -> bool {
        if self.key.namespace == self.tools.config.namespace {
            return true;
        }
        let world = self.tools.watched.read();
        let namespace = world.namespaces.get(&Key::cluster(&self.key.namespace));
        let origin = stored.manifest.origin.as_ref();
        origin.zip(namespace).is_some_and(|(origin, n)| n.may_see(&self.facts.cluster, origin))
    }

    pub(super) fn target(&self) -> Result<Target, Reason> {
        let Some(name) = &self.object.spec.target.claim else {
            return Err((
                "NotSupported",
                "target.newClaim: make the claim, and name it as target.claim".to_owned(),
            ));
        };
        let key = Key::new(&self.key.namespace, name);
        let world = self.tools.watched.read();
        let claim =
            world.claims.get(&key).ok_or_else(|| ("ClaimNotFound", format!("there is no claim {key}")))?;
        if claim.deleting {
            return Err(("ClaimNotFound", format!("claim {key} is being deleted")));
        }
        if claim.phase != ClaimPhase::Bound {
            return Err((
                "ClaimNotBound",
                format!("claim {key} has no volume: one that waits for its first pod gets it then"),
            ));
        }
        if claim.block {
            return Err(("ClaimIsBlock", format!("claim {key} is a block device")));
        }
        let volume = world
            .volume_of(claim)
            .ok_or_else(|| ("ClaimNotBound", format!("the volume of claim {key} is gone")))?;
        if volume.json.is_empty() {
            return Err((
                "VolumeNotUsable",
                format!("the volume of claim {key} is too large an object to be had twice"),
            ));
        }
        if let Some((pod, _)) = user_of(&world, &key) {
            return Err(("ClaimInUse", format!("pod {pod} mounts claim {key}: scale its owner down first")));
        }
        let node = volume.hosts.first().map(String::as_str).unwrap_or_default();
        let id = identity::of_source(&self.facts.cluster, node, &volume.source);
        let id = id.ok_or_else(|| {
            ("VolumeNotUsable", format!("the kind of volume of claim {key} is not supported"))
        })?;
        Ok(Target { claim: claim.clone(), volume: volume.clone(), id })
    }
}

/// A pod that mounts the claim, or is about to.
fn user_of<'a>(world: &'a World, claim: &Key) -> Option<(&'a Key, &'a Pod)> {
    let mounts = |p: &Pod| p.volumes.iter().any(|v| v.of == VolumeOfPod::Claim(claim.name.clone()));
    let mut pods = world
        .pods
        .iter()
        .filter(|(k, p)| k.namespace == claim.namespace && p.phase != PodPhase::Ended && mounts(p));
    pods.next().map(|(k, p)| (k, &**p))
}
