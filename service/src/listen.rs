//! The listeners of a server: a bounded number of connections, TLS by the newest files, and an end for those that are
//! silent. A server whose clients are dead, slow or hostile keeps its memory.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::reload::Watched;
use crate::tls::names_of;

/// A handshake that takes longer is given up.
const HANDSHAKE_SECONDS: u64 = 10;
/// Handshakes at once; as many that stall keep others waiting until they are given up.
const HANDSHAKES_MAX: usize = 512;
/// Wait after a failed accept: mostly too many open files, which does not end at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener with a bound on its connections; more wait in the kernel's queue.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    permits: Arc<Semaphore>,
    idle: Option<Duration>,
}

impl Listener {
    /// Binds. Port 0 takes a free one.
    pub async fn bind(address: SocketAddr, connections_max: usize) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { tcp, permits: Arc::new(Semaphore::new(connections_max)), idle: None })
    }

    /// Closes connections over which nothing came for this long. Not for gRPC, which asks whether they live.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    async fn next(&self) -> Connection {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match self.tcp.accept().await {
                Ok((tcp, _)) => {
                    // Without it a connection works, only slower.
                    let _slower = tcp.set_nodelay(true);
                    let info = Peer { tcp: tcp.connect_info(), names: Arc::default() };
                    let idle = self.idle.map(|idle| (idle, Box::pin(sleep(idle))));
                    return Connection { io: Box::new(tcp), info, idle, _permit: permit };
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// All connections, one after the other; with `tls`, those whose handshake went well.
    pub fn connections(
        self,
        tls: Option<Watched<ServerConfig>>,
    ) -> impl Stream<Item = io::Result<Connection>> + Send {
        let plain = stream::unfold(self, |listener| async move { Some((listener.next().await, listener)) });
        let shaken = plain.map(move |connection| {
            let config = tls.as_ref().map(Watched::get);
            async move {
                match config {
                    None => Some(Ok(connection)),
                    Some(config) => connection.shake(config).await.map(Ok),
                }
            }
        });
        shaken.buffer_unordered(HANDSHAKES_MAX).filter_map(std::future::ready)
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let connection = self.next().await;
        let from = connection.info.tcp.remote_addr().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    tcp: TcpConnectInfo,
    names: Arc<[String]>,
}

impl Peer {
    /// The names in its certificate, which a CA of the listener's has signed; none without one.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// One connection. Counts against the listener's bound while it lives.
pub struct Connection {
    io: Box<dyn Io>,
    info: Peer,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.info).finish()
    }
}

impl Connection {
    async fn shake(self, config: Arc<ServerConfig>) -> Option<Self> {
        let Self { io, info, idle, _permit } = self;
        let from = info.tcp.remote_addr();
        let handshake = TlsAcceptor::from(config).accept(io);
        match timeout(Duration::from_secs(HANDSHAKE_SECONDS), handshake).await {
            Ok(Ok(tls)) => {
                let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let names = certificate.map(names_of).unwrap_or_default().into();
                Some(Self { io: Box::new(tls), info: Peer { names, ..info }, idle, _permit })
            }
            Ok(Err(e)) => {
                tracing::info!(from = ?from, error = %e, "no TLS with a client");
                None
            }
            Err(_) => {
                tracing::info!(from = ?from, "a client did not finish its TLS handshake");
                None
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some((idle, alarm)) = &mut self.idle else { return polled };
        if polled.is_ready() {
            let next = Instant::now() + *idle;
            alarm.as_mut().reset(next);
            return polled;
        }
        match alarm.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
