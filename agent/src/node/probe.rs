//! Whether a child's confinement holds on this very node: one is started that has no job, and tries what it must not be able to do.
//!
//! A kernel, a container runtime or a later version of ours may differ from what was tested. What is refused is tried anew at every start.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proto::v1;
use repository::Result;

use super::confine::{self, Reach};
use super::open::Root;

/// Confines this process as for a job, and says what it could do all the same.
pub(crate) fn probe(asked: &v1::WorkerProbe) -> Result<v1::WorkerProbed> {
    let root = Root::open(&asked.root.clone().unwrap_or_default())?;
    let scratch = path_of(&asked.scratch_dir);
    if asked.confine {
        confine::confine(&Reach { root: root.fd(), write: root.is_writable(), own: vec![scratch.clone()] })?;
    }
    let mut tries: Vec<(String, bool)> = Vec::new();
    for path in asked.outside.iter().map(path_of) {
        tries.push((format!("read {}", path.display()), is_readable(&path)));
        tries.push((format!("write {}", path.display()), is_writable(&path)));
    }
    if !root.is_writable() {
        let shown = root.path().display();
        tries.push((format!("write into {shown}"), is_writable(&root.through())));
        tries.push((format!("change the mode of {shown}"), changes_mode(&root.through())));
    }
    tries.push(("make a socket of this machine".to_owned(), makes_local_socket()));
    let calls = sys::refusals::allowed();
    tries.extend(sys::refusals::tried().map(|name| (name.to_owned(), calls.contains(&name))));
    let tried = u32::try_from(tries.len()).unwrap_or(u32::MAX);
    let allowed = tries.into_iter().filter(|(_, done)| *done).map(|(what, _)| what).collect();
    // A confinement that refuses everything would prove nothing.
    let needed = [
        (format!("read {}", root.path().display()), is_readable(&root.through())),
        (format!("write {}", scratch.display()), is_writable(&scratch)),
        ("make a socket of the network".to_owned(), std::net::UdpSocket::bind(("127.0.0.1", 0)).is_ok()),
        ("start a thread".to_owned(), std::thread::Builder::new().spawn(|| ()).is_ok()),
    ];
    let missing = needed.into_iter().filter(|(_, done)| !done).map(|(what, _)| what).collect();
    Ok(v1::WorkerProbed { tried, allowed, missing })
}

fn path_of(bytes: &Bytes) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn is_readable(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok()
        || File::open(path).is_ok_and(|file| file.metadata().is_ok_and(|m| m.is_file()))
}

/// A file is opened only, in a folder one is made and removed again.
fn is_writable(path: &Path) -> bool {
    let probe = path.join(format!(".holdfast-probe-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    if made {
        // What is left behind was allowed, and is said.
        drop(std::fs::remove_file(&probe));
    }
    made || OpenOptions::new().write(true).open(path).is_ok()
}

/// To what it is.
fn changes_mode(path: &Path) -> bool {
    let permissions = std::fs::metadata(path).map(|m| m.permissions());
    permissions.and_then(|p| std::fs::set_permissions(path, p)).is_ok()
}

/// Nothing listens there: a refusal comes before that is noticed.
fn makes_local_socket() -> bool {
    let connected = UnixStream::connect("/proc/self/exe/nothing");
    !connected.is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}
