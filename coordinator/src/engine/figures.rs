//! What figures of the repository take. They read as much as they need, for as long as somebody waits for them.

use std::collections::HashSet;
use std::fmt::Debug;

use async_trait::async_trait;
use repository::Result;
use repository::ids::Sid;
use repository::ops::Task;
use repository::ops::snapshots::Snapshot;
use repository::ops::stats::{self, Between, Detail, Freed};

use super::RepositoryEngine;

/// The repository, as who counts sees it.
#[async_trait]
pub trait Measuring: Send + Sync + Debug {
    /// What is needed by whom, and growth.
    async fn detail(&self, task: &Task) -> Result<Detail>;
    /// What the newer of two snapshots brought; `most` files and folders are named.
    async fn between(&self, pair: (&Snapshot, &Snapshot), most: usize, task: &Task) -> Result<Between>;
    /// What would be freed if these were forgotten.
    async fn would_free(&self, forgotten: &HashSet<Sid>, task: &Task) -> Result<Freed>;
}

#[async_trait]
impl Measuring for RepositoryEngine {
    async fn detail(&self, task: &Task) -> Result<Detail> {
        stats::detail(&self.repo, task).await
    }

    async fn between(&self, pair: (&Snapshot, &Snapshot), most: usize, task: &Task) -> Result<Between> {
        stats::between(&self.repo, pair, most, task).await
    }

    async fn would_free(&self, forgotten: &HashSet<Sid>, task: &Task) -> Result<Freed> {
        stats::would_free(&self.repo, forgotten, task).await
    }
}
