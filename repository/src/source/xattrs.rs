//! Extended attributes, raw: also POSIX ACLs (`system.posix_acl_*`), capabilities and labels.
//!
//! Files that are open are asked by their descriptor, everything else by `/proc/self/fd/DIR/NAME`: that path goes
//! through our own open directory and does not follow its last name.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::fs;
use rustix::io::Errno;

use super::error::{SourceError, SourceErrorKind, show_path};
use super::handle::DirHandle;
use crate::limits::XATTR_BYTES_MAX;

/// Name and value of each attribute, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Most attributes are small: one call fetches them.
const FIRST_BYTES: usize = 512;

/// Whose attributes are asked.
enum Subject<'a> {
    Open(BorrowedFd<'a>),
    Path(CString),
}

impl Subject<'_> {
    fn list(&self, out: &mut [u8]) -> Result<usize, Errno> {
        match (self, out.is_empty()) {
            (Self::Open(fd), false) => fs::flistxattr(fd, out),
            (Self::Open(fd), true) => fs::flistxattr_query(fd),
            (Self::Path(path), false) => fs::llistxattr(path, out),
            (Self::Path(path), true) => fs::llistxattr_query(path),
        }
    }

    fn get(&self, name: &[u8], out: &mut [u8]) -> Result<usize, Errno> {
        match (self, out.is_empty()) {
            (Self::Open(fd), false) => fs::fgetxattr(fd, name, out),
            (Self::Open(fd), true) => fs::fgetxattr_query(fd, name),
            (Self::Path(path), false) => fs::lgetxattr(path, name, out),
            (Self::Path(path), true) => fs::lgetxattr_query(path, name),
        }
    }
}

/// The attributes of an open file or directory.
pub(super) fn of_open(fd: BorrowedFd<'_>, path: &[u8]) -> Result<Xattrs, SourceError> {
    read(&Subject::Open(fd), path)
}

/// The attributes of what has this name in a directory; of the directory itself for the empty name.
pub(super) fn of_name(dir: &DirHandle, name: &[u8], path: &[u8]) -> Result<Xattrs, SourceError> {
    if name.is_empty() {
        return of_open(dir.fd().as_fd(), path);
    }
    let mut proc = format!("/proc/self/fd/{}/", dir.fd().as_raw_fd()).into_bytes();
    proc.extend_from_slice(name);
    let proc = CString::new(proc).map_err(|_| {
        SourceError::new(SourceErrorKind::Io, format!("a name with a zero byte in {}", show_path(path)))
    })?;
    read(&Subject::Path(proc), path)
}

fn read(subject: &Subject<'_>, path: &[u8]) -> Result<Xattrs, SourceError> {
    let failed = |e| SourceError::errno("read the attributes of", path, e);
    let too_large = || {
        let what = format!("the attributes of {} exceed {XATTR_BYTES_MAX} bytes", show_path(path));
        SourceError::new(SourceErrorKind::TooLarge, what)
    };
    let names = match fetch(|out| subject.list(out)) {
        Ok(Some(names)) => names,
        Ok(None) => return Err(too_large()),
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = 0;
    let mut out = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match fetch(|out| subject.get(name, out)) {
            Ok(Some(value)) => {
                bytes += name.len() + value.len();
                out.push((name.to_vec(), value));
            }
            // Removed since it was listed, or listed for others only.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Ok(None) => return Err(too_large()),
            Err(e) => return Err(failed(e)),
        }
        if bytes > XATTR_BYTES_MAX {
            return Err(too_large());
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Calls with a buffer that is large enough; `Ok(None)` if that would be larger than the limit.
fn fetch(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Option<Vec<u8>>, Errno> {
    let mut small = [0; FIRST_BYTES];
    match call(&mut small) {
        Ok(len) => return Ok(Some(small[..len].to_vec())),
        Err(Errno::RANGE) => {}
        Err(e) => return Err(e),
    }
    // It may grow between the two calls; a few rounds follow it.
    for _ in 0..8 {
        let len = call(&mut [])?;
        if len > XATTR_BYTES_MAX {
            return Ok(None);
        }
        let mut out = vec![0; len.max(1)];
        match call(&mut out) {
            Ok(len) => {
                out.truncate(len);
                return Ok(Some(out));
            }
            Err(Errno::RANGE) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::RANGE)
}
