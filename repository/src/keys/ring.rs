//! The stored form of a ring: one object that holds the domain's keys, sealed once for each role, and for each
//! credential a wrap of its role's content key.
//!
//! One object for all credentials, so that a change is one create-if-absent: there is no moment at which some
//! credentials open the new keys and others don't, and of two changes at once one wins and the other is made again on
//! top. Layout: docs/format.md, section 4. Nothing here reads the store.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::access::{Access, Argon, Kind, Role, stretch};
use super::pair::{PublicKey, SecretKey};
use super::{Credential, Identity, KeyError, Ring, bundle};
use crate::blob::seal::{COMMITMENT_LEN, Cipher, SealingKey, TAG_LEN};
use crate::codec::Reader;
use crate::env::Env;
use crate::ids::{DomainName, RepoId};
use crate::limits::CREDENTIALS_MAX;

const MAGIC: &[u8; 4] = b"HFk\x02";
const HEADER_LEN: usize = 20;
/// Of a wrap, what stands before its commitment.
const WRAP_HEAD_LEN: usize = 4 + 12 + 32 + 32;
const WRAP_LEN: usize = WRAP_HEAD_LEN + COMMITMENT_LEN + 32 + TAG_LEN;
const SUM_LEN: usize = 32;
const WRAP_CONTEXT: &str = "holdfast 2026 key wrap v2";
const BUNDLE_CONTEXT: &str = "holdfast 2026 key bundle v2";

/// The names of what a ring belongs to.
pub(super) type Of<'a> = (RepoId, &'a DomainName);

/// A ring as it is stored: its parts, of which nothing is known to be true yet.
pub(super) struct Sealed<'b> {
    header: &'b [u8],
    cipher: Cipher,
    pub(super) version: u32,
    pub(super) newest_epoch: u32,
    wraps: &'b [u8],
    full: &'b [u8],
    writer: &'b [u8],
}

