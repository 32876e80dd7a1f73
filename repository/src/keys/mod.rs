//! The domain's keys, and the credentials that open them.
//!
//! A domain has id, chunker and mark keys, made once and for ever. Each epoch adds a random key, from which the keys of
//! metadata and small objects are derived, and a key pair for data: its public half seals, its secret half opens, so
//! that a *writer* can back up without being able to read what was backed up. All of it is a *ring*, stored as one
//! object for each version (`ring`), read and replaced by `stored`. Key bytes are wiped when dropped and never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::ids::{BlobId, DomainName, RepoId};

mod access;
mod bundle;
mod change;
mod credential;
mod export;
mod pair;
mod ring;
pub mod stored;

pub use access::{Access, CredentialId, Kind, Role};
pub use credential::{Credential, CredentialError};
pub use export::{Export, export, import};
pub use pair::{InvalidPublicKey, PublicKey, SecretKey};

/// Why keys could not be opened, or not be changed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No wrap opens with this credential.
    #[error("wrong {credential}: none of the {tried} key wraps of domain {domain} opens with it")]
    Wrong {
        /// Its kind.
        credential: Kind,
        /// Wraps of that kind.
        tried: usize,
        /// The domain.
        domain: DomainName,
    },
    /// The domain has wraps, but none for this kind of credential.
    #[error("domain {domain} has no wrap for a {credential} (it has {others} of other kinds)")]
    NoneOfKind {
        /// Its kind.
        credential: Kind,
        /// The domain.
        domain: DomainName,
        /// Wraps of other kinds.
        others: usize,
    },
    /// The credential opened an earlier ring, and has no wrap in the newest.
    #[error("the credential in use was removed from domain {0}")]
    Removed(DomainName),
    /// What is in a ring makes no sense.
    #[error("key ring {0}: {1}")]
    Damaged(String, String),
    /// Sealed under an epoch that the ring lacks.
    #[error("no key of epoch {0}: this ring is older than the data")]
    NoEpoch(u32),
    /// A writer's ring can't open data.
    #[error("the credential in use has the role writer, which does not open what files hold")]
    WriterOnly,
    /// The change makes no sense.
    #[error("{0}")]
    Credential(String),
}

/// The sizes of chunks, kept with the keys: both decide where content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// Smallest, bytes.
    pub min: u32,
    /// Aimed at, bytes.
    pub avg: u32,
    /// Largest, bytes.
    pub max: u32,
}

impl Default for ChunkSizes {
    fn default() -> Self {
        Self { min: 512 << 10, avg: 1 << 20, max: 4 << 20 }
    }
}

/// What never changes in a domain.
struct Identity {
    repo: RepoId,
    domain: DomainName,
    id_key: Zeroizing<[u8; 32]>,
    chunker_key: Zeroizing<[u8; 32]>,
    mark_key: Zeroizing<[u8; 32]>,
    sizes: ChunkSizes,
}

impl Identity {
    fn is(&self, other: &Self) -> bool {
        let keys = |i: &Self| [*i.id_key, *i.chunker_key, *i.mark_key];
        self.repo == other.repo
            && self.domain == other.domain
            && keys(self) == keys(other)
            && self.sizes == other.sizes
    }
}

/// The keys of one epoch.
pub(crate) struct Epoch {
    /// Metadata and small objects.
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// Seals data.
    pub(crate) data_public: PublicKey,
    /// Opens data; a writer does not have it.
    pub(crate) data_secret: Option<SecretKey>,
}

impl Epoch {
    fn generate(env: &Env) -> Self {
        let secret = SecretKey::generate(env);
        Self { key: Zeroizing::new(env.random()), data_public: secret.public(), data_secret: Some(secret) }
    }
}

/// One version of the domain's keys.
#[derive(Clone)]
struct Ring {
    version: u32,
    /// Whose copy this is.
    role: Role,
    epochs: BTreeMap<u32, Arc<Epoch>>,
    /// Empty in a writer's.
    credentials: Vec<Access>,
}

impl Ring {
    fn newest_epoch(&self) -> u32 {
        self.epochs.last_key_value().map_or(0, |(n, _)| *n)
    }
}

/// The keys of one domain. Epochs are added while they are in use, never changed: see [`stored::refresh`].
pub struct DomainKeys {
    identity: Identity,
    ring: RwLock<Arc<Ring>>,
    /// What opened them; `None` for keys that were never stored.
    secret: Option<SecretKey>,
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.ring();
        let epochs: Vec<_> = ring.epochs.keys().collect();
        f.debug_struct("DomainKeys")
            .field("domain", &self.identity.domain)
            .field("role", &ring.role)
            .field("version", &ring.version)
            .field("epochs", &epochs)
            .finish_non_exhaustive()
    }
}

