//! The source of the golden repository: a small tree with an entry of every kind, and its change.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// Long targets fill leaves: the tree gets a branch.
const LONG_LINKS: usize = 60;

/// Attributes that a restore brings back.
pub(super) fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut names, mut value) = (vec![0; 4096], vec![0; 4096]);
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let names = names[..len].split(|&b| b == 0);
    let ours = names.filter(|n| n.starts_with(b"user.") || n.starts_with(b"system.posix_acl"));
    let mut out = Vec::new();
    for name in ours {
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        out.push((name.to_vec(), value[..len].to_vec()));
    }
    out.sort();
    out
}

/// Text that compresses well but repeats nowhere.
fn text(from: usize, lines: usize) -> Vec<u8> {
    let line = |n: usize| format!("{n:08} the limpet holds on to the rock while the tide goes out again\n");
    (from..from + lines).map(line).collect::<String>().into_bytes()
}

fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let last_modification = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let last_access = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A POSIX ACL as the kernel takes it: version 2, then tag, permissions and id of each line.
fn acl(lines: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in lines {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

/// The first version.
pub(super) fn make(root: &Path) {
    for dir in ["a/b/c", "long", "special"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("tiny"), b"inline content\n").unwrap();
    fs::write(root.join("a/small"), text(0, 70)).unwrap();
    fs::write(root.join("a/b/zeros"), vec![0; 100_000]).unwrap();
    fs::write(root.join("a.txt"), text(1000, 2500)).unwrap();
    fs::write(root.join("log"), text(10_000, 8400)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not utf-8: \xff")), b"by name\n").unwrap();
    fs::hard_link(root.join("a/small"), root.join("a/b/linked")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(2 << 20).unwrap();
    sparse.write_all_at(&text(50_000, 300), 1 << 20).unwrap();
    for n in 0..LONG_LINKS {
        symlink(format!("{n:04}/").repeat(799), root.join(format!("long/{n:02}"))).unwrap();
    }
    symlink("../nowhere", root.join("a/link")).unwrap();
    special(&root.join("special"));
    set_mode(&root.join("a/small"), 0o4711);
    set_mode(&root.join("a/b/c"), 0o1770);
    let attribute = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(root.join("a.txt"), name, value, XattrFlags::empty()).unwrap();
    };
    attribute("user.comment", b"golden");
    attribute("user.empty", b"");
    let own = u32::MAX;
    let lines = [(1, 6, own), (2, 4, 1000), (4, 4, own), (16, 4, own), (32, 0, own)];
    attribute("system.posix_acl_access", &acl(&lines));
    set_mtime(&root.join("tiny"), -2, 500_000_000);
    set_mtime(&root.join("empty"), 1_234_567_890, 0);
    set_mtime(&root.join("a/b/zeros"), 4_000_000_000, 123_456_789);
    set_mtime(&root.join("a/link"), 1_000_000_000, 1);
    set_mtime(&root.join("a/b/c"), 1_000_000_000, 0);
}

fn special(dir: &Path) {
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    node("fifo", FileType::Fifo, 0);
    node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("disk", FileType::BlockDevice, rustix::fs::makedev(259, 300));
    drop(UnixListener::bind(dir.join("socket")).unwrap());
    fs::write(dir.join("owned"), b"of somebody else\n").unwrap();
    std::os::unix::fs::chown(dir.join("owned"), Some(1000), Some(100)).unwrap();
    std::os::unix::fs::lchown(dir.join("fifo"), Some(4_000_000_000), Some(7)).unwrap();
}

/// The second version: something appended, overwritten, added, removed and renamed.
pub(super) fn change(root: &Path) {
    let log = File::options().write(true).open(root.join("log")).unwrap();
    log.write_all_at(&text(90_000, 3), 300_000).unwrap();
    log.write_all_at(&text(18_400, 100), log.metadata().unwrap().len()).unwrap();
    let sparse = File::options().write(true).open(root.join("sparse")).unwrap();
    sparse.write_all_at(&text(60_000, 20), 100_000).unwrap();
    fs::write(root.join("tiny"), b"other inline content\n").unwrap();
    fs::remove_file(root.join("empty")).unwrap();
    fs::rename(root.join("a/b/zeros"), root.join("a/b/renamed")).unwrap();
    fs::create_dir(root.join("added")).unwrap();
    fs::write(root.join("added/file"), text(5, 20)).unwrap();
    fs::remove_file(root.join("long/30")).unwrap();
}
