//! Creates a repository: writes the first key wraps, then `repo.json`.
//!
//! `repo.json` comes last: what it describes is there before it is. Whoever calls this probes the store first.

use std::sync::Arc;

use bytes::Bytes;

use super::repo::{Description, store_error};
use crate::env::Env;
use crate::error::Context as _;
use crate::ids::{DomainName, RepoId};
use crate::keys::{self, Credential, DomainKeys};
use crate::layout::Layout;
use crate::store::{Put, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// What a new repository is made of.
#[derive(Debug)]
pub struct InitOptions {
    /// The first domain.
    pub domain: DomainName,
    /// Credentials that will open it; at least one.
    pub credentials: Vec<Credential>,
}

/// Creates the repository. Refuses a store that already holds one.
pub async fn init(store: Arc<dyn Store>, options: InitOptions, env: &Env) -> Result<RepoId> {
    if options.credentials.is_empty() {
        return Err(Error::new(ErrorKind::Input, "a repository needs at least one passphrase or key file"));
    }
    let exists = || Error::new(ErrorKind::Refused, "there is a repository here already");
    match store.find_size(&Layout::repo_json()).await {
        Ok(None) => {}
        Ok(Some(_)) => return Err(exists()),
        Err(e) => return Err(store_error("look for repo.json", e)),
    }
    let id = RepoId(env.random());
    let layout = Layout::new(options.domain.clone());
    let keys = Arc::new(DomainKeys::generate(id, options.domain, env));
    for credential in options.credentials {
        let key = layout.key_wrap(env.random());
        let (keys, env, name) = (Arc::clone(&keys), env.clone(), key.clone());
        let wrap = tokio::task::spawn_blocking(move || keys::wrap(&keys, &credential, &name, &env)).await;
        let wrap = wrap.context(ErrorKind::Internal, || "wrap keys".to_owned())?;
        let wrap = wrap.context(ErrorKind::Key, || "wrap keys".to_owned())?;
        store.put_new(&key, wrap).await.map_err(|e| store_error("store keys", e))?;
    }
    let description = serde_json::to_vec_pretty(&Description::new(id))
        .context(ErrorKind::Internal, || "describe".to_owned())?;
    let description = Bytes::from(description);
    let put = store.put_new(&Layout::repo_json(), description.clone()).await;
    match put {
        Ok(Put::Created) => Ok(id),
        Ok(Put::AlreadyExists) => {
            read_back(&*store, &description).await.and_then(|own| own.then_some(id).ok_or_else(exists))
        }
        Err(e) if e.kind == StoreErrorKind::Transient => match read_back(&*store, &description).await {
            Ok(true) => Ok(id),
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
