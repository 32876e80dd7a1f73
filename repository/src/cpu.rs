//! The pool for hashing, compressing and encrypting: a fixed number of threads, apart from the async runtime.

use std::sync::Arc;

use crate::{Error, ErrorKind, Result};

/// A pool of CPU threads. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Pool(Arc<rayon::ThreadPool>);

impl Pool {
    /// With this many threads; 0 means one for each core that the process may use.
    pub fn new(threads: usize) -> Result<Self> {
        let built =
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("cpu-{i}")).build();
        built
            .map(|p| Self(Arc::new(p)))
            .map_err(|e| Error::with_source(ErrorKind::Internal, "start the CPU pool", e))
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on the pool and waits for it without blocking the runtime.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tx, rx) = tokio::sync::oneshot::channel();
        self.0.spawn(move || drop(tx.send(work())));
        rx.await.expect("work on the pool does not panic")
    }
}
