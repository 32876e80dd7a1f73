//! Who may call what. Each token grants roles: agents by their ids, clients that read, clients that write; and says in which
//! domains.
//!
//! Judged in one place by the path of the call, before any handler: a method of ours that is not listed here is refused.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use proto::convert::error_to_status;
use repository::ids::DomainName;
use repository::{Error, ErrorKind, Result};
use service::listen::Peer;
use service::reload::{Reloads, Watched};
use service::token::Tokens;
use tonic::Status;
use tonic::codegen::http::{Request, header};

use crate::glob::matches;
use crate::limits::TOKEN_BYTES_MAX;

/// What clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// List, look into snapshots, read their files, verify, watch, read the audit.
    Read,
    /// That, run and cancel backups and restores, forget, and run and cancel maintenance.
    Write,
    /// That, and see and change who may open the domain: what outlives the token.
    Admin,
}

/// What a token lets its holder be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who the holder is, for the audit.
    pub name: String,
    /// Any agent with one of these ids; `*` stands for any text.
    pub agents: Vec<String>,
    /// A client.
    pub clients: Option<Access>,
    /// In the domains with one of these names (`*` stands for any text); `None` for all.
    pub domains: Option<Vec<String>>,
    /// As an agent it may only have the volumes of its node's plan.
    pub planned: bool,
}

/// Knows callers whose tokens are in no file: those of a cluster's service accounts.
#[async_trait]
pub trait Identify: Send + Sync + Debug {
    /// Whose token it is and what that one may do; `None` for nobody's. An error says nothing about the token: it was not judged.
    async fn identify(&self, token: &str) -> Result<Option<Grant>>;
}

impl Grant {
    /// Everything: what a caller has when no tokens are configured.
    fn all() -> Self {
        let name = "a client without token".to_owned();
        Self { name, agents: vec!["*".to_owned()], clients: Some(Access::Admin), ..Self::default() }
    }

    /// True for a domain that it is for.
    pub(crate) fn covers(&self, domain: &DomainName) -> bool {
        let matches = |pattern: &String| matches(pattern, domain.as_str());
        self.domains.as_ref().is_none_or(|patterns| patterns.iter().any(matches))
    }

    /// Refuses an agent whose id the token does not name.
    pub(crate) fn check_agent(&self, id: &str) -> Result<()> {
        if self.agents.iter().any(|pattern| matches(pattern, id)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, format!("this token may not act as agent {id:?}")))
    }

    fn check(&self, need: Need) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::Refused, what));
        match need {
            Need::Agent if self.agents.is_empty() => refuse("this token is not for agents"),
            Need::Client(_) if self.clients.is_none() => refuse("this token is not for clients"),
            Need::Client(Access::Admin) if self.clients < Some(Access::Admin) => {
                refuse("this token does not let clients handle keys: that takes `clients: admin`")
            }
            Need::Client(access) if self.clients < Some(access) => {
                refuse("this token lets clients read only")
            }
            Need::Agent | Need::Client(_) => Ok(()),
        }
    }
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Agent,
    Client(Access),
}

const AGENTS: &[&str] = &["v1.Agents/Attach", "v1.Agents/Lookup", NODES];
/// About no domain: a node learns its domains from it.
const NODES: &str = "v1.Nodes/Attend";
const READS: &[&str] = &[
    "ListAgents",
    "ListVolumes",
    "ListSnapshots",
    "GetSnapshot",
    "ListRuns",
    "WatchRun",
    "ListEntries",
    "FindEntries",
    "Diff",
    "Cat",
    "Verify",
    "Stats",
];
const NONE: &[&str] = &[];
const WRITES: &[&str] = &["RunBackup", "Restore", "CancelRun"];
const MAINTENANCE_READS: &[&str] =
    &["ListMaintenance", "GetMaintenance", "WatchMaintenance", "ListAudit", "ListHealth", "Measure"];
const MAINTENANCE_WRITES: &[&str] = &["Forget", "Unforget", "Pin", "StartMaintenance", "CancelMaintenance"];
const MAINTENANCE_ADMINS: &[&str] = &["ListKeys", "AddKey", "RemoveKey", "RotateKeys"];

/// True for methods of ours that are about a domain; health and reflection are for everybody, and about none.
pub(crate) fn is_about_domain(path: &str) -> bool {
    path.strip_prefix("/holdfast.").is_some_and(|ours| ours != NODES)
}

