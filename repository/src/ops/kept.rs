//! Metadata blobs of a store that is far away, kept in this machine's cache folder.
//!
//! They are sealed there as small objects are in the store, so that the folder tells no names of files. Whatever comes
//! out is checked against its id; what can't be read is a miss. A verification never asks here.

use std::sync::Arc;

use bytes::Bytes;

use super::Repository;
use crate::blob::seal::{seal_object, unseal_object};
use crate::env::Env;
use crate::ids::BlobId;
use crate::keys::DomainKeys;
use crate::layout::ObjectKind;
use crate::store::{Cache, Key};

/// The kept metadata of one domain.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    cache: Arc<Cache>,
    keys: Arc<DomainKeys>,
    env: Env,
}

impl Kept {
    /// Where the repository keeps metadata, if it does.
    pub(crate) fn of(repo: &Repository) -> Option<Self> {
        let cache = Arc::clone(repo.cache.as_ref()?);
        Some(Self { cache, keys: Arc::clone(&repo.keys), env: repo.env.clone() })
    }

    /// The blob with this id.
    pub(crate) async fn find(&self, id: BlobId) -> Option<Bytes> {
        let key = key(id)?;
        let sealed = self.cache.get(&key).await?;
        let plain = unseal_object(&self.keys, ObjectKind::Pack, &key, &sealed).ok();
        match plain.filter(|plain| self.keys.blob_id(plain) == id) {
            Some(plain) => Some(plain.into()),
            None => {
                self.cache.forget(&key).await;
                None
            }
        }
    }

    /// Keeps a blob that was read or written.
    pub(crate) async fn keep(&self, id: BlobId, plain: &[u8]) {
        if let Some(key) = key(id) {
            let sealed = seal_object(&self.keys, ObjectKind::Pack, &key, plain, &self.env);
            self.cache.keep(&key, &sealed).await;
        }
    }
}

/// Its name in the cache: no object of a store has one like it.
fn key(id: BlobId) -> Option<Key> {
    Key::new(format!("metadata/{id}")).ok()
}
