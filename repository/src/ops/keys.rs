//! The keys of a domain as people handle them: who may open it, who no longer may, new epochs, and copies for a drawer.
//!
//! What is changed here is changed by `keys::stored`; this adds what stretching costs, and words for the caller.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::init::describe;
use super::repo::read_id;
use super::{OpenOptions, Repository, audit};
use crate::env::Env;
use crate::error::Context as _;
use crate::ids::DomainName;
use crate::keys::stored::{self, Change, Changed};
use crate::keys::{Access, Credential, CredentialId, Export, KeyError, PublicKey, Role};
use crate::layout::Layout;
use crate::manifest::audit::Event;
use crate::store::Store;
use crate::{Error, ErrorKind, Result};

/// Who did what only the command line does.
pub const COMMAND: &str = "holdfast key";

/// What a domain's ring says of itself.
#[derive(Clone, Debug)]
pub struct KeyList {
    /// The domain.
    pub domain: DomainName,
    /// Who may open the domain.
    pub credentials: Vec<Access>,
    /// Which of them is in use.
    pub own: Option<CredentialId>,
    /// The ring's version.
    pub version: u32,
    /// The newest epoch: the number of rotations, and one.
    pub epoch: u32,
    /// How many of the ring's two copies are there and whole.
    pub copies: usize,
}

/// Whom to let in.
#[derive(Debug)]
pub enum NewCredential {
    /// Somebody whose credential is at hand.
    Held(Credential),
    /// The owner of the secret half of this key.
    Recipient(PublicKey),
}

/// Lists who may open the domain, as the store has it now. Needs the role full.
pub async fn list(repo: &Repository) -> Result<KeyList> {
    need_full(repo, "list the keys")?;
    repo.objects().refresh_keys().await?;
    let whole = stored::find(&*repo.store, &repo.layout).await?.whole;
    Ok(KeyList {
        domain: repo.keys.domain().clone(),
        credentials: repo.keys.credentials(),
        own: repo.keys.own_credential(),
        version: repo.keys.version(),
        epoch: repo.keys.newest_epoch(),
        copies: whole.filter(|w| w.version == repo.keys.version()).map_or(0, |w| w.copies),
    })
}

/// Finds a credential by its label, its id, or the id's first digits.
pub fn find(list: &[Access], which: &str) -> Result<Access> {
    let by_label: Vec<_> = list.iter().filter(|a| !a.label.is_empty() && a.label == which).collect();
    let by_id = || list.iter().filter(|a| !which.is_empty() && a.id.to_string().starts_with(which)).collect();
    let found: Vec<&Access> = if by_label.is_empty() { by_id() } else { by_label };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::new(ErrorKind::NotFound, format!("no credential has the label or id {which:?}"))),
        _ => Err(Error::new(ErrorKind::Input, format!("{which:?} names several credentials"))),
    }
}

/// Lets a credential in. `by` is who wants it, for the audit.
pub async fn add(
    repo: &Repository,
    new: NewCredential,
    role: Role,
    label: &str,
    by: &str,
) -> Result<(Access, Changed)> {
    need_full(repo, "add a key")?;
    let access = stretched(new, role, label.to_owned(), &repo.env).await?;
    let changed = change(repo, Change::Add(access.clone())).await?;
    note(repo, by, &format!("added {}", described(&access))).await;
    Ok((access, changed))
}

async fn stretched(new: NewCredential, role: Role, label: String, env: &Env) -> Result<Access> {
    let env = env.clone();
    let make = move || match new {
        NewCredential::Held(credential) => Access::of(&credential, role, &label, &env),
        NewCredential::Recipient(key) => Access::of_recipient(key, role, &label, &env),
    };
    let made = tokio::task::spawn_blocking(make).await;
    let made = made.context(ErrorKind::Internal, || "stretch a passphrase".to_owned())?;
    made.context(ErrorKind::Input, || "add a key".to_owned())
}

/// Takes a credential out. Its holder may have kept the keys that it opened: see [`rotate`].
pub async fn remove(repo: &Repository, id: CredentialId, by: &str) -> Result<Changed> {
    need_full(repo, "remove a key")?;
    let access = repo.keys.credentials().into_iter().find(|a| a.id == id);
    let changed = change(repo, Change::Remove(id)).await?;
    let what = access.map_or_else(|| format!("credential {id}"), |a| described(&a));
    note(repo, by, &format!("removed {what}")).await;
    Ok(changed)
}

