//! The small binary encoding of everything that is stored in bulk: varints, byte strings, fixed arrays.
//!
//! Reading never panics and never allocates more than the input could justify: bytes from the store are hostile.

use thiserror::Error;

/// Bytes that do not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed {what} at byte {at}")]
pub struct Malformed {
    /// What was being read.
    pub what: &'static str,
    /// Where in the input.
    pub at: usize,
}

/// Appends an unsigned LEB128 varint (1 to 10 bytes).
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a signed number as a zigzag varint.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
}

/// Appends a byte string: its length as a varint, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { whole: bytes.len(), rest: bytes }
    }

    /// The error for `what` at this position.
    #[must_use]
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.whole - self.rest.len() }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True at the end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails unless all was read.
    pub fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed(what)) }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(self.malformed(what))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next byte.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, what)?[0])
    }

    /// A fixed array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(self.malformed(what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// A varint. Rejects more than 64 bits and padded (non-canonical) forms.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (i, &b) in self.rest.iter().take(10).enumerate() {
            if i == 9 && b > 1 {
                break;
            }
            value |= u64::from(b & 0x7f) << (7 * i);
            if b < 0x80 {
                if b == 0 && i > 0 {
                    break;
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(self.malformed(what))
    }

    /// A zigzag varint.
    pub fn signed(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let v = self.varint(what)?;
        Ok((v >> 1).cast_signed() ^ -(v & 1).cast_signed())
    }

    /// A varint that fits `u32`.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let at = self.malformed(what);
        u32::try_from(self.varint(what)?).map_err(|_| at)
    }

    /// A count of things of which each takes at least `unit` bytes of the rest: a larger one is malformed,
    /// so that the caller may reserve memory for it.
    pub fn count(&mut self, unit: usize, what: &'static str) -> Result<usize, Malformed> {
        let at = self.malformed(what);
        let n = usize::try_from(self.varint(what)?).map_err(|_| at)?;
        if n > self.rest.len() / unit.max(1) { Err(at) } else { Ok(n) }
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let at = self.malformed(what);
        let n = usize::try_from(self.varint(what)?).map_err(|_| at)?;
        if n > max { Err(at) } else { self.take(n, what) }
    }
}

#[cfg(test)]
mod tests;
