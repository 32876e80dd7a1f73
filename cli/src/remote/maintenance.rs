//! Forgetting, maintenance tasks and the audit, through the coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proto::convert::{
    between_from_wire, detail_from_wire, failure_from_wire, figures_from_wire, freed_from_wire,
    health_from_wire, join_parts, rules_to_wire, sid_from_wire, task_id_from_wire, task_spec_to_wire,
};
use proto::task::{TaskId, TaskSpec};
use proto::v1::measure_request::What;
use proto::v1::{self, RunState};
use repository::env::Timestamp;
use repository::ids::Sid;
use repository::manifest::audit::Record;
use repository::monitor::Figures;
use repository::ops::Task;
use repository::ops::audit::Filter;
use repository::ops::proofs::Health;
use repository::ops::snapshots::Snapshot;
use repository::ops::stats::{Between, Detail, Freed};
use repository::retention::Rules;
use repository::{Error, ErrorKind, Result};
use tonic::Status;

use crate::args::PinArgs;

use super::{RECONNECT_SECONDS, RECONNECTS_MAX, Remote, error, is_lost, spec, timed, wrong};

/// What to forget.
#[derive(Clone, Debug)]
pub(crate) struct Forgetting {
    /// By name; else by rules.
    pub(crate) snapshots: Vec<String>,
    pub(crate) volume: Option<String>,
    /// `None`: those of the coordinator.
    pub(crate) rules: Option<Rules>,
    pub(crate) dry_run: bool,
    pub(crate) share_percent_max: Option<u8>,
    pub(crate) reason: String,
}

/// What became of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) id: Sid,
    pub(crate) volume: String,
    pub(crate) recorded: Timestamp,
    /// None: it is forgotten.
    pub(crate) kept: Vec<String>,
}

