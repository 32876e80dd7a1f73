//! A pack's footer: its groups and blobs. The index can always be rebuilt from footers.
//!
//! Stored as: version 1 · number of groups · for each group: codec byte, stored length, number of blobs, and for each
//! blob its id (32 bytes) and length. Groups lie back to back from the start of the plain stream, blobs back to back in
//! their group; ordinals count blobs through all groups.

use crate::blob::compress::Codec;
use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::BlobId;
use crate::limits::{BLOB_BYTES_MAX, GROUP_BYTES, PACK_BLOBS_MAX, PACK_BYTES_MAX};

const VERSION: u8 = 1;

/// One blob of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its id.
    pub id: BlobId,
    /// Plain bytes.
    pub bytes: u32,
    /// Which group holds it.
    pub group: u32,
    /// Where in the group's plain bytes it begins.
    pub offset: u32,
}

/// One group of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// How it is stored.
    pub codec: Codec,
    /// Where in the plain stream its stored bytes begin.
    pub at: u64,
    /// Stored bytes.
    pub stored: u32,
    /// Plain bytes of all its blobs.
    pub plain: u32,
    /// Ordinal of its first blob.
    pub first_ordinal: u32,
    /// How many blobs it has.
    pub blobs: u32,
}

/// All groups and blobs of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// Groups, in order.
    pub groups: Vec<GroupInfo>,
    /// Blobs by ordinal.
    pub blobs: Vec<BlobInfo>,
}

/// No group holds more: one large blob, or small ones.
const GROUP_PLAIN_MAX: usize =
    if BLOB_BYTES_MAX > GROUP_BYTES * 2 { BLOB_BYTES_MAX } else { GROUP_BYTES * 2 };

impl Footer {
    /// Adds a group behind the last one; the ordinal of its first blob.
    pub fn push_group(&mut self, codec: Codec, stored: u32, blobs: &[(BlobId, u32)]) -> u32 {
        let at = self.groups.last().map_or(0, |g| g.at + u64::from(g.stored));
        let group = len32(&self.groups);
        let first_ordinal = len32(&self.blobs);
        let mut offset = 0;
        for &(id, bytes) in blobs {
            self.blobs.push(BlobInfo { id, bytes, group, offset });
            offset += bytes;
        }
        self.groups.push(GroupInfo { codec, at, stored, plain: offset, first_ordinal, blobs: len32(blobs) });
        first_ordinal
    }

    /// The blobs of a group.
    #[must_use]
    pub fn blobs_of(&self, group: &GroupInfo) -> &[BlobInfo] {
        let first = group.first_ordinal as usize;
        &self.blobs[first..first + group.blobs as usize]
    }

    /// Bytes of the stored groups.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.groups.last().map_or(0, |g| g.at + u64::from(g.stored))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.blobs.len() * 35 + self.groups.len() * 8 + 8);
        out.push(VERSION);
        put_varint(&mut out, self.groups.len() as u64);
        for group in &self.groups {
            out.push(group.codec as u8);
            put_varint(&mut out, u64::from(group.stored));
            put_varint(&mut out, u64::from(group.blobs));
            for blob in self.blobs_of(group) {
                out.extend_from_slice(&blob.id.0);
                put_varint(&mut out, u64::from(blob.bytes));
            }
        }
        out
    }

    /// Reads the stored form; everything that a reader relies on is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        if r.byte("footer version")? != VERSION {
            return Err(r.malformed("footer version"));
        }
        let mut footer = Self::default();
        let groups = r.count(3, "number of groups")?;
        footer.groups.reserve(groups);
        let mut blobs = Vec::new();
        for _ in 0..groups {
            let codec = Codec::from_byte(r.byte("codec")?).ok_or(r.malformed("codec"))?;
            let stored = r.u32("stored length")?;
            let count = r.count(33, "number of blobs")?;
            if footer.blobs.len() + count > PACK_BLOBS_MAX {
                return Err(r.malformed("number of blobs"));
            }
            blobs.clear();
            let mut plain = 0usize;
            for _ in 0..count {
                let id = BlobId(r.array("blob id")?);
                let len = r.u32("blob length")?;
                plain += len as usize;
                if plain > GROUP_PLAIN_MAX {
                    return Err(r.malformed("group length"));
                }
                blobs.push((id, len));
            }
            footer.push_group(codec, stored, &blobs);
            if footer.body_len() > PACK_BYTES_MAX {
                return Err(r.malformed("stored length"));
            }
        }
        r.end("end of footer")?;
        Ok(footer)
    }
}

fn len32<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("packs are closed long before 2^32 blobs")
}