/// What the method at `path` needs: `Ok(None)` for one that is not ours.
fn need(path: &str) -> Result<Option<Need>> {
    let Some(ours) = path.strip_prefix("/holdfast.") else { return Ok(None) };
    if AGENTS.contains(&ours) {
        return Ok(Some(Need::Agent));
    }
    let (method, reads, writes, admins) = match ours.split_once('/') {
        Some(("v1.Holdfast", method)) => (method, READS, WRITES, NONE),
        Some(("v1.Maintenance", method)) => {
            (method, MAINTENANCE_READS, MAINTENANCE_WRITES, MAINTENANCE_ADMINS)
        }
        _ => ("", NONE, NONE, NONE),
    };
    match method {
        _ if reads.contains(&method) => Ok(Some(Need::Client(Access::Read))),
        _ if writes.contains(&method) => Ok(Some(Need::Client(Access::Write))),
        _ if admins.contains(&method) => Ok(Some(Need::Client(Access::Admin))),
        _ => Err(Error::new(ErrorKind::Refused, format!("no token grants {path}"))),
    }
}

/// Judges calls by their tokens, and those without one by the names in their certificates; where neither is configured, every
/// call may do everything.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    tokens: Option<Watched<Tokens<Grant>>>,
    certificates: Arc<[(String, Grant)]>,
    others: Option<Arc<dyn Identify>>,
}

/// What the gate says of a call at once.
pub(crate) enum Judged {
    /// The caller may make it, and may do this.
    May(Grant),
    /// Somebody else has to say whose token it is.
    Ask(Arc<dyn Identify>, String),
}

impl Gate {
    /// Reads the token files, which are followed.
    pub(crate) fn new(tokens: &[(PathBuf, Grant)], reloads: &Reloads) -> Result<Self> {
        let watch = |tokens: &[_]| Tokens::watch(tokens.to_vec(), reloads);
        let tokens = Some(tokens).filter(|t| !t.is_empty()).map(watch).transpose()?;
        Ok(Self { tokens, certificates: Arc::default(), others: None })
    }

    /// The same for those, too, whose certificate has a name like one of these.
    pub(crate) fn with_certificates(self, certificates: &[(String, Grant)]) -> Self {
        Self { certificates: certificates.into(), ..self }
    }

    /// The same for those, too, whom `others` knows.
    pub(crate) fn with_others(self, others: Arc<dyn Identify>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// What follows the files.
    pub(crate) fn tokens(&self) -> Option<&Watched<Tokens<Grant>>> {
        self.tokens.as_ref()
    }

    /// Judges a call by what is known here.
    pub(crate) fn judge<B>(&self, request: &Request<B>) -> Result<Judged, Status> {
        let path = request.uri().path();
        if need(path).map_err(|e| error_to_status(&e))?.is_none() {
            return Ok(Judged::May(Grant::default()));
        }
        if let Some(grant) = self.find(request) {
            return admit(path, Some(grant)).map(Judged::May);
        }
        match (&self.others, bearer(request)) {
            (Some(others), Some(token)) => Ok(Judged::Ask(others.clone(), token)),
            _ => admit(path, None).map(Judged::May),
        }
    }

    /// What the caller may do. Who shows a token means that, whatever its certificate.
    fn find<B>(&self, request: &Request<B>) -> Option<Grant> {
        if self.tokens.is_none() && self.certificates.is_empty() && self.others.is_none() {
            return Some(Grant::all());
        }
        if let Some(header) = request.headers().get(header::AUTHORIZATION) {
            return self.tokens.as_ref()?.get().find(header.as_bytes()).cloned();
        }
        let names = request.extensions().get::<Peer>()?.names();
        let fits = |(pattern, _): &&(String, Grant)| names.iter().any(|name| matches(pattern, name));
        self.certificates.iter().find(fits).map(|(_, grant)| grant.clone())
    }
}

/// Lets in who may make the call at `path`.
pub(crate) fn admit(path: &str, grant: Option<Grant>) -> Result<Grant, Status> {
    let grant = grant.ok_or_else(|| Status::unauthenticated("missing or wrong bearer token"))?;
    if let Some(need) = need(path).map_err(|e| error_to_status(&e))? {
        grant.check(need).map_err(|e| error_to_status(&e))?;
    }
    Ok(grant)
}

fn bearer<B>(request: &Request<B>) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(header.strip_prefix("Bearer ")?.trim().to_owned())
        .filter(|t| !t.is_empty() && t.len() <= TOKEN_BYTES_MAX)
}

#[cfg(test)]
mod tests;
