//! An opened repository: what every operation needs. Also the format of `repo.json`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cpu::Pool;
use crate::env::Env;
use crate::ids::{DomainName, RepoId, hex};
use crate::keys::{Credential, DomainKeys, stored};
use crate::layout::Layout;
use crate::limits::CACHE_BYTES_MAX;
use crate::pack::BlobReader;
use crate::store::{Cache, Store, StoreError, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// `repo.json`: plain, because it must be readable before any key is. Nothing in it is trusted beyond finding keys:
/// the key bundle repeats the repository's id under authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Always `holdfast repository`.
    pub what: String,
    /// Version of the stored format.
    pub format: u32,
    /// The repository's id.
    pub id: String,
    /// Features that a reader must know to go on.
    pub features: Vec<String>,
}

impl Description {
    /// Of a new repository.
    #[must_use]
    pub fn new(id: RepoId) -> Self {
        Self {
            what: "holdfast repository".to_owned(),
            format: FORMAT,
            id: id.to_string(),
            features: Vec::new(),
        }
    }

    /// Reads it, and refuses what this version can't read.
    pub fn parse(bytes: &[u8]) -> Result<RepoId> {
        let bad = |what: String| Error::new(ErrorKind::Damaged, what);
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| bad(format!("repo.json is not JSON: {e}")))?;
        if value["what"] != "holdfast repository" {
            return Err(bad("repo.json does not describe a holdfast repository".to_owned()));
        }
        if value["format"] != FORMAT {
            let what =
                format!("the repository has format {}; this version reads format {FORMAT}", value["format"]);
            return Err(Error::new(ErrorKind::Refused, what));
        }
        let this: Self = serde_json::from_value(value).map_err(|e| bad(format!("repo.json: {e}")))?;
        if let Some(feature) = this.features.first() {
            let what = format!("the repository uses {feature:?}, which this version does not know");
            return Err(Error::new(ErrorKind::Refused, what));
        }
        this.id.parse().map_err(|e| bad(format!("repo.json: {e}")))
    }
}

/// How to open a repository.
#[derive(Debug)]
pub struct OpenOptions {
    /// Which domain.
    pub domain: DomainName,
    /// What opens its keys.
    pub credential: Credential,
    /// Folder for caches; `None` keeps nothing. Everything in it may be deleted at any time.
    pub cache_dir: Option<PathBuf>,
    /// The store is far away: metadata that was read or written is kept in the cache folder.
    pub remote: bool,
    /// Threads that hash, compress and encrypt; 0 means one a core.
    pub cpu_threads: usize,
}

/// What the domains that one process opens have together, so that several cost no more than one: the threads, and the room
/// of their caches, of which each has an equal part. What is in the caches stays apart.
#[derive(Clone, Debug)]
pub struct Sharing {
    pool: Pool,
    domains: usize,
}

impl Sharing {
    /// For so many domains. 0 threads means one a core.
    pub fn new(cpu_threads: usize, domains: usize) -> Result<Self> {
        Ok(Self { pool: Pool::new(cpu_threads)?, domains: domains.max(1) })
    }
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
    /// Keeps metadata; only of a store that is far away.
    pub(crate) cache: Option<Arc<Cache>>,
    reader: Arc<BlobReader>,
}

impl Repository {
    /// Reads `repo.json` and opens the domain's keys. A wrong key fails with [`ErrorKind::Key`] at once.
    pub async fn open(store: Arc<dyn Store>, options: OpenOptions, env: Env) -> Result<Arc<Self>> {
        let sharing = Sharing::new(options.cpu_threads, 1)?;
        Self::open_sharing(store, options, &sharing, env).await
    }

    /// The same beside other domains in this process.
    pub async fn open_sharing(
        store: Arc<dyn Store>,
        options: OpenOptions,
        sharing: &Sharing,
        env: Env,
    ) -> Result<Arc<Self>> {
        let OpenOptions { domain, credential, cache_dir, remote, cpu_threads: _ } = options;
        let id = read_id(&*store).await?;
        let layout = Layout::new(domain.clone());
        let keys = Arc::new(stored::open(&*store, &layout, id, credential).await?);
        let Sharing { pool, domains } = sharing.clone();
        let cache_dir = cache_dir.map(|dir| dir.join(id.to_string()).join(domain.as_str()));
        if let Some(dir) = &cache_dir {
            check_remembered(dir, &keys)?;
        }
        let cache = cache_dir.as_ref().filter(|_| remote);
        let cache =
            cache.map(|dir| Cache::open(&dir.join("metadata"), CACHE_BYTES_MAX / domains as u64, &env));
        let reader = BlobReader::new(Arc::clone(&store), layout.clone(), Arc::clone(&keys), pool.clone());
        let reader = reader.one_of(domains);
        Ok(Arc::new(Self { store, id, layout, keys, env, pool, cache_dir, cache, reader: Arc::new(reader) }))
    }

    /// Reads blobs of this domain.
    #[must_use]
    pub fn reader(&self) -> Arc<BlobReader> {
        Arc::clone(&self.reader)
    }
}

/// Refuses keys that are not those that this machine has used before: whoever knows a credential's public key and may
/// write to the store could hand it others. A folder that can't be written remembers nothing.
fn check_remembered(dir: &Path, keys: &DomainKeys) -> Result<()> {
    let (path, now) = (dir.join("keys"), hex(&keys.fingerprint()));
    match std::fs::read_to_string(&path) {
        Ok(before) if before.len() == now.len() && before != now => {
            let what = format!(
                "the keys of domain {} are not those that this machine has used before; if that is right, delete {}",
                keys.domain(),
                path.display()
            );
            Err(Error::new(ErrorKind::Key, what))
        }
        Ok(before) if before == now => Ok(()),
        _ => {
            let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, now));
            if let Err(error) = written {
                tracing::debug!(%error, "the keys are not remembered");
            }
            Ok(())
        }
    }
}

/// The repository's id, as `repo.json` says.
pub(crate) async fn read_id(store: &dyn Store) -> Result<RepoId> {
    Description::parse(&read_description(store).await?)
}

async fn read_description(store: &dyn Store) -> Result<Bytes> {
    store.get(&Layout::repo_json()).await.map_err(|e| {
        if e.kind == StoreErrorKind::NotFound {
            let what = "there is no repository here (no repo.json); make one with `holdfast init`";
            return Error::new(ErrorKind::NotFound, what);
        }
        store_error("read repo.json", e)
    })
}

/// Puts a store's error into the upper layers' terms.
pub(crate) fn store_error(what: &str, e: StoreError) -> Error {
    let kind = if e.kind == StoreErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Store };
    Error::with_source(kind, what, e)
}
