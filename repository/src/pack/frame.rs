//! The outer form of a pack: the tail, and the frames that its plain stream is cut into.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::blob::seal::{COMMITMENT_LEN, Cipher, SealingKey, TAG_LEN};
use crate::codec::Reader;
use crate::ids::PackId;
use crate::keys::{DomainKeys, Epoch, KeyError, PublicKey, SecretKey};
use crate::limits::{FRAME_BYTES, PACK_BYTES_MAX};

/// Bytes of the tail.
pub const TAIL_LEN: usize = 64;
/// Bytes of the trailer, the end of the plain stream.
pub const TRAILER_LEN: usize = 8;
/// The trailer's last word.
pub const TRAILER_MAGIC: &[u8; 4] = b"HFFT";
const MAGIC: &[u8; 4] = b"HFp\x01";
/// A full frame as it is stored.
pub const SEALED_FRAME_BYTES: usize = FRAME_BYTES + TAG_LEN;

/// Data and metadata never share a pack or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PackKind {
    /// Content of files.
    Data = 1,
    /// Leaves, branches, segments, usage, summaries.
    Meta = 2,
}

impl PackKind {
    /// From its stored byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Meta),
            _ => None,
        }
    }
}

/// What is wrong with a pack's bytes.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Not a pack, or not of this version.
    #[error("not a pack of this version")]
    NotAPack,
    /// Keys are missing.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Sealed under another key.
    #[error("sealed under another key, or its tail is damaged")]
    OtherKey,
    /// A frame is not what was sealed.
    #[error("frame {0} is damaged")]
    Frame(u32),
    /// What the frames hold makes no sense.
    #[error("its {0} is damaged")]
    Content(&'static str),
    /// A blob's bytes do not have its id.
    #[error("blob {0} is not what its id says")]
    WrongId(crate::ids::BlobId),
}

/// The sealing of one pack: its key and what every frame is bound to.
#[derive(Debug)]
pub struct Frames {
    key: SealingKey,
    aad: Vec<u8>,
}

impl Frames {
    fn new(keys: &DomainKeys, id: PackId, kind: PackKind, key: SealingKey) -> Self {
        let mut aad = keys.repo().0.to_vec();
        aad.extend_from_slice(keys.domain().as_str().as_bytes());
        aad.extend_from_slice(&[0, b'p', kind as u8]);
        aad.extend_from_slice(&id.to_bytes());
        Self { key, aad }
    }

    /// The sealing of a new pack. `random` is used for this pack only.
    #[must_use]
    pub fn create(keys: &DomainKeys, id: PackId, kind: PackKind, random: [u8; 32]) -> NewFrames {
        let cipher = Cipher::of_this_machine();
        let (number, epoch) = keys.newest();
        let (key, salt, ephemeral) = match kind {
            PackKind::Meta => (meta_key(&epoch, &random, cipher), random, None),
            PackKind::Data => {
                let secret = SecretKey::new(Zeroizing::new(random));
                let public = secret.public();
                let shared = secret.agree(&epoch.data_public);
                let shared = shared.expect("the epoch's public key was made from a secret one");
                (data_key(&shared, &public, &epoch, cipher), public.0, Some(secret))
            }
        };
        let tail = Tail { kind, cipher, epoch: number, salt, commitment: key.commitment() };
        NewFrames { frames: Self::new(keys, id, kind, key), tail: tail.encode(), ephemeral }
    }

    /// The sealing of a stored pack, from its tail.
    pub fn open(keys: &DomainKeys, id: PackId, tail: &[u8; TAIL_LEN]) -> Result<(Self, PackKind), PackError> {
        let tail = Tail::decode(tail).ok_or(PackError::NotAPack)?;
        let epoch = keys.epoch(tail.epoch)?;
        let key = match tail.kind {
            PackKind::Meta => meta_key(&epoch, &tail.salt, tail.cipher),
            PackKind::Data => {
                let secret = epoch.data_secret.as_ref().ok_or(KeyError::WriterOnly)?;
                let public = PublicKey(tail.salt);
                let shared = secret.agree(&public).ok_or(PackError::OtherKey)?;
                data_key(&shared, &public, &epoch, tail.cipher)
            }
        };
        if key.commitment() != tail.commitment {
            return Err(PackError::OtherKey);
        }
        Ok((Self::new(keys, id, tail.kind, key), tail.kind))
    }

