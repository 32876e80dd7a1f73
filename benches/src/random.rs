//! Deterministic random numbers: the output of BLAKE3 for a label and a number, so that every file of a data set can be
//! made again on its own.
//!
//! Integers only. Floating point would tie the data to a platform's mathematical library.

use blake3::{Hasher, OutputReader};

/// Changing this changes every data set: results from before can't be compared with results from after.
const SEED: &[u8] = b"holdfast benches 1\0";

const BUFFER_BYTES: usize = 1024;

/// An endless stream of random bytes, the same for the same label and number.
pub struct Random {
    stream: OutputReader,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl Random {
    /// The stream named by `label` and `number`.
    #[must_use]
    pub fn new(label: &str, number: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(SEED).update(&number.to_le_bytes()).update(label.as_bytes());
        Self { stream: hasher.finalize_xof(), buffer: [0; BUFFER_BYTES], used: BUFFER_BYTES }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > BUFFER_BYTES {
            self.stream.fill(&mut self.buffer);
            self.used = 0;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.buffer[self.used..self.used + N]);
        self.used += N;
        bytes
    }

    /// 16 random bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// 32 random bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// A number from 0 to `end - 1`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(end)) >> 64) as u64
    }

    /// [`Random::below`] for places in memory.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.stream.fill(bytes);
    }

    /// `count` different numbers below `end`, ascending; all of them if there are no more than `count`.
    pub fn sample(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..end).collect();
        let count = count.min(end);
        for i in 0..count {
            let other = i + self.index(end - i);
            all.swap(i, other);
        }
        all.truncate(count);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests;
