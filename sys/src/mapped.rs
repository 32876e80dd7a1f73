//! A file mapped into memory, for reading.
//!
//! Only for files of our own cache folders, which are written under another name, renamed, and never changed or cut
//! short afterwards: reading a page that a file no longer has kills the process. Never map what others can write.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap, MmapOptions};

/// A read-only mapping of a whole file, as long as it was when it was opened.
#[derive(Debug)]
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps all of `file`, which may be closed or deleted afterwards. Reads are expected at random places.
    pub fn open(file: &File) -> io::Result<Self> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if bytes == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the bytes must not change while they are borrowed. The callers map files of their own only, which
        // are complete before they get the name under which they are opened and are replaced, never rewritten.
        let map = unsafe { MmapOptions::new().len(bytes).map(file) }?;
        map.advise(Advice::Random)?;
        Ok(Self(Some(map)))
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests;
