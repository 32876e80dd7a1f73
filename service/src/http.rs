//! The HTTP listener beside each server: `/metrics`, `/healthz` (the process turns) and `/readyz` (it can work).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::listen::Listener;

/// Connections at once: a few monitors.
const CONNECTIONS_MAX: usize = 64;
/// A connection over which nothing comes for this long is closed; longer than monitors usually wait between two looks.
const IDLE_SECONDS: u64 = 90;

/// Says whether the server can do its work now, or why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Pages {
    /// All metrics.
    pub registry: Arc<Registry>,
    /// For `/readyz`.
    pub ready: Ready,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages(..)")
    }
}

/// The bound listener, or none when no address is configured.
#[derive(Debug)]
pub struct Http(Option<Listener>);

impl Http {
    /// Binds, if there is an address.
    pub async fn bind(address: Option<SocketAddr>) -> anyhow::Result<Self> {
        let Some(address) = address else { return Ok(Self(None)) };
        let bound = Listener::bind(address, CONNECTIONS_MAX).await;
        let listener = bound.with_context(|| format!("listen on {address} for HTTP"))?;
        Ok(Self(Some(listener.with_idle(Duration::from_secs(IDLE_SECONDS)))))
    }

    /// Where it serves.
    pub fn local_addr(&self) -> anyhow::Result<Option<SocketAddr>> {
        self.0.as_ref().map(Listener::local_addr).transpose().context("address of the HTTP listener")
    }

    /// Serves until `shutdown`. When it fails, `shutdown` is cancelled: what is beside it stops too.
    pub async fn serve(self, pages: Pages, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let Some(listener) = self.0 else { return Ok(()) };
        let app = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .with_state(pages);
        let stop = shutdown.clone().cancelled_owned();
        let served = axum::serve(listener, app).with_graceful_shutdown(stop).await;
        served.inspect_err(|_| shutdown.cancel()).context("serve HTTP")
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let mut out = String::new();
    if prometheus_client::encoding::text::encode(&mut out, &pages.registry).is_err() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n").into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], out).into_response()
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match (pages.ready)() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
