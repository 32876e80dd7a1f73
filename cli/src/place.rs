//! `SNAPSHOT[:PATH]`: what people type for a place in a snapshot, checked once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

use crate::exit::usage;

/// A snapshot's name and a path below its root; the empty path is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `latest`, an id, or a prefix.
    pub(crate) snapshot: String,
    /// Without leading, trailing or double slashes, `.` or `..`.
    pub(crate) path: Vec<u8>,
}

/// Takes the argument apart at its first colon. `path` is a separate second argument.
pub(crate) fn parse(text: &OsStr, path: Option<&OsStr>) -> Result<Place> {
    let bytes = text.as_bytes();
    let (snapshot, inside) = match bytes.iter().position(|&b| b == b':') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    if inside.is_some() && path.is_some() {
        return Err(usage(format!("{}: the path is given twice", text.display())));
    }
    let snapshot = std::str::from_utf8(snapshot)
        .ok()
        .filter(|s| !s.is_empty())
        .ok_or_else(|| usage(format!("{}: a snapshot is `latest` or an id", text.display())))?;
    let path = clean(inside.or(path.map(OsStr::as_bytes)).unwrap_or_default())?;
    Ok(Place { snapshot: snapshot.to_owned(), path })
}

fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(usage(format!("{}: `..` has no meaning in a snapshot", String::from_utf8_lossy(path))));
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests;
