//! Sealing: authenticated encryption of frames of packs and of whole small objects.
//!
//! Every pack and object has its own key, derived from an epoch key and the object's own random salt, so that counter
//! nonces never repeat under a key. A commitment to the key stands in the header, because neither AES-GCM nor
//! ChaCha20-Poly1305 commits to its key by itself; it also tells a wrong key from damage.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use thiserror::Error;
use zeroize::Zeroize as _;

use crate::codec::Reader;
use crate::env::Env;
use crate::keys::{DomainKeys, KeyError};
use crate::layout::ObjectKind;
use crate::store::Key;

/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;
/// Bytes of a key commitment.
pub const COMMITMENT_LEN: usize = 16;
/// Bytes before the ciphertext of a sealed object.
pub const OBJECT_HEADER_LEN: usize = 4 + 1 + 4 + 32 + COMMITMENT_LEN;
const VERSION: u8 = 1;

/// The AEAD of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cipher {
    /// AES-256-GCM: the fastest where the processor has AES instructions.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305: everywhere else.
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// The faster one on this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        let has_aes = std::arch::is_x86_feature_detected!("aes");
        #[cfg(target_arch = "aarch64")]
        let has_aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let has_aes = false;
        if has_aes { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    /// From its stored byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// The key of one pack or object.
#[derive(Debug)]
pub struct SealingKey {
    key: LessSafeKey,
    commitment: [u8; COMMITMENT_LEN],
}

impl SealingKey {
    /// Derives key and commitment with BLAKE3 from `parts` (a secret first, then salt and whatever else must be bound)
    /// under a context string of its own for each use.
    #[must_use]
    pub fn derive(context: &str, parts: &[&[u8]], cipher: Cipher) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        hasher.update(&[cipher as u8]);
        let mut out = [0; 32 + COMMITMENT_LEN];
        hasher.finalize_xof().fill(&mut out);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&out[32..]);
        let key = UnboundKey::new(cipher.algorithm(), &out[..32]).expect("the key has the cipher's length");
        out.zeroize();
        hasher.zeroize();
        Self { key: LessSafeKey::new(key), commitment }
    }

    /// Tells this key from others without revealing it.
    #[must_use]
    pub fn commitment(&self) -> [u8; COMMITMENT_LEN] {
        self.commitment
    }

    /// Encrypts `data` in place and returns the tag. A `counter` is used once only.
    pub fn seal_in_place(&self, counter: u64, aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.key.seal_in_place_separate_tag(nonce(counter), Aad::from(aad), data);
        let tag = tag.expect("frames are far below the cipher's limit");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts ciphertext and tag in place; `None` if they are not what was sealed.
    pub fn open_in_place<'d>(&self, counter: u64, aad: &[u8], data: &'d mut [u8]) -> Option<&'d mut [u8]> {
        self.key.open_in_place(nonce(counter), Aad::from(aad), data).ok()
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Why a sealed thing does not open.
#[derive(Debug, Error)]
pub enum SealError {
    /// The header is not one of ours.
    #[error("not a sealed object of this kind and version")]
    Header,
    /// Keys are missing.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Sealed under another key.
    #[error("sealed under another key, or its header is damaged")]
    OtherKey,
    /// The content is not what was sealed.
    #[error("damaged: its content is not what was sealed under this name")]
    Damaged,
}

fn object_key(keys: &DomainKeys, epoch: u32, salt: &[u8], cipher: Cipher) -> Result<SealingKey, SealError> {
    Ok(SealingKey::derive("holdfast 2026 sealed object v1", &[&*keys.epoch(epoch)?.key, salt], cipher))
}

fn object_aad(keys: &DomainKeys, header: &[u8], key: &Key) -> Vec<u8> {
    let mut aad = header.to_vec();
    aad.extend_from_slice(&keys.repo().0);
    aad.extend_from_slice(keys.domain().as_str().as_bytes());
    aad.push(0);
    aad.extend_from_slice(key.as_str().as_bytes());
    aad
}

/// Seals a small object that will be stored under `key`: it opens under that name only.
#[must_use]
pub fn seal_object(keys: &DomainKeys, kind: ObjectKind, key: &Key, plain: &[u8], env: &Env) -> Bytes {
    let cipher = Cipher::of_this_machine();
    let salt = env.random::<32>();
    let epoch = keys.newest_epoch();
    let sealing = object_key(keys, epoch, &salt, cipher).expect("the newest epoch's key is in the bundle");
    let mut out = Vec::with_capacity(OBJECT_HEADER_LEN + plain.len() + TAG_LEN);
    out.extend_from_slice(&[b'H', b'F', kind as u8, VERSION, cipher as u8]);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&salt);
    out.extend_from_slice(&sealing.commitment());
    let aad = object_aad(keys, &out, key);
    out.extend_from_slice(plain);
    let tag = sealing.seal_in_place(0, &aad, &mut out[OBJECT_HEADER_LEN..]);
    out.extend_from_slice(&tag);
    Bytes::from(out)
}

/// Opens what [`seal_object`] made, if it is read from the same key.
pub fn unseal_object(
    keys: &DomainKeys,
    kind: ObjectKind,
    key: &Key,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (header, body) = sealed.split_at_checked(OBJECT_HEADER_LEN).ok_or(SealError::Header)?;
    let mut r = Reader::new(header);
    let mut parse = || {
        let start: [u8; 4] = r.array("magic").ok()?;
        let cipher = Cipher::from_byte(r.byte("cipher").ok()?)?;
        let epoch = u32::from_le_bytes(r.array("epoch").ok()?);
        let salt: [u8; 32] = r.array("salt").ok()?;
        let commitment: [u8; COMMITMENT_LEN] = r.array("commitment").ok()?;
        (start == [b'H', b'F', kind as u8, VERSION]).then_some((cipher, epoch, salt, commitment))
    };
    let (cipher, epoch, salt, commitment) = parse().ok_or(SealError::Header)?;
    let sealing = object_key(keys, epoch, &salt, cipher)?;
    if sealing.commitment() != commitment {
        return Err(SealError::OtherKey);
    }
    let mut body = body.to_vec();
    let len =
        sealing.open_in_place(0, &object_aad(keys, header, key), &mut body).ok_or(SealError::Damaged)?.len();
    body.truncate(len);
    Ok(body)
}

#[cfg(test)]
mod tests;
