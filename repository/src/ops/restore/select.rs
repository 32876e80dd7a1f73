//! What of a snapshot is restored, and under which path of the target.

use crate::items::TreeReader;
use crate::items::entry::{Entry, Kind};
use crate::items::range::Range;
use crate::items::select::Select;
use crate::{Error, ErrorKind, Result};

/// The entries that a restore takes.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    top: Vec<u8>,
    top_is_dir: bool,
    patterns: Option<Select>,
}

impl Selection {
    /// Of one path (empty for all) and patterns (none for all). A path that does not exist fails.
    pub(crate) async fn new(tree: &TreeReader, path: &[u8], patterns: &[String]) -> Result<Self> {
        let top = path.strip_prefix(b"/").unwrap_or(path);
        let top = top.strip_suffix(b"/").unwrap_or(top).to_vec();
        let patterns = if patterns.is_empty() { None } else { Some(Select::new(patterns)?) };
        let mut top_is_dir = true;
        if !top.is_empty() {
            let found = tree.find(&top).await?;
            let missing = || format!("{} is not in the snapshot", String::from_utf8_lossy(&top));
            let entry = found.ok_or_else(|| Error::new(ErrorKind::NotFound, missing()))?;
            top_is_dir = entry.kind == Kind::Directory;
        }
        Ok(Self { top, top_is_dir, patterns })
    }

    /// The part of the item stream to read.
    pub(crate) fn range(&self) -> Range {
        if self.top.is_empty() { Range::All } else { Range::Below(self.top.clone()) }
    }

    /// True when nothing is left out.
    pub(crate) fn is_all(&self) -> bool {
        self.top.is_empty() && self.patterns.is_none()
    }

    /// True when patterns choose.
    pub(crate) fn has_patterns(&self) -> bool {
        self.patterns.is_some()
    }

    /// True if the entry itself is chosen.
    pub(crate) fn picks(&self, entry: &Entry) -> bool {
        self.patterns.as_ref().is_none_or(|p| p.picks(&entry.path, entry.kind == Kind::Directory))
    }

    /// The path in the target: below the restored directory, or the name of a single file.
    pub(crate) fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        if self.top.is_empty() {
            return Some(path.to_vec());
        }
        if !self.top_is_dir {
            let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
            return (path == self.top).then(|| name.to_vec());
        }
        match path.strip_prefix(self.top.as_slice())? {
            [] => Some(Vec::new()),
            [b'/', rest @ ..] => Some(rest.to_vec()),
            _ => None,
        }
    }

    /// True when the target itself stands for a directory of the snapshot.
    pub(crate) fn fills_target(&self) -> bool {
        self.top_is_dir
    }
}
