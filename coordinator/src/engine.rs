//! What the coordinator asks of the repository. A trait, so that its own work can be tested without one.

mod copies;
mod figures;
mod keyring;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use repository::Result;
use repository::env::Env;
use repository::ids::{BlobId, Place};
use repository::index::{LocalIndex, Lookup as _};
use repository::items::entry::Entry;
use repository::ops::browse::{self, Change, ResultStream};
use repository::ops::snapshots::{self, Snapshot, Stats};
use repository::ops::verify::{self, Examined, Level, Proven, VerifyReport};
use repository::ops::{Repository, Task, index};
use repository::store::Counts;
use service::repo::{Probe, Settings};

pub use copies::Copying;
pub use figures::Measuring;
pub use keyring::Keyring;
pub use upkeep::Upkeep;

/// The repository, as the coordinator sees it.
#[async_trait]
pub trait Engine: Upkeep + Copying + Keyring + Measuring {
    /// All committed snapshots, oldest first, and what is damaged.
    async fn snapshots(&self) -> Result<(Vec<Snapshot>, Vec<repository::Error>)>;
    /// The same [light](Snapshot::light), without reading again what is known already.
    async fn snapshots_light(
        &self,
        known: &[Arc<Snapshot>],
    ) -> Result<(Vec<Arc<Snapshot>>, Vec<repository::Error>)>;
    /// One snapshot by `latest`, id or prefix.
    async fn snapshot(&self, spec: &str, volume: Option<&str>) -> Result<Snapshot>;
    /// Where blobs lie, as far as is known.
    async fn find_blobs(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>>;
    /// Reads what is new in the index, so that [`Engine::find_blobs`] need not.
    async fn refresh_index(&self) -> Result<()>;
    /// Entries at and below a path.
    fn list(&self, snapshot: &Snapshot, path: &[u8], recursive: bool) -> ResultStream<Entry>;
    /// Entries that match a pattern.
    fn find(&self, snapshot: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>>;
    /// The bytes of a file.
    fn cat(&self, snapshot: &Snapshot, path: &[u8]) -> ResultStream<Bytes>;
    /// Differences between two snapshots.
    fn diff(&self, older: &Snapshot, newer: &Snapshot) -> ResultStream<Change>;
    /// Proves that a snapshot restores; what it found is recorded, and damage goes into quarantine.
    async fn verify(&self, snapshot: &Snapshot, level: &Level, task: &Task) -> Result<VerifyReport>;
    /// Figures of the whole repository.
    async fn stats(&self) -> Result<Stats>;
}

/// An opened repository and its index, which refreshes itself.
#[derive(Debug)]
pub struct RepositoryEngine {
    repo: Arc<Repository>,
    index: Arc<LocalIndex>,
}

impl RepositoryEngine {
    /// Probes the store, refuses an unfit one, and opens the repository and its index.
    pub async fn open(
        repository: &Settings,
        refresh_seconds: u64,
        counts: Arc<Counts>,
        env: &Env,
    ) -> Result<Self> {
        let repo = repository.open(counts, Probe::Run, env).await?;
        let index = service::repo::open_index(&repo, refresh_seconds.saturating_mul(2));
        Ok(Self::new(repo, index))
    }

    /// Of an opened repository.
    #[must_use]
    pub fn new(repo: Arc<Repository>, index: Arc<LocalIndex>) -> Self {
        Self { repo, index }
    }
}

#[async_trait]
impl Engine for RepositoryEngine {
    async fn snapshots(&self) -> Result<(Vec<Snapshot>, Vec<repository::Error>)> {
        snapshots::list(&self.repo).await
    }

    async fn snapshots_light(
        &self,
        known: &[Arc<Snapshot>],
    ) -> Result<(Vec<Arc<Snapshot>>, Vec<repository::Error>)> {
        snapshots::list_light(&self.repo, known).await
    }

    async fn snapshot(&self, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
        snapshots::get(&self.repo, spec, volume).await
    }

    async fn find_blobs(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        self.index.find(ids).await
    }

    async fn refresh_index(&self) -> Result<()> {
        for damaged in self.index.refresh().await?.damaged {
            tracing::warn!(error = %damaged.chain(), "a part of the index is not readable");
        }
        index::drop_swept(&self.repo.objects(), &self.index).await
    }

    fn list(&self, snapshot: &Snapshot, path: &[u8], recursive: bool) -> ResultStream<Entry> {
        browse::list(&self.repo, snapshot, path, recursive)
    }

    fn find(&self, snapshot: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
        browse::find(&self.repo, snapshot, patterns)
    }

    fn cat(&self, snapshot: &Snapshot, path: &[u8]) -> ResultStream<Bytes> {
        browse::cat(&self.repo, snapshot, path)
    }

    fn diff(&self, older: &Snapshot, newer: &Snapshot) -> ResultStream<Change> {
        browse::diff(&self.repo, older, newer)
    }

    async fn verify(&self, snapshot: &Snapshot, level: &Level, task: &Task) -> Result<VerifyReport> {
        let report = verify::verify(&self.repo, snapshot, level, task).await?;
        let damaged = verify::examine(&self.repo, &report, &mut Examined::default(), false, task).await?;
        let proven = [Proven::of(snapshot.id, level, &report)];
        verify::record(&self.repo, level, &proven, damaged, "coordinator").await?;
        Ok(report)
    }

    async fn stats(&self) -> Result<Stats> {
        snapshots::stats(&self.repo).await
    }
}
