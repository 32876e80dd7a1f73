//! Domains of a repository: each has its own folder, keys and credentials, and shares nothing with the others but
//! `repo.json`. Whoever adds one needs no key of any other, and learns nothing of it but its name.

use std::sync::Arc;

use futures::TryStreamExt as _;

use super::init::InitOptions;
use super::repo::{read_id, store_error};
use crate::env::Env;
use crate::error::Context as _;
use crate::ids::{DomainName, RepoId};
use crate::keys::{Access, DomainKeys, KeyError, Role, stored};
use crate::layout::Layout;
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Result};

/// Adds a domain to an existing repository. Refuses one that has anything in it already.
pub async fn add(store: &Arc<dyn Store>, options: InitOptions, env: &Env) -> Result<()> {
    let id = read_id(&**store).await?;
    let folder = format!("{}/", options.domain);
    let first = store.list(&folder, None).try_next().await.map_err(|e| store_error("list the domain", e))?;
    if let Some(there) = first {
        let what = format!("there is a domain {} already: it has {}", options.domain, there.key);
        return Err(Error::new(ErrorKind::Refused, what));
    }
    create((store, id), options, env).await
}

/// Creates a domain's keys, for these credentials, all of them with the role full.
pub(super) async fn create(
    (store, id): (&Arc<dyn Store>, RepoId),
    options: InitOptions,
    env: &Env,
) -> Result<()> {
    if options.credentials.is_empty() {
        return Err(Error::new(ErrorKind::Input, "a domain needs at least one passphrase or key file"));
    }
    let layout = Layout::new(options.domain.clone());
    let keys = DomainKeys::generate(id, options.domain, env);
    let (credentials, with) = (options.credentials, env.clone());
    let stretch = move || -> std::result::Result<Vec<Access>, KeyError> {
        credentials.iter().map(|c| Access::of(c, Role::Full, "", &with)).collect()
    };
    let accesses = tokio::task::spawn_blocking(stretch).await;
    let accesses = accesses.context(ErrorKind::Internal, || "stretch a passphrase".to_owned())?;
    let accesses = accesses.context(ErrorKind::Key, || "make the keys".to_owned())?;
    if stored::create((&**store, &layout), &keys, accesses, env).await? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, format!("there are keys of domain {} here already", layout.domain())))
}

/// The names of all domains, in order: one request for each.
pub async fn list(store: &dyn Store) -> Result<Vec<DomainName>> {
    let mut domains = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let listed = store.list("", after.as_ref()).try_next().await;
        let Some(object) = listed.map_err(|e| store_error("list domains", e))? else { return Ok(domains) };
        let domain = of(&object.key);
        // `~` would sort behind all that a key may hold; `zzzz` behind every letter's folder.
        after = match domain {
            Some(domain) => {
                let next = Key::new(format!("{domain}/zzzz"));
                domains.push(domain);
                next.ok()
            }
            None => Some(object.key),
        };
    }
}

/// The domain that an object belongs to, by its key: below the domain's folder lie folders of one letter.
pub(super) fn of(key: &Key) -> Option<DomainName> {
    let (first, rest) = key.as_str().split_once('/')?;
    let mut letters = rest.chars();
    let is_letters = letters.next().is_some_and(|c| c.is_ascii_lowercase()) && letters.next() == Some('/');
    first.parse().ok().filter(|_| is_letters)
}
