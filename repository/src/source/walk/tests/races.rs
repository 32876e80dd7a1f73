//! Trees that change, or refuse, while they are walked.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::super::{Step, Walk, WalkSettings};
use super::{make, tight, without_openat2};
use crate::source::{Found, FoundKind, Rules, SourceErrorKind};

/// Walks, and calls `act` after each entry.
fn walk_while(root: &Path, settings: WalkSettings, mut act: impl FnMut(&Found)) -> (Walk, Vec<String>) {
    let mut walk = Walk::open_with(root, &Rules::default(), settings).unwrap();
    let mut out = Vec::new();
    for step in walk.by_ref() {
        match step {
            Step::Found(found) => {
                act(&found);
                out.push(String::from_utf8(found.path).unwrap());
            }
            Step::Problem { path, error } => {
                out.push(format!("! {} {:?}", String::from_utf8(path).unwrap(), error.kind()));
            }
        }
    }
    (walk, out)
}

#[test]
fn a_directory_swapped_for_a_symlink_is_not_followed() {
    for settings in [WalkSettings::default(), without_openat2()] {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        make(outside.path(), &[], &["secret"]);
        make(dir.path(), &["d", "e"], &["d/secret", "e/f"]);
        let victim = dir.path().join("d");
        let (_, steps) = walk_while(dir.path(), settings, |found| {
            if found.path == b"d" {
                fs::rename(&victim, dir.path().join("moved")).unwrap();
                symlink(outside.path(), &victim).unwrap();
            }
        });
        assert_eq!(steps, ["", "d", "! d Replaced", "e", "e/f"]);
    }
}

#[test]
fn what_was_found_is_asked_in_the_directory_where_it_lay() {
    for settings in [WalkSettings::default(), without_openat2()] {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "outside").unwrap();
        symlink("outside", outside.path().join("l")).unwrap();
        make(dir.path(), &["d"], &[]);
        fs::write(dir.path().join("d/f"), "inside").unwrap();
        symlink("inside", dir.path().join("d/l")).unwrap();
        let mut kept = Vec::new();
        walk_while(dir.path(), settings, |found| kept.push(found.clone()));
        fs::rename(dir.path().join("d"), dir.path().join("moved")).unwrap();
        symlink(outside.path(), dir.path().join("d")).unwrap();
        let mut content = Vec::new();
        kept[2].open_file().unwrap().read_at(&mut content, 6, 0).unwrap();
        assert_eq!(content, b"inside");
        assert_eq!(kept[3].read_link().unwrap(), b"inside");
        assert_eq!(kept[2].restat().unwrap().meta.ino, kept[2].meta.ino);
        // The directory itself is asked for in the root, where a symlink lies now.
        assert_eq!(kept[1].restat().unwrap().kind, FoundKind::Symlink);
        assert_eq!(kept[1].open_file().unwrap_err().kind(), SourceErrorKind::Replaced);
        assert_eq!(kept[2].read_link().unwrap_err().kind(), SourceErrorKind::Replaced);
    }
}

#[test]
fn what_vanishes_is_left_out_silently() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["b", "d"], &["a", "b/x", "c", "e"]);
    let (walk, steps) =
        walk_while(dir.path(), WalkSettings::default(), |found| match found.path.as_slice() {
            b"a" => fs::remove_file(dir.path().join("c")).unwrap(),
            b"b" => fs::remove_dir_all(dir.path().join("b")).unwrap(),
            b"d" => fs::remove_file(dir.path().join("e")).unwrap(),
            _ => {}
        });
    assert_eq!(steps, ["", "a", "b", "d"]);
    assert_eq!((walk.counts().vanished, walk.counts().problems), (3, 0));
}

#[test]
fn an_upper_directory_that_moved_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/b/c/d/e"], &["a/b/c/d/e/f", "a/b/z", "z"]);
    // Two levels stay open, so `a/b` is closed at the bottom, and is another one when the walk returns.
    let (_, steps) = walk_while(dir.path(), tight(), |found| {
        if found.path == b"a/b/c/d/e/f" {
            fs::rename(dir.path().join("a/b"), dir.path().join("moved")).unwrap();
            make(dir.path(), &["a/b"], &["a/b/z"]);
        }
    });
    let expected = ["", "a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b/c/d/e/f", "! a/b Replaced", "z"];
    assert_eq!(steps, expected);
}

#[test]
fn what_may_not_be_read_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/in", "b"], &["b/f", "c"]);
    let mode = |name: &str, mode| {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // The file is somebody else's: it may be read, but not without a mark on its access time.
    let _ = nix::unistd::chown(&dir.path().join("b/f"), Some(nix::unistd::Uid::from_raw(65_533)), None);
    mode("", 0o755);
    mode("b/f", 0o644);
    mode("a", 0o000);
    mode("c", 0o000);
    // In a thread of its own: the kernel keeps this user id for each thread.
    let (steps, read, denied) = std::thread::scope(|scope| {
        let walk = scope.spawn(|| {
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            }
            let mut kept = Vec::new();
            let (_, steps) =
                walk_while(dir.path(), WalkSettings::default(), |found| kept.push(found.clone()));
            let read = kept[3].open_file().unwrap().read_at(&mut Vec::new(), 3, 0).unwrap();
            (steps, read, kept[4].open_file().unwrap_err())
        });
        walk.join().unwrap()
    });
    assert_eq!(steps, ["", "a", "! a Denied", "b", "b/f", "c"]);
    assert_eq!((read, denied.kind()), (3, SourceErrorKind::Denied));
    assert_eq!(
        crate::Error::from(denied).chain(),
        "read the volume: open c: Permission denied (os error 13)"
    );
    mode("a", 0o755);
}
