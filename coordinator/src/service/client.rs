//! The service for people and their tools.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, stream};
use proto::convert::{self, Check, error_to_status};
use proto::job::{BackupSpec, RestoreSpec};
use proto::v1;
use proto::v1::holdfast_server::Holdfast;
use repository::Result;
use repository::ops::Task;
use repository::ops::snapshots::Snapshot;
use repository::ops::verify::Level;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::batch::batches;
use super::pump::{Outgoing, Pumps};
use crate::core::{Core, View};
use crate::door::core_of;
use crate::limits::{CAT_BYTES_PER_MESSAGE, RUNS_LISTED, STALL_SECONDS};

mod lists;

/// How often a verification tells how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Serves people and their tools.
#[derive(Clone, Debug)]
pub(crate) struct ClientService {
    pub(super) pumps: Pumps,
}

pub(super) type Out<T> = Result<Response<T>, Status>;

pub(super) fn answer<T>(result: Result<T>) -> Out<T> {
    result.map(Response::new).map_err(|e| error_to_status(&e))
}

/// The domain's core and the request, if all its fields make sense.
pub(super) fn take<T: Check>(request: Request<T>) -> Result<(Arc<Core>, T), Status> {
    let core = core_of(&request)?;
    let message = request.into_inner();
    message.check().map_err(|e| error_to_status(&e))?;
    Ok((core, message))
}

impl ClientService {
    pub(crate) fn new(tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { pumps: Pumps { tasks, shutdown, stall: Duration::from_secs(STALL_SECONDS) } }
    }

    /// A stream behind which the repository works.
    pub(super) fn stream<T: Send + 'static>(
        &self,
        core: &Core,
        messages: BoxStream<'static, Result<T, Status>>,
    ) -> Out<Outgoing<T>> {
        Ok(Response::new(self.pumps.start(&core.streams, messages)?))
    }

    /// A list that is known already.
    pub(super) fn list<W, M>(
        &self,
        core: &Core,
        items: Result<Vec<W>>,
        message: fn(Vec<W>) -> M,
    ) -> Out<Outgoing<M>>
    where
        W: prost::Message + Clone + 'static,
        M: Send + 'static,
    {
        let items = items.map_err(|e| error_to_status(&e))?;
        let items = stream::iter(items.into_iter().map(Ok)).boxed();
        self.stream(core, batches(items, W::clone, W::encoded_len, message))
    }
}

async fn find(core: &Core, spec: Option<v1::SnapshotSpec>) -> Result<Snapshot, Status> {
    let spec = spec.unwrap_or_default();
    let volume = Some(spec.volume.as_str()).filter(|v| !v.is_empty());
    core.engine.snapshot(&spec.spec, volume).await.map_err(|e| error_to_status(&e))
}

#[tonic::async_trait]
impl Holdfast for ClientService {
    type ListAgentsStream = Outgoing<v1::ListAgentsResponse>;
    type ListVolumesStream = Outgoing<v1::ListVolumesResponse>;
    type ListSnapshotsStream = Outgoing<v1::ListSnapshotsResponse>;
    type ListRunsStream = Outgoing<v1::ListRunsResponse>;
    type WatchRunStream = Outgoing<v1::Run>;
    type ListEntriesStream = Outgoing<v1::EntryBatch>;
    type FindEntriesStream = Outgoing<v1::EntryBatch>;
    type DiffStream = Outgoing<v1::ChangeBatch>;
    type CatStream = Outgoing<v1::CatData>;
    type VerifyStream = Outgoing<v1::VerifyUpdate>;

    async fn list_agents(&self, request: Request<v1::ListAgentsRequest>) -> Out<Self::ListAgentsStream> {
        let (core, _) = take(request)?;
        let agents = lists::agents(&core).await;
        self.list(&core, agents, |agents| v1::ListAgentsResponse { agents })
    }

