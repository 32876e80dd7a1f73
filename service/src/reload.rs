//! Values made of files, made again when the files change: certificates, keys and tokens are renewed without a restart.
//!
//! Contents are compared, not times: mounted secrets are switched by renaming folders of links. New content that makes
//! no sense (a key that does not belong to its certificate, half a file) changes nothing: it is logged and counted once,
//! and what was good stays.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use repository::error::Context as _;
use repository::{ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Files are looked at this often.
const LOOK_SECONDS: u64 = 2;
/// No certificate, key or token file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The content of one file; it may be a secret.
pub type Content = Zeroizing<Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// How often files were taken over, and how often not. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Family<ResultLabel, Counter>);

impl Reloads {
    /// Registers `file_reloads`.
    pub fn register(&self, registry: &mut Registry) {
        let text =
            "Changed certificate, key and token files: taken over, or broken so that the old ones stay";
        registry.register("file_reloads", text, self.0.clone());
        for result in ["done", "failed"] {
            drop(self.0.get_or_create(&ResultLabel { result }));
        }
    }

    fn count(&self, result: &'static str) {
        self.0.get_or_create(&ResultLabel { result }).inc();
    }

    /// How often changed files were taken over, and how often they were broken.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let of = |result| self.0.get_or_create(&ResultLabel { result }).get();
        (of("done"), of("failed"))
    }
}

/// Something that follows files.
pub trait Follow: Send + Sync + fmt::Debug {
    /// Looks at the files now. Blocks; never fails: trouble is logged and counted.
    fn look(&self);
}

type Make<T> = Box<dyn Fn(&[Content]) -> Result<T> + Send + Sync>;

struct Inner<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    now: RwLock<Arc<T>>,
    /// What was read last, good or not; held while files are looked at.
    seen: Mutex<Result<Vec<Content>, String>>,
    reloads: Reloads,
}

/// A value made of files. Cloning shares it.
pub struct Watched<T>(Arc<Inner<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.0.files).finish()
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files; `make` gets their contents in the same order.
    pub fn open(
        files: Vec<PathBuf>,
        reloads: &Reloads,
        make: impl Fn(&[Content]) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        let contents = read_all(&files)?;
        let now = make(&contents).map_err(|e| e.context(names(&files)))?;
        let now = RwLock::new(Arc::new(now));
        let seen = Mutex::new(Ok(contents));
        Ok(Self(Arc::new(Inner { files, make: Box::new(make), now, seen, reloads: reloads.clone() })))
    }

    /// The value by the newest good files.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T: Send + Sync + 'static> Follow for Watched<T> {
    fn look(&self) {
        let inner = &self.0;
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read_all(&inner.files).map_err(|e| e.chain());
        if read == *seen {
            return;
        }
        let made = match &read {
            Ok(contents) => (inner.make)(contents).map_err(|e| e.chain()),
            Err(e) => Err(e.clone()),
        };
        *seen = read;
        let files = names(&inner.files);
        match made {
            Ok(value) => {
                *inner.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                inner.reloads.count("done");
                tracing::info!(files, "changed files are used from now on");
            }
            Err(error) => {
                inner.reloads.count("failed");
                tracing::error!(files, error, "changed files make no sense; the old ones stay in use");
            }
        }
    }
}

/// Looks at the files of all until `shutdown`.
pub async fn follow(all: Vec<Arc<dyn Follow>>, shutdown: &CancellationToken) {
    if all.is_empty() {
        return;
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
        }
        let now = all.clone();
        let looked = tokio::task::spawn_blocking(move || now.iter().for_each(|w| w.look())).await;
        if let Err(e) = looked {
            tracing::error!(error = %e, "files could not be looked at");
        }
    }
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Content>> {
    let read = |path: &PathBuf| read(path).context(ErrorKind::Input, || format!("file {}", path.display()));
    files.iter().map(read).collect()
}

fn read(path: &Path) -> io::Result<Content> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
