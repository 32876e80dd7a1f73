//! What maintenance asks of the repository.

use std::fmt::Debug;

use async_trait::async_trait;
use repository::ids::Sid;
use repository::manifest::audit::Record;
use repository::ops::audit::{self, Filter};
use repository::ops::forget::{self, Because};
use repository::ops::gc::{GcReport, GcRequest};
use repository::ops::{Task, noted};
use repository::retention::{Candidate, Plan};
use repository::{Error, Result};

use super::RepositoryEngine;

/// The repository, as maintenance sees it. What it does is recorded in the audit, under who asked for it.
#[async_trait]
pub trait Upkeep: Send + Sync + Debug {
    /// The snapshots that retention is about, and outcomes that can't be read.
    async fn candidates(&self, volume: Option<&str>) -> Result<(Vec<Candidate>, Vec<Error>)>;
    /// Forgets what the plan does not keep. Gives how many were forgotten before it failed, if it did.
    async fn forget(&self, plan: &Plan, because: &Because, task: &Task) -> (u64, Result<()>);
    /// Brings a forgotten snapshot back. Gives which it was, and its new id.
    async fn unforget(&self, snapshot: &str, because: &Because) -> Result<(Sid, Sid)>;
    /// One GC run.
    async fn collect(&self, request: GcRequest, because: &Because, task: &Task) -> Result<GcReport>;
    /// What was done.
    async fn audit(&self, filter: &Filter) -> Result<(Vec<Record>, Vec<Error>)>;
}

#[async_trait]
impl Upkeep for RepositoryEngine {
    async fn candidates(&self, volume: Option<&str>) -> Result<(Vec<Candidate>, Vec<Error>)> {
        forget::candidates(&self.repo, volume).await
    }

    async fn forget(&self, plan: &Plan, because: &Because, task: &Task) -> (u64, Result<()>) {
        noted::forget(&self.repo, plan, because, task).await
    }

    async fn unforget(&self, snapshot: &str, because: &Because) -> Result<(Sid, Sid)> {
        noted::unforget(&self.repo, snapshot, because).await
    }

    async fn collect(&self, request: GcRequest, because: &Because, task: &Task) -> Result<GcReport> {
        noted::collect(&self.repo, request, because, task).await
    }

    async fn audit(&self, filter: &Filter) -> Result<(Vec<Record>, Vec<Error>)> {
        audit::list(&self.repo, filter).await
    }
}
