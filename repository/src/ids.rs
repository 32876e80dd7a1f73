//! The names of things: blobs, packs, sessions, repositories, domains, generations.
//!
//! Plain values that print as hex. Nothing here computes an id from content; `blob` does.

use std::fmt;
use std::str::FromStr;

use crate::env::Env;

/// A text that is not the name of the thing it should name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}")]
pub struct InvalidName {
    /// What was expected.
    pub what: &'static str,
    /// What was found, cut short.
    pub text: String,
}

fn invalid(what: &'static str, text: &str) -> InvalidName {
    InvalidName { what, text: text.chars().take(80).collect() }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for b in bytes {
        write!(f, "{b:02x}")?;
    }
    Ok(())
}

/// Lower-case hex of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// The bytes of lower-case hex `text`, if it is exactly `N` of them.
#[must_use]
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
    }
    Some(out)
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

macro_rules! hex_name {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                parse_hex(text).map(Self).ok_or_else(|| invalid($what, text))
            }
        }
    };
}

hex_name!(
    /// Keyed BLAKE3 of a blob's plain bytes.
    BlobId, 32, "blob id"
);
hex_name!(
    /// One registration of a writer or reader; of a committed writer, the snapshot's id. Random, never reused.
    Sid, 16, "session id"
);
hex_name!(
    /// A repository's random id.
    RepoId, 16, "repository id"
);

impl Sid {
    /// A new random one.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self(env.random())
    }
}

/// The name of a pack: the session that wrote it, and a random part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId {
    /// The session that wrote the pack.
    pub sid: Sid,
    /// Tells apart the packs of one session.
    pub rnd: [u8; 8],
}

impl PackId {
    /// Bytes in its stored form.
    pub const LEN: usize = 24;

    /// The stored form: sid, then the random part.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..16].copy_from_slice(&self.sid.0);
        out[16..].copy_from_slice(&self.rnd);
        out
    }

    /// From the stored form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut sid, mut rnd) = ([0; 16], [0; 8]);
        sid.copy_from_slice(&bytes[..16]);
        rnd.copy_from_slice(&bytes[16..]);
        Self { sid: Sid(sid), rnd }
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.sid)?;
        write_hex(f, &self.rnd)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackId({self})")
    }
}

impl FromStr for PackId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parse = || {
            let (sid, rnd) = text.split_once('-')?;
            Some(Self { sid: sid.parse().ok()?, rnd: parse_hex(rnd)? })
        };
        parse().ok_or_else(|| invalid("pack name", text))
    }
}

/// A stored pack: its name and how many bytes the object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRef {
    /// Its name.
    pub id: PackId,
    /// The object's size.
    pub bytes: u64,
}

/// Where a blob lies: a pack, and the blob's number in it. The pack's footer knows the rest.
///
/// The pack's size is no part of it: metadata names places in packs that are still being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The pack.
    pub pack: PackId,
    /// The blob's number in the pack.
    pub ordinal: u32,
}

/// A blob and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// Its id.
    pub id: BlobId,
    /// Where it lies.
    pub place: Place,
}

/// The number of GC runs opened so far; it fences sessions. Ten decimal digits in object names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// The largest that has a name.
    pub const MAX: Self = Self(9_999_999_999);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

impl FromStr for Generation {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Self)).flatten().ok_or_else(|| invalid("generation", text))
    }
}

/// The name of a domain: 1 to 63 of `a-z 0-9 -`, not starting or ending with `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// The domain of a repository that has just one.
    #[must_use]
    pub fn default_domain() -> Self {
        Self("default".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid("domain name (1 to 63 of a-z, 0-9, -)", text))
        }
    }
}
