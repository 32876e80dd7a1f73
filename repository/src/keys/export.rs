//! Keys on paper or in a drawer: a text that opens the domain again when every ring in the store is lost.
//!
//! It holds a whole ring, sealed for one credential, or bare if somebody insists. Every line carries a check of its
//! own, so that a slip in typing it in is found where it was made.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::access::{Access, Role};
use super::{Credential, DomainKeys, KeyError, bundle, ring, stored};
use crate::env::Env;
use crate::ids::{DomainName, RepoId, hex};

const PREFIX: &str = "holdfast-export-1";
const LINE_BYTES: usize = 32;
/// An export is never longer: it is some kilobytes.
const LINES_MAX: usize = 16 << 10;

/// An export that was read, and is not opened yet.
pub struct Export {
    repo: RepoId,
    domain: DomainName,
    is_bare: bool,
    payload: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("domain", &self.domain)
            .field("is_bare", &self.is_bare)
            .finish_non_exhaustive()
    }
}

/// Writes all keys of a domain down, sealed for `credential`, or bare. Only a full credential can.
pub fn export(
    keys: &DomainKeys,
    credential: Option<&Credential>,
    env: &Env,
) -> Result<Zeroizing<String>, KeyError> {
    let ring = keys.ring();
    if ring.role != Role::Full {
        let what = "the credential in use has the role writer, which has not all keys";
        return Err(KeyError::Credential(what.to_owned()));
    }
    let payload = match credential {
        None => bundle::encode(&keys.identity, &ring, Role::Full),
        Some(credential) => {
            let access = Access::of(credential, Role::Full, "", env)?;
            Zeroizing::new(ring::seal(&keys.identity, &ring, &[access], env)?.to_vec())
        }
    };
    let mut out = Zeroizing::new(String::with_capacity(payload.len() * 3 + 512));
    let kind = if credential.is_none() { "bare" } else { "sealed" };
    let head = format!(
        "{PREFIX} {kind}\nrepository {}\ndomain {}\nversion {} epochs to {}\n",
        keys.repo(),
        keys.domain(),
        ring.version,
        ring.newest_epoch()
    );
    out.push_str(&head);
    for (number, line) in payload.chunks(LINE_BYTES).enumerate() {
        let digits = Zeroizing::new(hex(line));
        let _ = writeln!(out, "{:03} {} {}", number + 1, *digits, check(number, line));
    }
    out.push_str("end\n");
    Ok(out)
}

/// Four hex digits of a hash of a line and its number.
fn check(number: usize, line: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 export line v1");
    hasher.update(&(number as u64).to_le_bytes());
    hasher.update(line);
    hex(&hasher.finalize().as_bytes()[..2])
}

/// Reads what [`export`] wrote; blank lines and spaces at the ends of lines don't matter.
pub fn import(text: &str) -> Result<Export, KeyError> {
    let bad = |what: String| KeyError::Credential(format!("the export: {what}"));
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty()).take(LINES_MAX);
    let is_bare = match lines.next().and_then(|l| l.strip_prefix(PREFIX)).map(str::trim) {
        Some("bare") => true,
        Some("sealed") => false,
        _ => return Err(bad(format!("it does not begin with {PREFIX:?}"))),
    };
    let mut field = |name: &str| {
        let line = lines.next().and_then(|l| l.strip_prefix(name));
        line.map(|l| l.trim().to_owned()).ok_or_else(|| bad(format!("the line {name:?} is missing")))
    };
    let repo = field("repository")?.parse().map_err(|_| bad("its repository is no id".to_owned()))?;
    let domain = field("domain")?.parse().map_err(|_| bad("its domain is no name".to_owned()))?;
    field("version")?;
    let mut payload = Zeroizing::new(Vec::new());
    for (number, line) in lines.enumerate() {
        if line == "end" {
            return Ok(Export { repo, domain, is_bare, payload });
        }
        let bytes = parse_line(number, line)
            .ok_or_else(|| bad(format!("line {:03} is missing, or has a slip in it", number + 1)))?;
        payload.extend_from_slice(&bytes);
    }
    Err(bad("its end is missing".to_owned()))
}

fn parse_line(number: usize, line: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut words = line.split_whitespace();
    let (label, digits, sum) = (words.next()?, words.next()?, words.next()?);
    if label.parse() != Ok(number + 1) || words.next().is_some() || !digits.is_ascii() {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok();
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(pairs.map(byte).collect::<Option<_>>()?);
    (bytes.len() <= LINE_BYTES && check(number, &bytes) == sum.to_ascii_lowercase()).then_some(bytes)
}

impl Export {
    /// The repository that it belongs to.
    #[must_use]
    pub fn repo(&self) -> RepoId {
        self.repo
    }

    /// The domain that it belongs to.
    #[must_use]
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// Whether it opens without a credential.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Opens it. A bare one needs no credential.
    pub fn open(&self, credential: Option<&Credential>) -> Result<DomainKeys, KeyError> {
        if !self.is_bare {
            let missing =
                || KeyError::Credential("the export is sealed, its passphrase is needed".to_owned());
            return stored::open_ring(
                &self.payload,
                (self.repo, &self.domain),
                credential.ok_or_else(missing)?,
            );
        }
        let damaged = |what: String| KeyError::Damaged("of the export".to_owned(), what);
        let (identity, ring) = bundle::decode(&self.payload).map_err(damaged)?;
        if identity.repo != self.repo || identity.domain != self.domain || ring.role != Role::Full {
            return Err(damaged("it is not what its first lines say".to_owned()));
        }
        Ok(DomainKeys::of(identity, ring, None))
    }
}
