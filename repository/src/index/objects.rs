//! Small sealed objects: read, listed, and created with an answer that survives lost replies.
//!
//! Everything but packs goes through here. Nothing here decides what an object means.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::blob::seal::{SealError, seal_object, unseal_object};
use crate::env::Env;
use crate::error::Context as _;
use crate::keys::stored::refresh;
use crate::keys::{DomainKeys, KeyError};
use crate::layout::{Layout, ObjectKind};
use crate::limits::{OBJECT_BYTES_MAX, PUTS_MAX};
use crate::store::{Key, Put, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// The sealed objects of one domain.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The store that holds them.
    pub store: Arc<dyn Store>,
    /// Their names.
    pub layout: Layout,
    /// What seals them.
    pub keys: Arc<DomainKeys>,
    /// Time and randomness.
    pub env: Env,
}

/// Whose an object is, after [`Objects::put_own`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Ours: exactly the bytes that we put are there.
    Ours,
    /// Somebody else was first; these are the sealed bytes.
    Others(Bytes),
}

impl Objects {
    /// Seals `plain` as the object `key`.
    #[must_use]
    pub fn seal(&self, kind: ObjectKind, key: &Key, plain: &[u8]) -> Bytes {
        seal_object(&self.keys, kind, key, plain, &self.env)
    }

    /// Unseals the object `key`, with the keys that are known.
    pub fn unseal(&self, kind: ObjectKind, key: &Key, sealed: &[u8]) -> Result<Vec<u8>> {
        unseal_object(&self.keys, kind, key, sealed).context(ErrorKind::Damaged, || format!("unseal {key}"))
    }

    /// Unseals the object `key`; one of an epoch that is not known yet after reading the keys again.
    pub async fn unseal_fresh(&self, kind: ObjectKind, key: &Key, sealed: &[u8]) -> Result<Vec<u8>> {
        match self.unseal(kind, key, sealed) {
            Err(e) if lacks_epoch(&e) && self.refresh_keys().await? => self.unseal(kind, key, sealed),
            other => other,
        }
    }

    /// Reads the domain's keys again: epochs may have been added. True if there were newer ones.
    pub async fn refresh_keys(&self) -> Result<bool> {
        refresh(&*self.store, &self.layout, &self.keys).await
    }

    /// The plain content of `key`, or `None` where there is no such object.
    pub async fn find(&self, kind: ObjectKind, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.store.get(key).await {
            Ok(sealed) => self.unseal_fresh(kind, key, &sealed).await.map(Some),
            Err(e) if e.kind == StoreErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::with_source(ErrorKind::Store, format!("read {key}"), e)),
        }
    }

    /// All keys below a folder, in order; those up to and including `after` left out.
    pub async fn list(&self, folder: &str, after: Option<&Key>) -> Result<Vec<Key>> {
        let keys = self.store.list(folder, after).map_ok(|l| l.key).try_collect().await;
        keys.context(ErrorKind::Store, || format!("list {folder}"))
    }

    /// Creates `key` and says whose it is then. "Already exists" may be our own object, of a try whose reply was lost,
    /// and so may be what lies behind an error: it is read back and compared whole.
    pub async fn put_own(&self, key: &Key, sealed: &Bytes) -> Result<Whose> {
        if sealed.len() > OBJECT_BYTES_MAX {
            let what = format!("{key} would have {} bytes, more than can be read again", sealed.len());
            return Err(Error::new(ErrorKind::Internal, what));
        }
        let mut failed = None;
        for _ in 0..PUTS_MAX {
            match self.store.put_new(key, sealed.clone()).await {
                Ok(Put::Created) => return Ok(Whose::Ours),
                Ok(Put::AlreadyExists) => {}
                Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
                Err(e) => return Err(Error::with_source(ErrorKind::Store, format!("create {key}"), e)),
            }
            match self.store.get(key).await {
                Ok(found) if found == *sealed => return Ok(Whose::Ours),
                Ok(found) => return Ok(Whose::Others(found)),
                Err(e) if e.kind == StoreErrorKind::NotFound => {}
                Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
                Err(e) => return Err(Error::with_source(ErrorKind::Store, format!("read {key} back"), e)),
            }
        }
        let what = format!("create {key}: whether it exists now is unknown");
        Err(match failed {
            Some(e) => Error::with_source(ErrorKind::Store, what, e),
            None => Error::new(ErrorKind::Store, what),
        })
    }
}

/// True where a key ring that is newer might help.
fn lacks_epoch(e: &Error) -> bool {
    let source = std::error::Error::source(e).and_then(|e| e.downcast_ref::<SealError>());
    matches!(source, Some(SealError::Key(KeyError::NoEpoch(_))))
}
