//! X25519 key pairs: what credentials and epochs consist of, and the text by which a public key is handed on.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::ids::{hex, parse_hex};

/// First letters of a public key's text.
const PREFIX: &str = "hfr1";
/// Bytes of its hash that follow the key, so that a slip of the pen is noticed.
const CHECK_LEN: usize = 4;

/// The public half of a pair. Who has it can seal for its owner, and open nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// The text is not a public key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a recipient (`hfr1` and 72 hex digits, as `holdfast key generate` prints it)")]
pub struct InvalidPublicKey(String);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}{}", hex(&self.0), hex(&check(&self.0)))
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let digits = text.trim().strip_prefix(PREFIX)?;
            let (key, sum) = digits.split_at_checked(64)?;
            let key: [u8; 32] = parse_hex(key)?;
            (parse_hex::<CHECK_LEN>(sum)? == check(&key)).then_some(Self(key))
        };
        parse().ok_or_else(|| InvalidPublicKey(text.to_owned()))
    }
}

fn check(key: &[u8; 32]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key("holdfast 2026 recipient text v1", key);
    let mut out = [0; CHECK_LEN];
    out.copy_from_slice(&hash[..CHECK_LEN]);
    out
}

/// The secret half of a pair; wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// Any 32 secret random bytes are a key.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A random one.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        Self(Zeroizing::new(env.random()))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn private(&self) -> PrivateKey {
        PrivateKey::from_private_key(&X25519, &*self.0).expect("any 32 bytes are an X25519 key")
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let public = self.private().compute_public_key().expect("every X25519 key has a public half");
        let mut out = [0; 32];
        out.copy_from_slice(public.as_ref());
        PublicKey(out)
    }

    /// What both sides of a pair of pairs can compute, and nobody else. `None` for a public key that is none: one of
    /// the few points that give the same with every secret.
    #[must_use]
    pub fn agree(&self, with: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        let with = UnparsedPublicKey::new(&X25519, with.0);
        agreement::agree(&self.private(), with, (), |shared| {
            <[u8; 32]>::try_from(shared).map(Zeroizing::new).map_err(|_| ())
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, section 6.1.
    #[test]
    fn it_is_x25519() {
        let bytes = |text: &str| parse_hex::<32>(text).unwrap();
        let alice = PublicKey(bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        let bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let bob = SecretKey::new(Zeroizing::new(bob));
        assert_eq!(hex(&bob.public().0), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(*bob.agree(&alice).unwrap(), shared);
        let other = SecretKey::generate(&Env::system());
        assert_eq!(other.agree(&bob.public()).unwrap(), bob.agree(&other.public()).unwrap());
        assert!(bob.agree(&PublicKey([0; 32])).is_none(), "a point of small order");
    }

    #[test]
    fn the_text_comes_back_and_slips_are_noticed() {
        let key = SecretKey::generate(&Env::system()).public();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(format!(" {text}\n").parse(), Ok(key));
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            let bad = String::from_utf8(bad).unwrap();
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
        for bad in ["", "hfr1", &text[..text.len() - 1], "\u{e4}"] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
