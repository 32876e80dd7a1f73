//! Opens the store of a repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytesize::ByteSize;
use repository::ErrorKind;
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

/// Opens another store than the repository's own, with settings of its own where the environment has them.
pub(crate) async fn open_to(
    url: &str,
    limit_upload: Option<ByteSize>,
    env: &Env,
) -> repository::Result<Arc<dyn Store>> {
    repository::store::open(url, &options_to(url, limit_upload), env).await
}

/// The same; a folder that is not there is made.
pub(crate) async fn create_to(
    url: &str,
    limit_upload: Option<ByteSize>,
    env: &Env,
) -> repository::Result<Arc<dyn Store>> {
    let options = StoreOptions { create: true, ..options_to(url, limit_upload) };
    repository::store::open(url, &options, env).await
}

fn options_to(url: &str, limit_upload: Option<ByteSize>) -> StoreOptions {
    let up = limit_upload.map(|limit| Bandwidth::new(limit.0));
    StoreOptions { up, client: client_to(url, std::env::vars()), ..StoreOptions::default() }
}

/// The settings of the cloud that `url` names: `HOLDFAST_TO_AWS_REGION` counts instead of `AWS_REGION`.
fn client_to(url: &str, variables: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let Some(cloud) = service::repo::client_prefix(url) else { return BTreeMap::new() };
    let own = variables.filter_map(|(name, value)| {
        let name = name.strip_prefix("HOLDFAST_TO_")?;
        (name.starts_with(cloud) && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
    });
    own.collect()
}

/// Creates the place of a new store where that makes sense (a folder), and opens it.
pub(crate) async fn create(url: &str, env: &Env) -> repository::Result<Arc<dyn Store>> {
    repository::store::open(url, &StoreOptions { create: true, ..StoreOptions::default() }, env).await
}

/// The same, and finds out whether the store can hold a repository at all: an unfit one is refused by name.
pub(crate) async fn create_probed(url: &str, env: &Env) -> repository::Result<Arc<dyn Store>> {
    let store = create(url, env).await?;
    let fit = repository::store::probe(&*store, &*env.random).await;
    fit.map_err(|e| repository::Error::with_source(ErrorKind::Store, format!("store {url}"), e))?;
    Ok(store)
}

/// The URL of a local folder.
pub(crate) fn file_url(folder: &Path) -> Result<String> {
    let text = folder.to_str().filter(|t| t.starts_with('/'));
    // The store takes an absolute path as it is, so that nothing has to be quoted.
    text.map(str::to_owned).ok_or_else(|| usage(format!("{}: not an absolute UTF-8 path", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::client_to;

    #[test]
    fn only_the_settings_of_its_own_cloud_count() {
        let set = [
            ("HOLDFAST_TO_AWS_REGION", "there"),
            ("HOLDFAST_TO_AWS_ENDPOINT", ""),
            ("HOLDFAST_TO_AZURE_X", "y"),
            ("AWS_REGION", "here"),
        ];
        let of = |url| client_to(url, set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        assert_eq!(of("s3://b/p"), [("aws_region".to_owned(), "there".to_owned())].into());
        assert!(of("file:///p").is_empty() && of("gs://b").is_empty());
    }
}
