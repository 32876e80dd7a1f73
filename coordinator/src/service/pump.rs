//! Streams to clients: a task works ahead of its client into a small buffer. A client that is gone ends the work; one
//! that takes nothing for long is cut off, so that it can't hold what the work holds.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::limits::STREAM_QUEUE;

/// What a client receives.
pub(crate) type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A message, or the whole end: a stream that just stops was cut, and must not look whole.
type Piece<T> = Option<Result<T, Status>>;

/// Starts the tasks, and ends them at a stop.
#[derive(Clone, Debug)]
pub(crate) struct Pumps {
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    /// A client that takes nothing for this long is cut off.
    pub(crate) stall: Duration,
}

impl Pumps {
    /// A stream of `messages` up to the first error; refused when there is no permit.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        messages: BoxStream<'static, Result<T, Status>>,
    ) -> Result<Outgoing<T>, Status> {
        let busy = |_| Status::resource_exhausted("too many streams are open at once; try again later");
        let permit = permits.clone().try_acquire_owned().map_err(busy)?;
        let (sender, receiver) = channel(STREAM_QUEUE);
        self.tasks.spawn(pump(messages, sender, self.clone(), permit));
        Ok(stream::unfold(Some(receiver), next).boxed())
    }
}

async fn pump<T>(
    mut messages: BoxStream<'static, Result<T, Status>>,
    sender: Sender<Piece<T>>,
    pumps: Pumps,
    _permit: OwnedSemaphorePermit,
) {
    loop {
        let piece = tokio::select! {
            biased;
            () = sender.closed() => return,
            piece = messages.next() => piece,
            () = pumps.shutdown.cancelled() => Some(Err(Status::unavailable("the coordinator is stopping"))),
        };
        let last = !matches!(piece, Some(Ok(_)));
        let sent = tokio::select! {
            biased;
            sent = sender.send_timeout(piece, pumps.stall) => sent.is_ok(),
            // No room, and no time to wait for it: the client sees a cut.
            () = pumps.shutdown.cancelled() => false,
        };
        if last || !sent {
            return;
        }
    }
}

type Incoming<T> = Option<Receiver<Piece<T>>>;

async fn next<T>(receiver: Incoming<T>) -> Option<(Result<T, Status>, Incoming<T>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(piece) => {
            let message = piece?;
            let rest = message.is_ok().then_some(receiver);
            Some((message, rest))
        }
        None => {
            let cut = "the stream was cut: its client did not keep up, or the coordinator stopped";
            Some((Err(Status::unavailable(cut)), None))
        }
    }
}

#[cfg(test)]
mod tests;
