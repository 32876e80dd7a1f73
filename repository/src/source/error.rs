//! What can go wrong while a volume is read: what the caller can do, what was being done, to which path, and why.
//!
//! Paths are shown with everything unprintable escaped: names come from strangers and end in logs and terminals.

use std::fmt::Write as _;
use std::io;

use rustix::io::Errno;

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceErrorKind {
    /// It is gone: a normal race with the volume's users; leave it out.
    Vanished,
    /// Another thing has its name now: stat again and try again.
    Replaced,
    /// No permission.
    Denied,
    /// Larger than any limit of ours.
    TooLarge,
    /// The rules make no sense: the caller's mistake.
    Rules,
    /// Everything else, such as a damaged file system.
    Io,
}

/// An error of reading a volume. `Display` names the path; `source()` has the cause.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SourceError {
    kind: SourceErrorKind,
    what: String,
    #[source]
    cause: Option<io::Error>,
}

impl SourceError {
    pub(super) fn new(kind: SourceErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cause: None }
    }

    pub(super) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self { kind: SourceErrorKind::Io, what: what.into(), cause: Some(cause) }
    }

    /// What was found at this path is no longer what has its name.
    pub(super) fn replaced(path: &[u8]) -> Self {
        let what = format!("{} was replaced while the volume was read", show_path(path));
        Self::new(SourceErrorKind::Replaced, what)
    }

    pub(super) fn errno(operation: &str, path: &[u8], errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT | Errno::STALE => SourceErrorKind::Vanished,
            // A symlink, fifo, socket or mount point where a file or directory was.
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::XDEV | Errno::ISDIR => {
                SourceErrorKind::Replaced
            }
            Errno::ACCESS | Errno::PERM => SourceErrorKind::Denied,
            _ => SourceErrorKind::Io,
        };
        Self { kind, what: format!("{operation} {}", show_path(path)), cause: Some(errno.into()) }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }
}

impl From<SourceError> for crate::Error {
    fn from(error: SourceError) -> Self {
        let kind = match error.kind {
            SourceErrorKind::Rules => crate::ErrorKind::Input,
            _ => crate::ErrorKind::Source,
        };
        Self::with_source(kind, "read the volume", error)
    }
}

/// A path below the root as printable text: control characters and bytes that are not UTF-8 are escaped, the root is
/// shown as `.`.
#[must_use]
pub fn show_path(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests;
