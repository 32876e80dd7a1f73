//! Restores: who may restore what where, and the mover that does it.
//!
//! 1. A Restore has only snapshots of its own namespace, by cluster and uid, as the bucket says it: what a Snapshot object says is never
//!    believed. Others, and those that do not exist, are refused with the same words.
//! 2. A claim that a pod mounts is not written to; a pod that comes while it is written to ends the restore.
//! 3. All that a Restore made is taken away when it has ended, or is gone; the claim and its data stay. Its end is told after its mover
//!    is gone: who waits for it may mount the claim.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use coordinator::nodes::NodeState;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod as PodObject};
use kube::{Api, ResourceExt as _};
use proto::job::{JobId, RestoreSpec as Job};
use proto::v1::{NodePlan, NodeVolume, Seen, VolumePlace, volume_place};
use repository::ids::{DomainName, Sid};
use repository::ops::restore::Existing as EngineExisting;
use repository::ops::snapshots::Snapshot as Stored;

use super::movers::{self, RESTORE_LABEL, VOLUME_PATH};
use super::write::{self, Told};
use super::{Tools, Writer};
use crate::decide::{Facts, seen};
use crate::identity;
use crate::limits::MOVER_WAIT_SECONDS;
use crate::resources::{Conditions as _, Existing, Restore, RestoreStatus, Standing};
use crate::world::{Claim, ClaimPhase, Key, Pod, PodPhase, Volume, VolumeOfPod, World};

/// What Restores have under way.
#[derive(Debug, Default)]
pub(super) struct Restores {
    /// The plan of each mover, by its pod's uid.
    plans: BTreeMap<String, NodePlan>,
}

/// Why something is refused, or not done yet: a word for programs, and words for people.
type Reason = (&'static str, String);

impl Restores {
    /// The plans of movers, by their uids.
    pub(super) fn plans(&self) -> &BTreeMap<String, NodePlan> {
        &self.plans
    }

    /// Goes on with each, and takes away what is over.
    pub(super) async fn look(&mut self, tools: &Tools, facts: &Facts, writer: &mut Writer) {
        let all: Vec<(Key, Arc<Restore>)> =
            tools.watched.read().restores.iter().map(|(k, r)| (k.clone(), r.clone())).collect();
        let movers: HashMap<String, NodeState> =
            tools.port.nodes().into_iter().filter(|n| n.mover).map(|n| (n.name.clone(), n)).collect();
        let mut active = HashSet::new();
        let mut plans = BTreeMap::new();
        for (key, object) in all {
            let old = object.status.clone().unwrap_or_default();
            let uid = object.uid().unwrap_or_default();
            if object.metadata.deletion_timestamp.is_some() || old.finished.is_some() {
                continue;
            }
            let mut work =
                Work { tools, facts, key: &key, object: &object, uid: &uid, movers: &movers, over: false };
            let status = match old.phase {
                None => work.accept(old.clone(), writer).await,
                Some(_) => work.step(old.clone(), (writer, &mut plans)).await,
            };
            if !work.over {
                active.insert(uid.clone());
            }
            if status == old {
                continue;
            }
            let told = ended(&old, &status);
            let new = Restore { status: Some(status), ..(*object).clone() };
            let api = write::namespaced::<Restore>(&tools.client, &key.namespace);
            if writer.put_status(&api, &new).await
                && let Some(told) = told
            {
                writer.tell(&new, told).await;
            }
        }
        for gone in self.plans.keys().filter(|uid| !plans.contains_key(*uid)) {
            tools.port.remove_node(gone);
        }
        self.plans = plans;
        sweep(tools, &active, writer).await;
    }
}

/// Takes away what Restores made that are over.
async fn sweep(tools: &Tools, active: &HashSet<String>, writer: &mut Writer) {
    let own = &tools.config.namespace;
    let over =
        |labels: &crate::world::Labels| labels.get(RESTORE_LABEL).is_some_and(|uid| !active.contains(uid));
    let (pods, claims, volumes) = {
        let world = tools.watched.read();
        let pods = world.pods.iter().filter(|(k, p)| k.namespace == *own && !p.deleting && over(&p.labels));
        let claims =
            world.claims.iter().filter(|(k, c)| k.namespace == *own && !c.deleting && over(&c.labels));
        let volumes = world.volumes.iter().filter(|(_, v)| !v.deleting && over(&v.labels));
        let names = |k: &Key| k.name.clone();
        (
            pods.map(|(k, _)| names(k)).collect::<Vec<_>>(),
            claims.map(|(k, _)| names(k)).collect::<Vec<_>>(),
            volumes.map(|(k, _)| names(k)).collect::<Vec<_>>(),
        )
    };
    for name in pods {
        writer.delete_named(&write::namespaced::<PodObject>(&tools.client, own), &name).await;
    }
    for name in claims {
        writer.delete_named(&write::namespaced::<PersistentVolumeClaim>(&tools.client, own), &name).await;
    }
    for name in volumes {
        writer.delete_named(&Api::<PersistentVolume>::all(tools.client.clone()), &name).await;
    }
}

fn ended(old: &RestoreStatus, new: &RestoreStatus) -> Option<Told> {
    let phase = new.phase.as_deref().filter(|_| old.phase != new.phase && new.finished.is_some())?;
    let reason = match phase {
        "Done" => "RestoreDone",
        "Partial" => "RestorePartial",
        "Cancelled" => "RestoreCancelled",
        "Refused" => "RestoreRefused",
        _ => "RestoreFailed",
    };
    let note = new.conditions.iter().find(|c| c.status == "False").map(|c| c.message.clone());
    Some(Told { warning: phase != "Done", reason, action: "Restore", note: note.unwrap_or_default() })
}

/// One Restore, and what it is judged by.
struct Work<'a> {
    tools: &'a Tools,
    facts: &'a Facts,
    key: &'a Key,
    object: &'a Restore,
    uid: &'a str,
    movers: &'a HashMap<String, NodeState>,
    /// What it made may be taken away.
    over: bool,
}

