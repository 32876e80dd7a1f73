//! An opened repository: what every operation needs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cpu::Pool;
use crate::env::Env;
use crate::ids::{DomainName, RepoId};
use crate::keys::{Credential, DomainKeys};
use crate::layout::Layout;
use crate::store::Store;
use crate::{Error, ErrorKind, Result};

/// How to open a repository.
#[derive(Debug)]
pub struct OpenOptions {
    /// Which domain.
    pub domain: DomainName,
    /// What opens its keys.
    pub credential: Credential,
    /// Folder for caches; `None` keeps nothing. Everything in it may be deleted at any time.
    pub cache_dir: Option<PathBuf>,
    /// Threads that hash, compress and encrypt; 0 means one a core.
    pub cpu_threads: usize,
}

/// An opened domain of a repository.
#[derive(Debug)]
pub struct Repository {
    /// The store that holds it.
    pub store: Arc<dyn Store>,
    /// The repository's id.
    pub id: RepoId,
    /// Names of objects.
    pub layout: Layout,
    /// Keys of the domain.
    pub keys: Arc<DomainKeys>,
    /// Time and randomness.
    pub env: Env,
    /// The pool for hashing, compressing and encrypting.
    pub pool: Pool,
    /// Cache folder of this repository and domain.
    pub cache_dir: Option<PathBuf>,
}

impl Repository {
    /// Reads `repo.json` and opens the domain's keys. A wrong key fails with [`ErrorKind::Key`] at once.
    pub async fn open(store: Arc<dyn Store>, options: OpenOptions, env: Env) -> Result<Arc<Self>> {
        let _ = (store, options, env);
        Err(Error::new(ErrorKind::Internal, "not built yet"))
    }
}
