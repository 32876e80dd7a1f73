//! Builds a pack: groups are appended and sealed frame by frame, so that only ciphertext is held.
//!
//! A finished pack is decoded again and compared before it may be stored (rule W6): bad memory is caught here.

use bytes::Bytes;

use super::footer::Footer;
use super::frame::padded;
use super::frame::{
    Frames, NewFrames, PackError, PackKind, SEALED_FRAME_BYTES, Shape, TAIL_LEN, TRAILER_LEN, TRAILER_MAGIC,
};
use super::group::{self, SealedGroup};
use crate::blob::seal::TAG_LEN;
use crate::env::Env;
use crate::ids::{PackId, PackRef, Sid};
use crate::keys::{DomainKeys, SecretKey};
use crate::limits::FRAME_BYTES;

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    id: PackId,
    kind: PackKind,
    frames: Frames,
    tail: [u8; TAIL_LEN],
    ephemeral: Option<SecretKey>,
    /// Sealed frames, then the plain bytes of the open frame.
    out: Vec<u8>,
    open_at: usize,
    frame: u32,
    footer: Footer,
}

/// A pack ready to be stored.
#[derive(Clone, Debug)]
pub struct FinishedPack {
    /// Its name and size.
    pub pack: PackRef,
    /// Data or metadata.
    pub kind: PackKind,
    /// The object.
    pub bytes: Bytes,
    /// Its footer, for the index delta.
    pub footer: Footer,
}

impl PackBuilder {
    /// An empty pack of this session, with a random name and salt.
    #[must_use]
    pub fn new(keys: &DomainKeys, sid: Sid, kind: PackKind, env: &Env, body_bytes: usize) -> Self {
        let id = PackId { sid, rnd: env.random() };
        let NewFrames { frames, tail, ephemeral } = Frames::create(keys, id, kind, env.random());
        let room = body_bytes + body_bytes / 16 + (256 << 10);
        Self {
            id,
            kind,
            frames,
            tail,
            ephemeral,
            out: Vec::with_capacity(room),
            open_at: 0,
            frame: 0,
            footer: Footer::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Blobs so far.
    #[must_use]
    pub fn blobs(&self) -> usize {
        self.footer.blobs.len()
    }

    /// True before the first group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.footer.groups.is_empty()
    }

    /// Appends a group; the ordinal of its first blob.
    pub fn append(&mut self, group: &SealedGroup) -> u32 {
        self.write(&group.stored);
        let stored = u32::try_from(group.stored.len()).expect("groups are bounded");
        self.footer.push_group(group.codec, stored, &group.blobs)
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.out.len() - self.open_at == FRAME_BYTES {
                self.seal_frame(false);
            }
            let room = FRAME_BYTES - (self.out.len() - self.open_at);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.out.extend_from_slice(now);
            bytes = rest;
        }
    }

    fn seal_frame(&mut self, last: bool) {
        let tag: [u8; TAG_LEN] = self.frames.seal(self.frame, last, &mut self.out[self.open_at..]);
        self.out.extend_from_slice(&tag);
        self.open_at = self.out.len();
        self.frame += 1;
    }

    /// Writes footer, trailer and tail, then decodes everything again. An error means that this machine's memory or
    /// processor cannot be trusted.
    pub fn finish(mut self, keys: &DomainKeys) -> Result<FinishedPack, PackError> {
        let ephemeral = self.ephemeral.take();
        let finished = self.close();
        finished.check(keys, ephemeral.as_ref())?;
        Ok(finished)
    }

    /// What a member that deceives would store.
    #[cfg(test)]
    pub(crate) fn finish_unchecked(self) -> FinishedPack {
        self.close()
    }

    fn close(mut self) -> FinishedPack {
        let footer = self.footer.encode();
        let len = self.footer.body_len() + (footer.len() + TRAILER_LEN) as u64;
        let padding = usize::try_from(padded(len) - len).expect("padding is less than a frame");
        self.write(&vec![0; padding]);
        self.write(&footer);
        self.write(&u32::try_from(footer.len()).expect("footers are bounded").to_le_bytes());
        self.write(TRAILER_MAGIC);
        self.seal_frame(true);
        self.out.extend_from_slice(&self.tail);
        let pack = PackRef { id: self.id, bytes: self.out.len() as u64 };
        FinishedPack { pack, kind: self.kind, bytes: Bytes::from(self.out), footer: self.footer }
    }
}

impl FinishedPack {
    /// Decodes the whole object as a reader would, and compares with what went in.
    fn check(&self, keys: &DomainKeys, ephemeral: Option<&SecretKey>) -> Result<(), PackError> {
        let shape = Shape::of(self.pack.bytes).ok_or(PackError::NotAPack)?;
        let (sealed, tail) = self.bytes.split_at(self.bytes.len() - TAIL_LEN);
        let tail = tail.try_into().map_err(|_| PackError::NotAPack)?;
        let (frames, kind) = Frames::open_own(keys, self.pack.id, tail, ephemeral)?;
        if kind != self.kind {
            return Err(PackError::NotAPack);
        }
        // A few frames at a time, so that the check holds little memory.
        const STEP: usize = 16;
        let mut plain = Vec::new();
        let mut start = 0u64;
        let mut groups = self.footer.groups.iter().peekable();
        for (i, chunk) in sealed.chunks(SEALED_FRAME_BYTES * STEP).enumerate() {
            let first = u32::try_from(i * STEP).map_err(|_| PackError::NotAPack)?;
            frames.open_into(shape, first, chunk, &mut plain)?;
            let end = start + plain.len() as u64;
            let mut used = 0;
            while let Some(g) = groups.next_if(|g| g.at + u64::from(g.stored) <= end) {
                let at = usize::try_from(g.at - start).map_err(|_| PackError::NotAPack)?;
                let stored = &plain[at..at + g.stored as usize];
                group::open(keys, g, self.footer.blobs_of(g), stored)?;
                used = at + g.stored as usize;
            }
            if groups.peek().is_some() {
                plain.drain(..used);
                start += used as u64;
            }
        }
        let read = super::reader::footer_of(&plain)?;
        if read == self.footer { Ok(()) } else { Err(PackError::Content("footer")) }
    }
}