/// The claim to be filled.
struct Target {
    claim: Arc<Claim>,
    volume: Arc<Volume>,
    id: String,
}

impl Work<'_> {
    /// Whether it may be, and what it is about.
    async fn accept(&mut self, mut status: RestoreStatus, writer: &Writer) -> RestoreStatus {
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

    fn target(&self) -> Result<Target, Reason> {
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

    /// Goes on.
    async fn step(
        &mut self,
        mut status: RestoreStatus,
        (writer, plans): (&mut Writer, &mut BTreeMap<String, NodePlan>),
    ) -> RestoreStatus {
        status.observed_generation = self.object.metadata.generation;
        let run = status.run.as_deref().and_then(|r| r.parse::<JobId>().ok());
        let domain = status.domain.as_deref().and_then(|d| d.parse::<DomainName>().ok());
        let Some(domain) = domain else {
            return self.fail(status, ("Internal", "no domain".to_owned()), writer);
        };
        if let Err(reason) = self.still(&status) {
            if let Some(run) = run {
                let _over = self.tools.port.cancel(&domain, run).await;
            }
            return self.fail(status, reason, writer);
        }
        let name = movers::name_of(self.uid);
        let pod = self.tools.watched.read().pods.get(&Key::new(&self.tools.config.namespace, &name)).cloned();
        match (run, pod) {
            (None, None) => match self.make(writer).await {
                Ok(()) => self.wait(status, ("MoverPending", "its mover is being made".to_owned()), writer),
                Err(reason) => self.wait(status, reason, writer),
            },
            (None, Some(pod)) => self.begin((status, &domain), &pod, (writer, plans)).await,
            (Some(run), pod) => self.follow((status, &domain), run, pod.as_deref(), (writer, plans)).await,
        }
    }

    /// Whether what it was accepted for is still so.
    fn still(&self, status: &RestoreStatus) -> Result<(), Reason> {
        if self.object.spec.cancel && status.run.is_none() {
            return Err(("Cancelled", "it was cancelled before it began".to_owned()));
        }
        let target = self.target()?;
        match status.volume.as_deref() {
            Some(id) if id == target.id => Ok(()),
            _ => Err(("ClaimChanged", "the claim has another volume now".to_owned())),
        }
    }

    /// The twin, a claim on it, and the mover: what is not there yet.
    async fn make(&self, writer: &mut Writer) -> Result<(), Reason> {
        let (target, config, name) = (self.target()?, &self.tools.config, movers::name_of(self.uid));
        let wrong = |what: String| ("MoverNotMade", what);
        let own = Key::new(&config.namespace, &name);
        let (has_volume, has_claim) = {
            let world = self.tools.watched.read();
            (world.volumes.contains_key(&Key::cluster(&name)), world.claims.contains_key(&own))
        };
        let twin = movers::twin(&target.volume, config, self.uid).map_err(wrong)?;
        if !has_volume {
            let api: Api<PersistentVolume> = Api::all(self.tools.client.clone());
            writer.try_create(&api, &twin).await.map_err(|e| refused("VolumeRefused", &e))?;
        }
        if !has_claim {
            let claim = movers::twin_claim(&target.claim, &twin, config, self.uid).map_err(wrong)?;
            let api = write::namespaced(&self.tools.client, &config.namespace);
            writer.try_create(&api, &claim).await.map_err(|e| refused("ClaimRefused", &e))?;
        }
        let pod = movers::pod(config, self.uid).map_err(wrong)?;
        let api = write::namespaced(&self.tools.client, &config.namespace);
        writer.try_create(&api, &pod).await.map_err(|e| refused("MoverRefused", &e))
    }

    /// Waits for the mover, and gives it its work.
    async fn begin(
        &mut self,
        (mut status, domain): (RestoreStatus, &DomainName),
        pod: &Pod,
        (writer, plans): (&mut Writer, &mut BTreeMap<String, NodePlan>),
    ) -> RestoreStatus {
        if pod.phase == PodPhase::Ended || pod.deleting {
            return self.fail(
                status,
                ("MoverEnded", "its mover ended before it began: see the pod's log".to_owned()),
                writer,
            );
        }
        let volume = status.volume.clone().unwrap_or_default();
        self.plan((domain, &volume), pod, plans);
        if pod.phase == PodPhase::Pending {
            let what = if pod.waits_for.is_empty() { "its mover does not run yet" } else { &pod.waits_for };
            return self.wait(status, ("MoverPending", what.to_owned()), writer);
        }
        let Some(mover) = self.movers.get(&pod.uid).filter(|m| m.connected) else {
            let what =
                "its mover runs, and is not connected: a NetworkPolicy may keep it from the coordinator";
            return self.wait(status, ("MoverNotConnected", what.to_owned()), writer);
        };
        match mover.sightings.get(&volume) {
            Some(sighting) if seen(sighting) == Seen::Ready => {}
            Some(sighting) => {
                return self.wait(status, ("VolumeNotSeen", format!("its mover: {}", sighting.what)), writer);
            }
            None => {
                return self.wait(
                    status,
                    ("MoverPending", "its mover looks for the volume".to_owned()),
                    writer,
                );
            }
        }
        let job = self.job(&status);
        match self.tools.port.run_restore(domain, job, Some(pod.uid.clone())).await {
            Ok(run) => {
                (status.run, status.agent) = (Some(run.to_string()), Some(pod.uid.clone()));
                status.phase = Some("Running".to_owned());
                let (observed, now) = (self.object.metadata.generation, writer.now());
                status.conditions.put(Standing::no("Complete", "Running", ""), observed, now);
                status
            }
            Err(e) => self.wait(status, ("NotBegun", e.chain()), writer),
        }
    }

    fn job(&self, status: &RestoreStatus) -> Job {
        let spec = &self.object.spec;
        Job {
            snapshot: status.snapshot.as_deref().and_then(|s| s.parse().ok()).unwrap_or(Sid([0; 16])),
            path: spec.path.trim_matches('/').as_bytes().to_vec(),
            patterns: spec.patterns.clone(),
            target: VOLUME_PATH.as_bytes().to_vec(),
            existing: match spec.existing {
                Existing::Fail => EngineExisting::Fail,
                Existing::Skip => EngineExisting::Skip,
                Existing::Overwrite => EngineExisting::Overwrite,
                Existing::IfChanged => EngineExisting::IfChanged,
            },
        }
    }

    fn plan(&self, (domain, volume): (&DomainName, &str), pod: &Pod, plans: &mut BTreeMap<String, NodePlan>) {
        let fact = self.facts.repositories.values().find(|f| f.domain == domain.as_str());
        let place = volume_place::Place::OwnPath(VOLUME_PATH.as_bytes().to_vec().into());
        let planned = NodeVolume {
            volume: volume.to_owned(),
            domain: domain.to_string(),
            places: vec![VolumePlace { place: Some(place) }],
            restore: true,
            ..NodeVolume::default()
        };
        let plan = NodePlan {
            repositories: fact.filter(|f| f.open.is_ok()).map(|f| f.access.clone()).into_iter().collect(),
            volumes: vec![planned],
            ..NodePlan::default()
        };
        self.tools.port.set_plan(&pod.uid, plan.clone());
        plans.insert(pod.uid.clone(), plan);
    }

    /// How its run stands; when that has ended, the mover goes first.
    async fn follow(
        &mut self,
        (mut status, domain): (RestoreStatus, &DomainName),
        run: JobId,
        pod: Option<&Pod>,
        (writer, plans): (&mut Writer, &mut BTreeMap<String, NodePlan>),
    ) -> RestoreStatus {
        let record = match self.tools.port.run(domain, run).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                let lost = "its run was lost with a coordinator: look at the claim, and make another Restore";
                return match pod {
                    // It comes back with its mover, if that still works on it.
                    Some(pod) if pod.phase == PodPhase::Running && !pod.deleting => {
                        self.plan((domain, status.volume.as_deref().unwrap_or_default()), pod, plans);
                        status
                    }
                    _ => self.fail(status, ("RunLost", lost.to_owned()), writer),
                };
            }
            Err(e) => return self.wait(status, ("NotFollowed", e.chain()), writer),
        };
        if !record.state.has_ended() {
            if self.object.spec.cancel && !record.cancel_requested {
                let _asked = self.tools.port.cancel(domain, run).await;
            }
            if let Some(pod) = pod.filter(|p| p.phase != PodPhase::Ended) {
                self.plan((domain, status.volume.as_deref().unwrap_or_default()), pod, plans);
                return status;
            }
            let _over = self.tools.port.cancel(domain, run).await;
            return self.fail(
                status,
                ("MoverEnded", "its mover ended before its work: what it wrote stays".to_owned()),
                writer,
            );
        }
        // What it made may go; the end is told when the mover is gone.
        self.over = true;
        if pod.is_some() {
            return status;
        }
        let result = record.result.clone().unwrap_or_default();
        let count = |n: u64| i64::try_from(n).ok();
        status.files = count(result.figures.files);
        status.bytes = count(result.figures.bytes_done);
        status.problems = count(result.problems.count());
        let (observed, now) = (self.object.metadata.generation, writer.now());
        let (phase, standing) = match result.outcome() {
            "done" => ("Done", Standing::yes("Complete", "Restored", "")),
            "partial" => (
                "Partial",
                Standing::no(
                    "Complete",
                    "Partial",
                    format!("{} entries could not be restored", result.problems.count()),
                ),
            ),
            "cancelled" => ("Cancelled", Standing::no("Complete", "Cancelled", "what was written stays")),
            _ => {
                let what = result.failure.map(|f| f.what).unwrap_or_default();
                ("Failed", Standing::no("Complete", "Failed", what))
            }
        };
        (status.phase, status.finished) = (Some(phase.to_owned()), Some(write::text(self.facts.now)));
        status.conditions.put(standing, observed, now);
        status
    }

    /// It is not so far yet, and this is why; for too long is a failure.
    fn wait(&mut self, mut status: RestoreStatus, (reason, what): Reason, writer: &Writer) -> RestoreStatus {
        let created = self.object.creation_timestamp().map_or(0, |t| t.0.as_second());
        if status.run.is_none() && created.saturating_add(MOVER_WAIT_SECONDS) < self.facts.now.seconds() {
            let what = format!("not begun within {MOVER_WAIT_SECONDS} s: {what}");
            return self.fail(status, (reason, what), writer);
        }
        let (observed, now) = (self.object.metadata.generation, writer.now());
        status.conditions.put(Standing::no("Complete", reason, what), observed, now);
        status
    }

    fn fail(&mut self, mut status: RestoreStatus, (reason, what): Reason, writer: &Writer) -> RestoreStatus {
        self.over = true;
        let (observed, now) = (self.object.metadata.generation, writer.now());
        let phase = if reason == "Cancelled" { "Cancelled" } else { "Failed" };
        (status.phase, status.finished) = (Some(phase.to_owned()), Some(write::text(self.facts.now)));
        status.conditions.put(Standing::no("Complete", reason, what), observed, now);
        status
    }
}

fn refused(reason: &'static str, e: &str) -> Reason {
    (reason, format!("the API server: {e}"))
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
