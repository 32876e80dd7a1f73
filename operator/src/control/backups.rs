//! Backups on demand: which volumes one is about, a run for each, and what became of them.
//!
//! 1. A Backup is about claims of its own namespace; in Holdfast's own namespace about all that the policy selects. What no policy selects
//!    is not backed up: administrators decide what goes where.
//! 2. Its snapshots begin after it was asked for: a run that was under way already is waited for, not taken.
//! 3. Its status is written before a run is asked for and after: who takes over goes on from there.

use std::collections::HashMap;
use std::sync::Arc;

use coordinator::jobs::{Record, State};
use kube::ResourceExt as _;
use proto::job::{BackupSpec, JobId};
use repository::env::Timestamp;
use repository::ids::{DomainName, hex};

use super::{Told, Tools, Writer, write};
use crate::decide::{Coverage, Decision, Facts};
use crate::limits::{BACKUP_VOLUMES_MAX, BACKUP_WAIT_SECONDS};
use crate::resources::{Backup, BackupStatus, BackupVolume, Conditions as _, Standing};
use crate::world::Key;

/// Runs that were begun, by the Backup's uid and the volume: also before their status could be written, and is heard of.
pub(super) type Begun = HashMap<(String, String), JobId>;

/// Does what the Backups want.
pub(super) async fn look(
    tools: &Tools,
    (decision, facts): (&Decision, &Facts),
    begun: &mut Begun,
    writer: &mut Writer,
) {
    let all: Vec<(Key, Arc<Backup>)> =
        tools.watched.read().backups.iter().map(|(k, b)| (k.clone(), b.clone())).collect();
    begun.retain(|(uid, _), _| all.iter().any(|(_, b)| b.uid().as_deref() == Some(uid)));
    for (key, object) in all {
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let api = write::namespaced::<Backup>(&tools.client, &key.namespace);
        if is_over(&object, facts.now) {
            writer.delete(&api, &*object).await;
            continue;
        }
        if object.status.as_ref().is_some_and(|s| s.finished.is_some()) {
            continue;
        }
        let work = Work { tools, decision, facts, key: &key, object: &object };
        let old = object.status.clone().unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        let mut known = old.clone();
        for volume in known.volumes.iter_mut().filter(|v| v.run.is_none()) {
            let run = begun.get(&(uid.clone(), volume.volume.clone()));
            volume.run = run.map(ToString::to_string);
        }
        let status = match old.volumes.is_empty() {
            true => work.accept(known, writer),
            false => work.step(known, writer).await,
        };
        for volume in &status.volumes {
            let at = (uid.clone(), volume.volume.clone());
            match volume.run.as_deref().and_then(run_id) {
                Some(run) => begun.insert(at, run),
                None => begun.remove(&at),
            };
        }
        if status == old {
            continue;
        }
        let told = ended(&old, &status);
        let new = Backup { status: Some(status), ..(*object).clone() };
        if writer.put_status(&api, &new).await
            && let Some(told) = told
        {
            writer.tell(&new, told).await;
        }
    }
}

/// True if it ended, and the time that it was to be kept is over.
fn is_over(object: &Backup, now: Timestamp) -> bool {
    let finished = object.status.as_ref().and_then(|s| s.finished.as_ref());
    let finished = finished.and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let ttl = object.spec.ttl.as_ref().and_then(|t| t.seconds().ok());
    match (finished, ttl) {
        (Some(at), Some(ttl)) => {
            at.as_second().saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)) <= now.seconds()
        }
        _ => false,
    }
}

fn ended(old: &BackupStatus, new: &BackupStatus) -> Option<Told> {
    let phase = new.phase.as_deref().filter(|_| old.phase != new.phase)?;
    let reason = match phase {
        "Done" => "BackupDone",
        "Partial" => "BackupPartial",
        "Failed" => "BackupFailed",
        "Cancelled" => "BackupCancelled",
        "Refused" => "BackupRefused",
        _ => return None,
    };
    let complete = new.conditions.iter().find(|c| c.type_ == "Complete" || c.type_ == "Accepted");
    let note = complete.map(|c| c.message.clone()).unwrap_or_default();
    Some(Told { warning: phase != "Done", reason, action: "Backup", note })
}

/// One Backup, and what it is judged by.
struct Work<'a> {
    tools: &'a Tools,
    decision: &'a Decision,
    facts: &'a Facts,
    key: &'a Key,
    object: &'a Backup,
}

