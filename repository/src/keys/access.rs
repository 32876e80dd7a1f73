//! Who may open a domain: one [`Access`] for each credential, kept in the ring. It holds no secret of the credential:
//! whoever has the ring can seal new keys for all of them, and an expelled holder can open none of what follows.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::pair::{PublicKey, SecretKey};
use super::{Credential, KeyError};
use crate::env::{Env, Timestamp};
use crate::ids::hex;
use crate::limits::LABEL_BYTES_MAX;

/// What a credential opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Everything: reads, writes, changes keys.
    Full = 1,
    /// Backs up and deduplicates; reads names, sizes and times, but not what files hold.
    Writer = 2,
}

impl Role {
    /// From its stored number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Full),
            2 => Some(Self::Writer),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Writer => "writer",
        })
    }
}

/// The kind of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A passphrase: its key pair comes from argon2id.
    Passphrase = 1,
    /// A key file: it is the secret half of a pair, of which the public half is enough to be added.
    KeyFile = 2,
}

impl Kind {
    /// From its stored number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Passphrase),
            2 => Some(Self::KeyFile),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
        })
    }
}

/// Names a credential within its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(pub [u8; 4]);

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// What argon2id costs; zeros where there is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Argon {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Argon {
    /// What a new passphrase costs to try: 64 MiB, 3 passes.
    pub(super) const NEW: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
    /// A ring that asks for more is refused: a hostile store must not exhaust the reader.
    const MAX: Self = Self { memory_kib: 1 << 20, passes: 32, lanes: 16 };
    /// No passphrase.
    pub(super) const NONE: Self = Self { memory_kib: 0, passes: 0, lanes: 0 };
}

/// One credential as the ring knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its name.
    pub id: CredentialId,
    /// Its kind.
    pub kind: Kind,
    /// What it opens.
    pub role: Role,
    /// For people.
    pub label: String,
    /// When it was added, by the clock of who did.
    pub added: Timestamp,
    /// How its passphrase is stretched.
    pub(super) argon: Argon,
    pub(super) salt: [u8; 32],
    /// What its wraps are sealed for.
    pub public: PublicKey,
}

impl Access {
    /// For a credential that is at hand. A passphrase is stretched, which takes a part of a second.
    pub fn of(credential: &Credential, role: Role, label: &str, env: &Env) -> Result<Self, KeyError> {
        let kind = credential.kind();
        let (argon, salt) = match kind {
            Kind::Passphrase => (Argon::NEW, env.random()),
            Kind::KeyFile => (Argon::NONE, [0; 32]),
        };
        let public = stretch(credential, argon, &salt).map_err(KeyError::Credential)?.public();
        Ok(Self { argon, salt, ..Self::new(public, kind, role, env).labelled(label)? })
    }

    /// For the owner of a key pair of which only the public half is known.
    pub fn of_recipient(public: PublicKey, role: Role, label: &str, env: &Env) -> Result<Self, KeyError> {
        if SecretKey::generate(env).agree(&public).is_none() {
            return Err(KeyError::Credential("the recipient is no key at all".to_owned()));
        }
        Self::new(public, Kind::KeyFile, role, env).labelled(label)
    }

    fn new(public: PublicKey, kind: Kind, role: Role, env: &Env) -> Self {
        Self {
            id: CredentialId(env.random()),
            kind,
            role,
            label: String::new(),
            added: env.now(),
            argon: Argon::NONE,
            salt: [0; 32],
            public,
        }
    }

    fn labelled(mut self, label: &str) -> Result<Self, KeyError> {
        if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
            let what = format!("a label is at most {LABEL_BYTES_MAX} bytes of printable text");
            return Err(KeyError::Credential(what));
        }
        label.clone_into(&mut self.label);
        Ok(self)
    }
}

/// The key pair of a credential.
pub(super) fn stretch(credential: &Credential, argon: Argon, salt: &[u8; 32]) -> Result<SecretKey, String> {
    match credential {
        Credential::KeyFile(secret) => Ok(SecretKey::new(secret.clone())),
        Credential::Passphrase(text) => {
            let max = Argon::MAX;
            if argon.memory_kib > max.memory_kib || argon.passes > max.passes || argon.lanes > max.lanes {
                return Err("it asks for an unreasonable amount of work".to_owned());
            }
            let params = Params::new(argon.memory_kib, argon.passes, argon.lanes, Some(32))
                .map_err(|e| format!("bad argon2 parameters: {e}"))?;
            let mut out = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(text.as_bytes(), salt, &mut *out)
                .map_err(|e| format!("argon2: {e}"))?;
            Ok(SecretKey::new(out))
        }
    }
}
