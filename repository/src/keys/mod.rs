//! The domain's keys, and the credentials that wrap them.

use zeroize::Zeroizing;

/// What opens a domain's keys.
pub enum Credential {
    /// A passphrase, stretched with argon2id.
    Passphrase(Zeroizing<String>),
    /// The 32 random bytes of a key file.
    KeyFile(Zeroizing<[u8; 32]>),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase(..)",
            Self::KeyFile(_) => "KeyFile(..)",
        })
    }
}

/// The keys of one domain.
#[derive(Debug)]
pub struct DomainKeys;
