//! Reads the item tree: streams of entries in order with the next leaves on the way, single paths, directories,
//! and all places that a snapshot needs.
//!
//! Nodes come from the store and are believed in nothing: levels must descend, and what a branch says of a child
//! (its last path, its counts) must be what the child holds, else whole parts could be hidden without notice.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, FuturesUnordered, StreamExt as _, TryStreamExt as _};

use crate::error::Context as _;
use crate::ids::{BlobId, BlobRef, Place};
use crate::items::branch::{Branch, Child, is_branch};
use crate::items::entry::{Entry, Kind, path_cmp};
use crate::items::leaf;
use crate::items::range::Range;
use crate::items::usage::{NodeRef, Usage};
use crate::limits;
use crate::pack::reader::BlobReader;
use crate::{Error, ErrorKind, Result};

/// Fetches blobs, each checked against its id.
#[async_trait]
pub trait BlobFetch: Send + Sync {
    /// The plain bytes of a blob.
    async fn get(&self, blob: BlobRef) -> Result<Bytes>;
}

#[async_trait]
impl BlobFetch for BlobReader {
    async fn get(&self, blob: BlobRef) -> Result<Bytes> {
        Self::get(self, blob).await
    }
}

/// A leaf that was read.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The leaf, and before it the branches that were first opened on the way to it.
    pub nodes: Vec<NodeRef>,
    /// Its entries as far as they belong to the range asked for.
    pub entries: Vec<Entry>,
}

/// Reads one item tree. Cloning shares the source.
#[derive(Clone)]
pub struct TreeReader {
    fetch: Arc<dyn BlobFetch>,
    root: NodeRef,
}

impl TreeReader {
    /// For the tree with this root.
    #[must_use]
    pub fn new(fetch: Arc<dyn BlobFetch>, root: NodeRef) -> Self {
        Self { fetch, root }
    }

    /// The entry at `path`, reading one node of each level.
    pub async fn find(&self, path: &[u8]) -> Result<Option<Entry>> {
        self.stream(Range::One(path.to_vec())).try_next().await
    }

    /// The entries of a range, in order.
    #[must_use]
    pub fn stream(&self, range: Range) -> BoxStream<'static, Result<Entry>> {
        self.leaves(range).map_ok(|leaf| stream::iter(leaf.entries.into_iter().map(Ok))).try_flatten().boxed()
    }

    /// The leaves that hold entries of a range, in order, with the nodes that were read.
    #[must_use]
    pub fn leaves(&self, range: Range) -> BoxStream<'static, Result<Leaf>> {
        let walk = Walk {
            tree: self.clone(),
            range: range.clone(),
            stack: Vec::new(),
            new: Vec::new(),
            begun: false,
        };
        let plans =
            stream::try_unfold(
                walk,
                |mut walk| async move { Ok(walk.next().await?.map(|leaf| (leaf, walk))) },
            );
        let tree = self.clone();
        plans
            .map_ok(move |plan| tree.clone().read_leaf(plan, range.clone()))
            .try_buffered(limits::LEAVES_AHEAD)
            .boxed()
    }

    /// Calls `each` with the place of everything that the tree needs: nodes, usages, segments, data. Reads usages
    /// only. A place may come more than once, in any order.
    pub async fn places(&self, each: &mut (dyn FnMut(Place) + Send)) -> Result<()> {
        each(self.root.node.place);
        each(self.root.usage.place);
        // The last found is fetched first: what waits is at most the children of one node a level.
        let mut waiting = vec![(self.root.usage, 0)];
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < limits::USAGES_AHEAD {
                let Some((usage, depth)) = waiting.pop() else { break };
                running.push(self.usage(usage, depth));
            }
            let Some(done) = running.next().await else { return Ok(()) };
            let (usage, depth) = done?;
            if depth > limits::TREE_DEPTH_MAX + 1 && !usage.nested.is_empty() {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("usage {} is too deep", self.root.usage.id),
                ));
            }
            usage.places.iter().for_each(|&p| each(p));
            usage.nested.iter().for_each(|b| each(b.place));
            waiting.extend(usage.nested.iter().map(|&b| (b, depth + 1)));
        }
    }

    async fn usage(&self, blob: BlobRef, depth: usize) -> Result<(Usage, usize)> {
        let bytes = self.fetch.get(blob).await?;
        Ok((decode_usage(blob.id, &bytes)?, depth))
    }

    async fn read_node(&self, node: NodeRef) -> Result<(Bytes, Usage)> {
        let (bytes, usage) = futures::try_join!(self.fetch.get(node.node), self.fetch.get(node.usage))?;
        Ok((bytes, decode_usage(node.usage.id, &usage)?))
    }

    async fn read_leaf(self, plan: Plan, range: Range) -> Result<Leaf> {
        let id = plan.node.node.id;
        let (bytes, usage) = match plan.loaded {
            Some(loaded) => loaded,
            None => self.read_node(plan.node).await?,
        };
        let mut entries =
            leaf::decode(&bytes, &usage).context(ErrorKind::Damaged, || format!("read leaf {id}"))?;
        if let Some(expected) = &plan.expected {
            expected.check_leaf(&entries).map_err(|what| damaged(id, what))?;
        }
        if range != Range::All {
            entries.retain(|e| range.keeps(&e.path));
        }
        let mut nodes = plan.nodes;
        nodes.push(plan.node);
        Ok(Leaf { nodes, entries })
    }
}

