//! A wrap: the whole key bundle, sealed for one credential, as one object under `k/`.
//!
//! Layout: `HF` `k` version 1 · kind · cipher · two zero bytes · argon2 memory KiB, passes, lanes (u32 LE each, zero
//! for key files) · salt 32 · commitment 16 · sealed bundle. All before the sealed bundle is authenticated with it.

use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Credential, DomainKeys, KeyError};
use crate::blob::seal::{COMMITMENT_LEN, Cipher, SealingKey};
use crate::codec::Reader;
use crate::env::Env;
use crate::ids::{DomainName, RepoId};
use crate::store::Key;

const MAGIC: &[u8; 4] = b"HFk\x01";
const HEADER_LEN: usize = 4 + 4 + 12 + 32 + COMMITMENT_LEN;
/// What a new passphrase wrap costs to try: 64 MiB, 3 passes.
const ARGON_NEW: Argon = Argon { memory_kib: 64 << 10, passes: 3, lanes: 1 };
/// A wrap that asks for more is refused: a hostile store must not exhaust the reader.
const ARGON_MAX: Argon = Argon { memory_kib: 1 << 20, passes: 32, lanes: 16 };

/// What kind of credential a wrap is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WrapKind {
    /// A passphrase.
    Passphrase = 1,
    /// A key file.
    KeyFile = 2,
}

#[derive(Clone, Copy)]
struct Argon {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

struct Header {
    kind: u8,
    cipher: u8,
    argon: Argon,
    salt: [u8; 32],
    commitment: [u8; COMMITMENT_LEN],
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[self.kind, self.cipher, 0, 0]);
        for n in [self.argon.memory_kib, self.argon.passes, self.argon.lanes] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.commitment);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        if r.array::<4>("magic").ok()? != *MAGIC {
            return None;
        }
        let [kind, cipher, 0, 0] = r.array::<4>("kind").ok()? else { return None };
        let mut number = || r.array::<4>("number").ok().map(u32::from_le_bytes);
        let argon = Argon { memory_kib: number()?, passes: number()?, lanes: number()? };
        Some(Self {
            kind,
            cipher,
            argon,
            salt: r.array("salt").ok()?,
            commitment: r.array("commitment").ok()?,
        })
    }
}

fn kind_of(credential: &Credential) -> WrapKind {
    match credential {
        Credential::Passphrase(_) => WrapKind::Passphrase,
        Credential::KeyFile(_) => WrapKind::KeyFile,
    }
}

/// Turns a credential into the key that seals the bundle.
fn stretch(credential: &Credential, argon: Argon, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, String> {
    match credential {
        Credential::KeyFile(key) => Ok(key.clone()),
        Credential::Passphrase(text) => {
            if argon.memory_kib > ARGON_MAX.memory_kib
                || argon.passes > ARGON_MAX.passes
                || argon.lanes > ARGON_MAX.lanes
            {
                return Err("it asks for an unreasonable amount of work".to_owned());
            }
            let params = Params::new(argon.memory_kib, argon.passes, argon.lanes, Some(32))
                .map_err(|e| format!("bad argon2 parameters: {e}"))?;
            let mut out = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(text.as_bytes(), salt, &mut *out)
                .map_err(|e| format!("argon2: {e}"))?;
            Ok(out)
        }
    }
}

fn aad(header: &[u8], repo: RepoId, domain: &DomainName, key: &Key) -> Vec<u8> {
    let mut out = header.to_vec();
    out.extend_from_slice(&repo.0);
    out.extend_from_slice(domain.as_str().as_bytes());
    out.push(0);
    out.extend_from_slice(key.as_str().as_bytes());
    out
}

const CONTEXT: &str = "holdfast 2026 key wrap v1";

/// Seals the bundle for one credential, to be stored under `key`.
pub fn wrap(keys: &DomainKeys, credential: &Credential, key: &Key, env: &Env) -> Result<Bytes, KeyError> {
    let damaged = |what: String| KeyError::Damaged(key.to_string(), what);
    let kind = kind_of(credential);
    let argon = match kind {
        WrapKind::Passphrase => ARGON_NEW,
        WrapKind::KeyFile => Argon { memory_kib: 0, passes: 0, lanes: 0 },
    };
    let salt = env.random::<32>();
    let cipher = Cipher::of_this_machine();
    let kek = stretch(credential, argon, &salt).map_err(damaged)?;
    let sealing = SealingKey::derive(CONTEXT, &[&*kek, &salt], cipher);
    let header =
        Header { kind: kind as u8, cipher: cipher as u8, argon, salt, commitment: sealing.commitment() };
    let mut out = header.encode();
    let mut body = keys.to_bundle();
    let aad = aad(&out, keys.repo(), keys.domain(), key);
    let tag = sealing.seal_in_place(0, &aad, &mut body);
    out.extend_from_slice(&body);
    out.extend_from_slice(&tag);
    Ok(Bytes::from(out))
}

/// Opens the first of these wraps that this credential fits.
pub fn unwrap_any(
    wraps: &[(Key, Bytes)],
    credential: &Credential,
    repo: RepoId,
    domain: &DomainName,
) -> Result<DomainKeys, KeyError> {
    let (mut tried, mut others, mut broken) = (0, 0, None);
    for (key, bytes) in wraps {
        let Some((head, body)) = bytes.split_at_checked(HEADER_LEN) else {
            broken = Some(KeyError::Damaged(key.to_string(), "too short".to_owned()));
            continue;
        };
        let Some(header) = Header::decode(head) else {
            broken = Some(KeyError::Damaged(key.to_string(), "not a key wrap of this version".to_owned()));
            continue;
        };
        if header.kind != kind_of(credential) as u8 {
            others += 1;
            continue;
        }
        tried += 1;
        match open(&header, head, body, (key, credential, repo, domain)) {
            Ok(Some(keys)) => return Ok(keys),
            Ok(None) => {}
            Err(what) => broken = Some(KeyError::Damaged(key.to_string(), what)),
        }
    }
    match broken {
        Some(e) => Err(e),
        None if tried == 0 => {
            Err(KeyError::NoneOfKind { credential: credential.kind(), domain: domain.clone(), others })
        }
        None => Err(KeyError::Wrong { credential: credential.kind(), tried, domain: domain.clone() }),
    }
}

/// `None` when the credential is another one.
fn open(
    header: &Header,
    head: &[u8],
    body: &[u8],
    (key, credential, repo, domain): (&Key, &Credential, RepoId, &DomainName),
) -> Result<Option<DomainKeys>, String> {
    let cipher = Cipher::from_byte(header.cipher).ok_or("its cipher is not known to this version")?;
    let kek = stretch(credential, header.argon, &header.salt)?;
    let sealing = SealingKey::derive(CONTEXT, &[&*kek, &header.salt], cipher);
    if sealing.commitment() != header.commitment {
        return Ok(None);
    }
    let mut body = Zeroizing::new(body.to_vec());
    let plain = sealing
        .open_in_place(0, &aad(head, repo, domain, key), &mut body)
        .ok_or("it is damaged, or belongs to another repository or domain")?;
    let keys = DomainKeys::from_bundle(plain)?;
    if keys.repo() != repo || keys.domain() != domain {
        return Err("it belongs to another repository or domain".to_owned());
    }
    Ok(Some(keys))
}
