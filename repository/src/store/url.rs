//! Opens the store that a URL names, wrapped in retries and limits.
//!
//! Credentials never stand in the URL, which ends up in logs: they come from the environment, under the names that
//! each cloud uses (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, ...), or from
//! the machine's role. A store may have its own instead; then none of the environment's counts.

mod client;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::url::Url;
use object_store::memory::InMemory;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};

use super::object::{S3Locks, connection_of};
use super::{
    Bandwidth, BandwidthStore, Conflict, CountedStore, Counts, FileStore, Key, LimitedStore, LockMode,
    LockNew, RemoteStore, RetryPolicy, RetryStore, Store, StoreErrorKind,
};
use crate::env::Env;
use crate::error::Context as _;
use crate::{Error, ErrorKind, Result};

/// Requests at once to a folder: enough to keep a disk busy.
const FILE_REQUESTS: usize = 8;
/// Requests at once over the network, where each waits for its answer most of the time.
const REMOTE_REQUESTS: usize = 32;
/// Longer than any deadline of our own, which depend on the size; see `object`.
const CLIENT_TIMEOUT: &str = "1 day";
const CONNECT_TIMEOUT: &str = "10 s";

/// How to open a store.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Make the folder of a `file://` store if it does not exist: only when a repository is created.
    pub create: bool,
    /// Settings of the cloud client, by the names of the environment's variables in lower case, with or without their
    /// prefix (`endpoint`, `aws_region`, `allow_http`, ...). They win over the environment.
    pub client: BTreeMap<String, String>,
    /// The credentials are those in `client`: none of the environment's counts, only what is no secret (endpoint, region, ...).
    pub own_credentials: bool,
    /// CA certificates (PEM) that are trusted beside the system's; only with own credentials. Empty for none.
    pub roots: Vec<u8>,
    /// Requests at once; `None` for what suits the kind of store.
    pub requests_max: Option<usize>,
    /// Bound on the bytes per second that are sent.
    pub up: Option<Bandwidth>,
    /// Bound on the bytes per second that are received.
    pub down: Option<Bandwidth>,
    /// How often to try.
    pub retry: RetryPolicy,
    /// Where requests are counted.
    pub counts: Arc<Counts>,
    /// Lock new objects (S3 only); `None` for what the environment says.
    pub lock_new: Option<LockNew>,
}

/// True if the URL names a folder of this machine, where a cache of what is in it saves nothing.
#[must_use]
pub fn is_local(url: &str) -> bool {
    url.starts_with("file:")
}

/// Bucket and prefix of an `s3://` URL.
#[must_use]
pub fn s3_bucket(url: &str) -> Option<(String, String)> {
    match parse(url) {
        Ok(Place::Bucket { cloud: Cloud::S3, bucket, prefix }) => Some((bucket, prefix)),
        _ => None,
    }
}

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Bucket { cloud: Cloud, bucket: String, prefix: String },
    Memory(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    S3,
    Gcs,
    Azure,
}

/// Opens the store at `file:///path` (or a plain path), `s3://bucket/prefix`, `gs://bucket/prefix`,
/// `az://container/prefix`, or `memory:name`, which lives as long as the process and is shared by all who name it.
pub async fn open(url: &str, options: &StoreOptions, env: &Env) -> Result<Arc<dyn Store>> {
    let place = parse(url)?;
    let (requests, store): (usize, Arc<dyn Store>) = match place {
        Place::Folder(path) => (FILE_REQUESTS, open_folder(url, path, options, env).await?),
        Place::Memory(name) => {
            (REMOTE_REQUESTS, Arc::new(RemoteStore::new(shared_memory(&name), "", Conflict::Exists)))
        }
        Place::Bucket { cloud, bucket, prefix } => {
            let conflict = if cloud == Cloud::S3 { Conflict::Undecided } else { Conflict::Exists };
            let wrong = |e| {
                Error::with_source(ErrorKind::Input, format!("the settings for store {url} are not valid"), e)
            };
            let lock_new = lock_new(options)?;
            let store = match cloud {
                Cloud::S3 => {
                    let mode = lock_new.map_or(LockMode::default(), |new| new.mode);
                    let (s3, locks) = build_s3(&bucket, &prefix, mode, options).map_err(wrong)?;
                    RemoteStore::new(s3, &prefix, conflict).with_locks(locks, lock_new, env)
                }
                _ if lock_new.is_some() => {
                    return Err(input(url, "only objects of S3 can be locked by Holdfast"));
                }
                _ => RemoteStore::new(build(cloud, &bucket, options).map_err(wrong)?, &prefix, conflict),
            };
            (REMOTE_REQUESTS, Arc::new(store))
        }
    };
    Ok(wrap(store, requests, options, env))
}

/// Retries outermost, so that one that waits takes no other request's place; counts innermost, so that every request
/// counts.
fn wrap(store: Arc<dyn Store>, requests: usize, options: &StoreOptions, env: &Env) -> Arc<dyn Store> {
    let mut store: Arc<dyn Store> = Arc::new(CountedStore::new(store, options.counts.clone()));
    if options.up.is_some() || options.down.is_some() {
        store = Arc::new(BandwidthStore::new(store, options.up.clone(), options.down.clone()));
    }
    store = Arc::new(LimitedStore::new(store, options.requests_max.unwrap_or(requests)));
    Arc::new(RetryStore::new(store, options.retry, env.random.clone()))
}

