//! Looks into snapshots: list, find, read one file, compare two.

mod cat;
mod diff;

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use crate::items::entry::{Entry, Kind};
use crate::items::range::Range;
use crate::items::reader::Leaf;
use crate::items::select::Select;
use crate::items::{BlobFetch, NodeRef, TreeReader};
use crate::ops::Repository;
use crate::ops::reader::Reader;
use crate::ops::snapshots::Snapshot;
use crate::{Error, ErrorKind, Result};

pub(crate) use diff::same_content;

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

/// The item tree of a snapshot. Looking into one needs no registration.
pub(crate) fn tree(repo: &Repository, snapshot: &Snapshot) -> TreeReader {
    tree_of(&Reader::unregistered(repo), snapshot)
}

/// The item tree of a snapshot, read by `reader`.
pub(crate) fn tree_of(reader: &Arc<Reader>, snapshot: &Snapshot) -> TreeReader {
    let (node, usage) = (snapshot.manifest.root, snapshot.manifest.root_usage);
    TreeReader::new(Arc::clone(reader) as Arc<dyn BlobFetch>, NodeRef { node, usage })
}

/// The leaves of a range; what of the tree is damaged comes as an inner error, and reading goes on behind it where
/// that is possible. Other failures end the stream.
pub(crate) fn leaves_or_damage(tree: &TreeReader, range: Range) -> ResultStream<Result<Leaf>> {
    let sorted = tree.leaves(range).map(|leaf| match leaf {
        Err(e) if !matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => Err(e),
        other => Ok(other),
    });
    sorted.boxed()
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path).to_vec()
}

fn not_found(path: &[u8]) -> Error {
    Error::new(ErrorKind::NotFound, format!("{} is not in the snapshot", String::from_utf8_lossy(path)))
}

/// The entry at `path` and, for a directory, what is in it (or all below it, when `recursive`), in stream order.
/// A path that does not exist fails with `NotFound`.
pub fn list(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    path: &[u8],
    recursive: bool,
) -> ResultStream<Entry> {
    let path = trimmed(path);
    let range = match (recursive, path.is_empty()) {
        (true, true) => Range::All,
        (true, false) => Range::Below(path.clone()),
        (false, _) => Range::Directory(path.clone()),
    };
    let entries = tree(repo, snapshot).stream(range).peekable();
    let checked = async move {
        let mut entries = Box::pin(entries);
        let missing = entries.as_mut().peek().await.is_none();
        let error = missing.then(|| Err(not_found(&path)));
        stream::iter(error).chain(entries)
    };
    stream::once(checked).flatten().boxed()
}

/// All entries of which the path matches one of the gitignore-like patterns.
pub fn find(repo: &Arc<Repository>, snapshot: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
    let select = Select::new(patterns)?;
    let picks = move |e: &Entry| future::ready(select.picks(&e.path, e.kind == Kind::Directory));
    Ok(tree(repo, snapshot).stream(Range::All).try_filter(picks).boxed())
}

/// The bytes of the regular file at `path`, in order, each blob checked.
pub fn cat(repo: &Arc<Repository>, snapshot: &Snapshot, path: &[u8]) -> ResultStream<Bytes> {
    let reader = Reader::unregistered(repo);
    let (path, tree) = (trimmed(path), tree_of(&reader, snapshot));
    let may = repo.need_data("cat");
    let opened = async move {
        may?;
        let entry = tree.find(&path).await?.ok_or_else(|| not_found(&path))?;
        match entry.kind {
            Kind::File(content) => Ok(cat::content(reader, content, entry.size)),
            _ => {
                let what = format!("{} is not a regular file", String::from_utf8_lossy(&path));
                Err(Error::new(ErrorKind::Input, what))
            }
        }
    };
    stream::once(opened).try_flatten().boxed()
}

/// The differences from `older` to `newer`, in stream order.
pub fn diff(repo: &Arc<Repository>, older: &Snapshot, newer: &Snapshot) -> ResultStream<Change> {
    let (old, new) = (tree(repo, older), tree(repo, newer));
    diff::merge(old.stream(Range::All), new.stream(Range::All))
}

#[cfg(test)]
mod tests;