impl DomainKeys {
    /// New random keys, with epoch 1 and no credential yet.
    #[must_use]
    pub fn generate(repo: RepoId, domain: DomainName, env: &Env) -> Self {
        let fresh = || Zeroizing::new(env.random::<32>());
        let identity = Identity {
            repo,
            domain,
            id_key: fresh(),
            chunker_key: fresh(),
            mark_key: fresh(),
            sizes: ChunkSizes::default(),
        };
        let epochs = BTreeMap::from([(1, Arc::new(Epoch::generate(env)))]);
        let ring = Ring { version: 1, role: Role::Full, epochs, credentials: Vec::new() };
        Self::of(identity, ring, None)
    }

    fn of(identity: Identity, ring: Ring, secret: Option<SecretKey>) -> Self {
        Self { identity, ring: RwLock::new(Arc::new(ring)), secret }
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a newer ring over. What is known already must be the same in it: nothing that was sealed may become
    /// unreadable, and no store may slip other keys in.
    fn install(&self, identity: &Identity, ring: Ring) -> Result<(), KeyError> {
        let contradicts = || {
            let what = "it contradicts the keys that were read before; is the store's content genuine?";
            KeyError::Damaged(format!("version {}", ring.version), what.to_owned())
        };
        let mut known = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let same = |(number, old): (&u32, &Arc<Epoch>)| {
            ring.epochs
                .get(number)
                .is_some_and(|new| new.key == old.key && new.data_public == old.data_public)
        };
        if !self.identity.is(identity) || !known.epochs.iter().all(same) {
            return Err(contradicts());
        }
        if ring.version > known.version {
            *known = Arc::new(ring);
        }
        Ok(())
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> RepoId {
        self.identity.repo
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &DomainName {
        &self.identity.domain
    }

    /// What the credential opens.
    #[must_use]
    pub fn role(&self) -> Role {
        self.ring().role
    }

    /// The version of the ring that is in use.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.ring().version
    }

    /// All credentials; a writer sees none.
    #[must_use]
    pub fn credentials(&self) -> Vec<Access> {
        self.ring().credentials.clone()
    }

    /// The credential in use, if it can be told.
    #[must_use]
    pub fn own_credential(&self) -> Option<CredentialId> {
        let public = self.secret.as_ref()?.public();
        self.ring().credentials.iter().find(|c| c.public == public).map(|c| c.id)
    }

    /// The chunker's table comes from this.
    #[must_use]
    pub fn chunker_key(&self) -> &[u8; 32] {
        &self.identity.chunker_key
    }

    /// Marks are hashed under this.
    #[must_use]
    pub fn mark_key(&self) -> &[u8; 32] {
        &self.identity.mark_key
    }

    /// Tells this domain's keys from others without revealing them: what a machine remembers of them.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let Identity { id_key, chunker_key, mark_key, .. } = &self.identity;
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 key fingerprint v1");
        for key in [id_key, chunker_key, mark_key] {
            hasher.update(&**key);
        }
        *hasher.finalize().as_bytes()
    }

    /// Decides where the item stream is cut; derived from the id key.
    #[must_use]
    pub fn tree_key(&self) -> [u8; 32] {
        blake3::derive_key("holdfast 2026 item tree cut v1", &*self.identity.id_key)
    }

    /// Sizes of chunks.
    #[must_use]
    pub fn chunk_sizes(&self) -> ChunkSizes {
        self.identity.sizes
    }

    /// The id of a blob with these plain bytes.
    #[must_use]
    pub fn blob_id(&self, plain: &[u8]) -> BlobId {
        BlobId(*blake3::keyed_hash(&self.identity.id_key, plain).as_bytes())
    }

    /// The epoch that new things are sealed under.
    #[must_use]
    pub fn newest_epoch(&self) -> u32 {
        self.ring().newest_epoch()
    }

    /// The keys of an epoch.
    pub(crate) fn epoch(&self, number: u32) -> Result<Arc<Epoch>, KeyError> {
        self.ring().epochs.get(&number).cloned().ok_or(KeyError::NoEpoch(number))
    }

    /// The newest epoch's number and keys.
    pub(crate) fn newest(&self) -> (u32, Arc<Epoch>) {
        let ring = self.ring();
        let (number, epoch) = ring.epochs.last_key_value().expect("a ring has an epoch");
        (*number, Arc::clone(epoch))
    }
}

#[cfg(test)]
mod tests;
