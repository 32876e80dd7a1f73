//! What maintenance asks of the repository.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use repository::ids::Sid;
use repository::manifest::audit::Record;
use repository::ops::audit::{self, Filter};
use repository::ops::forget::{self, Because};
use repository::ops::gc::{GcReport, GcRequest};
use repository::ops::proofs::{self, Health};
use repository::ops::repair::index::{self, IndexReport, IndexRequest};
use repository::ops::repair::quarantine::{self, LiftReport};
use repository::ops::repair::snapshots::{self as mend, SnapshotReport, SnapshotRequest};
use repository::ops::restore_test::{self, TestReport, TestRequest};
use repository::ops::scrub::{ScrubReport, ScrubRequest};
use repository::ops::snapshots::{self, Snapshot};
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
    /// Keeps a snapshot whatever the rules say (`true`), or leaves it to them again.
    async fn pin(&self, of: &Snapshot, pinned: bool, because: &Because) -> Result<()>;
    /// What is known of these snapshots' health, and which are pinned.
    async fn health(&self, of: &[Snapshot]) -> Result<BTreeMap<Sid, Health>>;
    /// One GC run.
    async fn collect(&self, request: GcRequest, because: &Because, task: &Task) -> Result<GcReport>;
    /// Reads packs.
    async fn scrub(&self, request: &ScrubRequest, because: &Because, task: &Task) -> Result<ScrubReport>;
    /// The newest snapshots of the volumes that were tested longest ago, or of the named ones.
    async fn choose_tests(&self, volumes: &[String], volumes_max: usize) -> Result<Vec<Snapshot>>;
    /// Restores one and compares.
    async fn test_restore(&self, of: &Snapshot, request: &TestRequest, task: &Task) -> Result<TestReport>;
    /// Repairs the index.
    async fn repair_index(
        &self,
        request: IndexRequest,
        because: &Because,
        task: &Task,
    ) -> Result<IndexReport>;
    /// Lifts the quarantine of packs that are whole again.
    async fn lift_quarantine(&self, dry_run: bool, because: &Because, task: &Task) -> Result<LiftReport>;
    /// Those that refer to what is known to be damaged or gone.
    async fn damaged_snapshots(&self, all: &[Snapshot]) -> Result<Vec<Snapshot>>;
    /// Commits a copy of a damaged snapshot without what is lost.
    async fn repair_snapshot(
        &self,
        of: &Snapshot,
        all: &[Snapshot],
        request: &SnapshotRequest,
        task: &Task,
    ) -> Result<SnapshotReport>;
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
        noted::unforget(&self.repo, snapshot, because, &Task::default()).await
    }

    async fn pin(&self, of: &Snapshot, pinned: bool, because: &Because) -> Result<()> {
        match pinned {
            true => noted::pin(&self.repo, of, because).await,
            false => noted::unpin(&self.repo, of, because).await,
        }
    }

    async fn health(&self, of: &[Snapshot]) -> Result<BTreeMap<Sid, Health>> {
        proofs::health(&self.repo, of).await
    }

    async fn collect(&self, request: GcRequest, because: &Because, task: &Task) -> Result<GcReport> {
        noted::collect(&self.repo, request, because, task).await
    }

    async fn scrub(&self, request: &ScrubRequest, because: &Because, task: &Task) -> Result<ScrubReport> {
        noted::scrub(&self.repo, request, because, task).await
    }

    async fn choose_tests(&self, volumes: &[String], volumes_max: usize) -> Result<Vec<Snapshot>> {
        let (all, _) = snapshots::list(&self.repo).await?;
        restore_test::choose(&self.repo, &all, volumes, volumes_max).await
    }

    async fn test_restore(&self, of: &Snapshot, request: &TestRequest, task: &Task) -> Result<TestReport> {
        restore_test::test(&self.repo, of, request, task).await
    }

    async fn repair_index(
        &self,
        request: IndexRequest,
        because: &Because,
        task: &Task,
    ) -> Result<IndexReport> {
        index::index(&self.repo, request, &because.by, task).await
    }

    async fn lift_quarantine(&self, dry_run: bool, because: &Because, task: &Task) -> Result<LiftReport> {
        quarantine::lift(&self.repo, dry_run, &because.by, task).await
    }

    async fn damaged_snapshots(&self, all: &[Snapshot]) -> Result<Vec<Snapshot>> {
        mend::find_damaged(&self.repo, all).await
    }

    async fn repair_snapshot(
        &self,
        of: &Snapshot,
        all: &[Snapshot],
        request: &SnapshotRequest,
        task: &Task,
    ) -> Result<SnapshotReport> {
        mend::repair(&self.repo, of, all, request, task).await
    }

    async fn audit(&self, filter: &Filter) -> Result<(Vec<Record>, Vec<Error>)> {
        audit::list(&self.repo, filter).await
    }
}