    async fn list_volumes(&self, request: Request<v1::ListVolumesRequest>) -> Out<Self::ListVolumesStream> {
        let (core, _) = take(request)?;
        let volumes = lists::volumes(&core).await;
        self.list(&core, volumes, |volumes| v1::ListVolumesResponse { volumes })
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Out<Self::ListSnapshotsStream> {
        let (core, r) = take(request)?;
        let items = core.refresh().await.map(|()| lists::snapshots(&core, &r.volume));
        self.list(&core, items, lists::snapshots_message)
    }

    async fn get_snapshot(&self, request: Request<v1::GetSnapshotRequest>) -> Out<v1::Snapshot> {
        let (core, r) = take(request)?;
        let snapshot = find(&core, r.snapshot).await?;
        Ok(Response::new(convert::snapshot_to_wire(&snapshot)))
    }

    async fn run_backup(&self, request: Request<v1::RunBackupRequest>) -> Out<v1::RunStarted> {
        let (core, r) = take(request)?;
        let spec = BackupSpec { volume: r.volume, read_all: r.read_all, tags: r.tags, origin: None };
        let started = core.run_backup(spec).await;
        answer(started.map(|(id, existed)| v1::RunStarted { run_id: id.0.to_vec().into(), existed }))
    }

    async fn restore(&self, request: Request<v1::RestoreRequest>) -> Out<v1::RunStarted> {
        let (core, r) = take(request)?;
        let existing = convert::existing_from_wire(r.existing());
        let snapshot = find(&core, r.snapshot).await?;
        let spec = RestoreSpec {
            snapshot: snapshot.id,
            path: r.path.to_vec(),
            patterns: r.patterns,
            target: r.target.to_vec(),
            existing,
        };
        let started = core.run_restore(spec, Some(r.agent_id).filter(|a| !a.is_empty())).await;
        answer(started.map(|id| v1::RunStarted { run_id: id.0.to_vec().into(), existed: false }))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Out<Self::ListRunsStream> {
        let (core, r) = take(request)?;
        let limit = if r.limit == 0 { RUNS_LISTED } else { r.limit };
        let runs = core.db.runs(Some(r.volume).filter(|v| !v.is_empty()), limit).await;
        let wire = |record| lists::run(&core.view(record));
        let runs = runs.map(|runs| lists::without_problems(runs.into_iter().map(wire)));
        self.list(&core, runs, |runs| v1::ListRunsResponse { runs })
    }

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Out<Self::WatchRunStream> {
        let (core, r) = take(request)?;
        let id = convert::job_id_from_wire(&r.run_id).map_err(|e| error_to_status(&e))?;
        let views = core.watch(id).await.map_err(|e| error_to_status(&e))?;
        let runs = views.map(|view: View| Ok(lists::run(&view))).boxed();
        Ok(Response::new(self.pumps.start(&core.watches_open, runs)?))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Out<v1::Run> {
        let (core, r) = take(request)?;
        let id = convert::job_id_from_wire(&r.run_id).map_err(|e| error_to_status(&e))?;
        let record = core.cancel(id).await;
        answer(record.map(|r| lists::run(&core.view(r))))
    }

    async fn list_entries(&self, request: Request<v1::ListEntriesRequest>) -> Out<Self::ListEntriesStream> {
        let (core, r) = take(request)?;
        let snapshot = find(&core, r.snapshot).await?;
        let entries = core.engine.list(&snapshot, &r.path, r.recursive);
        let message = |entries| v1::EntryBatch { entries };
        self.stream(&core, batches(entries, convert::entry_to_wire, lists::entry_cost, message))
    }

    async fn find_entries(&self, request: Request<v1::FindEntriesRequest>) -> Out<Self::FindEntriesStream> {
        let (core, r) = take(request)?;
        let snapshot = find(&core, r.snapshot).await?;
        let entries = core.engine.find(&snapshot, &r.patterns).map_err(|e| error_to_status(&e))?;
        let message = |entries| v1::EntryBatch { entries };
        self.stream(&core, batches(entries, convert::entry_to_wire, lists::entry_cost, message))
    }

    async fn diff(&self, request: Request<v1::DiffRequest>) -> Out<Self::DiffStream> {
        let (core, r) = take(request)?;
        let older = find(&core, r.older).await?;
        let newer = find(&core, r.newer).await?;
        let changes = core.engine.diff(&older, &newer);
        let message = |changes| v1::ChangeBatch { changes };
        self.stream(&core, batches(changes, convert::change_to_wire, lists::change_cost, message))
    }

    async fn cat(&self, request: Request<v1::CatRequest>) -> Out<Self::CatStream> {
        let (core, r) = take(request)?;
        let snapshot = find(&core, r.snapshot).await?;
        let cut = |data: Result<Bytes>| {
            let pieces: Vec<_> = match data {
                Ok(data) => split(data).map(|data| Ok(v1::CatData { data })).collect(),
                Err(e) => vec![Err(error_to_status(&e))],
            };
            stream::iter(pieces)
        };
        self.stream(&core, core.engine.cat(&snapshot, &r.path).flat_map(cut).boxed())
    }

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Out<Self::VerifyStream> {
        let (core, r) = take(request)?;
        let snapshot = find(&core, r.snapshot).await?;
        let level = if r.quick { Level::Quick } else { Level::Full };
        self.stream(&core, verify(core.clone(), snapshot, level))
    }

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Out<v1::StatsResponse> {
        let (core, _) = take(request)?;
        answer(core.engine.stats().await.map(|s| lists::stats(&s)))
    }
}

fn split(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let n = data.len().min(CAT_BYTES_PER_MESSAGE);
        (n > 0).then(|| data.split_to(n))
    })
}

/// Progress every second, then the report. Dropping the stream cancels the work.
fn verify(
    core: Arc<Core>,
    snapshot: Snapshot,
    level: Level,
) -> BoxStream<'static, Result<v1::VerifyUpdate, Status>> {
    let task = Task::default();
    let guard = task.cancel.clone().drop_guard();
    let monitor = task.monitor.clone();
    let work = async move { core.engine.verify(&snapshot, &level, &task).await }.boxed();
    let update =
        |figures, report| v1::VerifyUpdate { figures: Some(convert::figures_to_wire(&figures)), report };
    let next = move |(work, guard): (Option<futures::future::BoxFuture<'static, _>>, _)| {
        let monitor = monitor.clone();
        async move {
            let mut work = work?;
            tokio::select! {
                () = tokio::time::sleep(PROGRESS) => {
                    Some((Ok(update(monitor.figures(), None)), (Some(work), guard)))
                }
                report = &mut work => {
                    let last = match report {
                        Ok(r) => {
                            let r: repository::ops::verify::VerifyReport = r;
                            Ok(update(r.figures, Some(convert::problems_to_wire(&r.problems))))
                        }
                        Err(e) => Err(error_to_status(&e)),
                    };
                    Some((last, (None, guard)))
                }
            }
        }
    };
    stream::unfold((Some(work), guard), next).boxed()
}
