//! The repository settings that both servers have, and opening by them.

use std::path::PathBuf;
use std::sync::Arc;

use repository::env::Env;
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::keys::Credential;
use repository::ops::{OpenOptions, Repository};
use repository::store::Store;
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

impl Settings {
    /// Opens the repository in `store`.
    pub async fn open(&self, store: Arc<dyn Store>, env: Env) -> Result<Arc<Repository>> {
        let options = OpenOptions {
            domain: self.domain.clone(),
            credential: self.key.read()?,
            cache_dir: self.cache_dir.clone(),
            cpu_threads: self.cpu_threads,
        };
        Repository::open(store, options, env).await.map_err(|e| e.context(format!("open repository {}", self.url)))
    }
}
