//! Creates a repository: probes the store, writes `repo.json` and the first key wraps.

use std::sync::Arc;

use crate::env::Env;
use crate::ids::{DomainName, RepoId};
use crate::keys::Credential;
use crate::store::Store;
use crate::{Error, ErrorKind, Result};

/// What a new repository is made of.
#[derive(Debug)]
pub struct InitOptions {
    /// The first domain.
    pub domain: DomainName,
    /// Credentials that will open it; at least one.
    pub credentials: Vec<Credential>,
}

/// Creates the repository. Refuses a store that fails the probe, and one that already holds a repository.
pub async fn init(store: Arc<dyn Store>, options: InitOptions, env: &Env) -> Result<RepoId> {
    let _ = (store, options, env);
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
