//! Bounds of listeners.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Listener;

async fn listener(connections_max: usize) -> (Listener, std::net::SocketAddr) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), connections_max).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn connections_are_bounded_and_others_wait() {
    let (listener, address) = listener(1).await;
    let mut connections = Box::pin(listener.connections(None));
    let (mut a, mut b) =
        (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    a.write_all(b"a").await.unwrap();
    b.write_all(b"b").await.unwrap();
    let mut first = connections.next().await.unwrap().unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'a');
    let second = tokio::time::timeout(Duration::from_millis(50), connections.next()).await;
    assert!(second.is_err(), "a second connection was let in");
    drop(first);
    let mut second = connections.next().await.unwrap().unwrap();
    assert_eq!(second.read_u8().await.unwrap(), b'b');
}

#[tokio::test]
async fn a_silent_connection_is_ended() {
    let (listener, address) = listener(1).await;
    let mut connections = Box::pin(listener.with_idle(Duration::from_millis(20)).connections(None));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let mut connection = connections.next().await.unwrap().unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
    assert_eq!(connection.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}
