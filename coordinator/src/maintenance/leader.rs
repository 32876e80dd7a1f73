//! Whether this coordinator is the one of several that runs maintenance.
//!
//! Advisory: two that both lead do work twice, and nothing worse.

use std::fmt::Debug;
use std::fs::{File, TryLockError};
use std::path::Path;

use repository::error::Context as _;
use repository::{ErrorKind, Result};

/// Tells who leads. Asked every second, so the answer must be at hand: whoever has to ask a server does that on its own
/// time.
pub trait Leader: Send + Sync + Debug {
    /// `Ok` while this coordinator leads; else why it does not, for people.
    fn leads(&self) -> Result<(), String>;
}

/// Leads while it holds the lock on a file: two processes that share a state folder don't both.
#[derive(Debug)]
pub struct LockFile(File);

impl LockFile {
    /// Opens the file, creates it if it is not there, and leads from now on if nobody does.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        let file =
            opened.map(Self).context(ErrorKind::Internal, || format!("open lock file {}", path.display()))?;
        // Who leads instead is told to whoever asks.
        let _another = file.leads();
        Ok(file)
    }
}

impl Leader for LockFile {
    /// Locking again what is locked already is no error; the kernel unlocks what a dead process held.
    fn leads(&self) -> Result<(), String> {
        match self.0.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                Err("another coordinator with the same state folder runs maintenance".to_owned())
            }
            Err(TryLockError::Error(e)) => Err(format!("lock the state folder: {e}")),
        }
    }
}

/// Never leads: another coordinator does.
#[derive(Clone, Copy, Debug)]
pub struct Follower;

impl Leader for Follower {
    fn leads(&self) -> Result<(), String> {
        Err("this coordinator does not run maintenance (leader: false)".to_owned())
    }
}
