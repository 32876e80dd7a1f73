//! Restores: who may restore what where, and the mover that does it.
//!
//! 1. A Restore has only snapshots of its own namespace, by cluster and uid, as the bucket says it: what a Snapshot object says is never
//!    believed. Others, and those that do not exist, are refused with the same words.
//! 2. A claim that a pod mounts is not written to; a pod that comes while it is written to ends the restore.
//! 3. All that a Restore made is taken away when it has ended, or is gone; the claim and its data stay. Its end is told after its mover
//!    is gone: who waits for it may mount the claim.

mod judge;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use coordinator::nodes::NodeState;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, ResourceExt as _};
use proto::job::{JobId, RestoreSpec as Job};
use proto::v1::{NodePlan, NodeVolume, Seen, VolumePlace, volume_place};
use repository::ids::{DomainName, Sid};
use repository::ops::restore::Existing as EngineExisting;

use super::movers::{self, VOLUME_PATH};
use super::write::{self, Told};
use super::{Tools, Writer};
use crate::decide::{Facts, seen};
use crate::limits::MOVER_WAIT_SECONDS;
use crate::resources::{Conditions as _, Existing, Restore, RestoreStatus, Standing};
use crate::world::{Key, Pod, PodPhase};

/// What Restores have under way.
#[derive(Debug, Default)]
pub(super) struct Restores {
    /// The plan of each mover, by its pod's uid.
    plans: BTreeMap<String, NodePlan>,
    /// Runs that were begun, by the Restore's uid: also before their status could be written, and is heard of.
    begun: HashMap<String, JobId>,
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
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|uid, _| all.iter().any(|(_, r)| r.uid().as_deref() == Some(uid)));
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
                Some(_) => work.step(known_run(&old, begun.get(&uid)), (writer, &mut plans)).await,
            };
            if !work.over {
                active.insert(uid.clone());
            }
            if let Some(run) = status.run.as_deref().and_then(|r| r.parse().ok()) {
                begun.insert(uid.clone(), run);
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
        (self.plans, self.begun) = (plans, begun);
        movers::sweep(tools, &active, writer).await;
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

impl Work<'_> {
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

/// The status, with the run that was begun even if it does not say so yet.
fn known_run(status: &RestoreStatus, begun: Option<&JobId>) -> RestoreStatus {
    let mut status = status.clone();
    if let Some(run) = begun.filter(|_| status.run.is_none()) {
        (status.run, status.phase) = (Some(run.to_string()), Some("Running".to_owned()));
    }
    status
}

fn refused(reason: &'static str, e: &str) -> Reason {
    (reason, format!("the API server: {e}"))
}
