//! The walk: every entry of a tree, in the order of `path_cmp`, a directory before what is in it.
//!
//! The way down is an explicit stack of levels, each with its directory and the names that are still to come. Of a
//! deep tree only the lowest levels stay open; the upper ones are opened again from above, name by name, and must be
//! the same directories still. Names beyond a limit wait in a temporary file.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::RawDir;
use rustix::io::Errno;

use super::Rules;
use super::error::{SourceError, SourceErrorKind, show_path};
use super::exclude::{CACHE_TAG, Excludes};
use super::found::{Found, name_of};
use super::handle::{self, DirHandle};
use super::names::{Names, Spill};
use super::stat::FoundKind;
use crate::limits::{LISTED_NAMES_BYTES_MAX, NAME_BYTES_MAX, OPEN_LEVELS_MAX, PATH_BYTES_MAX};

/// A directory is listed with a buffer of this size.
const LIST_BYTES: usize = 64 << 10;
/// Levels that are opened again in one go, so that climbing a deep tree opens each of them about once.
const REOPEN_LEVELS: usize = 64;
/// Below this depth the merge buffers of waiting levels are given back.
const PARK_DEPTH: usize = 64;

/// What a walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// An entry.
    Found(Found),
    /// Something that could not be read; the walk goes on without it.
    Problem {
        /// Where, below the root.
        path: Vec<u8>,
        /// What happened.
        error: SourceError,
    },
}

/// What a walk counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkCounts {
    /// Entries that were found.
    pub entries: u64,
    /// Entries that the rules left out; what lies below an excluded directory is not counted.
    pub excluded: u64,
    /// Directories on which something is mounted, kept as empty ones, and files, which are left out.
    pub mount_points: u64,
    /// Names that were gone before they could be looked at.
    pub vanished: u64,
    /// Problems that were reported.
    pub problems: u64,
}

/// How a walk works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkSettings {
    /// Bytes of names in memory, about; more go to a temporary file.
    pub names_bytes_max: usize,
    /// Directories on the way down that the walk itself keeps open.
    pub open_levels_max: usize,
    /// Where temporary files go; the system's place for them if not said.
    pub spill_dir: Option<PathBuf>,
    /// Use openat2; without it (as on kernels before 5.6) names are opened one by one all the same.
    pub openat2: bool,
}

impl Default for WalkSettings {
    fn default() -> Self {
        Self {
            names_bytes_max: LISTED_NAMES_BYTES_MAX,
            open_levels_max: OPEN_LEVELS_MAX,
            spill_dir: None,
            openat2: true,
        }
    }
}

/// A directory on the way down.
#[derive(Debug)]
struct Level {
    /// None while it is closed to save descriptors.
    dir: Option<Arc<DirHandle>>,
    ino: u64,
    /// Length of its path.
    path_bytes: usize,
    names: Names,
}

/// A walk through a tree. Iterate it.
#[derive(Debug)]
pub struct Walk {
    excludes: Excludes,
    settings: WalkSettings,
    root: Arc<DirHandle>,
    levels: Vec<Level>,
    /// No level below this one is open, but for the root.
    lowest_open: usize,
    /// The path of the last entry.
    path: Vec<u8>,
    /// The last entry is a directory that is to be listed next.
    descend: bool,
    waiting: VecDeque<Step>,
    name: Vec<u8>,
    list_buffer: Vec<u8>,
    /// Bytes of the names in all levels.
    names_bytes: usize,
    spill: Spill,
    counts: WalkCounts,
}

impl Walk {
    /// Opens a tree. The root must be a directory; it may be named by a symlink.
    pub fn open(root: &Path, rules: &Rules) -> Result<Self, SourceError> {
        Self::open_with(root, rules, WalkSettings::default())
    }

