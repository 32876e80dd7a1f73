//! What changes of keys ask of the repository.

use std::fmt::Debug;

use async_trait::async_trait;
use repository::Result;
use repository::keys::stored::Changed;
use repository::keys::{Access, PublicKey, Role};
use repository::ops::forget::Because;
use repository::ops::keys::{self, KeyList, NewCredential};
use repository::ops::noted;

use super::RepositoryEngine;

/// The domain's keys. Changes are recorded in the audit, under who asked for them; this process uses them at once, agents learn them
/// with their next session.
#[async_trait]
pub trait Keyring: Send + Sync + Debug {
    /// Who may open the domain.
    async fn list_keys(&self) -> Result<KeyList>;
    /// Lets the owner of this public key in.
    async fn add_key(
        &self,
        key: PublicKey,
        role: Role,
        label: &str,
        because: &Because,
    ) -> Result<(Access, Changed)>;
    /// Takes a credential out, by its label, its id, or the id's first digits.
    async fn remove_key(&self, which: &str, because: &Because) -> Result<(Access, Changed)>;
    /// Begins a new epoch.
    async fn rotate_keys(&self, because: &Because) -> Result<Changed>;
}

#[async_trait]
impl Keyring for RepositoryEngine {
    async fn list_keys(&self) -> Result<KeyList> {
        keys::list(&self.repo).await
    }

    async fn add_key(
        &self,
        key: PublicKey,
        role: Role,
        label: &str,
        because: &Because,
    ) -> Result<(Access, Changed)> {
        let new = NewCredential::Recipient(key);
        keys::add(&self.repo, new, role, label, &noted::author(because)).await
    }

    async fn remove_key(&self, which: &str, because: &Because) -> Result<(Access, Changed)> {
        let access = keys::find(&keys::list(&self.repo).await?.credentials, which)?;
        let changed = keys::remove(&self.repo, access.id, &noted::author(because)).await?;
        Ok((access, changed))
    }

    async fn rotate_keys(&self, because: &Because) -> Result<Changed> {
        keys::rotate(&self.repo, &noted::author(because)).await
    }
}
