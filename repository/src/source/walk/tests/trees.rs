//! Trees that nobody changes: kinds, names, attributes, depth and width.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::super::{OPEN_LEVELS_MAX, Step, Walk, WalkSettings};
use super::{make, paths, tight, walk, without_openat2};
use crate::items::entry::{Kind, path_cmp};
use crate::source::{Found, FoundKind, Rules, SourceErrorKind};

fn by_path<'a>(found: &'a [Found], path: &str) -> &'a Found {
    found.iter().find(|f| f.path == path.as_bytes()).unwrap_or_else(|| panic!("{path} is missing"))
}

#[test]
fn order_is_by_component() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a", "a-", "b/c"], &["a/z", "a.txt", "a-/y", "b/c/d", "b/c.d"]);
    let expected = ["", "a", "a/z", "a-", "a-/y", "a.txt", "b", "b/c", "b/c/d", "b/c.d"];
    assert_eq!(paths(dir.path()), expected.map(|p| p.as_bytes().to_vec()));
}

#[test]
fn kinds_and_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    make(root, &["dir"], &["file", "name1"]);
    fs::hard_link(root.join("name1"), root.join("name2")).unwrap();
    symlink("to/nowhere\u{7}", root.join("link")).unwrap();
    rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    let at = Timespec { tv_sec: -5, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, root.join("file"), &times, AtFlags::empty()).unwrap();

    let (found, problems, _) = walk(root, WalkSettings::default());
    assert_eq!(problems, []);
    let kinds: Vec<_> = found.iter().map(|f| f.read_kind().unwrap()).collect();
    let (dir, link) = (Some(Kind::Directory), Some(Kind::Symlink("to/nowhere\u{7}".as_bytes().to_vec())));
    assert_eq!(kinds, [dir.clone(), dir, Some(Kind::Fifo), None, link, None, None, Some(Kind::Socket)]);

    let file = by_path(&found, "file");
    let std = fs::metadata(root.join("file")).unwrap();
    assert_eq!((file.meta.mode, file.size, file.meta.ino), (0o4751, 4, std.ino()));
    assert_eq!((file.meta.uid, file.meta.gid), (std.uid(), std.gid()));
    assert_eq!(file.meta.mtime.0, -5_000_000_000 + 123_456_789);
    assert_eq!(file.meta.ctime.0, std.ctime() * 1_000_000_000 + std.ctime_nsec());
    let (one, two) = (by_path(&found, "name1"), by_path(&found, "name2"));
    assert!(one.meta.linked && two.meta.linked && one.meta.ino == two.meta.ino);
    assert!(!file.meta.linked && !by_path(&found, "dir").meta.linked && !by_path(&found, "").meta.linked);
    assert!(found.iter().all(|f| f.kind == FoundKind::File || f.size == 0));
}

#[test]
fn devices_keep_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let device = rustix::fs::makedev(259, 70_000);
    for (name, kind) in [("block", FileType::BlockDevice), ("char", FileType::CharacterDevice)] {
        if rustix::fs::mknodat(CWD, dir.path().join(name), kind, Mode::RUSR, device).is_err() {
            return; // Only root may make devices, and not in every container.
        }
    }
    let (found, ..) = walk(dir.path(), WalkSettings::default());
    assert_eq!(found[1].kind, FoundKind::BlockDevice(259, 70_000));
    assert_eq!(found[2].kind, FoundKind::CharDevice(259, 70_000));
}

