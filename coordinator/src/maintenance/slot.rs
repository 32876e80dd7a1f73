//! What waits or runs at most once at a time, and has one schedule: a kind of task; of copies and mirrors, one to each destination.

use std::fmt;

use proto::task::{TaskKind, TaskSpec};

/// A place in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The kind of task.
    pub kind: TaskKind,
    /// The destination's name.
    pub to: Option<String>,
}

impl Slot {
    /// The place of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self { kind: spec.kind(), to: spec.destination().map(str::to_owned) }
    }
}

impl From<TaskKind> for Slot {
    fn from(kind: TaskKind) -> Self {
        Self { kind, to: None }
    }
}

impl fmt::Display for Slot {
    /// `gc`, `copy offsite`; the database knows it by this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            None => f.write_str(self.kind.name()),
            Some(to) => write!(f, "{} {to}", self.kind.name()),
        }
    }
}
