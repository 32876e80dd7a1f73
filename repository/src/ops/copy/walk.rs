//! The leaves of an item tree by their branches alone: which there are, without reading them.
//!
//! What a branch says of a child is compared with what the child holds, as `items::reader` does. Damage loses what lies
//! below it and no more.

use std::sync::Arc;

use crate::error::Context as _;
use crate::ids::BlobId;
use crate::items::branch::{Branch, Child, is_branch};
use crate::items::entry::{Entry, Kind};
use crate::items::reader::decode_usage;
use crate::items::{BlobFetch, NodeRef, leaf};
use crate::ops::reader::is_damage;
use crate::{Error, ErrorKind, Result};

/// A leaf that was not read yet.
#[derive(Clone, Debug)]
pub(super) struct LeafName {
    /// The leaf; for a tree of a single leaf without what a branch would say of it.
    pub(super) node: NodeRef,
    /// The last path before it.
    pub(super) after: Option<Vec<u8>>,
    pub(super) told: Option<Child>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    Leaf(Box<LeafName>),
    /// Entries up to this path can't be read.
    Lost {
        last: Vec<u8>,
        entries: u64,
        why: String,
    },
}

struct Frame {
    level: u8,
    children: std::vec::IntoIter<Child>,
    after: Option<Vec<u8>>,
}

/// Walks one tree in order.
pub(super) struct LeafWalk {
    fetch: Arc<dyn BlobFetch>,
    root: Option<NodeRef>,
    stack: Vec<Frame>,
}

impl LeafWalk {
    pub(super) fn new(fetch: Arc<dyn BlobFetch>, root: NodeRef) -> Self {
        Self { fetch, root: Some(root), stack: Vec::new() }
    }

    /// The next leaf or loss. Damage of the root is an error: nothing can be said then.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        if let Some(root) = self.root.take() {
            if !is_branch(&self.fetch.get(root.node).await?) {
                let leaf = LeafName { node: root, after: None, told: None };
                return Ok(Some(Step::Leaf(Box::new(leaf))));
            }
            let branch = read_branch(&*self.fetch, root).await?;
            self.open(branch, None);
        }
        while let Some(frame) = self.stack.last_mut() {
            let level = frame.level;
            let Some(child) = frame.children.next() else {
                self.stack.pop();
                continue;
            };
            let after = frame.after.replace(child.last.clone());
            if level == 1 {
                let leaf = LeafName { node: child.node, after, told: Some(child) };
                return Ok(Some(Step::Leaf(Box::new(leaf))));
            }
            match self.descend(level, &child).await {
                Ok(branch) => self.open(branch, after),
                Err(e) if is_damage(&e) => {
                    return Ok(Some(Step::Lost { last: child.last, entries: child.entries, why: e.chain() }));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    async fn descend(&self, level: u8, child: &Child) -> Result<Branch> {
        let branch = read_branch(&*self.fetch, child.node).await?;
        let last = branch.children.last().map(|c| c.last.as_slice());
        let told = branch.level + 1 == level
            && branch.totals() == (child.entries, child.bytes)
            && last == Some(child.last.as_slice());
        if told { Ok(branch) } else { Err(not_as_told(child.node.node.id)) }
    }

    fn open(&mut self, branch: Branch, after: Option<Vec<u8>>) {
        self.stack.push(Frame { level: branch.level, children: branch.children.into_iter(), after });
    }
}

fn not_as_told(id: BlobId) -> Error {
    Error::new(ErrorKind::Damaged, format!("node {id} is not what its branch says"))
}

async fn read_branch(fetch: &dyn BlobFetch, node: NodeRef) -> Result<Branch> {
    let (bytes, usage) = futures::try_join!(fetch.get(node.node), fetch.get(node.usage))?;
    let usage = decode_usage(node.usage.id, &usage)?;
    Branch::decode(&bytes, &usage).context(ErrorKind::Damaged, || format!("read branch {}", node.node.id))
}

/// The entries of a leaf.
pub(super) async fn read_leaf(fetch: &dyn BlobFetch, name: &LeafName) -> Result<Vec<Entry>> {
    let node = name.node;
    let (bytes, usage) = futures::try_join!(fetch.get(node.node), fetch.get(node.usage))?;
    let usage = decode_usage(node.usage.id, &usage)?;
    let entries =
        leaf::decode(&bytes, &usage).context(ErrorKind::Damaged, || format!("read leaf {}", node.node.id))?;
    if let Some(child) = &name.told {
        let files = entries.iter().filter(|e| matches!(e.kind, Kind::File(_)));
        let bytes = files.fold(0u64, |sum, e| sum.saturating_add(e.size));
        let last = entries.last().map(|e| e.path.as_slice());
        if (entries.len() as u64, bytes) != (child.entries, child.bytes) || last != Some(&child.last[..]) {
            return Err(not_as_told(node.node.id));
        }
    }
    Ok(entries)
}
