//! Archives in the ustar format, the same bytes for the same content: owner 0, time 0, the order in which it was added.
//!
//! Never shortens what does not fit into a header: a name or a size that is too long is an error.

use anyhow::ensure;

const BLOCK: usize = 512;
/// What eleven octal digits can say.
const SIZE_MAX: u64 = 0o777_7777_7777;
const NAME_MAX: usize = 100;
const PREFIX_MAX: usize = 155;

/// What an entry of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    File(&'a [u8]),
    Folder,
    Link(&'a str),
}

/// An archive that is being written into memory.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds one entry; `path` is relative, `mode` the permission bits.
    pub(crate) fn add(&mut self, path: &str, mode: u32, kind: Kind<'_>) -> anyhow::Result<()> {
        let (flag, content, target) = match kind {
            Kind::File(content) => (b'0', content, ""),
            Kind::Folder => (b'5', &[][..], ""),
            Kind::Link(target) => (b'2', &[][..], target),
        };
        let size = content.len() as u64;
        ensure!(size <= SIZE_MAX, "{path} has {size} bytes, at most {SIZE_MAX}");
        ensure!(target.len() <= NAME_MAX, "{path} points to a name of {} bytes", target.len());
        let (prefix, name) = split(path)?;
        let mut header = [0u8; BLOCK];
        put(&mut header, 0, name.as_bytes());
        put(&mut header, 100, format!("{mode:07o}").as_bytes());
        put(&mut header, 108, b"0000000");
        put(&mut header, 116, b"0000000");
        put(&mut header, 124, format!("{size:011o}").as_bytes());
        put(&mut header, 136, b"00000000000");
        put(&mut header, 148, b"        ");
        header[156] = flag;
        put(&mut header, 157, target.as_bytes());
        put(&mut header, 257, b"ustar\x0000");
        put(&mut header, 345, prefix.as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header, 148, format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

fn put(header: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Divides a path into what the header's two fields hold.
fn split(path: &str) -> anyhow::Result<(&str, &str)> {
    if path.len() <= NAME_MAX {
        return Ok(("", path));
    }
    let cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    let mut fitting = cuts.filter(|(prefix, name)| prefix.len() <= PREFIX_MAX && name.len() <= NAME_MAX);
    fitting.next().ok_or_else(|| anyhow::anyhow!("{path} is too long a name for an archive"))
}

#[cfg(test)]
mod tests;
