//! A small cache of open directories by path: the least recently used is closed. It never holds more than its bound.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::Dir;

/// Directories held open: deep trees walk along few of them, and a process may open about a thousand files.
const OPEN_DIRS_MAX: usize = 128;

#[derive(Debug, Default)]
struct Inner {
    dirs: HashMap<Vec<u8>, (Arc<Dir>, u64)>,
    clock: u64,
}

/// Open directories by path.
#[derive(Debug, Default)]
pub(super) struct Parking(Mutex<Inner>);

impl Parking {
    /// The open directory at `path`, if it is still open.
    pub(super) fn find(&self, path: &[u8]) -> Option<Arc<Dir>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let (dir, used) = inner.dirs.get_mut(path)?;
        *used = now;
        Some(Arc::clone(dir))
    }

    /// Keeps `dir` open.
    pub(super) fn put(&self, path: &[u8], dir: &Arc<Dir>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.dirs.len() >= OPEN_DIRS_MAX {
            // An eighth at once, so that the scan is paid rarely.
            let mut ages: Vec<u64> = inner.dirs.values().map(|(_, used)| *used).collect();
            ages.sort_unstable();
            let limit = ages[OPEN_DIRS_MAX / 8];
            inner.dirs.retain(|_, (_, used)| *used > limit);
        }
        inner.clock += 1;
        let now = inner.clock;
        inner.dirs.insert(path.to_vec(), (Arc::clone(dir), now));
    }

    /// Closes the directory at `path`.
    pub(super) fn forget(&self, path: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).dirs.remove(path);
    }
}