    /// The sealing of a pack that was just built, for its check: a writer can't open data, but has the ephemeral secret
    /// as long as the pack is in memory. Everything is derived again from it and from the tail.
    pub(crate) fn open_own(
        keys: &DomainKeys,
        id: PackId,
        tail: &[u8; TAIL_LEN],
        ephemeral: Option<&SecretKey>,
    ) -> Result<(Self, PackKind), PackError> {
        let Some(ephemeral) = ephemeral else { return Self::open(keys, id, tail) };
        let tail = Tail::decode(tail).ok_or(PackError::NotAPack)?;
        let epoch = keys.epoch(tail.epoch)?;
        let public = ephemeral.public();
        let shared = ephemeral.agree(&epoch.data_public).ok_or(PackError::OtherKey)?;
        let key = data_key(&shared, &public, &epoch, tail.cipher);
        if tail.kind != PackKind::Data || public.0 != tail.salt || key.commitment() != tail.commitment {
            return Err(PackError::OtherKey);
        }
        Ok((Self::new(keys, id, tail.kind, key), tail.kind))
    }

    /// The epoch that a stored pack was sealed under, by its tail; of a tail that opens.
    #[must_use]
    pub fn epoch_of(tail: &[u8; TAIL_LEN]) -> u32 {
        u32::from_le_bytes([tail[8], tail[9], tail[10], tail[11]])
    }

    fn aad(&self, frame: u32, last: bool) -> Vec<u8> {
        let mut aad = self.aad.clone();
        aad.extend_from_slice(&frame.to_le_bytes());
        aad.push(u8::from(last));
        aad
    }

    /// Seals a frame in place; its tag.
    pub fn seal(&self, frame: u32, last: bool, data: &mut [u8]) -> [u8; TAG_LEN] {
        self.key.seal_in_place(u64::from(frame), &self.aad(frame, last), data)
    }

    /// Opens the sealed frames `first..` in `sealed` (whole frames, in order) and gives their plain bytes.
    pub fn open_all(&self, shape: Shape, first: u32, sealed: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut plain = Vec::with_capacity(sealed.len());
        self.open_into(shape, first, sealed, &mut plain)?;
        Ok(plain)
    }

    /// Does the same, and appends the plain bytes to `plain`. After an error it ends with the last good frame.
    pub fn open_into(
        &self,
        shape: Shape,
        first: u32,
        sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        for (frame, chunk) in (first..).zip(sealed.chunks(SEALED_FRAME_BYTES)) {
            let at = plain.len();
            plain.extend_from_slice(chunk);
            let aad = self.aad(frame, frame + 1 == shape.frames);
            let opened = self.key.open_in_place(u64::from(frame), &aad, &mut plain[at..]);
            let len = opened.as_ref().map_or(0, |open| open.len());
            let good = opened.is_some();
            plain.truncate(at + len);
            if !good {
                return Err(PackError::Frame(frame));
            }
        }
        Ok(())
    }
}

/// The sealing of a new pack, and what goes with it.
#[derive(Debug)]
pub struct NewFrames {
    /// Seals its frames.
    pub frames: Frames,
    /// Its tail.
    pub tail: [u8; TAIL_LEN],
    /// Of a data pack: the secret half of the key in the tail's salt. Lives until the pack is checked.
    pub ephemeral: Option<SecretKey>,
}

fn meta_key(epoch: &Epoch, salt: &[u8; 32], cipher: Cipher) -> SealingKey {
    SealingKey::derive("holdfast 2026 metadata pack v1", &[&*epoch.key, salt], cipher)
}

/// Of a data pack: from what its ephemeral key and the epoch's data key agree on.
fn data_key(shared: &[u8; 32], ephemeral: &PublicKey, epoch: &Epoch, cipher: Cipher) -> SealingKey {
    let parts: [&[u8]; 3] = [shared, &ephemeral.0, &epoch.data_public.0];
    SealingKey::derive("holdfast 2026 data pack v2", &parts, cipher)
}