impl Work<'_> {
    /// Which volumes it is about; or why it is refused.
    fn accept(&self, mut status: BackupStatus, writer: &Writer) -> BackupStatus {
        let (observed, now) = (self.object.metadata.generation, writer.now());
        status.observed_generation = observed;
        match self.volumes() {
            Ok(volumes) => {
                status.total = i64::try_from(volumes.len()).ok();
                status.done = Some(0);
                status.phase = Some("Running".to_owned());
                status.volumes = volumes;
                status.conditions.put(Standing::yes("Accepted", "Selected", ""), observed, now.clone());
                status.conditions.put(Standing::no("Complete", "Running", ""), observed, now);
            }
            Err((reason, what)) => {
                status.phase = Some("Refused".to_owned());
                status.finished = Some(write::text(self.facts.now));
                status.conditions.put(Standing::no("Accepted", reason, what), observed, now);
            }
        }
        status
    }

    fn volumes(&self) -> Result<Vec<BackupVolume>, (&'static str, String)> {
        let own = self.key.namespace == self.tools.config.namespace;
        let mut out = Vec::new();
        match (&self.object.spec.policy, &self.object.spec.claim) {
            (_, Some(claim)) => {
                let claim = Key::new(&self.key.namespace, claim);
                let coverage = self.decision.claims.get(&claim);
                match coverage {
                    None => return Err(("ClaimNotFound", format!("there is no claim {claim}"))),
                    Some(Coverage::Excluded { why }) => {
                        return Err(("Excluded", format!("{claim} is left out by {why}")));
                    }
                    Some(Coverage::Unprotected { policy: None, what, .. }) => {
                        return Err(("NotSelected", format!("{claim}: {what}")));
                    }
                    Some(Coverage::Protected { .. } | Coverage::Unprotected { .. }) => {}
                }
                out.extend(self.of_claim(&claim, coverage));
            }
            (Some(policy), None) => {
                let at = self.decision.policies.iter().position(|p| p.name == *policy);
                let at = at.ok_or_else(|| match self.decision.wrong.get(policy) {
                    Some(why) => ("PolicyInvalid", format!("BackupPolicy {policy}: {why}")),
                    None => ("PolicyNotFound", format!("there is no BackupPolicy {policy}")),
                })?;
                for (claim, coverage) in &self.decision.claims {
                    let by = match coverage {
                        Coverage::Protected { policy, .. } => Some(policy),
                        Coverage::Unprotected { policy, .. } => policy.as_ref(),
                        Coverage::Excluded { .. } => None,
                    };
                    if by == Some(policy) && (own || claim.namespace == self.key.namespace) {
                        out.extend(self.of_claim(claim, Some(coverage)));
                    }
                }
                let others =
                    self.decision.chosen.iter().filter(|(_, c)| own && c.claim.is_none() && c.policy == at);
                out.extend(others.map(|(id, c)| volume(id, &c.shown, &c.domain)));
            }
            (None, None) => return Err(("InvalidSpec", "policy or claim is missing".to_owned())),
        }
        match out.len() {
            0 => Err(("NothingSelected", format!("nothing of namespace {} is selected", self.key.namespace))),
            n if n > BACKUP_VOLUMES_MAX => {
                Err(("TooMany", format!("{n} volumes; at most {BACKUP_VOLUMES_MAX}: use the schedule")))
            }
            _ => Ok(out),
        }
    }

    /// The volumes of a claim; one that can't be backed up now says why.
    fn of_claim(&self, claim: &Key, coverage: Option<&Coverage>) -> Vec<BackupVolume> {
        let ids = self.decision.volumes.get(claim).cloned().unwrap_or_default();
        let found = ids.iter().filter_map(|id| Some((id, self.decision.chosen.get(id)?)));
        let mut out: Vec<_> = found
            .map(|(id, chosen)| {
                let mut volume = volume(id, &claim.to_string(), &chosen.domain);
                if !self.decision.assigned.contains_key(id) {
                    volume.state = "failed".to_owned();
                    volume.message = why(coverage, "no running pod mounts it");
                }
                volume
            })
            .collect();
        if out.is_empty() {
            let id = ids.first().map(String::as_str).unwrap_or_default();
            let mut volume = volume(id, &claim.to_string(), "");
            volume.state = "failed".to_owned();
            volume.message = why(coverage, "its volume is not known");
            out.push(volume);
        }
        out
    }

    /// Goes on with each volume.
    async fn step(&self, mut status: BackupStatus, writer: &Writer) -> BackupStatus {
        let mut volumes = std::mem::take(&mut status.volumes);
        for volume in &mut volumes {
            if !has_ended(volume) {
                self.step_volume(volume).await;
            }
        }
        let count = |state: &str| volumes.iter().filter(|v| v.state == state).count();
        let done = volumes.iter().filter(|v| has_ended(v)).count();
        let (observed, now) = (self.object.metadata.generation, writer.now());
        status.observed_generation = observed;
        status.done = i64::try_from(done).ok();
        if done == volumes.len() {
            let partial = volumes.iter().filter(|v| v.state == "done" && !v.message.is_empty()).count();
            let first = volumes.iter().find(|v| v.state != "done" || !v.message.is_empty());
            let first = first.map(|v| format!("; {}: {}", v.claim, v.message)).unwrap_or_default();
            let good = count("done") - partial;
            let what =
                format!("{good} of {} complete, {partial} partial, {} failed{first}", done, count("failed"));
            let (phase, standing) = match () {
                () if good == done => ("Done", Standing::yes("Complete", "Done", what)),
                () if count("cancelled") > 0 && self.object.spec.cancel => {
                    ("Cancelled", Standing::no("Complete", "Cancelled", what))
                }
                () if count("done") > 0 => ("Partial", Standing::no("Complete", "Partial", what)),
                () => ("Failed", Standing::no("Complete", "Failed", what)),
            };
            status.phase = Some(phase.to_owned());
            status.finished = Some(write::text(self.facts.now));
            status.conditions.put(standing, observed, now);
        }
        status.volumes = volumes;
        status
    }

    async fn step_volume(&self, volume: &mut BackupVolume) {
        let Ok(domain) = volume.domain.parse::<DomainName>() else {
            volume.state = "failed".to_owned();
            return;
        };
        match volume.run.as_deref().and_then(run_id) {
            None if self.object.spec.cancel => volume.state = "cancelled".to_owned(),
            None => self.begin(&domain, volume).await,
            Some(id) => self.follow(&domain, id, volume).await,
        }
    }

    async fn begin(&self, domain: &DomainName, volume: &mut BackupVolume) {
        let claim = volume.claim.split_once('/').map(|(namespace, name)| Key::new(namespace, name));
        let origin = claim
            .and_then(|key| crate::decide::origin(&self.tools.watched.read(), &self.facts.cluster, &key));
        let spec = BackupSpec {
            volume: volume.volume.clone(),
            read_all: self.object.spec.read_all,
            tags: self.object.spec.tags.clone(),
            origin,
        };
        match self.tools.port.run_backup(domain, spec).await {
            Ok((id, false)) => {
                (volume.run, volume.state) = (Some(hex(&id.0)), State::Queued.name().to_owned());
                volume.message = String::new();
            }
            Ok((_, true)) => volume.message = "waits for the end of a run that was under way".to_owned(),
            Err(e) => {
                let created = self.object.creation_timestamp().map_or(0, |t| t.0.as_second());
                volume.message = e.chain();
                if created.saturating_add(BACKUP_WAIT_SECONDS) < self.facts.now.seconds() {
                    volume.state = State::Failed.name().to_owned();
                }
            }
        }
    }

    async fn follow(&self, domain: &DomainName, id: JobId, volume: &mut BackupVolume) {
        let port = &self.tools.port;
        match port.run(domain, id).await {
            Ok(Some(record)) => {
                let wanted = self.object.spec.cancel && !record.state.has_ended() && !record.cancel_requested;
                if wanted && let Err(e) = port.cancel(domain, id).await {
                    tracing::warn!(run = %id, error = %e.chain(), "could not be cancelled");
                }
                take(volume, &record);
            }
            // Another coordinator began it, and its queue is gone with it; an agent that has it comes back with it.
            Ok(None) => {
                let created = self.object.creation_timestamp().map_or(0, |t| t.0.as_second());
                if created.saturating_add(BACKUP_WAIT_SECONDS) < self.facts.now.seconds() {
                    (volume.run, volume.message) = (None, "its run was lost with a coordinator".to_owned());
                }
            }
            Err(e) => volume.message = e.chain(),
        }
    }
}