    /// Opens a tree.
    pub fn open_with(root: &Path, rules: &Rules, mut settings: WalkSettings) -> Result<Self, SourceError> {
        // Names are addressed with 32 bits.
        settings.names_bytes_max = settings.names_bytes_max.min(1 << 30);
        let excludes = Excludes::new(rules)?;
        let (dir, stat) = DirHandle::open_root(root, settings.openat2)?;
        let root = Arc::new(dir);
        let found = Found::new(Vec::new(), stat, false, Arc::clone(&root));
        Ok(Self {
            excludes,
            root,
            levels: Vec::new(),
            lowest_open: 1,
            path: Vec::new(),
            descend: true,
            waiting: VecDeque::from([Step::Found(found)]),
            name: Vec::new(),
            list_buffer: Vec::with_capacity(LIST_BYTES),
            names_bytes: 0,
            spill: Spill::new(settings.spill_dir.clone()),
            settings,
            counts: WalkCounts { entries: 1, ..WalkCounts::default() },
        })
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> WalkCounts {
        self.counts
    }

    /// True if the volume lies in memory (tmpfs, ramfs): then times do not show mapped writes.
    pub fn is_memory_fs(&self) -> Result<bool, SourceError> {
        handle::is_memory_fs(&self.root).map_err(|e| SourceError::errno("ask for the file system of", b"", e))
    }

    /// What tells this volume from another one in its place; see [`handle::identity`].
    pub fn identity(&self) -> Result<Option<[u8; 16]>, SourceError> {
        handle::identity(&self.root).map_err(|e| SourceError::errno("ask for the identity of", b"", e))
    }

    fn problem(&mut self, error: SourceError) {
        self.counts.problems += 1;
        self.waiting.push_back(Step::Problem { path: self.path.clone(), error });
    }

    /// Reports an error unless it only says that somebody was faster.
    fn lost(&mut self, operation: &str, errno: Errno) {
        let error = SourceError::errno(operation, &self.path, errno);
        if error.kind() == SourceErrorKind::Vanished {
            self.counts.vanished += 1;
        } else {
            self.problem(error);
        }
    }

    /// Reports that a directory cannot be opened again to go on in it.
    fn lost_rest(&mut self, errno: Errno) {
        let mut error = SourceError::errno("return to", &self.path, errno);
        if error.kind() == SourceErrorKind::Vanished {
            // Never left out silently: what it held may only have moved.
            error = SourceError::replaced(&self.path);
        }
        self.problem(error);
    }

    /// Goes into the directory at `path`, which was just found.
    fn enter(&mut self) {
        let dir = match self.levels.last().map(|level| level.dir.as_ref()) {
            None => Ok(Arc::clone(&self.root)),
            Some(Some(above)) => above.open_dir(name_of(&self.path)).map(Arc::new),
            Some(None) => Err(Errno::BADF),
        };
        let dir = match dir {
            Ok(dir) => dir,
            Err(e) => return self.lost("open directory", e),
        };
        if self.levels.len() > PARK_DEPTH
            && let Some(above) = self.levels.last_mut()
        {
            above.names.park();
        }
        let mut names = Names::default();
        if let Err(e) = self.make_room().and_then(|()| self.list(&dir, &mut names)) {
            let what = format!("sort the names in {}", show_path(&self.path));
            names.close(&mut self.spill);
            return self.problem(SourceError::io(what, e));
        }
        self.names_bytes += names.memory();
        let (ino, path_bytes) = (dir.ino(), self.path.len());
        self.levels.push(Level { dir: Some(dir), ino, path_bytes, names });
        self.close_upper();
    }

    /// Moves names of waiting levels, the largest first, to the temporary file until half the limit is free.
    fn make_room(&mut self) -> io::Result<()> {
        while self.names_bytes > self.settings.names_bytes_max / 2 {
            let Some(largest) = self.levels.iter_mut().max_by_key(|level| level.names.memory()) else {
                break;
            };
            let before = largest.names.memory();
            largest.names.spill_rest(&mut self.spill)?;
            let freed = before - largest.names.memory();
            self.names_bytes -= freed;
            if freed == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Lists a directory. Only trouble with the temporary file is an error; trouble with the directory is reported.
    fn list(&mut self, dir: &DirHandle, names: &mut Names) -> io::Result<()> {
        let only_tag = self.excludes.is_cache(dir);
        let room = self.settings.names_bytes_max / 2;
        let mut buffer = std::mem::take(&mut self.list_buffer);
        buffer.clear();
        let mut entries = RawDir::new(dir.fd(), buffer.spare_capacity_mut());
        let mut result = Ok(());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(e) => {
                    self.lost("list directory", e);
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if only_tag && name != CACHE_TAG {
                self.counts.excluded += 1;
                continue;
            }
            if name.len() > NAME_BYTES_MAX {
                let what = format!("a name of {} bytes in {}", name.len(), show_path(&self.path));
                self.problem(SourceError::new(SourceErrorKind::TooLarge, what));
                continue;
            }
            names.push(name);
            if names.memory() > room {
                result = names.write_run(&mut self.spill);
                if result.is_err() {
                    break;
                }
            }
        }
        self.list_buffer = buffer;
        result?;
        names.finish(&mut self.spill)
    }

    /// Looks at what is called `name` in the lowest level.
    fn look(&mut self) -> Option<Found> {
        let top = self.levels.len().checked_sub(1)?;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&self.name);
        if self.path.len() > PATH_BYTES_MAX {
            let what = format!("a path exceeds {PATH_BYTES_MAX} bytes");
            self.problem(SourceError::new(SourceErrorKind::TooLarge, what));
            return None;
        }
        let dir = self.levels[top].dir.as_ref()?;
        let stat = match dir.stat(&self.name) {
            Ok(Some(stat)) => stat,
            Ok(None) => {
                self.lost("stat", Errno::OPNOTSUPP);
                return None;
            }
            Err(e) => {
                self.lost("stat", e);
                return None;
            }
        };
        let is_dir = stat.kind == FoundKind::Directory;
        if self.excludes.skips(&self.path, is_dir) {
            self.counts.excluded += 1;
            return None;
        }
        let mount_point = dir.is_foreign(&stat);
        if mount_point {
            self.counts.mount_points += 1;
            if !is_dir {
                return None;
            }
        }
        self.counts.entries += 1;
        self.descend = is_dir && !mount_point;
        Some(Found::new(self.path.clone(), stat, mount_point, Arc::clone(dir)))
    }

    /// Takes the next name of the lowest level; false if there was none and the level is left.
    fn advance(&mut self) -> bool {
        let Some(level) = self.levels.last_mut() else { return false };
        self.path.truncate(level.path_bytes);
        match level.names.take(&mut self.name, &self.spill) {
            Ok(true) => {}
            Ok(false) => {
                self.leave();
                return false;
            }
            Err(e) => {
                let what = format!("sort the names in {}", show_path(&self.path));
                self.problem(SourceError::io(what, e));
                self.leave();
                return false;
            }
        }
        if level.dir.is_some() {
            return true;
        }
        if let Err(errno) = self.reopen() {
            self.lost_rest(errno);
            self.leave();
            return false;
        }
        true
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.names_bytes -= level.names.memory();
            level.names.close(&mut self.spill);
            // Levels that come next lie here: forgotten, they would never be closed.
            self.lowest_open = self.lowest_open.min(self.levels.len()).max(1);
        }
    }

    /// Closes the highest open levels, but for the root, until few enough are open.
    fn close_upper(&mut self) {
        // The root stays, and the lowest level must.
        while self.levels.len() > self.lowest_open + self.settings.open_levels_max.max(2) - 1 {
            self.levels[self.lowest_open].dir = None;
            self.lowest_open += 1;
        }
    }

    /// Opens the lowest level again, and the ones right above it, to which the walk will return soon.
    fn reopen(&mut self) -> Result<(), Errno> {
        let top = self.levels.len() - 1;
        let batch = REOPEN_LEVELS.min(self.settings.open_levels_max.max(2) - 1);
        let first = top.saturating_sub(batch - 1).max(1);
        let mut dir = Arc::clone(&self.root);
        for i in 1..=top {
            let (start, end) = (self.levels[i - 1].path_bytes, self.levels[i].path_bytes);
            let name = self.path[start..end].strip_prefix(b"/").unwrap_or(&self.path[start..end]);
            dir = Arc::new(dir.open_dir(name)?);
            if dir.ino() != self.levels[i].ino {
                return Err(Errno::STALE);
            }
            if i >= first {
                self.levels[i].dir = Some(Arc::clone(&dir));
            }
        }
        self.lowest_open = first;
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.waiting.pop_front() {
                return Some(step);
            }
            if std::mem::take(&mut self.descend) {
                self.enter();
            } else if self.levels.is_empty() {
                return None;
            } else if self.advance()
                && let Some(found) = self.look()
            {
                return Some(Step::Found(found));
            }
        }
    }
}

#[cfg(test)]
mod tests;
