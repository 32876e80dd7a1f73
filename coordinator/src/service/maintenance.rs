//! The service for the life of the repository: what is forgotten, collected, proven and repaired.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use proto::convert::{self, error_to_status};
use proto::v1;
use proto::v1::maintenance_server::Maintenance;
use repository::env::Timestamp;
use repository::ops::audit::Filter;
use repository::ops::forget::Because;
use repository::{Error, ErrorKind};
use tonic::{Request, Response};

use super::batch::batches;
use super::client::{ClientService, Out, answer, take};
use super::pump::Outgoing;
use crate::gate::Grant;
use crate::limits::RUNS_LISTED;

pub(crate) mod forget;
mod keys;
mod measure;
mod views;

/// Serves maintenance, within the bounds of the clients' service.
#[derive(Clone, Debug)]
pub(crate) struct MaintenanceService(pub(crate) ClientService);

/// Who calls: the gate knows.
fn caller<T>(request: &Request<T>) -> String {
    request.extensions().get::<Grant>().map_or_else(|| "unknown".to_owned(), |g| g.name.clone())
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    type ForgetStream = Outgoing<v1::ForgetResponse>;
    type ListMaintenanceStream = Outgoing<v1::ListMaintenanceResponse>;
    type WatchMaintenanceStream = Outgoing<v1::MaintenanceTask>;
    type MeasureStream = Outgoing<v1::MeasureResponse>;
    type ListAuditStream = Outgoing<v1::ListAuditResponse>;
    type ListHealthStream = Outgoing<v1::ListHealthResponse>;

    async fn forget(&self, request: Request<v1::ForgetRequest>) -> Out<Self::ForgetStream> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        let because = Because { by, why: r.reason.clone() };
        let fates = forget::forget(&core, r, &because).await;
        self.0.list(&core, fates, forget::message)
    }

    async fn unforget(&self, request: Request<v1::UnforgetRequest>) -> Out<v1::UnforgetResponse> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        let because = Because { by, why: r.reason };
        // It may have to write a tree anew. A caller that goes away must not leave an open session behind.
        let work = self.0.pumps.tasks.spawn(async move {
            let _one_at_a_time = core.undoing.lock().await;
            let (forgotten, id) = core.engine.unforget(&r.snapshot, &because).await?;
            core.refresh().await?;
            Ok(v1::UnforgetResponse { forgotten: forgotten.0.to_vec().into(), id: id.0.to_vec().into() })
        });
        answer(work.await.unwrap_or_else(|e| {
            Err(Error::with_source(ErrorKind::Internal, "the undo ended without an answer", e))
        }))
    }

    async fn pin(&self, request: Request<v1::PinRequest>) -> Out<v1::PinResponse> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        let because = Because { by, why: r.reason };
        let volume = Some(r.volume.as_str()).filter(|v| !v.is_empty());
        let done = async {
            let snapshot = core.engine.snapshot(&r.snapshot, volume).await?;
            core.engine.pin(&snapshot, !r.unpin, &because).await?;
            Ok(v1::PinResponse { id: snapshot.id.0.to_vec().into() })
        };
        answer(done.await)
    }

    async fn start_maintenance(
        &self,
        request: Request<v1::StartMaintenanceRequest>,
    ) -> Out<v1::MaintenanceStarted> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        let spec = convert::task_spec_from_wire(r.spec).map_err(|e| error_to_status(&e))?;
        let started = core.start_task(spec, &by, &r.reason).await;
        answer(started.map(|(id, existed)| v1::MaintenanceStarted { task_id: id.0.to_vec().into(), existed }))
    }

    async fn list_maintenance(
        &self,
        request: Request<v1::ListMaintenanceRequest>,
    ) -> Out<Self::ListMaintenanceStream> {
        let (core, r) = take(request)?;
        let limit = if r.limit == 0 { RUNS_LISTED } else { r.limit };
        self.0.list(&core, views::list(&core, limit).await, views::message)
    }

    async fn get_maintenance(&self, request: Request<v1::GetMaintenanceRequest>) -> Out<v1::MaintenanceTask> {
        let (core, r) = take(request)?;
        let id = convert::task_id_from_wire(&r.task_id).map_err(|e| error_to_status(&e))?;
        answer(core.task(id).await.map(|v| views::task(&v)))
    }

    async fn cancel_maintenance(
        &self,
        request: Request<v1::CancelMaintenanceRequest>,
    ) -> Out<v1::MaintenanceTask> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        let id = convert::task_id_from_wire(&r.task_id).map_err(|e| error_to_status(&e))?;
        tracing::info!(task = %id, by, "maintenance is to be cancelled");
        answer(core.cancel_task(id).await.map(|v| views::task(&v)))
    }

    async fn watch_maintenance(
        &self,
        request: Request<v1::WatchMaintenanceRequest>,
    ) -> Out<Self::WatchMaintenanceStream> {
        let (core, r) = take(request)?;
        let id = convert::task_id_from_wire(&r.task_id).map_err(|e| error_to_status(&e))?;
        let seen = core.watch_task(id).await.map_err(|e| error_to_status(&e))?;
        let tasks = seen.map(|v| v.map(|v| views::task(&v)).map_err(|e| error_to_status(&e))).boxed();
        Ok(Response::new(self.0.pumps.start(&core.watches_open, tasks)?))
    }

    async fn list_health(&self, request: Request<v1::ListHealthRequest>) -> Out<Self::ListHealthStream> {
        let (core, r) = take(request)?;
        // It works behind the stream's permit: each reads what may be much.
        let engine = core.engine.clone();
        let health = async move {
            let (mut all, _) = engine.snapshots().await?;
            all.retain(|s| r.volume.is_empty() || s.manifest.volume == r.volume);
            let health = engine.health(&all).await?;
            let health: Vec<_> = health.iter().map(convert::health_to_wire).map(Ok).collect();
            Ok::<_, Error>(stream::iter(health))
        };
        let items = stream::once(health).try_flatten().boxed();
        let message = |snapshots| v1::ListHealthResponse { snapshots };
        self.0.stream(
            &core,
            batches(items, v1::SnapshotHealth::clone, v1::SnapshotHealth::encoded_len, message),
        )
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Out<v1::KeyList> {
        let (core, _) = take(request)?;
        answer(keys::list(&core).await)
    }

    async fn add_key(&self, request: Request<v1::AddKeyRequest>) -> Out<v1::KeysChanged> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        answer(keys::add(&core, r, by).await)
    }

    async fn remove_key(&self, request: Request<v1::RemoveKeyRequest>) -> Out<v1::KeysChanged> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        answer(keys::remove(&core, r, by).await)
    }

    async fn rotate_keys(&self, request: Request<v1::RotateKeysRequest>) -> Out<v1::KeysChanged> {
        let by = caller(&request);
        let (core, r) = take(request)?;
        answer(keys::rotate(&core, r, by).await)
    }

    async fn measure(&self, request: Request<v1::MeasureRequest>) -> Out<Self::MeasureStream> {
        let (core, r) = take(request)?;
        let parts = measure::measure(core.clone(), r);
        let to_wire = v1::MeasureResponse::clone;
        self.0.stream(&core, batches(parts, to_wire, prost::Message::encoded_len, convert::join_parts))
    }

    async fn list_audit(&self, request: Request<v1::ListAuditRequest>) -> Out<Self::ListAuditStream> {
        let (core, r) = take(request)?;
        let filter = Filter {
            since: (r.since_unix_nanos != 0).then_some(Timestamp(r.since_unix_nanos)),
            kind: Some(r.kind).filter(|k| !k.is_empty()),
            newest: usize::try_from(r.newest).unwrap_or(usize::MAX),
        };
        let found = core.engine.audit(&filter).await;
        self.0.list(&core, found.map(views::audit), views::audit_message)
    }
}
