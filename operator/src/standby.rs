//! What a coordinator serves that does not lead: health, metrics, and to every call the answer where the leader is.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use prometheus_client::registry::Registry;
use service::http::{Http, Pages, Registries};
use service::listen::Listener;
use service::reload::{Reloads, follow};
use service::tls::ServerFiles;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::config::Config;
use crate::limits::STANDBY_CONNECTIONS_MAX;
use crate::metrics::Metrics;

/// Where the leader is, `host:port`, in the metadata of the refusal.
pub const LEADER_KEY: &str = "holdfast-leader";

/// Where the leader is, as far as is known. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leader(Arc<RwLock<Option<String>>>);

impl Leader {
    pub(crate) fn set(&self, address: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// The answer to every call.
    fn status(&self) -> Status {
        let leader = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = leader.as_deref().unwrap_or("nobody yet");
        let mut status = Status::unavailable(format!("this coordinator stands by; the leader is {shown}"));
        if let Some(value) = leader.and_then(|l| MetadataValue::try_from(l).ok()) {
            status.metadata_mut().insert(LEADER_KEY, value);
        }
        status
    }
}

/// Serves until `stop`; afterwards both addresses are free again.
pub(crate) async fn serve(
    config: &Config,
    tls: &ServerFiles,
    leader: Leader,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = Listener::bind(config.listen, STANDBY_CONNECTIONS_MAX).await;
    let listener = listener.with_context(|| format!("listen on {}", config.listen))?;
    let http = Http::bind(Some(config.http_listen)).await?;
    let (mut registry, reloads) = (Registry::default(), Reloads::default());
    metrics.register(&mut registry);
    let tls = tls.watch(&reloads).context("TLS of the gRPC listener")?;
    let registries = Registries::one(registry);
    let pages = Pages { registries, ready: Arc::new(|| Ok("stands by".to_owned())) };
    let answer = move || {
        let status = leader.status();
        async move { status.into_http::<Body>() }
    };
    let routes = Routes::from(Router::new().fallback(answer));
    let follows = vec![Arc::new(tls.clone()) as Arc<dyn service::reload::Follow>];
    let incoming = listener.connections(Some(tls));
    let grpc = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let grpc = async {
        let served = tokio::select! {
            served = grpc => served,
            // A client that keeps its connection open must not keep the address.
            () = after(stop) => Ok(()),
        };
        served.inspect_err(|_| stop.cancel()).context("serve gRPC")
    };
    let (grpc, http, ()) = tokio::join!(grpc, http.serve(pages, stop), follow(follows, stop));
    grpc.and(http)
}

async fn after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}
