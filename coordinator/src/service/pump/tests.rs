//! Clients that read, that leave, that stall, and a server that stops.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::Pumps;

fn pumps() -> (Pumps, Arc<Semaphore>) {
    let (tasks, shutdown, stall) = (TaskTracker::new(), CancellationToken::new(), Duration::from_millis(50));
    (Pumps { tasks, shutdown, stall }, Arc::new(Semaphore::new(1)))
}

async fn ended(pumps: &Pumps) {
    pumps.tasks.close();
    pumps.tasks.wait().await;
}

#[tokio::test]
async fn all_messages_come_and_nothing_after_an_error() {
    let (pumps, permits) = pumps();
    let all = pumps.start(&permits, stream::iter((0..10).map(Ok)).boxed()).unwrap();
    assert_eq!(all.map(Result::unwrap).collect::<Vec<_>>().await, (0..10).collect::<Vec<_>>());
    ended(&pumps).await;
    let broken = stream::iter([Ok(1), Err(Status::not_found("x")), Ok(2)]).boxed();
    let got: Vec<_> = pumps.start(&permits, broken).unwrap().map(|m| m.map_err(|s| s.code())).collect().await;
    assert_eq!(got, [Ok(1), Err(Code::NotFound)]);
}

#[tokio::test]
async fn streams_are_bounded_and_a_client_that_leaves_ends_its_work() {
    let (pumps, permits) = pumps();
    let endless = || stream::repeat_with(|| Ok(0)).boxed();
    let mut first = pumps.start(&permits, endless()).unwrap();
    assert_eq!(pumps.start(&permits, endless()).err().unwrap().code(), Code::ResourceExhausted);
    first.next().await.unwrap().unwrap();
    drop(first);
    ended(&pumps).await;
    assert!(pumps.start(&permits, endless()).is_ok());
}

#[tokio::test]
async fn a_client_that_stalls_is_cut_off_and_sees_it() {
    let (pumps, permits) = pumps();
    let stalled = pumps.start(&permits, stream::repeat_with(|| Ok(0)).boxed()).unwrap();
    ended(&pumps).await;
    assert_eq!(permits.available_permits(), 1);
    let rest: Vec<_> = stalled.collect().await;
    assert!(rest.len() < 10);
    assert_eq!(rest.last().unwrap().as_ref().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_stop_is_an_error_not_an_end() {
    let (pumps, permits) = pumps();
    let waiting = pumps.start(&permits, stream::pending::<Result<u8, Status>>().boxed()).unwrap();
    pumps.shutdown.cancel();
    ended(&pumps).await;
    let rest: Vec<_> = waiting.collect().await;
    assert_eq!(rest.len(), 1);
    assert!(rest[0].as_ref().unwrap_err().message().contains("stopping"));
}
