//! The regular files below a folder, in one order on every file system.
//!
//! Symlinks are never followed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A regular file, by its path below the folder that was walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path relative to the folder.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
}

/// All regular files below `root`, sorted by path.
pub fn files(root: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let place = root.join(&folder);
        for entry in fs::read_dir(&place).with_context(|| format!("list {}", place.display()))? {
            let entry = entry.with_context(|| format!("list {}", place.display()))?;
            let path = folder.join(entry.file_name());
            let meta = entry.metadata().with_context(|| format!("stat {}", entry.path().display()))?;
            if meta.is_dir() {
                open.push(path);
            } else if meta.is_file() {
                found.push(Found { path, bytes: meta.len() });
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
