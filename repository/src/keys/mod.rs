//! The domain's keys, and the credentials that wrap them.
//!
//! A domain has id, chunker and mark keys, made once and for ever, and one random key per epoch from which the keys
//! of packs and objects are derived. Key bytes are wiped when dropped and never printed.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec::Malformed;
use crate::env::Env;
use crate::ids::{BlobId, DomainName, RepoId};

mod credential;
mod wrap;

pub use credential::{Credential, CredentialError};
pub use wrap::{WrapKind, unwrap_any, wrap};

/// Why keys could not be opened.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No wrap opens with this credential.
    #[error("wrong {credential}: none of the {tried} key wraps of domain {domain} opens with it")]
    Wrong {
        /// `passphrase` or `key file`.
        credential: &'static str,
        /// Wraps of that kind.
        tried: usize,
        /// The domain.
        domain: DomainName,
    },
    /// The domain has wraps, but none for this kind of credential.
    #[error("domain {domain} has no wrap for a {credential} (it has {others} of other kinds)")]
    NoneOfKind {
        /// `passphrase` or `key file`.
        credential: &'static str,
        /// The domain.
        domain: DomainName,
        /// Wraps of other kinds.
        others: usize,
    },
    /// A wrap opened, but what is in it makes no sense.
    #[error("key wrap {0}: {1}")]
    Damaged(String, String),
    /// Sealed under an epoch that the bundle lacks.
    #[error("no key of epoch {0}: this bundle is older than the data")]
    NoEpoch(u32),
}

impl From<Malformed> for KeyError {
    fn from(e: Malformed) -> Self {
        Self::Damaged("?".to_owned(), e.to_string())
    }
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

/// The keys of one domain.
pub struct DomainKeys {
    repo: RepoId,
    domain: DomainName,
    id_key: Zeroizing<[u8; 32]>,
    chunker_key: Zeroizing<[u8; 32]>,
    mark_key: Zeroizing<[u8; 32]>,
    epochs: BTreeMap<u32, Zeroizing<[u8; 32]>>,
    sizes: ChunkSizes,
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs: Vec<_> = self.epochs.keys().collect();
        f.debug_struct("DomainKeys")
            .field("domain", &self.domain)
            .field("epochs", &epochs)
            .finish_non_exhaustive()
    }
}

/// The one chunker there is: `fastcdc` v2020 with a keyed table at normalization level 3.
const CHUNKER_FASTCDC_KEYED: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Bundle {
    #[prost(bytes = "vec", tag = "1")]
    repo: Vec<u8>,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(bytes = "vec", tag = "3")]
    id_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    chunker_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    mark_key: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    epochs: Vec<BundleEpoch>,
    #[prost(uint32, tag = "7")]
    chunker: u32,
    #[prost(uint32, tag = "8")]
    chunk_min: u32,
    #[prost(uint32, tag = "9")]
    chunk_avg: u32,
    #[prost(uint32, tag = "10")]
    chunk_max: u32,
}

#[derive(Clone, PartialEq, Message)]
struct BundleEpoch {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for key in [&mut self.id_key, &mut self.chunker_key, &mut self.mark_key] {
            key.zeroize();
        }
        for epoch in &mut self.epochs {
            epoch.key.zeroize();
        }
    }
}

impl DomainKeys {
    /// New random keys, with epoch 1.
    #[must_use]
    pub fn generate(repo: RepoId, domain: DomainName, env: &Env) -> Self {
        let fresh = || Zeroizing::new(env.random::<32>());
        Self {
            repo,
            domain,
            id_key: fresh(),
            chunker_key: fresh(),
            mark_key: fresh(),
            epochs: BTreeMap::from([(1, fresh())]),
            sizes: ChunkSizes::default(),
        }
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> RepoId {
        self.repo
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The chunker's table comes from this.
    #[must_use]
    pub fn chunker_key(&self) -> &[u8; 32] {
        &self.chunker_key
    }

    /// Marks are hashed under this.
    #[must_use]
    pub fn mark_key(&self) -> &[u8; 32] {
        &self.mark_key
    }

    /// Decides where the item stream is cut; derived from the id key.
    #[must_use]
    pub fn tree_key(&self) -> [u8; 32] {
        blake3::derive_key("holdfast 2026 item tree cut v1", &*self.id_key)
    }

    /// Sizes of chunks.
    #[must_use]
    pub fn chunk_sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The id of a blob with these plain bytes.
    #[must_use]
    pub fn blob_id(&self, plain: &[u8]) -> BlobId {
        BlobId(*blake3::keyed_hash(&self.id_key, plain).as_bytes())
    }

    /// The epoch that new things are sealed under.
    #[must_use]
    pub fn newest_epoch(&self) -> u32 {
        self.epochs.last_key_value().map_or(0, |(n, _)| *n)
    }

    /// The key of an epoch.
    pub(crate) fn epoch(&self, number: u32) -> Result<&[u8; 32], KeyError> {
        self.epochs.get(&number).map(|k| &**k).ok_or(KeyError::NoEpoch(number))
    }

    fn to_bundle(&self) -> Zeroizing<Vec<u8>> {
        let epoch =
            |(number, key): (&u32, &Zeroizing<[u8; 32]>)| BundleEpoch { number: *number, key: key.to_vec() };
        let bundle = Bundle {
            repo: self.repo.0.to_vec(),
            domain: self.domain.to_string(),
            id_key: self.id_key.to_vec(),
            chunker_key: self.chunker_key.to_vec(),
            mark_key: self.mark_key.to_vec(),
            epochs: self.epochs.iter().map(epoch).collect(),
            chunker: CHUNKER_FASTCDC_KEYED,
            chunk_min: self.sizes.min,
            chunk_avg: self.sizes.avg,
            chunk_max: self.sizes.max,
        };
        Zeroizing::new(bundle.encode_to_vec())
    }

    fn from_bundle(bytes: &[u8]) -> Result<Self, String> {
        let bundle = Bundle::decode(bytes).map_err(|e| e.to_string())?;
        let key = |bytes: &[u8], what: &str| {
            <[u8; 32]>::try_from(bytes)
                .map(Zeroizing::new)
                .map_err(|_| format!("the {what} key has not 32 bytes"))
        };
        if bundle.chunker != CHUNKER_FASTCDC_KEYED {
            return Err(format!("chunker {} is not known to this version", bundle.chunker));
        }
        let mut epochs = BTreeMap::new();
        for epoch in &bundle.epochs {
            epochs.insert(epoch.number, key(&epoch.key, "epoch")?);
        }
        if epochs.is_empty() {
            return Err("it has no epoch".to_owned());
        }
        Ok(Self {
            repo: RepoId(bundle.repo.as_slice().try_into().map_err(|_| "bad repository id")?),
            domain: bundle.domain.parse().map_err(|_| "bad domain name")?,
            id_key: key(&bundle.id_key, "id")?,
            chunker_key: key(&bundle.chunker_key, "chunker")?,
            mark_key: key(&bundle.mark_key, "mark")?,
            epochs,
            sizes: ChunkSizes { min: bundle.chunk_min, avg: bundle.chunk_avg, max: bundle.chunk_max },
        })
    }
}

#[cfg(test)]
mod tests;
