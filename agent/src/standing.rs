//! How each domain stands with its repository and the coordinator: for readiness and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use repository::ids::DomainName;

use crate::metrics::Metrics;

/// How all domains stand.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) metrics: Metrics,
    domains: Mutex<BTreeMap<String, Result<(), String>>>,
}

/// Before the first welcome, and after each end.
pub(crate) const NOT_CONNECTED: &str = "not connected to the coordinator";

impl Standing {
    /// Nothing is connected yet.
    pub(crate) fn new<'a>(domains: impl IntoIterator<Item = &'a DomainName>, metrics: Metrics) -> Self {
        let this = Self { metrics, domains: Mutex::default() };
        for domain in domains {
            this.set(domain, Err(NOT_CONNECTED.to_owned()));
        }
        this
    }

    /// A domain is connected, or why not.
    pub(crate) fn set(&self, domain: &DomainName, state: Result<(), String>) {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.set_domain(domain, state.is_ok());
        domains.insert(domain.to_string(), state);
        self.metrics.connected.set(i64::from(domains.values().all(Result::is_ok)));
    }

    /// A domain is no longer one of this agent's.
    pub(crate) fn forget(&self, domain: &DomainName) {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        domains.remove(domain.as_str());
        self.metrics.forget_domain(domain);
        self.metrics.connected.set(i64::from(domains.values().all(Result::is_ok)));
    }

    /// Ready while one domain is; the others are named.
    pub(crate) fn ready(&self) -> Result<String, String> {
        let domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match domains.len() {
            1 => domains.into_values().next().unwrap_or(Ok(())).map(|()| "ok".to_owned()),
            _ => service::http::ready_of(domains),
        }
    }
}
