//! The largest of many, in bounded memory; folders are summed up while entries pass in path order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A path, and how much of it is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranked {
    /// Bytes.
    pub bytes: u64,
    /// Path below the volume's root.
    pub path: Vec<u8>,
}

/// Keeps the `most` largest.
#[derive(Debug)]
pub(super) struct Top {
    most: usize,
    kept: BinaryHeap<Reverse<Ranked>>,
}

impl Top {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, path: &[u8], bytes: u64) {
        if bytes == 0 || self.most == 0 {
            return;
        }
        if self.kept.len() == self.most {
            if self.kept.peek().is_some_and(|least| least.0.bytes >= bytes) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Reverse(Ranked { bytes, path: path.to_vec() }));
    }

    /// Largest first.
    pub(super) fn finish(self) -> Vec<Ranked> {
        let mut out: Vec<Ranked> = self.kept.into_iter().map(|r| r.0).collect();
        out.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        out
    }
}

/// Sums of the directories on the way down. Entries must come in stream order.
#[derive(Debug)]
pub(super) struct Folders {
    /// Length of each directory's path within `path`, and its sum.
    open: Vec<(usize, u64)>,
    path: Vec<u8>,
    top: Top,
}

impl Folders {
    pub(super) fn new(most: usize) -> Self {
        Self { open: vec![(0, 0)], path: Vec::new(), top: Top::new(most) }
    }

    /// Counts an entry that is no directory.
    pub(super) fn add(&mut self, path: &[u8], bytes: u64) {
        let folder = path.iter().rposition(|&b| b == b'/').map_or(&path[..0], |at| &path[..at]);
        while self.open.len() > 1 && !self.is_open(folder) {
            self.close();
        }
        while self.path.len() < folder.len() {
            let from = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
            let end = folder[from..].iter().position(|&b| b == b'/').map_or(folder.len(), |at| from + at);
            self.path = folder[..end].to_vec();
            self.open.push((end, 0));
        }
        if let Some(last) = self.open.last_mut() {
            last.1 = last.1.saturating_add(bytes);
        }
    }

    /// Whether the innermost open directory is `folder` or above it.
    fn is_open(&self, folder: &[u8]) -> bool {
        folder.strip_prefix(self.path.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    fn close(&mut self) {
        let Some((_, bytes)) = self.open.pop() else { return };
        self.top.add(&self.path, bytes);
        if let Some((len, above)) = self.open.last_mut() {
            *above = above.saturating_add(bytes);
            self.path.truncate(*len);
        }
    }

    /// Largest first; the root is not among them.
    pub(super) fn finish(mut self) -> Vec<Ranked> {
        while self.open.len() > 1 {
            self.close();
        }
        self.top.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(list: &[Ranked]) -> String {
        let one = |r: &Ranked| format!("{}:{}", String::from_utf8_lossy(&r.path), r.bytes);
        list.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_the_largest_stay() {
        let mut top = Top::new(2);
        for (path, bytes) in [("a", 3), ("b", 0), ("c", 9), ("d", 5), ("e", 5)] {
            top.add(path.as_bytes(), bytes);
        }
        assert_eq!(told(&top.finish()), "c:9 d:5");
        assert_eq!(Top::new(0).finish(), []);
    }

    #[test]
    fn folders_hold_what_is_below_them() {
        let mut folders = Folders::new(10);
        let entries = [("a/b/x", 1), ("a/b/c/y", 2), ("a/b.d/z", 4), ("a/w", 8), ("ab/v", 16), ("u", 32)];
        for (path, bytes) in entries {
            folders.add(path.as_bytes(), bytes);
        }
        assert_eq!(told(&folders.finish()), "ab:16 a:15 a/b.d:4 a/b:3 a/b/c:2");
    }
}