impl<'b> Sealed<'b> {
    /// Takes it apart. Fails where its sum says that it is not what was stored.
    pub(super) fn parse(bytes: &'b [u8]) -> Result<Self, &'static str> {
        let (body, sum) = bytes.split_at_checked(bytes.len().saturating_sub(SUM_LEN)).ok_or("too short")?;
        if sum != blake3::hash(body).as_bytes() {
            return Err("it is not what was stored: its sum is wrong");
        }
        let parse = || {
            let (header, rest) = body.split_at_checked(HEADER_LEN)?;
            let mut r = Reader::new(header);
            let mut number = || r.array::<4>("number").ok().map(u32::from_le_bytes);
            let (magic, version, newest_epoch) = (number()?, number()?, number()?);
            let cipher = match number()?.to_le_bytes() {
                [cipher, 0, 0, 0] => Cipher::from_byte(cipher)?,
                _ => return None,
            };
            let count = number()? as usize;
            if magic.to_le_bytes() != *MAGIC || count > CREDENTIALS_MAX {
                return None;
            }
            let (wraps, rest) = rest.split_at_checked(count * WRAP_LEN)?;
            let (full, rest) = part(rest)?;
            let (writer, rest) = part(rest)?;
            rest.is_empty().then_some(Self { header, cipher, version, newest_epoch, wraps, full, writer })
        };
        parse().ok_or("not a key ring of this version")
    }

    /// Opens it with a credential: `Ok(None)` where there is no wrap for it. Says how many wraps there were of its
    /// kind, and of others.
    pub(super) fn open(&self, of: Of<'_>, credential: &Credential) -> Result<Opened, KeyError> {
        let damaged = |what: String| KeyError::Damaged(self.name(), what);
        let (mut tried, mut others) = (0, 0);
        for wrap in self.wraps.chunks_exact(WRAP_LEN) {
            let head =
                Head::parse(wrap).ok_or_else(|| damaged("a wrap is not of this version".to_owned()))?;
            if head.kind != credential.kind() {
                others += 1;
                continue;
            }
            tried += 1;
            let secret = stretch(credential, head.argon, &head.salt).map_err(damaged)?;
            if let Some((identity, ring)) = self.try_wrap(of, wrap, &head, &secret)? {
                return Ok(Opened { identity, ring, secret });
            }
        }
        let (credential, domain) = (credential.kind(), of.1.clone());
        Err(match tried {
            0 => KeyError::NoneOfKind { credential, domain, others },
            _ => KeyError::Wrong { credential, tried, domain },
        })
    }

    /// Opens it with a secret that opened an earlier one.
    pub(super) fn open_again(&self, of: Of<'_>, secret: &SecretKey) -> Result<Opened, KeyError> {
        for wrap in self.wraps.chunks_exact(WRAP_LEN) {
            let Some(head) = Head::parse(wrap) else { continue };
            if let Some((identity, ring)) = self.try_wrap(of, wrap, &head, secret)? {
                return Ok(Opened { identity, ring, secret: secret.clone() });
            }
        }
        Err(KeyError::Removed(of.1.clone()))
    }

    fn name(&self) -> String {
        format!("version {}", self.version)
    }

    fn try_wrap(
        &self,
        of: Of<'_>,
        wrap: &[u8],
        head: &Head,
        secret: &SecretKey,
    ) -> Result<Option<(Identity, Ring)>, KeyError> {
        let damaged = |what: &str| KeyError::Damaged(self.name(), what.to_owned());
        let Some(shared) = secret.agree(&head.ephemeral) else { return Ok(None) };
        let key = wrap_key(&shared, &head.ephemeral, &secret.public(), self.cipher);
        let (head_bytes, rest) = wrap.split_at(WRAP_HEAD_LEN);
        let (commitment, sealed) = rest.split_at(COMMITMENT_LEN);
        if key.commitment() != commitment {
            return Ok(None);
        }
        let aad = wrap_aad(of, self.header, head_bytes);
        let mut content = Zeroizing::new(sealed.to_vec());
        let content = key
            .open_in_place(0, &aad, &mut content)
            .ok_or_else(|| damaged("a wrap is damaged, or belongs to another repository or domain"))?;
        let sealed = match head.role {
            Role::Full => self.full,
            Role::Writer => self.writer,
        };
        let key = SealingKey::derive(BUNDLE_CONTEXT, &[content, &[head.role as u8]], self.cipher);
        let mut plain = Zeroizing::new(sealed.to_vec());
        let plain = key
            .open_in_place(0, &bundle_aad(of, self.header, self.wraps, head.role), &mut plain)
            .ok_or_else(|| damaged("it is damaged, or belongs to another repository or domain"))?;
        let (identity, ring) = bundle::decode(plain).map_err(|what| damaged(&what))?;
        if (identity.repo, &identity.domain) != of || ring.version != self.version || ring.role != head.role {
            return Err(damaged("it belongs to another repository, domain, version or role"));
        }
        Ok(Some((identity, ring)))
    }
}

/// What came out of a ring.
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) ring: Ring,
    /// What opened it.
    pub(super) secret: SecretKey,
}

