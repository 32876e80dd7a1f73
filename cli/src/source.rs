//! Where snapshots are looked at: the bucket itself, or a coordinator. Commands don't care which.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use repository::ids::Sid;
use repository::items::entry::Entry;
use repository::ops::browse::{self, Change, ResultStream};
use repository::ops::proofs::{self, Health};
use repository::ops::snapshots::{self, Snapshot, Stats};
use repository::ops::verify::{self, Level, VerifyReport};
use repository::ops::{Repository, Task};
use repository::{Error, Result};

use crate::remote::Remote;

/// One of the two.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The bucket.
    Repo(Arc<Repository>),
    /// A coordinator.
    Coordinator(Remote),
}

impl Source {
    /// All snapshots, or those of one volume, oldest first; and what is damaged.
    pub(crate) async fn snapshots(&self, volume: Option<&str>) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        match self {
            Self::Coordinator(remote) => remote.snapshots(volume).await,
            Self::Repo(repo) => {
                let (mut found, damaged) = snapshots::list(repo).await?;
                found.retain(|s| volume.is_none_or(|v| s.manifest.volume == v));
                Ok((found, damaged))
            }
        }
    }

    /// What is known of their health. `volume` narrows it as it did `of`.
    pub(crate) async fn health(
        &self,
        of: &[Snapshot],
        volume: Option<&str>,
    ) -> Result<BTreeMap<Sid, Health>> {
        match self {
            Self::Repo(repo) => proofs::health(repo, of).await,
            Self::Coordinator(remote) => remote.health(volume).await,
        }
    }

    /// One snapshot.
    pub(crate) async fn snapshot(&self, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
        match self {
            Self::Repo(repo) => snapshots::get(repo, spec, volume).await,
            Self::Coordinator(remote) => remote.snapshot(spec, volume).await,
        }
    }

    /// Entries at and below a path.
    pub(crate) async fn list(
        &self,
        of: &Snapshot,
        path: &[u8],
        recursive: bool,
    ) -> Result<ResultStream<Entry>> {
        match self {
            Self::Repo(repo) => Ok(browse::list(repo, of, path, recursive)),
            Self::Coordinator(remote) => remote.list(of, path, recursive).await,
        }
    }

    /// Entries that match a pattern.
    pub(crate) async fn find(&self, of: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
        match self {
            Self::Repo(repo) => browse::find(repo, of, patterns),
            Self::Coordinator(remote) => remote.find(of, patterns).await,
        }
    }

    /// The bytes of a file.
    pub(crate) async fn cat(&self, of: &Snapshot, path: &[u8]) -> Result<ResultStream<Bytes>> {
        match self {
            Self::Repo(repo) => Ok(browse::cat(repo, of, path)),
            Self::Coordinator(remote) => remote.cat(of, path).await,
        }
    }

    /// The differences between two snapshots.
    pub(crate) async fn diff(&self, older: &Snapshot, newer: &Snapshot) -> Result<ResultStream<Change>> {
        match self {
            Self::Repo(repo) => Ok(browse::diff(repo, older, newer)),
            Self::Coordinator(remote) => remote.diff(older, newer).await,
        }
    }

    /// Proves that a snapshot restores.
    pub(crate) async fn verify(&self, of: &Snapshot, level: &Level, task: &Task) -> Result<VerifyReport> {
        match self {
            Self::Repo(repo) => verify::verify(repo, of, level, task).await,
            Self::Coordinator(remote) => remote.verify(of, level, task).await,
        }
    }

    /// Figures of the whole repository.
    pub(crate) async fn stats(&self) -> Result<Stats> {
        match self {
            Self::Repo(repo) => snapshots::stats(repo).await,
            Self::Coordinator(remote) => remote.stats().await,
        }
    }
}
