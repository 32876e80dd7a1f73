//! What a walk leaves out: gitignore-like patterns, and the content of cache directories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Rules;
use super::error::{SourceError, SourceErrorKind};
use super::handle::DirHandle;
use super::stat::FoundKind;

/// The file that marks a cache directory, and how it begins: <https://bford.info/cachedir/>.
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The rules, ready to be asked.
#[derive(Debug)]
pub(super) struct Excludes {
    patterns: Gitignore,
    caches: bool,
}

impl Excludes {
    pub(super) fn new(rules: &Rules) -> Result<Self, SourceError> {
        let bad = |pattern: &str, e: &ignore::Error| {
            SourceError::new(SourceErrorKind::Rules, format!("exclude pattern {pattern:?}: {e}"))
        };
        // Patterns are relative to the volume's root, and so are our paths.
        let mut builder = GitignoreBuilder::new("");
        for pattern in &rules.exclude {
            builder.add_line(None, pattern).map_err(|e| bad(pattern, &e))?;
        }
        let patterns = builder.build().map_err(|e| bad("all together", &e))?;
        Ok(Self { patterns, caches: rules.exclude_caches })
    }

    /// True if this entry, and all below it, is left out. Nothing below a directory that is left out is asked, so it
    /// cannot be taken back: as in git.
    pub(super) fn skips(&self, path: &[u8], is_dir: bool) -> bool {
        !self.patterns.is_empty() && self.patterns.matched(OsStr::from_bytes(path), is_dir).is_ignore()
    }

    /// True if only the tag of this directory is kept. A tag that cannot be read or has another content marks nothing.
    pub(super) fn is_cache(&self, dir: &DirHandle) -> bool {
        if !self.caches {
            return false;
        }
        // Asked first: opening whatever has that name could have effects.
        let is_file = |s: &super::stat::Stat| s.kind == FoundKind::File;
        if !dir.stat(CACHE_TAG).is_ok_and(|s| s.as_ref().is_some_and(is_file)) {
            return false;
        }
        let Ok((fd, stat)) = dir.open_any(CACHE_TAG) else { return false };
        let mut start = Vec::new();
        is_file(&stat)
            && super::opened::read_at(&fd, &mut start, CACHE_SIGNATURE.len(), 0).is_ok()
            && start == *CACHE_SIGNATURE
    }
}

#[cfg(test)]
mod tests;
