//! Cuts bytes by content: FastCDC (the crate's v2020 scan) with a keyed gear table and normalization level 3.
//!
//! The cut points are part of the repository: deduplication across versions depends on them, so golden vectors in
//! the tests hold them. The gear table is a secret of the domain and must never be printed.

use std::fmt;

use fastcdc::v2020::{self, Normalization};
use thiserror::Error;

use crate::limits;

/// What binds the gear table to its use: another table needs another text.
const GEAR_CONTEXT: &str = "holdfast 2026 chunker gear v1";

/// Sizes with which no sound chunker can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidParams {
    /// The average decides the masks, which exist for powers of two.
    #[error("average chunk size {0} is not a power of two")]
    NotPowerOfTwo(u32),
    /// The scan tests pairs of bytes: an odd size would be shifted silently.
    #[error("chunk size {0} is odd")]
    Odd(u32),
    /// Out of the range in which the algorithm works.
    #[error("{what} chunk size {size} is not within {min} and {max}")]
    OutOfRange {
        /// Which of the three.
        what: &'static str,
        /// The size asked for.
        size: u32,
        /// The smallest allowed.
        min: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The three sizes are not ascending.
    #[error("chunk sizes {0}, {1}, {2} are not ascending")]
    NotAscending(u32, u32, u32),
}

/// Least, average and greatest size of a chunk in bytes; always sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerParams {
    min: u32,
    avg: u32,
    max: u32,
}

impl Default for ChunkerParams {
    /// 512 KiB, 1 MiB, 4 MiB.
    fn default() -> Self {
        Self { min: 512 << 10, avg: 1 << 20, max: 4 << 20 }
    }
}

impl ChunkerParams {
    /// Checks the sizes: also those read from a repository come through here, since the crate only debug-asserts.
    pub fn new(min: u32, avg: u32, max: u32) -> Result<Self, InvalidParams> {
        if !avg.is_power_of_two() {
            return Err(InvalidParams::NotPowerOfTwo(avg));
        }
        if let Some(&odd) = [min, max].iter().find(|s| !s.is_multiple_of(2)) {
            return Err(InvalidParams::Odd(odd));
        }
        check_range("least", min, v2020::MINIMUM_MIN, v2020::MINIMUM_MAX)?;
        check_range("average", avg, v2020::AVERAGE_MIN, v2020::AVERAGE_MAX)?;
        check_range("greatest", max, v2020::MAXIMUM_MIN, v2020::MAXIMUM_MAX.min(limits::BLOB_BYTES_MAX))?;
        if min >= avg || avg >= max {
            return Err(InvalidParams::NotAscending(min, avg, max));
        }
        Ok(Self { min, avg, max })
    }

    /// No chunk is smaller, but the last of a stream.
    #[must_use]
    pub fn min(self) -> u32 {
        self.min
    }

    /// About the size of most chunks.
    #[must_use]
    pub fn avg(self) -> u32 {
        self.avg
    }

    /// No chunk is larger.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max
    }
}

fn check_range(what: &'static str, size: u32, min: usize, max: usize) -> Result<(), InvalidParams> {
    let ok = (min..=max).contains(&(size as usize));
    if ok { Ok(()) } else { Err(InvalidParams::OutOfRange { what, size, min, max }) }
}

/// Finds cut points. One per domain; immutable, shared by threads.
pub struct Cutter {
    params: ChunkerParams,
    gear: [u64; 256],
    gear_shifted: [u64; 256],
    mask_strict: u64,
    mask_loose: u64,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Cutter {
    /// Makes the gear table from the domain's chunker key.
    #[must_use]
    pub fn new(params: ChunkerParams, chunker_key: &[u8; 32]) -> Self {
        let mut stream = blake3::Hasher::new_derive_key(GEAR_CONTEXT).update(chunker_key).finalize_xof();
        let mut gear = [0; 256];
        for entry in &mut gear {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
        let (mask_strict, mask_loose) = v2020::select_masks(params.avg as usize, Normalization::Level3);
        Self { params, gear, gear_shifted: gear.map(|g| g << 1), mask_strict, mask_loose }
    }

    /// The sizes.
    #[must_use]
    pub fn params(&self) -> ChunkerParams {
        self.params
    }

    /// The length of the first chunk of `data`. `None`: nothing there, or more data is needed to tell.
    ///
    /// The answer depends on nothing but the bytes of the chunk itself (and, for the last of a stream, on
    /// `at_end`), so that it is the same whatever lies behind and however the stream is sliced.
    #[must_use]
    pub fn cut(&self, data: &[u8], at_end: bool) -> Option<usize> {
        let (min, avg, max) = (self.params.min as usize, self.params.avg as usize, self.params.max as usize);
        let (strict, loose) = (self.mask_strict, self.mask_loose);
        let (_, n) = v2020::cut_gear(
            data,
            min,
            avg,
            max,
            strict,
            loose,
            strict << 1,
            loose << 1,
            &self.gear,
            &self.gear_shifted,
        );
        // The scan takes the end of the slice for a cut: only one before it, or at the maximum, is of the content.
        let found = n < data.len() || n >= max || at_end;
        (found && n > 0).then_some(n)
    }
}

#[cfg(test)]
pub(crate) mod tests;