/// What a branch promises of a child.
struct Expected {
    child: Child,
    /// The last path before the child.
    after: Option<Vec<u8>>,
}

impl Expected {
    fn check_leaf(&self, entries: &[Entry]) -> Result<(), &'static str> {
        let first = entries.first().map(|e| &e.path[..]);
        let last = entries.last().map(|e| &e.path[..]);
        self.check_paths(first, last)?;
        let files = entries.iter().filter(|e| matches!(e.kind, Kind::File(_)));
        let bytes = files.fold(0u64, |sum, e| sum.saturating_add(e.size));
        self.check_totals((entries.len() as u64, bytes))
    }

    fn check_branch(&self, branch: &Branch) -> Result<(), &'static str> {
        let first = branch.children.first().map(|c| &c.last[..]);
        let last = branch.children.last().map(|c| &c.last[..]);
        self.check_paths(first, last)?;
        self.check_totals(branch.totals())
    }

    fn check_paths(&self, first: Option<&[u8]>, last: Option<&[u8]>) -> Result<(), &'static str> {
        let after = self.after.as_deref();
        let begins = first.is_some_and(|f| after.is_none_or(|a| path_cmp(a, f).is_lt()));
        if begins && last == Some(&self.child.last[..]) {
            Ok(())
        } else {
            Err("paths are not those of its branch")
        }
    }

    fn check_totals(&self, totals: (u64, u64)) -> Result<(), &'static str> {
        let promised = (self.child.entries, self.child.bytes);
        if totals == promised { Ok(()) } else { Err("counts are not those of its branch") }
    }
}

/// A leaf to read.
struct Plan {
    /// Branches opened since the leaf before.
    nodes: Vec<NodeRef>,
    node: NodeRef,
    expected: Option<Expected>,
    /// A root that turned out to be a leaf.
    loaded: Option<(Bytes, Usage)>,
}

/// One open branch: what is left of its children.
struct Frame {
    level: u8,
    children: std::vec::IntoIter<Child>,
    after: Option<Vec<u8>>,
}

/// Goes down the tree and yields the leaves to read.
struct Walk {
    tree: TreeReader,
    range: Range,
    stack: Vec<Frame>,
    new: Vec<NodeRef>,
    begun: bool,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Plan>> {
        if !self.begun {
            self.begun = true;
            let root = self.tree.root;
            let (bytes, usage) = self.tree.read_node(root).await?;
            if !is_branch(&bytes) {
                return Ok(Some(Plan {
                    nodes: Vec::new(),
                    node: root,
                    expected: None,
                    loaded: Some((bytes, usage)),
                }));
            }
            let branch = decode_branch(root, &bytes, &usage)?;
            self.open(root, branch, None);
        }
        loop {
            let Some((level, expected)) = self.next_child() else { return Ok(None) };
            let node = expected.child.node;
            if level == 1 {
                let nodes = std::mem::take(&mut self.new);
                return Ok(Some(Plan { nodes, node, expected: Some(expected), loaded: None }));
            }
            let (bytes, usage) = self.tree.read_node(node).await?;
            let branch = decode_branch(node, &bytes, &usage)?;
            if branch.level + 1 != level {
                return Err(damaged(node.node.id, "level is not the one below its branch"));
            }
            expected.check_branch(&branch).map_err(|what| damaged(node.node.id, what))?;
            self.open(node, branch, expected.after);
        }
    }

    fn open(&mut self, node: NodeRef, branch: Branch, after: Option<Vec<u8>>) {
        self.new.push(node);
        self.stack.push(Frame { level: branch.level, children: branch.children.into_iter(), after });
    }

    /// The next child that the range touches, with the level of its branch.
    fn next_child(&mut self) -> Option<(u8, Expected)> {
        while let Some(frame) = self.stack.last_mut() {
            let level = frame.level;
            let Some(child) = frame.children.next() else {
                self.stack.pop();
                continue;
            };
            let after = frame.after.replace(child.last.clone());
            if self.range.ends_at(&child.last) {
                // Nothing behind this child is wanted, on any level.
                self.stack.clear();
            }
            if self.range.touches(after.as_deref(), &child.last) {
                return Some((level, Expected { child, after }));
            }
        }
        None
    }
}

fn damaged(id: BlobId, what: &'static str) -> Error {
    Error::new(ErrorKind::Damaged, format!("node {id}: {what}"))
}

fn decode_branch(node: NodeRef, bytes: &[u8], usage: &Usage) -> Result<Branch> {
    Branch::decode(bytes, usage).context(ErrorKind::Damaged, || format!("read branch {}", node.node.id))
}

pub(crate) fn decode_usage(id: BlobId, bytes: &[u8]) -> Result<Usage> {
    Usage::decode(bytes).context(ErrorKind::Damaged, || format!("read usage {id}"))
}

#[cfg(test)]
mod tests;
