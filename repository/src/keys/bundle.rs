//! What a ring holds, as protobuf: everything for a full credential, without secrets of data for a writer's.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use zeroize::{Zeroize as _, Zeroizing};

use super::access::{Access, Argon, CredentialId, Kind, Role};
use super::pair::{PublicKey, SecretKey};
use super::{ChunkSizes, Epoch, Identity, Ring};
use crate::env::Timestamp;
use crate::ids::RepoId;

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
    #[prost(uint32, tag = "11")]
    version: u32,
    #[prost(uint32, tag = "12")]
    role: u32,
    #[prost(message, repeated, tag = "13")]
    credentials: Vec<BundleAccess>,
}

#[derive(Clone, PartialEq, Message)]
struct BundleEpoch {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    data_public: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    data_secret: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BundleAccess {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    role: u32,
    #[prost(string, tag = "4")]
    label: String,
    #[prost(sint64, tag = "5")]
    added: i64,
    #[prost(uint32, tag = "6")]
    memory_kib: u32,
    #[prost(uint32, tag = "7")]
    passes: u32,
    #[prost(uint32, tag = "8")]
    lanes: u32,
    #[prost(bytes = "vec", tag = "9")]
    salt: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    public: Vec<u8>,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for key in [&mut self.id_key, &mut self.chunker_key, &mut self.mark_key] {
            key.zeroize();
        }
        for epoch in &mut self.epochs {
            epoch.key.zeroize();
            epoch.data_secret.zeroize();
        }
    }
}

/// The bytes that a credential of this role gets.
pub(super) fn encode(identity: &Identity, ring: &Ring, role: Role) -> Zeroizing<Vec<u8>> {
    let is_full = role == Role::Full;
    let epoch = |(number, epoch): (&u32, &Arc<Epoch>)| BundleEpoch {
        number: *number,
        key: epoch.key.to_vec(),
        data_public: epoch.data_public.0.to_vec(),
        data_secret: match &epoch.data_secret {
            Some(secret) if is_full => secret.bytes().to_vec(),
            _ => Vec::new(),
        },
    };
    let bundle = Bundle {
        repo: identity.repo.0.to_vec(),
        domain: identity.domain.to_string(),
        id_key: identity.id_key.to_vec(),
        chunker_key: identity.chunker_key.to_vec(),
        mark_key: identity.mark_key.to_vec(),
        epochs: ring.epochs.iter().map(epoch).collect(),
        chunker: CHUNKER_FASTCDC_KEYED,
        chunk_min: identity.sizes.min,
        chunk_avg: identity.sizes.avg,
        chunk_max: identity.sizes.max,
        version: ring.version,
        role: role as u32,
        credentials: if is_full { ring.credentials.iter().map(encode_access).collect() } else { Vec::new() },
    };
    Zeroizing::new(bundle.encode_to_vec())
}

fn encode_access(access: &Access) -> BundleAccess {
    BundleAccess {
        id: access.id.0.to_vec(),
        kind: access.kind as u32,
        role: access.role as u32,
        label: access.label.clone(),
        added: access.added.0,
        memory_kib: access.argon.memory_kib,
        passes: access.argon.passes,
        lanes: access.argon.lanes,
        salt: access.salt.to_vec(),
        public: access.public.0.to_vec(),
    }
}

/// Reads what [`encode`] wrote, or says what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Identity, Ring), String> {
    let bundle = Bundle::decode(bytes).map_err(|e| e.to_string())?;
    if bundle.chunker != CHUNKER_FASTCDC_KEYED {
        return Err(format!("chunker {} is not known to this version", bundle.chunker));
    }
    let role = Role::from_number(bundle.role).ok_or_else(|| format!("role {} is not known", bundle.role))?;
    let mut epochs = BTreeMap::new();
    for epoch in &bundle.epochs {
        let decoded = decode_epoch(epoch, role).map_err(|what| format!("epoch {}: {what}", epoch.number))?;
        if epochs.insert(epoch.number, Arc::new(decoded)).is_some() {
            return Err(format!("epoch {} is there twice", epoch.number));
        }
    }
    if epochs.is_empty() {
        return Err("it has no epoch".to_owned());
    }
    let identity = Identity {
        repo: RepoId(bundle.repo.as_slice().try_into().map_err(|_| "bad repository id")?),
        domain: bundle.domain.parse().map_err(|_| "bad domain name")?,
        id_key: key(&bundle.id_key, "id")?,
        chunker_key: key(&bundle.chunker_key, "chunker")?,
        mark_key: key(&bundle.mark_key, "mark")?,
        sizes: ChunkSizes { min: bundle.chunk_min, avg: bundle.chunk_avg, max: bundle.chunk_max },
    };
    let credentials = bundle.credentials.iter().map(decode_access).collect::<Result<_, _>>()?;
    Ok((identity, Ring { version: bundle.version, role, epochs, credentials }))
}

fn key(bytes: &[u8], what: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    <[u8; 32]>::try_from(bytes).map(Zeroizing::new).map_err(|_| format!("the {what} key has not 32 bytes"))
}

fn decode_epoch(epoch: &BundleEpoch, role: Role) -> Result<Epoch, String> {
    let data_public = PublicKey(*key(&epoch.data_public, "public data")?);
    let data_secret = match role {
        Role::Writer => None,
        Role::Full => {
            let secret = SecretKey::new(key(&epoch.data_secret, "secret data")?);
            if secret.public() != data_public {
                return Err("the halves of its data key do not fit".to_owned());
            }
            Some(secret)
        }
    };
    Ok(Epoch { key: key(&epoch.key, "epoch")?, data_public, data_secret })
}

fn decode_access(access: &BundleAccess) -> Result<Access, String> {
    let bad = || format!("credential {:?} is not known to this version", access.label);
    Ok(Access {
        id: CredentialId(access.id.as_slice().try_into().map_err(|_| bad())?),
        kind: Kind::from_number(access.kind).ok_or_else(bad)?,
        role: Role::from_number(access.role).ok_or_else(bad)?,
        label: access.label.clone(),
        added: Timestamp(access.added),
        argon: Argon { memory_kib: access.memory_kib, passes: access.passes, lanes: access.lanes },
        salt: access.salt.as_slice().try_into().map_err(|_| bad())?,
        public: PublicKey(access.public.as_slice().try_into().map_err(|_| bad())?),
    })
}
