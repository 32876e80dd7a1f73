//! The coordinator as a source of snapshots, and as the one that has agents back up and restore.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::convert::{
    ERROR_KIND_KEY, change_from_wire, entry_from_wire, error_from_status, existing_to_wire,
    failure_from_wire, figures_from_wire, problems_from_wire, result_from_wire, snapshot_from_wire,
};
use proto::job::{Failure, JobResult};
use proto::v1::holdfast_client::HoldfastClient;
use proto::v1::maintenance_client::MaintenanceClient;
use proto::v1::{self, RunState};
use repository::env::Timestamp;
use repository::items::entry::Entry;
use repository::monitor::Figures;
use repository::ops::Task;
use repository::ops::browse::{Change, ResultStream};
use repository::ops::restore::{RestoreReport, RestoreRequest};
use repository::ops::snapshots::{Snapshot, Stats};
use repository::ops::verify::{Level, VerifyReport};
use repository::{Error, ErrorKind, Result};
use service::client::{Connection, Target};
use tonic::{Code, Request, Status, Streaming};

mod maintenance;

pub(crate) use maintenance::{Fate, Forgetting};

/// How long an answer may take that needs no long work.
const ANSWER_SECONDS: u64 = 60;
/// A run is watched through this many lost connections in a row: coordinators restart.
const RECONNECTS_MAX: u32 = 60;
const RECONNECT_SECONDS: u64 = 2;

/// A coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    // Boxed: a coordinator is one of two places where commands work, and the other one is a pointer.
    client: Box<HoldfastClient<Connection>>,
    maintenance: Box<MaintenanceClient<Connection>>,
}

impl Remote {
    /// A connection that opens at its first call.
    pub(crate) fn connect(target: &Target) -> Result<Self> {
        let connection = target.connect()?;
        let client = HoldfastClient::new(connection.clone());
        let maintenance = MaintenanceClient::new(connection);
        Ok(Self {
            client: Box::new(client.max_decoding_message_size(proto::MESSAGE_BYTES_MAX)),
            maintenance: Box::new(maintenance.max_decoding_message_size(proto::MESSAGE_BYTES_MAX)),
        })
    }

