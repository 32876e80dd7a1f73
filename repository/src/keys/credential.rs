//! Credentials: what a person or a machine holds to open a domain's keys.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use super::access::Kind;
use super::pair::{PublicKey, SecretKey};
use crate::env::Env;
use crate::ids::{hex, parse_hex};

/// First word of a key file.
const KEY_FILE_PREFIX: &str = "holdfast-key-1";
/// Neither kind of file is ever longer.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What opens a domain's keys.
pub enum Credential {
    /// A passphrase, stretched with argon2id.
    Passphrase(Zeroizing<String>),
    /// The 32 random bytes of a key file: the secret half of a key pair.
    KeyFile(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase(..)",
            Self::KeyFile(_) => "KeyFile(..)",
        })
    }
}

/// Why a credential could not be read.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The file could not be read or made.
    #[error("{path}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file's content is not what it should be.
    #[error("{path}: {what}")]
    Content {
        /// Which file.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Credential {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Passphrase(_) => Kind::Passphrase,
            Self::KeyFile(_) => Kind::KeyFile,
        }
    }

    /// The public key by which a key file's owner can be added; a passphrase has none of its own.
    #[must_use]
    pub fn recipient(&self) -> Option<PublicKey> {
        match self {
            Self::Passphrase(_) => None,
            Self::KeyFile(secret) => Some(SecretKey::new(secret.clone()).public()),
        }
    }

    /// A passphrase typed by a person.
    #[must_use]
    pub fn passphrase(text: &str) -> Self {
        Self::Passphrase(Zeroizing::new(text.to_owned()))
    }

    /// Reads a passphrase file: UTF-8, one trailing line end is not part of it; empty is refused.
    pub fn read_passphrase_file(path: &Path) -> Result<Self, CredentialError> {
        let text = read(path)?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err(content(path, "the passphrase file is empty"));
        }
        Ok(Self::passphrase(text))
    }

    /// Reads a key file: one made by [`Credential::create_key_file`], bare 64 hex digits, or 32 bytes.
    pub fn read_key_file(path: &Path) -> Result<Self, CredentialError> {
        let found = Self::find_in_key_file(&read_bytes(path)?);
        found.ok_or_else(|| content(path, "not a key file (64 hex digits or 32 bytes)"))
    }

    /// What a key file with this content opens; `None` if it is none.
    #[must_use]
    pub fn find_in_key_file(bytes: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            return Some(Self::KeyFile(Zeroizing::new(raw)));
        }
        let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
        let digits = text.strip_prefix(KEY_FILE_PREFIX).unwrap_or(text).trim();
        let bytes = parse_hex(&Zeroizing::new(digits.to_ascii_lowercase()))?;
        Some(Self::KeyFile(Zeroizing::new(bytes)))
    }

    /// Makes a new key file with mode 0600; never replaces one.
    pub fn create_key_file(path: &Path, env: &Env) -> Result<Self, CredentialError> {
        let io = |source| CredentialError::Io { path: path.display().to_string(), source };
        let key = Zeroizing::new(env.random::<32>());
        let text = Zeroizing::new(format!("{KEY_FILE_PREFIX} {}\n", *Zeroizing::new(hex(&*key))));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        Ok(Self::KeyFile(key))
    }

    /// True where others than the owner may read the file: worth a warning.
    #[must_use]
    pub fn is_exposed(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0)
    }
}

fn content(path: &Path, what: &'static str) -> CredentialError {
    CredentialError::Content { path: path.display().to_string(), what }
}

fn read(path: &Path) -> Result<Zeroizing<String>, CredentialError> {
    match std::str::from_utf8(&read_bytes(path)?) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(content(path, "not UTF-8")),
    }
}

fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let io = |source| CredentialError::Io { path: path.display().to_string(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path).map_err(io)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(content(path, "larger than 64 KiB"));
    }
    Ok(bytes)
}
