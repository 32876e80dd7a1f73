//! The repository settings that both servers have, and opening by them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use repository::env::Env;
use repository::error::Context as _;
use repository::ids::DomainName;
use repository::index::{LocalIndex, LocalOptions};
use repository::keys::Credential;
use repository::ops::{OpenOptions, Repository, Sharing};
use repository::store::{self, Counts, Store, StoreOptions};

use repository::{Error, ErrorKind, Result};

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
        let store = self.open_store(None, counts, probe, env).await?;
        self.open_in(store, &Sharing::new(self.cpu_threads, 1)?, env).await
    }

    /// Opens the store only; with a file of settings, by these: no credential of the environment counts then.
    pub async fn open_store(
        &self,
        settings: Option<&Path>,
        counts: Arc<Counts>,
        probe: Probe,
        env: &Env,
    ) -> Result<Arc<dyn Store>> {
        let client = settings.map(|path| read_client_settings(path, &self.url)).transpose()?;
        let own_credentials = client.is_some();
        let client = client.unwrap_or_default();
        let options = StoreOptions { counts, client, own_credentials, ..StoreOptions::default() };
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

/// What the names of a store's own settings begin with (`AWS_REGION`), by the cloud that its URL names; `None` for folders.
#[must_use]
pub fn client_prefix(url: &str) -> Option<&'static str> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("s3") => Some("AWS_"),
        Some("gs") => Some("GOOGLE_"),
        Some("az") => Some("AZURE_"),
        _ => None,
    }
}

/// A file of settings is never larger.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;

/// Reads the settings of the client of the store at `url`: one `NAME=VALUE` a line, as the environment has them; `#` begins a
/// comment. A file without any, or one that is too large, is refused. Errors name lines, never values.
pub fn read_client_settings(path: &Path, url: &str) -> Result<BTreeMap<String, String>> {
    use std::io::Read as _;
    let mut text = zeroize::Zeroizing::new(String::new());
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|f| f.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text));
    let bytes = read.context(ErrorKind::Input, || format!("read {}", path.display()))?;
    let bad = |what: String| Error::new(ErrorKind::Input, format!("{}: {what}", path.display()));
    if bytes as u64 > SETTINGS_BYTES_MAX {
        return Err(bad(format!("more than {SETTINGS_BYTES_MAX} bytes")));
    }
    let Some(prefix) = client_prefix(url) else {
        return Err(bad(format!("store {url} takes no settings")));
    };
    let mut settings = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or_default();
        let (name, value) = (name.trim(), value.trim());
        if !name.starts_with(prefix) || value.is_empty() {
            return Err(bad(format!("line {number}: write {prefix}...=VALUE")));
        }
        if settings.insert(name.to_ascii_lowercase(), value.to_owned()).is_some() {
            return Err(bad(format!("line {number}: {name} is set twice")));
        }
    }
    if settings.is_empty() {
        // Without any, the machine's own role would count, and nobody meant it.
        return Err(bad("no settings in it".to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
