//! Paths as they come over the wire: bytes, judged without asking the file system.

/// True for an absolute path without `.`, `..` and NUL that is `root` or below it.
#[must_use]
pub fn is_below(target: &[u8], root: &[u8]) -> bool {
    matches!((parts(target), parts(root)), (Some(t), Some(r)) if t.starts_with(&r))
}

/// The components of an absolute path without `.`, `..` and NUL.
#[must_use]
pub fn parts(path: &[u8]) -> Option<Vec<&[u8]>> {
    let rest = path.strip_prefix(b"/")?;
    let parts: Vec<_> = rest.split(|b| *b == b'/').filter(|p| !p.is_empty()).collect();
    let plain = parts.iter().all(|p| *p != b"." && *p != b".." && !p.contains(&0));
    plain.then_some(parts)
}

#[cfg(test)]
mod tests;