#[test]
fn names_are_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 6] = [b" ", b"-\n\x1b[2J", b"\\", b"\x80\xff", &[b'n'; 255], b"\xe2\x82\xac"];
    for name in names {
        fs::write(dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mut expected = vec![Vec::new()];
    expected.extend(names.iter().map(|n| n.to_vec()));
    expected.sort();
    assert_eq!(paths(dir.path()), expected);
    let (found, ..) = walk(dir.path(), WalkSettings::default());
    for found in &found[1..] {
        let mut content = Vec::new();
        let len = found.open_file().unwrap().read_at(&mut content, 300, 0).unwrap();
        assert_eq!((len, &content), (content.len(), &found.path));
    }
}

#[test]
fn attributes_are_raw_and_sorted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    make(root, &["dir"], &["file", "plain"]);
    symlink("file", root.join("link")).unwrap();
    let set = |name: &str, key: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(name), key, value, XattrFlags::empty()).is_ok()
    };
    if !set("file", "user.z", b"1") {
        return; // This file system has none.
    }
    let big = vec![b'v'; 2000];
    assert!(
        set("file", "user.a", b"\0\xff") && set("file", "user.big", &big) && set("file", "user.empty", b"")
    );
    assert!(set("dir", "user.d", b"d"));
    // Version 2; owner rw-, user 65534 r--, group r--, mask r--, others ---.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, perm, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 65_534), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    let acls = set("file", "system.posix_acl_access", &acl) && set("dir", "system.posix_acl_default", &acl);

    let (found, ..) = walk(root, WalkSettings::default());
    // A label of the system's own (SELinux) may be there besides.
    let read = |name: &str| {
        let mut xattrs = by_path(&found, name).read_xattrs().unwrap();
        xattrs.retain(|(key, _)| !key.starts_with(b"security."));
        xattrs
    };
    let pair = |key: &str, value: &[u8]| (key.as_bytes().to_vec(), value.to_vec());
    let mut expected = vec![
        pair("user.a", b"\0\xff"),
        pair("user.big", &big),
        pair("user.empty", b""),
        pair("user.z", b"1"),
    ];
    let mut expected_dir = vec![pair("user.d", b"d")];
    if acls {
        expected.insert(0, pair("system.posix_acl_access", &acl));
        expected_dir.insert(0, pair("system.posix_acl_default", &acl));
    }
    assert_eq!(read("file"), expected);
    assert_eq!(read("dir"), expected_dir);
    assert_eq!(read("link"), [], "not the target's");
    assert_eq!(read("plain"), []);
    assert_eq!(read(""), []);
    let file = by_path(&found, "file");
    assert_eq!(file.open_file().unwrap().read_xattrs().unwrap(), file.read_xattrs().unwrap());
}

/// Makes a chain of directories called `d`, each with a file on either side, deeper than any one path can say.
fn make_deep(root: &Path, depth: usize) {
    const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
    let mut dir = rustix::fs::open(root, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        for file in ["a", "z"] {
            drop(rustix::fs::openat(&dir, file, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
        }
        rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "d", DIRECTORY, Mode::empty()).unwrap();
    }
}

/// Descriptors of this process that lie below a folder. Paths too long for the system to tell are not seen, so the
/// trees that are counted stay short.
fn open_below(root: &Path) -> usize {
    let root_fd = rustix::fs::open(root, OFlags::PATH, Mode::empty()).unwrap();
    let real = fs::read_link(format!("/proc/self/fd/{}", root_fd.as_raw_fd())).unwrap();
    drop(root_fd);
    let is_below = |fd: std::io::Result<fs::DirEntry>| {
        fd.is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&real)))
    };
    fs::read_dir("/proc/self/fd").unwrap().map(is_below).filter(|below| *below).count()
}

#[test]
fn deep_trees_are_walked_to_the_end() {
    const DEPTH: usize = 2500;
    const { assert!(DEPTH > 2 * OPEN_LEVELS_MAX) };
    let dir = tempfile::tempdir().unwrap();
    make_deep(dir.path(), DEPTH);
    for settings in
        [WalkSettings::default(), without_openat2(), WalkSettings { open_levels_max: 20, ..tight() }]
    {
        let (found, problems, _) = walk(dir.path(), settings);
        assert_eq!(problems, []);
        assert_eq!(found.len(), 1 + 3 * DEPTH);
        assert_eq!(found.last().unwrap().path, b"z");
    }
}

