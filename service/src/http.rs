//! The HTTP listener beside each server: `/metrics`, `/healthz` (the process turns) and `/readyz` (it can work).

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
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

/// Says whether the server can do its work now (and which part of it can't be done), or why not.
pub type Ready = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Puts the words of several domains together: ready while one of them is, and those that are not are named with the reason.
pub fn ready_of(domains: impl IntoIterator<Item = (String, Result<(), String>)>) -> Result<String, String> {
    let (mut ready, mut not) = (0, Vec::new());
    for (name, judged) in domains {
        match judged {
            Ok(()) => ready += 1,
            Err(why) => not.push(format!("domain {name} is not ready: {why}")),
        }
    }
    let text = if not.is_empty() { "ok".to_owned() } else { not.join("\n") };
    if ready > 0 { Ok(text) } else { Err(text) }
}

/// All metrics by the name of what they are of; a metric may be in several, with other labels. They come and go while they are
/// served. Cloning shares them.
#[derive(Clone, Default)]
pub struct Registries(Arc<RwLock<Vec<(String, Registry)>>>);

impl Registries {
    /// Only this one.
    #[must_use]
    pub fn one(registry: Registry) -> Self {
        let all = Self::default();
        all.put("", registry);
        all
    }

    /// Adds one at the end, or puts it in the place of its namesake.
    pub fn put(&self, name: &str, registry: Registry) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = registry,
            None => all.push((name.to_owned(), registry)),
        }
    }

    /// Takes one out.
    pub fn remove(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != name);
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registries(..)")
    }
}

/// What is served.
pub struct Pages {
    /// All metrics.
    pub registries: Registries,
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
            .with_state(Arc::new(pages));
        let stop = shutdown.clone().cancelled_owned();
        let served = axum::serve(listener, app).with_graceful_shutdown(stop).await;
        served.inspect_err(|_| shutdown.cancel()).context("serve HTTP")
    }
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let out = {
        let registries = pages.registries.0.read().unwrap_or_else(PoisonError::into_inner);
        page(registries.iter().map(|(_, registry)| registry))
    };
    let Ok(out) = out else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n").into_response();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], out).into_response()
}

/// One page of all registries. A metric that several of them have is described once, above the samples of all: the
/// format allows no other way.
fn page<'a>(registries: impl IntoIterator<Item = &'a Registry>) -> Result<String, fmt::Error> {
    let mut families: Vec<(String, String)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for registry in registries {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry)?;
        let (mut now, mut known) = (0, false);
        let mut described = String::new();
        for line in text.lines().filter(|l| *l != "# EOF") {
            let name = line.strip_prefix("# ").and_then(|l| l.split(' ').nth(1));
            if let Some(name) = name.filter(|name| *name != described) {
                known = places.contains_key(name);
                now = *places.entry(name.to_owned()).or_insert(families.len());
                if !known {
                    families.push(Default::default());
                }
                described = name.to_owned();
            }
            let Some((head, samples)) = families.get_mut(now) else { continue };
            match name {
                Some(_) if known => {}
                Some(_) => writeln!(head, "{line}")?,
                None => writeln!(samples, "{line}")?,
            }
        }
    }
    let mut out: String = families.into_iter().flat_map(|(head, samples)| [head, samples]).collect();
    out.push_str("# EOF\n");
    Ok(out)
}

async fn readyz(State(pages): State<Arc<Pages>>) -> Response {
    match (pages.ready)() {
        Ok(text) => format!("{text}\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
