//! Counts up whenever something happened that others may want to look at. Who looks late sees that it happened, not how often.

use std::sync::Arc;

use tokio::sync::watch;

/// A shared count of what happened. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<watch::Sender<u64>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

impl Pulse {
    /// Something happened.
    pub(crate) fn beat(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes at each change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
