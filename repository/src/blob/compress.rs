//! Compression of groups: zstd, or raw where it does not shrink.
//!
//! Decompression is bounded by the plain size that the footer promises: a bomb is an error, not memory.

use std::cell::RefCell;

use thiserror::Error;

/// How the bytes of a group are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// From its stored byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Stored bytes that do not decompress to what the footer promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the group does not decompress to its {0} bytes")]
pub struct BadGroup(pub usize);

/// A group's stored form.
#[derive(Debug)]
pub struct Compressed {
    /// How it is stored.
    pub codec: Codec,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses a group at a zstd level (1 to 19). What does not shrink by a sixty-fourth is kept raw.
#[must_use]
pub fn compress(plain: &[u8], level: i32) -> Compressed {
    let tried = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(l, _)| *l != level) {
            *slot = zstd::bulk::Compressor::new(level).ok().map(|c| (level, c));
        }
        slot.as_mut().and_then(|(_, c)| c.compress(plain).ok())
    });
    match tried {
        Some(bytes) if bytes.len() + plain.len() / 64 < plain.len() => {
            Compressed { codec: Codec::Zstd, bytes }
        }
        _ => Compressed { codec: Codec::Raw, bytes: plain.to_vec() },
    }
}

/// The plain bytes of a group, which must be exactly `plain_len`.
pub fn decompress(codec: Codec, stored: &[u8], plain_len: usize) -> Result<Vec<u8>, BadGroup> {
    let plain = match codec {
        Codec::Raw => stored.to_vec(),
        Codec::Zstd => DECOMPRESSOR.with_borrow_mut(|slot| {
            if slot.is_none() {
                *slot = zstd::bulk::Decompressor::new().ok();
            }
            let decompressor = slot.as_mut().ok_or(BadGroup(plain_len))?;
            decompressor.decompress(stored, plain_len).map_err(|_| BadGroup(plain_len))
        })?,
    };
    if plain.len() == plain_len { Ok(plain) } else { Err(BadGroup(plain_len)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plain: &[u8], codec: Codec) {
        let c = compress(plain, 2);
        assert_eq!(c.codec, codec);
        assert_eq!(decompress(c.codec, &c.bytes, plain.len()).unwrap(), plain);
        assert_eq!(decompress(c.codec, &c.bytes, plain.len() + 1), Err(BadGroup(plain.len() + 1)));
        if !plain.is_empty() {
            assert!(decompress(c.codec, &c.bytes, plain.len() - 1).is_err(), "a bomb is refused");
        }
    }

    #[test]
    fn text_shrinks_and_noise_stays_raw() {
        check(&b"abc ".repeat(1000), Codec::Zstd);
        let mut noise = vec![0; 10_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        check(&noise, Codec::Raw);
        check(b"", Codec::Raw);
    }

    #[test]
    fn garbage_is_refused() {
        assert!(decompress(Codec::Zstd, b"garbage", 100).is_err());
        assert!(Codec::from_byte(2).is_none());
    }
}