/// The plain start of a wrap.
struct Head {
    kind: Kind,
    role: Role,
    argon: Argon,
    salt: [u8; 32],
    ephemeral: PublicKey,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let [kind, role, 0, 0] = r.array::<4>("kind").ok()? else { return None };
        let mut number = || r.array::<4>("number").ok().map(u32::from_le_bytes);
        let argon = Argon { memory_kib: number()?, passes: number()?, lanes: number()? };
        Some(Self {
            kind: Kind::from_number(kind.into())?,
            role: Role::from_number(role.into())?,
            argon,
            salt: r.array("salt").ok()?,
            ephemeral: PublicKey(r.array("ephemeral key").ok()?),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8, self.role as u8, 0, 0];
        for n in [self.argon.memory_kib, self.argon.passes, self.argon.lanes] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.ephemeral.0);
        out
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

fn wrap_key(shared: &[u8; 32], ephemeral: &PublicKey, owner: &PublicKey, cipher: Cipher) -> SealingKey {
    SealingKey::derive(WRAP_CONTEXT, &[shared, &ephemeral.0, &owner.0], cipher)
}

fn aad((repo, domain): Of<'_>, header: &[u8]) -> Vec<u8> {
    let mut out = repo.0.to_vec();
    out.extend_from_slice(domain.as_str().as_bytes());
    out.extend_from_slice(&[0, b'k']);
    out.extend_from_slice(header);
    out
}

fn wrap_aad(of: Of<'_>, header: &[u8], head: &[u8]) -> Vec<u8> {
    let mut out = aad(of, header);
    out.extend_from_slice(head);
    out
}

fn bundle_aad(of: Of<'_>, header: &[u8], wraps: &[u8], role: Role) -> Vec<u8> {
    let mut out = aad(of, header);
    out.push(role as u8);
    out.extend_from_slice(blake3::hash(wraps).as_bytes());
    out
}

/// Seals a full ring for these credentials.
pub(super) fn seal(
    identity: &Identity,
    ring: &Ring,
    credentials: &[Access],
    env: &Env,
) -> Result<Bytes, KeyError> {
    if credentials.len() > CREDENTIALS_MAX {
        return Err(KeyError::Credential(format!("a domain has at most {CREDENTIALS_MAX} credentials")));
    }
    let of = (identity.repo, &identity.domain);
    let cipher = Cipher::of_this_machine();
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&ring.version.to_le_bytes());
    out.extend_from_slice(&ring.newest_epoch().to_le_bytes());
    out.extend_from_slice(&[cipher as u8, 0, 0, 0]);
    let count = u32::try_from(credentials.len()).expect("they are few");
    out.extend_from_slice(&count.to_le_bytes());
    let header = out.clone();
    let contents = [Role::Full, Role::Writer].map(|role| (role, Zeroizing::new(env.random::<32>())));
    for access in credentials {
        let content = &contents[usize::from(access.role == Role::Writer)].1;
        out.extend_from_slice(&wrap((of, &header, cipher), access, content, env)?);
    }
    let wraps = out[HEADER_LEN..].to_vec();
    for (role, content) in &contents {
        let mut body = bundle::encode(identity, ring, *role);
        let key = SealingKey::derive(BUNDLE_CONTEXT, &[&**content, &[*role as u8]], cipher);
        let tag = key.seal_in_place(0, &bundle_aad(of, &header, &wraps, *role), &mut body);
        let len = u32::try_from(body.len() + TAG_LEN).expect("bundles are small");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&body);
        out.extend_from_slice(&tag);
    }
    let sum = *blake3::hash(&out).as_bytes();
    out.extend_from_slice(&sum);
    Ok(Bytes::from(out))
}

/// One credential's wrap of its role's content key. Needs nothing of the credential but its public key.
fn wrap(
    (of, header, cipher): (Of<'_>, &[u8], Cipher),
    access: &Access,
    content: &[u8; 32],
    env: &Env,
) -> Result<Vec<u8>, KeyError> {
    let ephemeral = SecretKey::generate(env);
    let shared = ephemeral.agree(&access.public).ok_or_else(|| {
        KeyError::Credential(format!("credential {} has a public key that is none", access.id))
    })?;
    let head = Head {
        kind: access.kind,
        role: access.role,
        argon: access.argon,
        salt: access.salt,
        ephemeral: ephemeral.public(),
    };
    let key = wrap_key(&shared, &head.ephemeral, &access.public, cipher);
    let mut out = head.encode();
    let mut sealed = Zeroizing::new(*content);
    let tag = key.seal_in_place(0, &wrap_aad(of, header, &out), &mut *sealed);
    out.extend_from_slice(&key.commitment());
    out.extend_from_slice(&*sealed);
    out.extend_from_slice(&tag);
    Ok(out)
}
