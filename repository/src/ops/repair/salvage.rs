//! Walks a damaged item tree: what can be read comes leaf by leaf, what can't is named by the range of its paths.
//!
//! Under a lost branch the leaves may still be there. Which they are, the snapshot's neighbours tell: a leaf of theirs in that
//! range that this snapshot's summary needs too is a leaf of this snapshot. Whether all were found, the counts say that
//! the branch above holds.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::mend::Mender;
use crate::Result;
use crate::ids::{BlobId, BlobRef, PackId, Place, Sid};
use crate::items::branch::{self, Branch, Child, is_branch};
use crate::items::entry::{Entry, path_cmp};
use crate::items::reader::decode_usage;
use crate::items::{NodeRef, Usage, leaf};
use crate::limits::SALVAGE_NEIGHBOURS_MAX;
use crate::manifest::summary::{self, PackUse};
use crate::ops::reader::is_damage;
use crate::ops::snapshots::Snapshot;

/// A part of the tree.
#[derive(Debug)]
pub(super) enum Piece {
    /// Entries, in order.
    Entries(Vec<Entry>),
    /// Entries that are lost.
    Lost(Gap),
}

/// A range of paths of which entries are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Behind this path; `None`: from the beginning.
    pub after: Option<Vec<u8>>,
    /// Up to and with this path; `None`: to the end.
    pub last: Option<Vec<u8>>,
    /// How many are lost there.
    pub entries: u64,
}

/// What a branch says of a node.
#[derive(Clone, Debug)]
struct Promise {
    node: NodeRef,
    after: Option<Vec<u8>>,
    /// Of the root nothing is promised but the number of entries.
    last: Option<Vec<u8>>,
    entries: u64,
    /// 0 for a leaf; `None` for the root.
    level: Option<u8>,
    /// Found through a neighbour, so that what lies before it is not known.
    loose: bool,
}

/// The walk.
pub(super) struct Salvage<'s> {
    snapshot: &'s Snapshot,
    neighbours: &'s [Snapshot],
    /// What is still to read, the next one last.
    stack: Vec<Promise>,
    /// What the snapshot needs, if its summary can be read; read when it is first asked for.
    needs: Option<Vec<PackUse>>,
}

impl<'s> Salvage<'s> {
    /// Of `snapshot`; `neighbours` are other snapshots of its volume, the nearest first.
    pub(super) fn new(snapshot: &'s Snapshot, neighbours: &'s [Snapshot]) -> Self {
        let manifest = &snapshot.manifest;
        let root = Promise {
            node: NodeRef { node: manifest.root, usage: manifest.root_usage },
            after: None,
            last: None,
            entries: manifest.entries,
            level: None,
            loose: false,
        };
        Self { snapshot, neighbours, stack: vec![root], needs: None }
    }