/// Adds an epoch, under which everything is sealed from now on.
pub async fn rotate(repo: &Repository, by: &str) -> Result<Changed> {
    need_full(repo, "rotate the keys")?;
    let changed = change(repo, Change::Rotate).await?;
    note(repo, by, &format!("began epoch {}", changed.epoch)).await;
    Ok(changed)
}

/// A credential as the audit tells of it.
fn described(access: &Access) -> String {
    let label = if access.label.is_empty() { String::new() } else { format!(", label {:?}", access.label) };
    format!("{} {} with the role {}{label}", access.kind, access.id, access.role)
}

async fn note(repo: &Repository, by: &str, what: &str) {
    audit::note(repo, by, Event::Keys(what.to_owned())).await;
}

async fn change(repo: &Repository, change: Change) -> Result<Changed> {
    stored::change((&*repo.store, &repo.layout), &repo.keys, &change, &repo.env).await
}

/// All keys as a text, sealed for `credential`, or bare.
pub async fn export(repo: &Repository, credential: Option<Credential>) -> Result<Zeroizing<String>> {
    need_full(repo, "export the keys")?;
    repo.objects().refresh_keys().await?;
    let (keys, env) = (Arc::clone(&repo.keys), repo.env.clone());
    let work = move || crate::keys::export(&keys, credential.as_ref(), &env);
    let text = tokio::task::spawn_blocking(work).await;
    let text = text.context(ErrorKind::Internal, || "export".to_owned())?;
    let text = text.context(ErrorKind::Key, || "export".to_owned())?;
    note(repo, COMMAND, "exported all keys").await;
    Ok(text)
}

/// Brings a domain's keys back from an export; also `repo.json`, if that is lost. `credential` opens a sealed export,
/// and opens the domain from then on. Says whether `repo.json` was written.
pub async fn import(
    store: &Arc<dyn Store>,
    export: Export,
    credential: Credential,
    replace: bool,
    env: &Env,
) -> Result<(Changed, bool)> {
    let nameless = match read_id(&**store).await {
        Ok(id) if id == export.repo() => false,
        Ok(id) => {
            let what = format!("the export is of repository {}, this is {id}", export.repo());
            return Err(Error::new(ErrorKind::Refused, what));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => true,
        Err(e) => return Err(e),
    };
    let (layout, repo, with) = (Layout::new(export.domain().clone()), export.repo(), env.clone());
    let open = move || -> std::result::Result<_, KeyError> {
        let keys = export.open(Some(&credential))?;
        let access = match keys.own_credential() {
            Some(_) => None,
            None => Some(Access::of(&credential, Role::Full, "", &with)?),
        };
        Ok((keys, access, credential))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.context(ErrorKind::Internal, || "open the export".to_owned())?;
    let (keys, access, credential) = opened.context(ErrorKind::Key, || "open the export".to_owned())?;
    let changed = stored::restore((&**store, &layout), &keys, (access, replace), env).await?;
    let described = nameless && describe(&**store, repo).await?.is_some();
    let domain = layout.domain().clone();
    let options = OpenOptions { domain, credential, cache_dir: None, remote: false, cpu_threads: 1 };
    let repo = Repository::open(Arc::clone(store), options, env.clone()).await?;
    note(&repo, COMMAND, &format!("brought the keys back from an export, as version {}", changed.version))
        .await;
    Ok((changed, described))
}

/// Refuses what a writer's credential can't do, naming it.
fn need_full(repo: &Repository, what: &str) -> Result<()> {
    if repo.keys.role() == Role::Full {
        return Ok(());
    }
    let what =
        format!("{what}: the credential in use has the role {}; this needs the role full", repo.keys.role());
    Err(Error::new(ErrorKind::Key, what))
}

impl Repository {
    /// Refuses work that reads what files hold where the credential can't: before it is begun, by name.
    pub fn need_data(&self, what: &str) -> Result<()> {
        need_full(self, &format!("{what} reads what files hold"))
    }
}