fn volume(id: &str, claim: &str, domain: &str) -> BackupVolume {
    BackupVolume {
        volume: id.to_owned(),
        claim: claim.to_owned(),
        domain: domain.to_owned(),
        state: "waiting".to_owned(),
        ..BackupVolume::default()
    }
}

fn why(coverage: Option<&Coverage>, otherwise: &str) -> String {
    match coverage {
        Some(Coverage::Unprotected { what, .. }) => what.clone(),
        _ => otherwise.to_owned(),
    }
}

fn has_ended(volume: &BackupVolume) -> bool {
    matches!(volume.state.as_str(), "done" | "failed" | "cancelled")
}

/// Takes over how a run stands.
fn take(volume: &mut BackupVolume, record: &Record) {
    volume.state = record.state.name().to_owned();
    volume.message = String::new();
    let Some(result) = &record.result else { return };
    if !record.state.has_ended() {
        return;
    }
    volume.snapshot = result.snapshot.as_ref().map(|s| s.id.to_string());
    if let Some(failure) = &result.failure {
        volume.message.clone_from(&failure.what);
    } else if result.outcome() == "partial" {
        let problems = result.snapshot.as_ref().map_or(0, |s| s.manifest.problems);
        volume.message = format!("partial: {problems} entries could not be read");
    }
    volume.message = volume.message.chars().take(500).collect();
}

/// The run of that name.
fn run_id(text: &str) -> Option<JobId> {
    text.parse().ok()
}
