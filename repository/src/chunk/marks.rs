//! Marks: a keyed hash of each page of a large file, by which the next backup knows what changed.
//!
//! The key keeps marks from telling anybody without it what a page contains. A page of zeros, allocated or not,
//! has the zero mark, so that zeros are recognised without a key and cost nothing.

use crate::limits::PAGE_BYTES;

/// The mark of one page.
pub type Mark = [u8; 16];

/// The mark of a page of zeros.
pub const ZERO_MARK: Mark = [0; 16];

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// True if all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Comparing with zeros is memcmp, which is faster than any loop of ours and stops at the first difference.
    bytes.chunks(PAGE_BYTES).all(|page| page == &ZEROS[..page.len()])
}

/// The mark of one page, which may be short (the last of a file).
#[must_use]
pub fn mark(key: &[u8; 32], page: &[u8]) -> Mark {
    if is_zero(page) {
        return ZERO_MARK;
    }
    let mut out = ZERO_MARK;
    out.copy_from_slice(&blake3::keyed_hash(key, page).as_bytes()[..16]);
    out
}

/// The marks of all pages of `data`.
#[must_use]
pub fn marks(key: &[u8; 32], data: &[u8]) -> Vec<Mark> {
    data.chunks(PAGE_BYTES).map(|page| mark(key, page)).collect()
}

#[cfg(test)]
mod tests;
