//! Branches of the item tree: for each child its last path, its id and how much lies below it.
//!
//! Like a leaf, a branch holds ids only; its usage knows where the children and their usages lie.

use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{BlobId, BlobRef};
use crate::items::entry::{check_path, path_cmp};
use crate::items::usage::{NodeRef, Usage};
use crate::limits;

const MAGIC: u8 = b'B';
const VERSION: u8 = 1;

/// A child of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The path of the last entry below it.
    pub last: Vec<u8>,
    /// The child, and its usage.
    pub node: NodeRef,
    /// Entries below it.
    pub entries: u64,
    /// Plain bytes of the regular files below it.
    pub bytes: u64,
}

/// One branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Levels below: the children of level 1 are leaves.
    pub level: u8,
    /// Its children, in order; never none.
    pub children: Vec<Child>,
}

/// True if `bytes` claim to be a branch.
#[must_use]
pub fn is_branch(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MAGIC)
}

/// The ids of a branch's children, in order: what its usage has the places of.
pub fn children(bytes: &[u8]) -> Result<Vec<BlobId>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.array("branch header")? != [MAGIC, VERSION] {
        return Err(Malformed { what: "branch header", at: 0 });
    }
    r.byte("branch level")?;
    let count = r.count(32, "branch children")?;
    let (ids, _) = r.rest()[r.rest().len() - count * 32..].as_chunks::<32>();
    Ok(ids.iter().map(|id| BlobId(*id)).collect())
}

impl Branch {
    /// The stored form, and the usage to store beside it.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Usage) {
        let mut out = vec![MAGIC, VERSION, self.level];
        put_varint(&mut out, self.children.len() as u64);
        let mut before: &[u8] = &[];
        for child in &self.children {
            put_path(&mut out, before, &child.last);
            put_varint(&mut out, child.entries);
            put_varint(&mut out, child.bytes);
            before = &child.last;
        }
        for child in &self.children {
            out.extend_from_slice(&child.node.node.id.0);
        }
        let places = self.children.iter().map(|c| c.node.node.place).collect();
        (out, Usage { places, nested: self.children.iter().map(|c| c.node.usage).collect() })
    }

    /// Reads the stored form. Children are in order, and their counts add up without overflow.
    pub fn decode(bytes: &[u8], usage: &Usage) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        if r.array("branch header")? != [MAGIC, VERSION] {
            return Err(Malformed { what: "branch header", at: 0 });
        }
        let level = r.byte("branch level")?;
        if level == 0 || usize::from(level) > limits::TREE_DEPTH_MAX {
            return Err(r.malformed("branch level"));
        }
        let count = r.count(32, "branch children")?;
        let known = usage.places.len() == count && usage.nested.len() == count;
        if !(1..=limits::BRANCH_CHILDREN_MAX).contains(&count) || !known {
            return Err(r.malformed("branch children"));
        }
        let mut children: Vec<Child> = Vec::with_capacity(count);
        let (mut path_bytes, mut entries_sum, mut bytes_sum) = (0, 0u64, 0u64);
        for (&place, &usage) in usage.places.iter().zip(&usage.nested) {
            let last = take_path(&mut r, children.last().map(|c| &c.last[..]))?;
            path_bytes += last.len();
            let (entries, bytes) = (r.varint("branch entries")?, r.varint("branch bytes")?);
            let sums = (entries_sum.checked_add(entries), bytes_sum.checked_add(bytes));
            let (Some(e), Some(b)) = sums else { return Err(r.malformed("branch counts")) };
            (entries_sum, bytes_sum) = (e, b);
            if path_bytes > limits::BRANCH_PATH_BYTES_MAX + 2 * limits::PATH_BYTES_MAX {
                return Err(r.malformed("branch paths"));
            }
            let node = BlobRef { id: BlobId::default(), place };
            children.push(Child { last, node: NodeRef { node, usage }, entries, bytes });
        }
        for child in &mut children {
            child.node.node.id = BlobId(r.array("branch child")?);
        }
        r.end("branch end")?;
        Ok(Self { level, children })
    }

    /// Entries and plain bytes below.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.children
            .iter()
            .fold((0, 0), |(e, b), c| (e.saturating_add(c.entries), b.saturating_add(c.bytes)))
    }
}

/// Appends `path` as what differs from the path before it.
pub(crate) fn put_path(out: &mut Vec<u8>, before: &[u8], path: &[u8]) {
    let shared = before.iter().zip(path).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_varint(out, (path.len() - shared) as u64);
    out.extend_from_slice(&path[shared..]);
}

fn take_path(r: &mut Reader<'_>, before: Option<&[u8]>) -> Result<Vec<u8>, Malformed> {
    let at = r.malformed("branch path");
    let shared = r.u32("branch path")? as usize;
    let head = before.unwrap_or(&[]).get(..shared).ok_or(at)?;
    let tail = r.bytes(limits::PATH_BYTES_MAX, "branch path")?;
    let path = [head, tail].concat();
    let ordered = before.is_none_or(|b| path_cmp(b, &path).is_lt());
    if ordered && check_path(&path).is_ok() { Ok(path) } else { Err(at) }
}

#[cfg(test)]
mod tests;