/// The plain end of a pack.
struct Tail {
    kind: PackKind,
    cipher: Cipher,
    epoch: u32,
    /// Of a data pack: the public half of its ephemeral key.
    salt: [u8; 32],
    commitment: [u8; COMMITMENT_LEN],
}

impl Tail {
    fn encode(&self) -> [u8; TAIL_LEN] {
        let mut out = [0; TAIL_LEN];
        out[..4].copy_from_slice(MAGIC);
        out[4] = self.kind as u8;
        out[5] = self.cipher as u8;
        out[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        out[12..44].copy_from_slice(&self.salt);
        out[44..60].copy_from_slice(&self.commitment);
        out
    }

    fn decode(bytes: &[u8; TAIL_LEN]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let magic: [u8; 4] = r.array("magic").ok()?;
        let [kind, cipher, 0, 0] = r.array::<4>("kinds").ok()? else { return None };
        let (kind, cipher) = (PackKind::from_byte(kind)?, Cipher::from_byte(cipher)?);
        let epoch = u32::from_le_bytes(r.array("epoch").ok()?);
        let (salt, commitment) = (r.array("salt").ok()?, r.array("commitment").ok()?);
        let zero: [u8; 4] = r.array("zero").ok()?;
        (magic == *MAGIC && zero == [0; 4]).then_some(Self { kind, cipher, epoch, salt, commitment })
    }
}

/// The epoch that a pack was sealed under, as its tail says; `None` for what is no tail.
#[must_use]
pub fn epoch_of(tail: &[u8; TAIL_LEN]) -> Option<u32> {
    Tail::decode(tail).map(|t| t.epoch)
}

/// How a pack of a given size is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Frames.
    pub frames: u32,
    /// Bytes of the plain stream.
    pub plain_len: u64,
    /// Bytes of all sealed frames; the tail follows.
    pub sealed_len: u64,
}

impl Shape {
    /// Of an object of this size; `None` for one that can't be a pack.
    #[must_use]
    pub fn of(object_bytes: u64) -> Option<Self> {
        if object_bytes > PACK_BYTES_MAX {
            return None;
        }
        let sealed_len = object_bytes.checked_sub(TAIL_LEN as u64)?;
        let frames = sealed_len.div_ceil(SEALED_FRAME_BYTES as u64);
        let plain_len = sealed_len.checked_sub(frames * TAG_LEN as u64)?;
        let last = plain_len.checked_sub(frames.checked_sub(1)? * FRAME_BYTES as u64)?;
        if last == 0 || plain_len < TRAILER_LEN as u64 {
            return None;
        }
        Some(Self { frames: u32::try_from(frames).ok()?, plain_len, sealed_len })
    }

    /// The frames that hold these plain bytes.
    #[must_use]
    pub fn frames_of(&self, plain: &Range<u64>) -> Range<u32> {
        let frame = |at: u64| u32::try_from(at / FRAME_BYTES as u64).unwrap_or(u32::MAX);
        frame(plain.start)..(frame(plain.end.saturating_sub(1)) + 1).min(self.frames)
    }

    /// Where these frames lie in the object.
    #[must_use]
    pub fn stored(&self, frames: &Range<u32>) -> Range<u64> {
        let at = |frame: u32| (u64::from(frame) * SEALED_FRAME_BYTES as u64).min(self.sealed_len);
        at(frames.start)..at(frames.end)
    }
}

/// The length to which a plain stream of `len` bytes is padded: whole frames above 1 MiB, Padmé below, so that a
/// pack's size tells little (Nikitin et al., "Reducing metadata leakage from encrypted files", PETS 2019).
#[must_use]
pub fn padded(len: u64) -> u64 {
    if len > 1 << 20 {
        return len.next_multiple_of(FRAME_BYTES as u64);
    }
    let len = len.max(512);
    let exponent = len.ilog2();
    let bits = exponent.ilog2() + 1;
    len.next_multiple_of(1 << (exponent - bits))
}
