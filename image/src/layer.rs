//! What lies in an image: files, folders and links, gathered into one layer.
//!
//! A file's parents come before it, each once; nothing outside of the image's root can be named.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::tar::{Archive, Kind};

#[derive(Debug)]
enum Node {
    File(Vec<u8>),
    Folder,
    Link(String),
}

/// The content of an image.
#[derive(Debug, Default)]
pub struct Layer {
    nodes: BTreeMap<String, (u32, Node)>,
}

impl Layer {
    /// A file that lies at `source` here, and at `path` in the image.
    pub fn copy(&mut self, source: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        let content = std::fs::read(source).with_context(|| format!("read {}", source.display()))?;
        self.file(path, mode, content)
    }

    /// A folder with all that is in it, but for those names directly in it; links stay links, modes are the usual ones.
    pub fn copy_folder(&mut self, source: &Path, path: &str, without: &[&str]) -> anyhow::Result<()> {
        let read = || format!("read {}", source.display());
        self.folder(path, 0o755)?;
        for entry in std::fs::read_dir(source).with_context(read)? {
            let entry = entry.with_context(read)?;
            let (kind, from) = (entry.file_type()?, entry.path());
            let name = entry.file_name();
            let name = name.to_str().with_context(|| format!("{} is not UTF-8", from.display()))?;
            let to = format!("{path}/{name}");
            if without.contains(&name) {
                continue;
            } else if kind.is_dir() {
                self.copy_folder(&from, &to, &[])?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&from)?;
                self.link(&to, &target.to_string_lossy())?;
            } else {
                self.copy(&from, &to, 0o644)?;
            }
        }
        Ok(())
    }

    /// A file with this content.
    pub fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) -> anyhow::Result<()> {
        self.put(path, mode, Node::File(content))
    }

    /// An empty folder.
    pub fn folder(&mut self, path: &str, mode: u32) -> anyhow::Result<()> {
        self.put(path, mode, Node::Folder)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        self.put(path, 0o777, Node::Link(target.to_owned()))
    }

    fn put(&mut self, path: &str, mode: u32, node: Node) -> anyhow::Result<()> {
        let inner = path.strip_prefix('/').with_context(|| format!("{path} is not an absolute path"))?;
        let parts: Vec<&str> = inner.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
        ensure!(parts.iter().all(plain), "{path} is not a plain path");
        for depth in 1..parts.len() {
            let parent = parts[..depth].join("/");
            self.nodes.entry(parent).or_insert((0o755, Node::Folder));
        }
        self.nodes.insert(inner.to_owned(), (mode, node));
        Ok(())
    }

    /// The layer as an archive.
    pub fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let mut archive = Archive::default();
        for (path, (mode, node)) in &self.nodes {
            match node {
                Node::File(content) => archive.add(path, *mode, Kind::File(content))?,
                Node::Folder => archive.add(&format!("{path}/"), *mode, Kind::Folder)?,
                Node::Link(target) => archive.add(path, *mode, Kind::Link(target))?,
            }
        }
        Ok(archive.finish())
    }
}

#[cfg(test)]
mod tests;
