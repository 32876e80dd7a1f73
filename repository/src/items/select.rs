//! Picks entries by gitignore-like patterns, for `find` and partial restores.
//!
//! A pattern without a slash matches names at any depth, one with a slash paths from the volume's root; what lies
//! below a matching directory is picked with it; `!` takes back; a later pattern wins.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::Context as _;
use crate::{ErrorKind, Result};

/// A set of patterns.
#[derive(Clone, Debug)]
pub struct Select {
    patterns: Option<Gitignore>,
}

impl Select {
    /// From patterns in order; without any, everything is picked.
    pub fn new(patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self { patterns: None });
        }
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder.add_line(None, pattern).context(ErrorKind::Input, || format!("pattern {pattern:?}"))?;
        }
        let built = builder.build().context(ErrorKind::Input, || "patterns".to_owned())?;
        Ok(Self { patterns: Some(built) })
    }

    /// True if the entry at `path`, or a directory above it, is picked.
    #[must_use]
    pub fn picks(&self, path: &[u8], is_directory: bool) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        let mut path = path;
        let mut is_directory = is_directory;
        while !path.is_empty() {
            match patterns.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
            path = path.iter().rposition(|&b| b == b'/').map_or(&[][..], |slash| &path[..slash]);
            is_directory = true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