async fn open_folder(url: &str, path: PathBuf, options: &StoreOptions, env: &Env) -> Result<Arc<dyn Store>> {
    let (create, env) = (options.create, env.clone());
    let opening = tokio::task::spawn_blocking(move || {
        if create { FileStore::create(&path, &env) } else { FileStore::open(&path, &env) }
    });
    let opened = opening.await.context(ErrorKind::Internal, || format!("open store {url}"))?;
    let store = opened.map_err(|e| {
        let kind = if e.kind == StoreErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Store };
        Error::with_source(kind, format!("open store {url}"), e)
    })?;
    Ok(Arc::new(store))
}

fn input(url: &str, what: &str) -> Error {
    Error::new(ErrorKind::Input, format!("store {url:?}: {what}"))
}

fn parse(text: &str) -> Result<Place> {
    if text.starts_with('/') {
        return Ok(Place::Folder(PathBuf::from(text)));
    }
    let kinds = "use file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";
    let url =
        Url::parse(text).map_err(|_| input(text, &format!("is no URL and no absolute path; {kinds}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        let named = format!("{}://…", url.scheme());
        return Err(input(&named, "credentials do not belong in the URL; set them in the environment"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(input(text, "a store's URL has no '?' and no '#'"));
    }
    let cloud = match url.scheme() {
        "file" => {
            let path =
                url.to_file_path().map_err(|()| input(text, "is no absolute path: write file:///path"))?;
            return Ok(Place::Folder(path));
        }
        "memory" => return Ok(Place::Memory(text["memory:".len()..].trim_matches('/').to_owned())),
        "s3" => Cloud::S3,
        "gs" => Cloud::Gcs,
        "az" => Cloud::Azure,
        other => return Err(input(text, &format!("unknown kind {other:?}; {kinds}"))),
    };
    let bucket = url.host_str().unwrap_or("").to_owned();
    if bucket.is_empty() || url.port().is_some() {
        return Err(input(text, "names no bucket; an endpoint is set in the environment, not in the URL"));
    }
    let prefix = url.path().trim_matches('/').to_owned();
    if !prefix.is_empty() && Key::new(prefix.clone()).is_err() {
        return Err(input(text, "the prefix may have letters, digits, '.', '_', '-' and single '/' only"));
    }
    Ok(Place::Bucket { cloud, bucket, prefix })
}

/// Stores in memory by name, for as long as the process lives.
fn shared_memory(name: &str) -> Arc<dyn ObjectStore> {
    static NAMED: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.entry(name.to_owned()).or_default().clone()
}

/// The client of a cloud; an error is a setting that can't be, or one that is missing.
fn build(
    cloud: Cloud,
    bucket: &str,
    options: &StoreOptions,
) -> std::result::Result<Arc<dyn ObjectStore>, object_store::Error> {
    match cloud {
        Cloud::S3 => build_s3(bucket, "", LockMode::default(), options).map(|(s3, _)| s3),
        Cloud::Gcs => {
            let builder = client::gcs(options, &client::variables())?;
            builder.with_bucket_name(bucket).build().map(|s| Arc::new(s) as Arc<dyn ObjectStore>)
        }
        Cloud::Azure => {
            let builder = client::azure(options, &client::variables())?;
            builder.with_container_name(bucket).build().map(|s| Arc::new(s) as Arc<dyn ObjectStore>)
        }
    }
}

/// The client of S3, and what knows its locks.
fn build_s3(
    bucket: &str,
    prefix: &str,
    mode: LockMode,
    options: &StoreOptions,
) -> std::result::Result<(Arc<dyn ObjectStore>, S3Locks), object_store::Error> {
    let builder = client::s3(options, &client::variables())?;
    let connection = client::with_roots(connection_of(&builder), options)?;
    let s3 = builder.with_bucket_name(bucket).build()?;
    let locks = S3Locks::new(s3.clone(), &connection, prefix, mode)?;
    Ok((Arc::new(s3), locks))
}

fn no_retry() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::from_secs(1), ..RetryConfig::default() }
}

/// How new objects are locked, by the options or else by the environment: `HOLDFAST_LOCK_DAYS`, `HOLDFAST_LOCK_MODE`.
fn lock_new(options: &StoreOptions) -> Result<Option<LockNew>> {
    if options.lock_new.is_some() {
        return Ok(options.lock_new);
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    parse_lock(variable("HOLDFAST_LOCK_DAYS").as_deref(), variable("HOLDFAST_LOCK_MODE").as_deref())
}

fn parse_lock(days: Option<&str>, mode: Option<&str>) -> Result<Option<LockNew>> {
    let wrong = |what: String| Error::new(ErrorKind::Input, what);
    let mode = match mode {
        None | Some("governance") => LockMode::Governance,
        Some("compliance") => LockMode::Compliance,
        Some(other) => {
            return Err(wrong(format!("HOLDFAST_LOCK_MODE is governance or compliance, not {other:?}")));
        }
    };
    let Some(days) = days else { return Ok(None) };
    match days.parse::<u32>() {
        Ok(days) if days > 0 => Ok(Some(LockNew { seconds: u64::from(days) * 24 * 3600, mode })),
        _ => Err(wrong(format!("HOLDFAST_LOCK_DAYS is a number of days from 1, not {days:?}"))),
    }
}

/// Our own time-outs, where the environment sets none: the library's 30 s for a whole request are too short for a
/// pack on a slow line.
fn timeouts(prefix: &str) -> Vec<(ClientConfigKey, &'static str)> {
    let ours = [
        (ClientConfigKey::Timeout, "TIMEOUT", CLIENT_TIMEOUT),
        (ClientConfigKey::ConnectTimeout, "CONNECT_TIMEOUT", CONNECT_TIMEOUT),
    ];
    let unset = ours.into_iter().filter(|(_, name, _)| std::env::var_os(format!("{prefix}{name}")).is_none());
    unset.map(|(key, _, value)| (key, value)).collect()
}

#[cfg(test)]
mod tests;