impl Remote {
    /// The fate of each snapshot, and outcomes that can't be read.
    pub(crate) async fn forget(&self, what: Forgetting) -> Result<(Vec<Fate>, Vec<Error>)> {
        let request = v1::ForgetRequest {
            snapshots: what.snapshots,
            volume: what.volume.unwrap_or_default(),
            rules: what.rules.as_ref().map(rules_to_wire),
            dry_run: what.dry_run,
            share_percent_max: what.share_percent_max.map(u32::from),
            reason: what.reason,
        };
        let mut answers = self.maintenance.clone().forget(request).await.map_err(wrong)?.into_inner();
        let (mut fates, mut damaged) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            for f in answer.fates {
                fates.push(Fate {
                    id: sid_from_wire(&f.id)?,
                    volume: f.volume,
                    recorded: Timestamp(f.recorded_unix_nanos),
                    kept: f.kept_because,
                });
            }
            damaged.extend(answer.damaged.into_iter().map(|f| error(failure_from_wire(f))));
        }
        Ok((fates, damaged))
    }

    /// Which it was, and its new id.
    pub(crate) async fn unforget(&self, snapshot: &str) -> Result<(Sid, Sid)> {
        let request = v1::UnforgetRequest { snapshot: snapshot.to_owned(), reason: String::new() };
        let done = self.maintenance.clone().unforget(timed(request)).await.map_err(wrong)?.into_inner();
        Ok((sid_from_wire(&done.forgotten)?, sid_from_wire(&done.id)?))
    }

    /// Pins a snapshot, or takes that back. Gives which it is.
    pub(crate) async fn pin(&self, args: &PinArgs, pinned: bool) -> Result<Sid> {
        let request = v1::PinRequest {
            snapshot: args.snapshot.clone(),
            volume: args.volume.clone().unwrap_or_default(),
            unpin: !pinned,
            reason: args.reason.clone(),
        };
        let done = self.maintenance.clone().pin(timed(request)).await.map_err(wrong)?.into_inner();
        sid_from_wire(&done.id)
    }

    /// What is known of the snapshots of a volume, or of all.
    pub(crate) async fn health(&self, volume: Option<&str>) -> Result<BTreeMap<Sid, Health>> {
        let request = v1::ListHealthRequest { volume: volume.unwrap_or_default().to_owned() };
        let mut answers = self.maintenance.clone().list_health(request).await.map_err(wrong)?.into_inner();
        let mut all = BTreeMap::new();
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            for known in answer.snapshots {
                let (id, health) = health_from_wire(&known)?;
                all.insert(id, health);
            }
        }
        Ok(all)
    }

    /// Starts a task; true if an equal one was there already.
    pub(crate) async fn start_task(&self, spec: &TaskSpec, reason: &str) -> Result<(TaskId, bool)> {
        let spec = Some(task_spec_to_wire(spec));
        let request = v1::StartMaintenanceRequest { spec, reason: reason.to_owned() };
        let started = self.maintenance.clone().start_maintenance(timed(request)).await;
        let started = started.map_err(wrong)?.into_inner();
        Ok((task_id_from_wire(&started.task_id)?, started.existed))
    }

    pub(crate) async fn tasks(
        &self,
        limit: u32,
    ) -> Result<(Vec<v1::MaintenancePlan>, Vec<v1::MaintenanceTask>)> {
        let request = timed(v1::ListMaintenanceRequest { limit });
        let mut answers =
            self.maintenance.clone().list_maintenance(request).await.map_err(wrong)?.into_inner();
        let (mut plans, mut tasks) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            plans.extend(answer.plans);
            tasks.extend(answer.tasks);
        }
        Ok((plans, tasks))
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<v1::MaintenanceTask> {
        let request = timed(v1::GetMaintenanceRequest { task_id: bytes(id) });
        Ok(self.maintenance.clone().get_maintenance(request).await.map_err(wrong)?.into_inner())
    }

    pub(crate) async fn cancel_task(&self, id: TaskId) -> Result<v1::MaintenanceTask> {
        let request = timed(v1::CancelMaintenanceRequest { task_id: bytes(id) });
        Ok(self.maintenance.clone().cancel_maintenance(request).await.map_err(wrong)?.into_inner())
    }

    /// Waits for the end of a task, also over restarts of the coordinator. `said` hears each new note.
    pub(crate) async fn watch_task(
        &self,
        id: TaskId,
        task: &Task,
        mut said: impl FnMut(&str),
    ) -> Result<v1::MaintenanceTask> {
        let (mut figures, mut note, mut failures) = (Figures::default(), String::new(), 0);
        loop {
            let once = self.watch_task_once(id, |now| {
                let reached = figures_from_wire(now.figures.as_ref());
                task.monitor.raise(&figures, &reached);
                figures = reached;
                failures = 0;
                if now.note != note {
                    note.clone_from(&now.note);
                    said(&note);
                }
            });
            match once.await {
                Ok(Some(ended)) => return Ok(ended),
                Err(status) if !is_lost(&status) || failures >= RECONNECTS_MAX => return Err(wrong(status)),
                Ok(None) | Err(_) => {
                    failures += 1;
                    tracing::info!("lost the coordinator; trying again");
                    tokio::time::sleep(Duration::from_secs(RECONNECT_SECONDS)).await;
                }
            }
        }
    }

    async fn watch_task_once(
        &self,
        id: TaskId,
        mut seen: impl FnMut(&v1::MaintenanceTask),
    ) -> Result<Option<v1::MaintenanceTask>, Status> {
        let request = v1::WatchMaintenanceRequest { task_id: bytes(id) };
        let mut tasks = self.maintenance.clone().watch_maintenance(request).await?.into_inner();
        while let Some(task) = tasks.message().await? {
            seen(&task);
            if let RunState::Done | RunState::Failed | RunState::Cancelled = task.state() {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Figures of the whole domain.
    pub(crate) async fn detail(&self) -> Result<Detail> {
        detail_from_wire(self.measure(What::Detail(v1::MeasureDetail {})).await?)
    }

    /// What the newer of two snapshots brought.
    pub(crate) async fn between(&self, older: &Snapshot, newer: &Snapshot, top: usize) -> Result<Between> {
        let top = u32::try_from(top).unwrap_or(u32::MAX);
        let pair = v1::MeasureBetween { older: spec(older), newer: spec(newer), top };
        between_from_wire(self.measure(What::Between(pair)).await?)
    }

    /// What would be freed.
    pub(crate) async fn would_free(
        &self,
        snapshots: &[String],
        rules: Option<&Rules>,
        volume: Option<&str>,
    ) -> Result<Freed> {
        let rules = rules.map(rules_to_wire);
        let volume = volume.unwrap_or_default().to_owned();
        let what = v1::MeasureWouldFree { snapshots: snapshots.to_vec(), rules, volume };
        freed_from_wire(self.measure(What::WouldFree(what)).await?)
    }

    async fn measure(&self, what: What) -> Result<v1::MeasureResponse> {
        let request = v1::MeasureRequest { what: Some(what) };
        let mut answers = self.maintenance.clone().measure(request).await.map_err(wrong)?.into_inner();
        let mut parts = Vec::new();
        while let Some(part) = answers.message().await.map_err(wrong)? {
            parts.push(part);
        }
        Ok(join_parts(parts))
    }

    /// Who may open the domain.
    pub(crate) async fn list_keys(&self) -> Result<v1::KeyList> {
        let answer = self.maintenance.clone().list_keys(timed(v1::ListKeysRequest {})).await;
        Ok(answer.map_err(wrong)?.into_inner())
    }

    /// Lets the owner of a public key in.
    pub(crate) async fn add_key(&self, request: v1::AddKeyRequest) -> Result<v1::KeysChanged> {
        Ok(self.maintenance.clone().add_key(timed(request)).await.map_err(wrong)?.into_inner())
    }

    /// Takes a credential out.
    pub(crate) async fn remove_key(&self, request: v1::RemoveKeyRequest) -> Result<v1::KeysChanged> {
        Ok(self.maintenance.clone().remove_key(timed(request)).await.map_err(wrong)?.into_inner())
    }

    /// Begins a new epoch.
    pub(crate) async fn rotate_keys(&self, request: v1::RotateKeysRequest) -> Result<v1::KeysChanged> {
        Ok(self.maintenance.clone().rotate_keys(timed(request)).await.map_err(wrong)?.into_inner())
    }

    /// The audit, oldest first, and records that can't be read.
    pub(crate) async fn audit(&self, filter: &Filter) -> Result<(Vec<Record>, Vec<Error>)> {
        let request = v1::ListAuditRequest {
            since_unix_nanos: filter.since.map_or(0, |t| t.0),
            kind: filter.kind.clone().unwrap_or_default(),
            newest: u32::try_from(filter.newest).unwrap_or(u32::MAX),
        };
        let mut answers = self.maintenance.clone().list_audit(request).await.map_err(wrong)?.into_inner();
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            for record in answer.records {
                let bad = |e| Error::with_source(ErrorKind::Damaged, "audit record of the coordinator", e);
                records.push(Record::decode(&record.record).map_err(bad)?);
            }
            damaged.extend(answer.damaged.into_iter().map(|f| error(failure_from_wire(f))));
        }
        Ok((records, damaged))
    }
}

fn bytes(id: TaskId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}
