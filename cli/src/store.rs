//! Opens the store of a repository.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytesize::ByteSize;
use repository::env::Env;
use repository::store::{Bandwidth, Store, StoreOptions};

use crate::exit::usage;

/// Opens the store at `url`, sending at most `limit_upload` bytes a second.
pub(crate) async fn open(
    url: &str,
    limit_upload: Option<ByteSize>,
    env: &Env,
) -> repository::Result<Arc<dyn Store>> {
    let up = limit_upload.map(|limit| Bandwidth::new(limit.0));
    repository::store::open(url, &StoreOptions { up, ..StoreOptions::default() }, env).await
}

/// Creates the place of a new store where that makes sense (a folder), and opens it.
pub(crate) async fn create(url: &str, env: &Env) -> repository::Result<Arc<dyn Store>> {
    repository::store::open(url, &StoreOptions { create: true, ..StoreOptions::default() }, env).await
}

/// The URL of a local folder.
pub(crate) fn file_url(folder: &Path) -> Result<String> {
    let text = folder.to_str().filter(|t| t.starts_with('/'));
    // The store takes an absolute path as it is, so that nothing has to be quoted.
    text.map(str::to_owned).ok_or_else(|| usage(format!("{}: not an absolute UTF-8 path", folder.display())))
}
