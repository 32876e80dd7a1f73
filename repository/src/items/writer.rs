//! Writes the item tree: entries come in order, finished metadata blobs go to a sink.
//!
//! Holds one open leaf and one open branch a level, whatever the number of entries. Each node is put before the
//! usage that belongs to it, children before the branch that lists them.

use async_trait::async_trait;

use crate::ids::BlobRef;
use crate::items::branch::{Branch, Child};
use crate::items::cut::{LeafCutter, TreeKey, branch_ends};
use crate::items::entry::{Entry, path_cmp};
use crate::items::leaf::{LeafEncoder, LeafTotals};
use crate::items::usage::{NodeRef, Usage};
use crate::limits;
use crate::{Error, ErrorKind, Result};

/// Stores metadata blobs.
#[async_trait]
pub trait MetaSink: Send {
    /// Stores a metadata blob, or finds it stored already, and says where it lies.
    async fn put(&mut self, plain: Vec<u8>) -> Result<BlobRef>;
}

/// A finished item tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The root and its usage.
    pub root: NodeRef,
    /// What the tree holds.
    pub totals: LeafTotals,
}

/// Builds an item tree.
#[derive(Debug)]
pub struct TreeWriter {
    key: TreeKey,
    cutter: LeafCutter,
    leaf: LeafEncoder,
    levels: Vec<Level>,
    last: Option<Vec<u8>>,
    totals: LeafTotals,
}

/// The open branch of one level.
#[derive(Debug, Default)]
struct Level {
    children: Vec<Child>,
    path_bytes: usize,
}

impl TreeWriter {
    /// An empty tree. `key` decides the cuts: the same for all snapshots of a domain, so that they share leaves.
    #[must_use]
    pub fn new(key: TreeKey) -> Self {
        let (cutter, leaf) = (LeafCutter::new(key), LeafEncoder::default());
        Self { key, cutter, leaf, levels: Vec::new(), last: None, totals: LeafTotals::default() }
    }

    /// What was pushed so far.
    #[must_use]
    pub fn totals(&self) -> LeafTotals {
        let (done, open) = (self.totals, self.leaf.totals());
        LeafTotals {
            entries: done.entries + open.entries,
            files: done.files + open.files,
            bytes: done.bytes.saturating_add(open.bytes),
        }
    }

    /// Appends an entry. Refuses one that no reader would accept, or out of order, and is unchanged then.
    pub async fn push(&mut self, sink: &mut dyn MetaSink, entry: &Entry) -> Result<()> {
        let ordered = self.last.as_ref().is_none_or(|last| path_cmp(last, &entry.path).is_lt());
        let valid = if ordered { entry.check() } else { Err("path out of order") };
        if let Err(why) = valid {
            let path = String::from_utf8_lossy(&entry.path);
            return Err(Error::new(ErrorKind::Internal, format!("entry {path:?} can't be stored: {why}")));
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(&entry.path);
        self.leaf.push(entry);
        if self.cutter.ends_after(entry) {
            self.close_leaf(sink).await?;
        }
        Ok(())
    }

    /// Closes all open nodes. Without any entry the root is an empty leaf.
    pub async fn finish(mut self, sink: &mut dyn MetaSink) -> Result<Tree> {
        if !self.leaf.is_empty() || self.levels.is_empty() {
            self.close_leaf(sink).await?;
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            let open = self.levels.get(level).map_or(0, |l| l.children.len());
            if is_top && open == 1 {
                break;
            }
            if open > 0 {
                self.close_branch(sink, level).await?;
            }
            level += 1;
        }
        let root = self.levels[level].children[0].node;
        Ok(Tree { root, totals: self.totals })
    }

    async fn close_leaf(&mut self, sink: &mut dyn MetaSink) -> Result<()> {
        let totals = self.leaf.totals();
        self.totals = self.totals();
        let last = self.leaf.last().to_vec();
        let (bytes, usage) = self.leaf.finish();
        let node = put_node(sink, bytes, &usage).await?;
        let mut child = Child { last, node, entries: totals.entries, bytes: totals.bytes };
        let mut level = 0;
        while self.add(level, child)? {
            child = self.store_branch(sink, level).await?;
            level += 1;
        }
        Ok(())
    }

    /// Adds a child to the open branch of `level` (counted from 0); true if that branch ends with it.
    fn add(&mut self, level: usize, child: Child) -> Result<bool> {
        if level >= limits::TREE_DEPTH_MAX {
            return Err(Error::new(ErrorKind::Internal, "the item tree is too deep"));
        }
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let open = &mut self.levels[level];
        open.path_bytes += child.last.len();
        open.children.push(child);
        let last = open.children.last().map_or(&[][..], |c| &c.last);
        Ok(branch_ends(&self.key, stored_level(level), open.children.len(), open.path_bytes, last))
    }

    async fn close_branch(&mut self, sink: &mut dyn MetaSink, level: usize) -> Result<()> {
        let mut level = level;
        let mut child = self.store_branch(sink, level).await?;
        while self.add(level + 1, child)? {
            level += 1;
            child = self.store_branch(sink, level).await?;
        }
        Ok(())
    }

    async fn store_branch(&mut self, sink: &mut dyn MetaSink, level: usize) -> Result<Child> {
        let open = std::mem::take(&mut self.levels[level]);
        let branch = Branch { level: stored_level(level), children: open.children };
        let (bytes, usage) = branch.encode();
        let node = put_node(sink, bytes, &usage).await?;
        let (entries, below) = branch.totals();
        let last = branch.children.into_iter().next_back().map(|c| c.last).unwrap_or_default();
        Ok(Child { last, node, entries, bytes: below })
    }
}

/// Levels are stored counting from the leaves, which are level 0.
fn stored_level(level: usize) -> u8 {
    u8::try_from(level + 1).unwrap_or(u8::MAX)
}

async fn put_node(sink: &mut dyn MetaSink, bytes: Vec<u8>, usage: &Usage) -> Result<NodeRef> {
    let usage = usage.encode();
    let larger = bytes.len().max(usage.len());
    if larger > limits::BLOB_BYTES_MAX {
        return Err(Error::new(ErrorKind::Internal, format!("a node of {larger} bytes is too large")));
    }
    let node = sink.put(bytes).await?;
    Ok(NodeRef { node, usage: sink.put(usage).await? })
}

#[cfg(test)]
mod tests;
