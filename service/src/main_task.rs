//! A server's main task, and waiting for its end.

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;

/// The task that all others of a server belong to.
#[derive(Debug)]
pub struct MainTask {
    name: &'static str,
    task: JoinHandle<Result<()>>,
}

impl MainTask {
    /// Begins; `name` is the server's.
    pub fn spawn(name: &'static str, work: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self { name, task: tokio::spawn(work) }
    }

    /// Waits for its end: after the shutdown, or when it fails.
    pub async fn wait(self) -> Result<()> {
        self.task.await.with_context(|| format!("{}'s main task", self.name))?
    }
}