#[test]
fn few_descriptors_are_open() {
    let dir = tempfile::tempdir().unwrap();
    // Down, up to the root, and down again: levels that were closed above must count again.
    for top in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(top)).unwrap();
        make_deep(&dir.path().join(top), 100);
    }
    let settings = WalkSettings { open_levels_max: 8, ..WalkSettings::default() };
    let mut most = 0;
    for step in Walk::open_with(dir.path(), &Rules::default(), settings).unwrap() {
        drop(step);
        most = most.max(open_below(dir.path()));
    }
    assert!((8..=10).contains(&most), "{most} open");
}

#[test]
fn mount_points_are_empty_directories() {
    // Of the whole machine only `proc`, which is another file system everywhere.
    let rules = Rules { exclude: vec!["/*".to_owned(), "!/proc".to_owned()], exclude_caches: false };
    for settings in [WalkSettings::default(), without_openat2()] {
        let mut walk = Walk::open_with(Path::new("/"), &rules, settings).unwrap();
        let found: Vec<_> = walk
            .by_ref()
            .map(|step| match step {
                Step::Found(found) => (found.path.clone(), found.mount_point, found.read_xattrs().is_ok()),
                Step::Problem { error, .. } => panic!("{error}"),
            })
            .collect();
        assert_eq!(found, [(Vec::new(), false, true), (b"proc".to_vec(), true, true)]);
        assert_eq!(walk.counts().mount_points, 1);
    }
}

#[test]
fn memory_file_systems_are_known() {
    let is_memory =
        |path: &str| Walk::open(Path::new(path), &Rules::default()).unwrap().is_memory_fs().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    if mounts.lines().any(|line| line.contains(" /dev/shm tmpfs ")) {
        assert!(is_memory("/dev/shm"));
    }
    assert!(!is_memory("/proc"));
}

#[test]
fn a_root_that_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["real"], &["file", "real/inside"]);
    let open = |name: &str| Walk::open(&dir.path().join(name), &Rules::default()).map(|_| ());
    assert_eq!(open("nothing").unwrap_err().kind(), SourceErrorKind::Vanished);
    let error = open("file").unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Replaced);
    assert!(error.to_string().contains("file"), "{error}");
    symlink("real", dir.path().join("named")).unwrap();
    let (found, ..) = walk(&dir.path().join("named"), WalkSettings::default());
    assert_eq!(found[1].path, b"inside", "the caller's own path is followed");
}

#[test]
fn a_wide_directory_is_spilled_and_descended_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::from([Vec::new()]);
    for i in 0..300 {
        let name = format!("{:03}", (i * 7) % 300);
        make(dir.path(), &[&name], &[&format!("{name}/f")]);
        expected.extend([name.clone().into_bytes(), format!("{name}/f").into_bytes()]);
    }
    assert_eq!(paths(dir.path()), expected.into_iter().collect::<Vec<_>>());
    let lost = WalkSettings { spill_dir: Some("/nonexistent".into()), ..tight() };
    let (_, problems, _) = walk(dir.path(), lost);
    assert_eq!(problems, [(Vec::new(), "sort the names in .".to_owned())]);
}

/// Makes the tree of these paths, as far as they agree; the last name of each is a file. Returns all paths.
fn make_tree(root: &Path, tree: Vec<Vec<String>>) -> Vec<Vec<u8>> {
    let mut all = BTreeSet::from([Vec::new()]);
    for names in tree {
        let names: Vec<_> = names.into_iter().filter(|n| n != "." && n != "..").collect();
        for last in 1..=names.len() {
            let path = names[..last].join("/");
            let full = root.join(&path);
            let made =
                if last == names.len() { fs::File::create_new(full).map(drop) } else { fs::create_dir(full) };
            if made.is_ok() {
                all.insert(path.into_bytes());
            }
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|a, b| path_cmp(a, b));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_tree_comes_complete_and_in_order(
        tree in prop::collection::vec(prop::collection::vec("[-.0a~]{1,3}|\u{e4}", 1..5), 0..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let expected = make_tree(dir.path(), tree);
        prop_assert_eq!(paths(dir.path()), expected);
    }
}
