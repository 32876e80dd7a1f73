//! The service for agents.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::convert::{Check as _, error_to_status};
use proto::v1;
use proto::v1::agent_message::Message;
use proto::v1::agents_server::Agents;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::core::Core;
use crate::door::core_of;
use crate::gate::Grant;
use crate::limits::{AGENT_QUEUE, HEARTBEATS_MISSED, HELLO_SECONDS};
use crate::nodes::Board;

/// Serves agents.
#[derive(Clone, Debug)]
pub(crate) struct AgentService {
    pub(crate) board: Arc<Board>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Agents for AgentService {
    type AttachStream = Outgoing;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        // Without the gate's word nobody gets in.
        let grant = request.extensions().get::<Grant>().cloned().unwrap_or_default();
        let core = core_of(&request)?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(Duration::from_secs(HELLO_SECONDS), incoming.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("no hello"))??;
        let Some(v1::AgentMessage { message: Some(Message::Hello(mut hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let agent = hello.agent_id.clone();
        let good = hello.check().and_then(|()| grant.check_agent(&agent));
        good.map_err(|e| error_to_status(&e))?;
        let planned = grant.planned.then(|| Planned { board: self.board.clone(), core: core.clone() });
        if let Some(planned) = &planned {
            planned.keep(&agent, &mut hello.volumes, &mut hello.restore_roots);
        }
        let (outbox, outgoing) = mpsc::channel(AGENT_QUEUE);
        let number = core.hello(hello, outbox).await.map_err(|e| error_to_status(&e))?;
        let (shutdown, span) = (self.shutdown.clone(), core.span.clone());
        self.tasks.spawn(listen(core, planned, shutdown, (agent, number), incoming).instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        let answer = core_of(&request)?.lookup(request.into_inner()).await;
        answer.map(Response::new).map_err(|e| error_to_status(&e))
    }
}

/// Holds an agent to its node's plan.
#[derive(Debug)]
struct Planned {
    board: Arc<Board>,
    core: Arc<Core>,
}

impl Planned {
    fn keep(&self, node: &str, volumes: &mut Vec<v1::Volume>, restore_roots: &mut Vec<Bytes>) {
        let domain = self.core.domain.as_str();
        self.board.keep_planned(node, domain, volumes);
        if !self.board.may_restore(node, domain) {
            restore_roots.clear();
        }
    }
}

/// Hears an agent until it goes, falls silent, connects anew, or the coordinator stops.
async fn listen(
    core: Arc<Core>,
    planned: Option<Planned>,
    shutdown: CancellationToken,
    (agent, number): (String, u64),
    mut incoming: Streaming<v1::AgentMessage>,
) {
    let silence = Duration::from_secs(u64::from(core.heartbeat_seconds)) * HEARTBEATS_MISSED;
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => break,
            next = tokio::time::timeout(silence, incoming.message()) => next,
        };
        let message = match next {
            Ok(Ok(Some(message))) => message.message,
            Ok(Ok(None)) => break,
            Ok(Err(status)) => {
                tracing::info!(agent, status = status.message(), "agent's connection broke");
                break;
            }
            Err(_) => {
                tracing::warn!(agent, "agent is silent");
                break;
            }
        };
        if !core.hub.is_current(&agent, number) {
            break;
        }
        // A message of a kind that we don't know is of a newer agent: ignored.
        let Some(mut message) = message else { continue };
        if let (Some(planned), Message::Volumes(said)) = (&planned, &mut message) {
            planned.keep(&agent, &mut said.volumes, &mut said.restore_roots);
        }
        if let Err(e) = core.hear(&agent, message).await {
            tracing::warn!(agent, error = %e.chain(), "agent's message could not be dealt with");
            core.hub.end(&agent, number, error_to_status(&e));
            break;
        }
    }
    core.goodbye(&agent, number).await;
}