    pub(crate) async fn snapshots(&self, volume: Option<&str>) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        let request = v1::ListSnapshotsRequest { volume: volume.unwrap_or_default().to_owned() };
        let mut answers =
            self.client.clone().list_snapshots(timed(request)).await.map_err(wrong)?.into_inner();
        let (mut snapshots, mut damaged) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            for snapshot in answer.snapshots {
                snapshots.push(snapshot_from_wire(snapshot)?);
            }
            damaged.extend(answer.damaged.into_iter().map(|f| error(failure_from_wire(f))));
        }
        Ok((snapshots, damaged))
    }

    pub(crate) async fn snapshot(&self, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
        let volume = volume.unwrap_or_default().to_owned();
        let snapshot = Some(v1::SnapshotSpec { spec: spec.to_owned(), volume });
        let answer = self.client.clone().get_snapshot(timed(v1::GetSnapshotRequest { snapshot })).await;
        snapshot_from_wire(answer.map_err(wrong)?.into_inner())
    }

    pub(crate) async fn list(
        &self,
        of: &Snapshot,
        path: &[u8],
        recursive: bool,
    ) -> Result<ResultStream<Entry>> {
        let path = Bytes::copy_from_slice(path);
        let request = v1::ListEntriesRequest { snapshot: spec(of), path, recursive };
        Ok(entries(self.client.clone().list_entries(request).await.map_err(wrong)?.into_inner()))
    }

    pub(crate) async fn find(&self, of: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
        let request = v1::FindEntriesRequest { snapshot: spec(of), patterns: patterns.to_vec() };
        Ok(entries(self.client.clone().find_entries(request).await.map_err(wrong)?.into_inner()))
    }

    pub(crate) async fn cat(&self, of: &Snapshot, path: &[u8]) -> Result<ResultStream<Bytes>> {
        let request = v1::CatRequest { snapshot: spec(of), path: Bytes::copy_from_slice(path) };
        let pieces = self.client.clone().cat(request).await.map_err(wrong)?.into_inner();
        Ok(pieces.map_ok(|piece| piece.data).map_err(wrong).boxed())
    }

    pub(crate) async fn diff(&self, older: &Snapshot, newer: &Snapshot) -> Result<ResultStream<Change>> {
        let request = v1::DiffRequest { older: spec(older), newer: spec(newer) };
        let batches = self.client.clone().diff(request).await.map_err(wrong)?.into_inner();
        let changes = batches.map_err(wrong).map_ok(|b| stream::iter(b.changes).map(change_from_wire));
        Ok(changes.try_flatten().boxed())
    }

    pub(crate) async fn verify(&self, of: &Snapshot, level: &Level, task: &Task) -> Result<VerifyReport> {
        if let Level::Against(_) = level {
            let what =
                "a folder is compared on the machine where it is: pass --repo URL instead of --coordinator";
            return Err(Error::new(ErrorKind::Input, what));
        }
        let request = v1::VerifyRequest { snapshot: spec(of), quick: *level == Level::Quick };
        let mut updates = self.client.clone().verify(request).await.map_err(wrong)?.into_inner();
        let (mut figures, mut report) = (Figures::default(), None);
        while let Some(update) = updates.message().await.map_err(wrong)? {
            let now = figures_from_wire(update.figures.as_ref());
            task.monitor.raise(&figures, &now);
            figures = now;
            report = update.report.or(report);
        }
        let cut = || Error::new(ErrorKind::Internal, "coordinator ended the verification without a report");
        let problems = problems_from_wire(Some(report.ok_or_else(cut)?));
        Ok(VerifyReport { problems, figures, ..VerifyReport::default() })
    }

    pub(crate) async fn stats(&self) -> Result<Stats> {
        let answer = self.client.clone().stats(timed(v1::StatsRequest {})).await.map_err(wrong)?.into_inner();
        Ok(Stats {
            snapshots: answer.snapshots,
            bytes_plain: answer.bytes_plain,
            stored: answer.stored.into_iter().map(|s| (s.kind, (s.objects, s.bytes))).collect(),
            volumes: answer
                .volumes
                .into_iter()
                .map(|v| (v.volume, Timestamp(v.newest_started_unix_nanos)))
                .collect(),
        })
    }

    /// What the coordinator knows of a volume.
    pub(crate) async fn find_volume(&self, name: &str) -> Result<Option<v1::Volume>> {
        let request = timed(v1::ListVolumesRequest {});
        let mut answers = self.client.clone().list_volumes(request).await.map_err(wrong)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(wrong)? {
            let mut volumes = answer.volumes.into_iter().filter_map(|v| v.volume);
            if let Some(found) = volumes.find(|v| v.name == name) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Has an agent back a volume up, and waits.
    pub(crate) async fn backup(&self, request: v1::RunBackupRequest, task: &Task) -> Result<JobResult> {
        let started = self.client.clone().run_backup(timed(request)).await.map_err(wrong)?.into_inner();
        self.finish(started.run_id, task).await
    }

    /// Has an agent restore, and waits. The target lies on the agent's machine; its own settings bound the memory.
    /// `agent` is asked for where several can.
    pub(crate) async fn restore(
        &self,
        restore: RestoreRequest,
        agent: Option<String>,
        task: &Task,
    ) -> Result<RestoreReport> {
        let request = v1::RestoreRequest {
            snapshot: spec(&restore.snapshot),
            path: restore.path.into(),
            patterns: restore.patterns,
            target: restore.target.into_os_string().into_encoded_bytes().into(),
            existing: existing_to_wire(restore.existing).into(),
            agent_id: agent.unwrap_or_default(),
        };
        let started = self.client.clone().restore(timed(request)).await.map_err(wrong)?.into_inner();
        let done = self.finish(started.run_id, task).await?;
        Ok(RestoreReport { problems: done.problems, skipped: done.skipped, figures: done.figures })
    }

    /// Waits for a run; when the task is cancelled, so is the run.
    async fn finish(&self, run_id: Bytes, task: &Task) -> Result<JobResult> {
        tokio::select! {
            done = self.watch(run_id.clone(), task) => done,
            () = task.cancel.cancelled() => {
                let request = timed(v1::CancelRunRequest { run_id });
                self.client.clone().cancel_run(request).await.map_err(wrong)?;
                Err(Error::new(ErrorKind::Cancelled, "cancelled; the agent was told to stop"))
            }
        }
    }

    async fn watch(&self, run_id: Bytes, task: &Task) -> Result<JobResult> {
        let (mut figures, mut failures) = (Figures::default(), 0);
        loop {
            match self.watch_once(run_id.clone(), &mut figures, task).await {
                Ok(Some(result)) => return result,
                Err(status) if !is_lost(&status) || failures >= RECONNECTS_MAX => {
                    return Err(wrong(status));
                }
                Ok(None) | Err(_) => {
                    failures += 1;
                    tracing::info!("lost the coordinator; the run goes on, trying again");
                    tokio::time::sleep(Duration::from_secs(RECONNECT_SECONDS)).await;
                }
            }
        }
    }

    async fn watch_once(
        &self,
        run_id: Bytes,
        figures: &mut Figures,
        task: &Task,
    ) -> Result<Option<Result<JobResult>>, Status> {
        let mut runs = self.client.clone().watch_run(v1::WatchRunRequest { run_id }).await?.into_inner();
        while let Some(run) = runs.message().await? {
            let now = figures_from_wire(run.figures.as_ref());
            task.monitor.raise(figures, &now);
            *figures = now;
            if let RunState::Done | RunState::Failed | RunState::Cancelled = run.state() {
                return Ok(Some(outcome(run)));
            }
        }
        Ok(None)
    }
}

fn outcome(run: v1::Run) -> Result<JobResult> {
    let state = run.state();
    let result = run.result.map(result_from_wire).transpose()?.unwrap_or_default();
    match (result.failure.clone(), state) {
        (Some(failure), _) => Err(error(failure)),
        (None, RunState::Done) => Ok(result),
        (None, RunState::Cancelled) => Err(Error::new(ErrorKind::Cancelled, "the run was cancelled")),
        (None, _) => Err(Error::new(ErrorKind::Internal, "the run failed, and nobody said why")),
    }
}

/// True when the connection broke: the coordinator itself always says the kind of its errors.
fn is_lost(status: &Status) -> bool {
    let broken =
        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    broken && !status.metadata().contains_key(ERROR_KIND_KEY)
}

fn entries(batches: Streaming<v1::EntryBatch>) -> ResultStream<Entry> {
    batches.map_err(wrong).map_ok(|b| stream::iter(b.entries).map(entry_from_wire)).try_flatten().boxed()
}

fn spec(snapshot: &Snapshot) -> Option<v1::SnapshotSpec> {
    Some(v1::SnapshotSpec { spec: snapshot.id.to_string(), volume: String::new() })
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(ANSWER_SECONDS));
    request
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn wrong(status: Status) -> Error {
    error_from_status(&status)
}

fn error(failure: Failure) -> Error {
    Error::new(failure.kind, failure.what)
}

#[cfg(test)]
mod tests;
