//! The repository settings that both servers have, and opening by them.

use std::path::PathBuf;
use std::sync::Arc;

use repository::env::Env;
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::index::{LocalIndex, LocalOptions};
use repository::keys::Credential;
use repository::ops::{OpenOptions, Repository, Sharing};
use repository::store::{self, Counts, Store, StoreOptions};

use repository::{ErrorKind, Result};

/// Which repository, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The store's URL.
    pub url: String,
    /// Which domain.
    pub domain: DomainName,
    /// The file that opens its keys.
    pub key: KeyFrom,
    /// Folder for caches; everything in it may be deleted.
    pub cache_dir: Option<PathBuf>,
    /// Threads that hash, compress and encrypt; 0 means one a core.
    pub cpu_threads: usize,
}

/// What opens the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFrom {
    /// A file with a passphrase.
    PassphraseFile(PathBuf),
    /// A key file.
    KeyFile(PathBuf),
}

impl KeyFrom {
    /// Exactly one of the two; otherwise what is wrong.
    pub fn one_of(passphrase_file: Option<PathBuf>, key_file: Option<PathBuf>) -> Result<Self, String> {
        match (passphrase_file, key_file) {
            (Some(path), None) => Ok(Self::PassphraseFile(path)),
            (None, Some(path)) => Ok(Self::KeyFile(path)),
            (None, None) => Err("key_file or passphrase_file is missing".to_owned()),
            (Some(_), Some(_)) => Err("key_file and passphrase_file exclude each other".to_owned()),
        }
    }

    /// Reads the file.
    pub fn read(&self) -> Result<Credential> {
        let credential = match self {
            Self::PassphraseFile(path) => Credential::read_passphrase_file(path),
            Self::KeyFile(path) => Credential::read_key_file(path),
        };
        credential.context(ErrorKind::Key, || "read the repository's key".to_owned())
    }
}

/// Whether to find out if the store can hold a repository at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// With a few objects that are deleted again; an unfit store is refused by name.
    Run,
    /// The coordinator does it.
    Skip,
}

impl Settings {
    /// Opens the store and the repository in it. Requests are counted in `counts`.
    pub async fn open(&self, counts: Arc<Counts>, probe: Probe, env: &Env) -> Result<Arc<Repository>> {
        let store = self.open_store(counts, probe, env).await?;
        self.open_in(store, &Sharing::new(self.cpu_threads, 1)?, env).await
    }

    /// Opens the store only.
    pub async fn open_store(&self, counts: Arc<Counts>, probe: Probe, env: &Env) -> Result<Arc<dyn Store>> {
        let options = StoreOptions { counts, ..StoreOptions::default() };
        let store = store::open(&self.url, &options, env).await?;
        if probe == Probe::Run {
            store::probe(&*store, &*env.random)
                .await
                .context(ErrorKind::Store, || format!("store {}", self.url))?;
            if let Some(warning) = repository::ops::lock::warning(&store).await {
                tracing::warn!("{warning}");
            }
        }
        Ok(store)
    }

    /// Opens the repository in its store, beside the other domains of this process.
    pub async fn open_in(
        &self,
        store: Arc<dyn Store>,
        sharing: &Sharing,
        env: &Env,
    ) -> Result<Arc<Repository>> {
        let options = OpenOptions {
            domain: self.domain.clone(),
            credential: self.key.read()?,
            cache_dir: self.cache_dir.clone(),
            remote: !store::is_local(&self.url),
            cpu_threads: self.cpu_threads,
        };
        let opened = Repository::open_sharing(store, options, sharing, env.clone()).await;
        opened.map_err(|e| e.context(format!("open repository {}", self.url)))
    }
}

/// The repository's own index, which looks for new deltas when it is asked and the last look is `refresh_seconds` old.
#[must_use]
pub fn open_index(repo: &Repository, refresh_seconds: u64) -> Arc<LocalIndex> {
    let cache_dir = repo.cache_dir.as_ref().map(|dir| dir.join("index"));
    let options = LocalOptions { cache_dir, refresh_seconds };
    Arc::new(LocalIndex::open(repo.objects(), options))
}
