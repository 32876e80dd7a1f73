//! Creates a repository: `repo.json`, then the first domain's keys.
//!
//! One that was killed in between is finished by the next: it left `repo.json` and nothing else. Whoever calls this
//! probes the store first.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::domains;
use super::repo::{Description, store_error};
use crate::env::Env;
use crate::error::Context as _;
use crate::ids::{DomainName, RepoId};
use crate::keys::Credential;
use crate::layout::Layout;
use crate::store::{Put, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// What a new repository, or a new domain in it, is made of.
#[derive(Debug)]
pub struct InitOptions {
    /// The domain.
    pub domain: DomainName,
    /// Credentials that will open it; at least one.
    pub credentials: Vec<Credential>,
}

/// Creates the repository. Refuses a store that already holds one, or what is left of one.
pub async fn init(store: Arc<dyn Store>, options: InitOptions, env: &Env) -> Result<RepoId> {
    let exists = || Error::new(ErrorKind::Refused, "there is a repository here already");
    let id = match store.get(&Layout::repo_json()).await {
        Ok(description) if is_alone(&*store).await? => Description::parse(&description)?,
        Ok(_) => return Err(exists()),
        Err(e) if e.kind == StoreErrorKind::NotFound => {
            refuse_nameless(&*store).await?;
            describe(&*store, RepoId(env.random())).await?.ok_or_else(exists)?
        }
        Err(e) => return Err(store_error("look for repo.json", e)),
    };
    domains::create((&store, id), options, env).await?;
    Ok(id)
}

/// What lies under no name any more would be read by nobody, ever, once another name is there.
async fn refuse_nameless(store: &dyn Store) -> Result<()> {
    let mut listed = store.list("", None);
    while let Some(object) = listed.try_next().await.map_err(|e| store_error("list", e))? {
        if let Some(domain) = domains::of(&object.key) {
            let what = format!(
                "there is no repo.json here, but {} of domain {domain}: if a repository has lost it, `holdfast key \
                 import` brings it back",
                object.key
            );
            return Err(Error::new(ErrorKind::Refused, what));
        }
    }
    Ok(())
}

/// Whether `repo.json` is all that there is.
async fn is_alone(store: &dyn Store) -> Result<bool> {
    let mut listed = store.list("", None);
    while let Some(object) = listed.try_next().await.map_err(|e| store_error("list", e))? {
        if object.key != Layout::repo_json() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes `repo.json`; `None` if there is one already.
pub(super) async fn describe(store: &dyn Store, id: RepoId) -> Result<Option<RepoId>> {
    let description = serde_json::to_vec_pretty(&Description::new(id))
        .context(ErrorKind::Internal, || "describe".to_owned())?;
    let description = Bytes::from(description);
    match store.put_new(&Layout::repo_json(), description.clone()).await {
        Ok(Put::Created) => Ok(Some(id)),
        Ok(Put::AlreadyExists) => Ok(read_back(store, &description).await?.then_some(id)),
        Err(e) if e.kind == StoreErrorKind::Transient => match read_back(store, &description).await {
            Ok(true) => Ok(Some(id)),
            _ => Err(store_error("store repo.json", e)),
        },
        Err(e) => Err(store_error("store repo.json", e)),
    }
}

/// A lost reply looks like somebody else's object: only its content tells.
async fn read_back(store: &dyn Store, own: &Bytes) -> Result<bool> {
    let there = store.get(&Layout::repo_json()).await.map_err(|e| store_error("read repo.json back", e))?;
    Ok(there == *own)
}
