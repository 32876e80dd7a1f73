//! SIGINT and SIGTERM cancel the work; a second one ends the process at once.
//!
//! SIGXFSZ is taken from the kernel, which would kill: a write beyond the limit on file sizes fails, as on a full disk.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Cancels `token` at the first signal. Ends with the runtime.
pub(crate) fn watch(token: CancellationToken) -> Result<tokio::task::JoinHandle<()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
    let beyond_limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // The handler stays when its stream is dropped.
    drop(signal(beyond_limit).context("listen to SIGXFSZ")?);
    Ok(tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tracing::info!("stopping; a second signal stops at once");
        token.cancel();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        std::process::exit(Exit::Stopped as i32);
    }))
}