    /// The next part; `None` at the end.
    pub(super) async fn next(&mut self, mender: &mut Mender<'_>) -> Result<Option<Piece>> {
        while let Some(promise) = self.stack.pop() {
            let read = self.read(mender, &promise).await?;
            match read {
                Some(Node::Leaf(entries)) => return Ok(Some(Piece::Entries(entries))),
                Some(Node::Branch(branch)) => self.open(branch, promise.after),
                None => {
                    if let Some(gap) = self.search(mender, promise).await? {
                        return Ok(Some(Piece::Lost(gap)));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn read(&self, mender: &mut Mender<'_>, promise: &Promise) -> Result<Option<Node>> {
        let (node, usage) = (promise.node.node, promise.node.usage);
        let Some(bytes) = mender.bytes(node).await? else { return Ok(None) };
        let found = mender.bytes(usage).await?;
        let usage = match found.map(|places| decode_usage(usage.id, &places)) {
            Some(Ok(usage)) => usage,
            _ => match usage_of(mender, &bytes) {
                Some(usage) => usage,
                None => return Ok(None),
            },
        };
        Ok(decode(&bytes, &usage).filter(|node| promise.holds(node)))
    }

    fn open(&mut self, branch: Branch, after: Option<Vec<u8>>) {
        let below = branch.level - 1;
        let at = self.stack.len();
        let mut after = after;
        for child in branch.children {
            let Child { last, node, entries, .. } = child;
            let before = after.replace(last.clone());
            let level = Some(below);
            self.stack.push(Promise { node, after: before, last: Some(last), entries, level, loose: false });
        }
        self.stack[at..].reverse();
    }

    /// Looks for what a lost node held in the snapshot's neighbours. Says what stays lost.
    async fn search(&mut self, mender: &mut Mender<'_>, lost: Promise) -> Result<Option<Gap>> {
        let gap = Gap { after: lost.after.clone(), last: lost.last.clone(), entries: lost.entries };
        // A leaf that is lost itself is no better in another snapshot; nor is one that was found there.
        if lost.level == Some(0) || lost.loose {
            return Ok(Some(gap));
        }
        if self.needs.is_none() {
            let fetch = &*mender.reader;
            let read = summary::load(&self.snapshot.manifest.summary, fetch).await;
            self.needs = match read {
                Ok(needs) => Some(needs),
                Err(e) if is_damage(&e) => Some(Vec::new()),
                Err(e) => return Err(e),
            };
        }
        let mut found: BTreeMap<Vec<u8>, Promise> = BTreeMap::new();
        for neighbour in self.neighbours.iter().take(SALVAGE_NEIGHBOURS_MAX) {
            self.gather(mender, neighbour, &lost, &mut found).await?;
            if found.values().map(|p| p.entries).sum::<u64>() >= lost.entries {
                break;
            }
        }
        let mut found: Vec<Promise> = found.into_values().collect();
        found.sort_by(|a, b| path_cmp(path(&b.last), path(&a.last)));
        let saved: u64 = found.iter().map(|p| p.entries).sum();
        self.stack.extend(found);
        let entries = lost.entries.saturating_sub(saved);
        Ok((entries > 0).then_some(Gap { entries, ..gap }))
    }

    /// The leaves of a neighbour that lie in the lost range and are this snapshot's too. Its branches are read, not its leaves:
    /// this snapshot's leaves don't overlap, so that the last path tells where one belongs.
    async fn gather(
        &self,
        mender: &mut Mender<'_>,
        neighbour: &Snapshot,
        lost: &Promise,
        found: &mut BTreeMap<Vec<u8>, Promise>,
    ) -> Result<()> {
        let root = NodeRef { node: neighbour.manifest.root, usage: neighbour.manifest.root_usage };
        let mut waiting = vec![root];
        while let Some(node) = waiting.pop() {
            let Some(bytes) = mender.bytes(node.node).await?.filter(|b| is_branch(b)) else { continue };
            let Some(usage) = mender.bytes(node.usage).await? else { continue };
            let Ok(usage) = decode_usage(node.usage.id, &usage) else { continue };
            let Ok(branch) = Branch::decode(&bytes, &usage) else { continue };
            for child in branch.children {
                if branch.level > 1 {
                    waiting.push(child.node);
                    continue;
                }
                let inside = lost.after.as_ref().is_none_or(|a| path_cmp(a, &child.last).is_lt())
                    && lost.last.as_ref().is_none_or(|l| path_cmp(&child.last, l).is_le());
                if inside && self.needs(child.node.node.place) && self.needs(child.node.usage.place) {
                    let promise = Promise {
                        node: child.node,
                        after: lost.after.clone(),
                        last: Some(child.last.clone()),
                        entries: child.entries,
                        level: Some(0),
                        loose: true,
                    };
                    found.entry(child.last).or_insert(promise);
                }
            }
        }
        Ok(())
    }

    fn needs(&self, place: Place) -> bool {
        let needs = self.needs.as_deref().unwrap_or_default();
        let at = needs.binary_search_by_key(&place.pack, |u| u.pack.id);
        at.is_ok_and(|at| needs[at].ordinals.contains(place.ordinal))
    }
}

fn path(last: &Option<Vec<u8>>) -> &[u8] {
    last.as_deref().unwrap_or_default()
}

/// What the index knows instead of a lost usage: the places of what a node refers to. Of a branch, which usages its children have
/// is lost, and each is made up for in turn; of a leaf with large files, the usages of their segments can't be.
fn usage_of(mender: &Mender<'_>, bytes: &Bytes) -> Option<Usage> {
    if !is_branch(bytes) {
        let places = mender.find_all(&leaf::references(bytes).ok()?)?;
        return Some(Usage { places, nested: Vec::new() });
    }
    let ids = branch::children(bytes).ok()?;
    let nowhere = Place { pack: PackId { sid: Sid::default(), rnd: [0; 8] }, ordinal: 0 };
    let places = ids.iter().map(|id| mender.find_all(&[*id]).map_or(nowhere, |p| p[0])).collect();
    Some(Usage { places, nested: vec![BlobRef { id: BlobId::default(), place: nowhere }; ids.len()] })
}

enum Node {
    Leaf(Vec<Entry>),
    Branch(Branch),
}

fn decode(bytes: &Bytes, usage: &Usage) -> Option<Node> {
    if is_branch(bytes) {
        Branch::decode(bytes, usage).ok().map(Node::Branch)
    } else {
        leaf::decode(bytes, usage).ok().map(Node::Leaf)
    }
}

impl Promise {
    /// True if the node is what the branch above says.
    fn holds(&self, node: &Node) -> bool {
        let (level, first, last, entries) = match node {
            Node::Leaf(e) => {
                let (first, last) = (e.first().map(|e| &e.path[..]), e.last().map(|e| &e.path[..]));
                (0, first, last, e.len() as u64)
            }
            Node::Branch(b) => (b.level, None, b.children.last().map(|c| &c.last[..]), b.totals().0),
        };
        let begins = first.is_none_or(|f| self.after.as_ref().is_none_or(|a| path_cmp(a, f).is_lt()));
        let ends = self.last.as_ref().is_none_or(|l| last == Some(&l[..]));
        self.level.is_none_or(|l| l == level) && begins && ends && entries == self.entries
    }
}
