//! A file that is written through a shared mapping. Only for tests of what such writes do to a file's times.

use std::fs::File;
use std::io;

use memmap2::{MmapMut, MmapOptions};

/// A shared mapping of a whole file, for writing. Must never be used for what somebody else may cut short.
#[derive(Debug)]
pub struct Written(MmapMut);

impl Written {
    /// Maps all of `file`, which is open for reading and writing.
    pub fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the tests that use this make the file themselves, in a folder of their own, and neither cut it short
        // while it is mapped nor keep a reference to its bytes.
        let map = unsafe { MmapOptions::new().map_mut(file) }?;
        Ok(Self(map))
    }

    /// Writes through the mapping; nothing tells the kernel when.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}
