//! The service for nodes of a cluster: plans go out, sightings come in.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use proto::convert::{Check as _, error_to_status};
use proto::v1;
use proto::v1::node_message::Message;
use proto::v1::nodes_server::Nodes;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::Grant;
use crate::limits::{HEARTBEATS_MISSED, HELLO_SECONDS, NODE_PULSE_SECONDS};
use crate::nodes::Board;

/// Serves nodes.
#[derive(Clone, Debug)]
pub(crate) struct NodeService {
    pub(crate) board: Arc<Board>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

type Orders = Pin<Box<dyn Stream<Item = Result<v1::NodeOrder, Status>> + Send>>;

#[tonic::async_trait]
impl Nodes for NodeService {
    type AttendStream = Orders;

    async fn attend(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        // Without the gate's word nobody gets in.
        let grant = request.extensions().get::<Grant>().cloned().unwrap_or_default();
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(Duration::from_secs(HELLO_SECONDS), incoming.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("no arrival"))??;
        let Some(v1::NodeMessage { message: Some(Message::Arrival(arrival)) }) = first else {
            return Err(Status::invalid_argument("the first message must be an arrival"));
        };
        let good = arrival.check().and_then(|()| grant.check_agent(&arrival.node));
        let attendance = good.and_then(|()| self.board.attend(&arrival));
        let attendance = attendance.map_err(|e| error_to_status(&e))?;
        let (node, number) = (attendance.node, attendance.number);
        tracing::info!(node, version = arrival.version, confined = arrival.confined, "node attends");
        let ended = CancellationToken::new();
        let orders = WatchStream::new(attendance.plans);
        // Before there is a plan there is nothing to say: a node that heard nothing keeps on looking for nothing.
        let orders = orders.filter(|plan| std::future::ready(plan.revision > 0)).map(|plan| {
            let plan = v1::node_order::Message::Plan((*plan).clone());
            Ok(v1::NodeOrder { message: Some(plan) })
        });
        let orders = orders.take_until(ended.clone().cancelled_owned());
        let (board, shutdown) = (self.board.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            listen(&board, &shutdown, (&node, number), incoming).await;
            board.leave(&node, number);
            tracing::info!(node, "node left");
            ended.cancel();
        });
        Ok(Response::new(Box::pin(orders)))
    }
}

/// Hears a node until it goes, falls silent, comes anew, or the coordinator stops.
async fn listen(
    board: &Board,
    shutdown: &CancellationToken,
    (node, number): (&str, u64),
    mut incoming: Streaming<v1::NodeMessage>,
) {
    let silence = Duration::from_secs(u64::from(NODE_PULSE_SECONDS)) * HEARTBEATS_MISSED;
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => return,
            next = tokio::time::timeout(silence, incoming.message()) => next,
        };
        let sightings = match next {
            Ok(Ok(Some(v1::NodeMessage { message: Some(Message::Sightings(said)) }))) => {
                if let Err(e) = said.check() {
                    tracing::warn!(node, error = %e.chain(), "node's message could not be dealt with");
                    return;
                }
                Some(said)
            }
            Ok(Ok(Some(_))) => None,
            Ok(Ok(None)) => return,
            Ok(Err(status)) => {
                tracing::info!(node, status = status.message(), "node's connection broke");
                return;
            }
            Err(_) => {
                tracing::warn!(node, "node is silent");
                return;
            }
        };
        if !board.hear(node, number, sightings) {
            return;
        }
    }
}
