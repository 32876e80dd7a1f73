//! Which part of the item stream a reader wants, and which nodes it can leave alone therefore.

use std::cmp::Ordering;

use crate::items::entry::path_cmp;

/// A part of the item stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Everything.
    All,
    /// The entry at this path and all below it.
    Below(Vec<u8>),
    /// The entry at this path and, when it is a directory, what lies directly in it.
    Directory(Vec<u8>),
    /// The entry at this path.
    One(Vec<u8>),
}

impl Range {
    /// True for an entry that belongs to the range.
    #[must_use]
    pub fn keeps(&self, path: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Below(top) => below(path, top).is_eq(),
            Self::Directory(top) => path == top || rest(path, top).is_some_and(|r| !r.contains(&b'/')),
            Self::One(one) => path == one,
        }
    }

    /// True if entries of the range may lie after `after` (if any is known) and up to and with `last`.
    #[must_use]
    pub fn touches(&self, after: Option<&[u8]>, last: &[u8]) -> bool {
        let Some(top) = self.top() else { return true };
        if below(last, top).is_lt() || after.is_some_and(|a| below(a, top).is_gt()) {
            return false;
        }
        match self {
            Self::One(one) => after.is_none_or(|a| path_cmp(a, one).is_lt()),
            Self::Directory(_) => !after.is_some_and(|a| same_child(a, last, top)),
            _ => true,
        }
    }

    /// True if nothing of the range comes after `last`.
    #[must_use]
    pub fn ends_at(&self, last: &[u8]) -> bool {
        match self {
            Self::All => false,
            Self::One(one) => path_cmp(last, one).is_ge(),
            Self::Below(top) | Self::Directory(top) => below(last, top).is_gt(),
        }
    }

    fn top(&self) -> Option<&[u8]> {
        match self {
            Self::All => None,
            Self::Below(path) | Self::Directory(path) | Self::One(path) => Some(path),
        }
    }
}

/// Whether `path` comes before `top` and all below it, belongs to it, or comes after it.
fn below(path: &[u8], top: &[u8]) -> Ordering {
    if path == top || rest(path, top).is_some() { Ordering::Equal } else { path_cmp(path, top) }
}

/// What follows `top/` in a path below it.
fn rest<'a>(path: &'a [u8], top: &[u8]) -> Option<&'a [u8]> {
    match top {
        [] if path.is_empty() => None,
        [] => Some(path),
        _ => path.strip_prefix(top)?.strip_prefix(b"/"),
    }
}

/// True if both paths lie at or below the same child of `top`: then all between them lies below that child.
fn same_child(a: &[u8], b: &[u8], top: &[u8]) -> bool {
    let name = |path| rest(path, top).and_then(|r| r.split(|&b| b == b'/').next());
    name(a).is_some() && name(a) == name(b)
}

#[cfg(test)]
mod tests;
