//! Groups on their way into a pack: blobs are gathered, compressed together, and later decoded and checked.

use bytes::Bytes;

use super::frame::PackError;
use super::{BlobInfo, GroupInfo};
use crate::blob::compress::{Codec, compress, decompress};
use crate::ids::BlobId;
use crate::keys::DomainKeys;
use crate::limits::{GROUP_BYTES, SMALL_BLOB_BYTES};

/// A compressed group, ready to be appended to a pack.
#[derive(Debug)]
pub struct SealedGroup {
    /// How it is stored.
    pub codec: Codec,
    /// Its stored bytes.
    pub stored: Vec<u8>,
    /// Its blobs: id and plain length.
    pub blobs: Vec<(BlobId, u32)>,
}

/// Splits blobs, in order, into groups: large ones alone, small ones together up to [`GROUP_BYTES`].
#[must_use]
pub fn plan(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let (mut open, mut filled) = (Vec::new(), 0);
    for (i, &bytes) in sizes.iter().enumerate() {
        if bytes > SMALL_BLOB_BYTES {
            groups.push(vec![i]);
            continue;
        }
        if filled + bytes > GROUP_BYTES && !open.is_empty() {
            groups.push(std::mem::take(&mut open));
            filled = 0;
        }
        open.push(i);
        filled += bytes;
    }
    if !open.is_empty() {
        groups.push(open);
    }
    groups
}

/// Compresses one group.
#[must_use]
pub fn build(blobs: &[(BlobId, Bytes)], level: i32) -> SealedGroup {
    let joined: Vec<u8>;
    let plain = match blobs {
        [(_, one)] => one,
        many => {
            joined = many.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat();
            &joined[..]
        }
    };
    let sizes =
        blobs.iter().map(|(id, b)| (*id, u32::try_from(b.len()).expect("blobs are bounded"))).collect();
    let compressed = compress(plain, level);
    SealedGroup { codec: compressed.codec, stored: compressed.bytes, blobs: sizes }
}

/// Decodes a group and checks every blob's id.
pub fn open(
    keys: &DomainKeys,
    group: &GroupInfo,
    blobs: &[BlobInfo],
    stored: &[u8],
) -> Result<Vec<(BlobId, Bytes)>, PackError> {
    let plain =
        decompress(group.codec, stored, group.plain as usize).map_err(|_| PackError::Content("group"))?;
    let plain = Bytes::from(plain);
    let mut out = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let bytes = plain.slice(blob.offset as usize..blob.offset as usize + blob.bytes as usize);
        if keys.blob_id(&bytes) != blob.id {
            return Err(PackError::WrongId(blob.id));
        }
        out.push((blob.id, bytes));
    }
    Ok(out)
}
