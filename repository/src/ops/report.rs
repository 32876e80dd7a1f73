//! What every operation takes and gives: a way to watch and stop it, and a bounded list of what went wrong.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::monitor::Monitor;
use crate::{Error, ErrorKind, Result};

/// Watches and stops one piece of work.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// Counters that the work raises.
    pub monitor: Arc<Monitor>,
    /// Ends the work early; it then fails with [`ErrorKind::Cancelled`].
    pub cancel: CancellationToken,
}

impl Task {
    /// Fails if the work was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::new(ErrorKind::Cancelled, "cancelled")) } else { Ok(()) }
    }
}

/// One thing that went wrong with one entry, while the rest went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry's path below the volume's root (or an object's key, in verify).
    pub path: Vec<u8>,
    /// What happened, in words for a person: `open: permission denied`.
    pub what: String,
}

/// Problems met, the first thousand of them kept in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    count: u64,
}

impl Problems {
    /// How many are kept in full.
    pub const KEPT_MAX: usize = 1000;

    /// A list as it was counted elsewhere: `count` is what there was, `kept` the first of them.
    pub fn from_parts(kept: impl IntoIterator<Item = Problem>, count: u64) -> Self {
        let kept: Vec<_> = kept.into_iter().take(Self::KEPT_MAX).collect();
        let count = count.max(kept.len() as u64);
        Self { kept, count }
    }

    /// Notes one more.
    pub fn push(&mut self, path: &[u8], what: impl Into<String>) {
        self.count += 1;
        if self.kept.len() < Self::KEPT_MAX {
            self.kept.push(Problem { path: path.to_vec(), what: what.into() });
        }
    }

    /// Adds another list to this one.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = Self::KEPT_MAX - self.kept.len();
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first ones.
    #[must_use]
    pub fn kept(&self) -> &[Problem] {
        &self.kept
    }

    /// True when nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
