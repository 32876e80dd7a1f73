//! Nothing leaves the target folder, whatever is planted in it; files get all that they had.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::env::Timestamp;
use crate::items::entry::Kind;

struct Place {
    base: tempfile::TempDir,
    target: Target,
}

fn place(replace: bool) -> Place {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("t")).unwrap();
    let target = open(base.path(), replace);
    Place { base, target }
}

fn open(base: &Path, replace: bool) -> Target {
    Target::open(&base.join("t"), TargetOptions { replace, nonce: [7; 8] }).unwrap()
}

impl Place {
    fn path(&self, below: &str) -> std::path::PathBuf {
        self.base.path().join(below)
    }

    fn write(&self, path: &[u8], meta: &Meta, bytes: &[u8], naming: Naming) -> TargetResult<Vec<String>> {
        let mut notes = Vec::new();
        let file = self.target.create_file(path, meta, naming, true)?;
        file.write_at(bytes, 0)?;
        self.target.finish(&file, meta, &mut notes)?;
        Ok(notes)
    }

    fn node(&self, path: &[u8], kind: &Kind, meta: &Meta) -> TargetResult<Vec<String>> {
        let mut notes = Vec::new();
        self.target.create_node(path, kind, meta, Naming::New, &mut notes)?;
        Ok(notes)
    }
}

fn me(mode: u32) -> Meta {
    let me = Me::now();
    Meta { mode, uid: me.uid, gid: me.gid, mtime: Timestamp(1_500_000_000_123_456_789), ..Meta::default() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn names_that_no_entry_can_have_are_refused() {
    let long = vec![b'x'; limits::NAME_BYTES_MAX + 1];
    let names: [&[u8]; 12] =
        [b"", b".", b"..", b"/", b"/etc", b"a/", b"a//b", b"a/../b", b"../a", b"a/.", b"a\0b", &long];
    let place = place(true);
    for name in names {
        assert!(matches!(split(name), Err(TargetError::BadName(_))), "{name:?}");
        assert!(place.write(name, &me(0o600), b"x", Naming::New).is_err(), "{name:?}");
        assert!(place.node(name, &Kind::Fifo, &me(0o600)).is_err(), "{name:?}");
        assert!(place.target.link(b"a", name, Naming::New).is_err(), "{name:?}");
        assert!(name.is_empty() || place.target.make_dir(name).is_err(), "{name:?}");
    }
    assert_eq!(fs::read_dir(place.path("t")).unwrap().count(), 0);
    assert_eq!(split(b"a/b.c/d").unwrap(), (&b"a/b.c"[..], &b"d"[..]));
    assert_eq!(split(&[0xff, b'\n']).unwrap(), (&b""[..], &[0xff, b'\n'][..]));
}

#[test]
fn planted_symlinks_are_never_followed() {
    let place = place(false);
    fs::create_dir(place.path("outside")).unwrap();
    fs::write(place.path("outside/kept"), "kept").unwrap();
    symlink(place.path("outside"), place.path("t/dir")).unwrap();
    symlink("../outside", place.path("t/relative")).unwrap();
    symlink(place.path("outside/kept"), place.path("t/file")).unwrap();
    for path in [&b"dir/new"[..], b"relative/new", b"dir/kept"] {
        let error = place.write(path, &me(0o600), b"x", Naming::Replace).unwrap_err();
        assert!(matches!(error, TargetError::NotDirectory), "{error:?}");
        assert!(matches!(place.target.make_dir(path), Err(TargetError::NotDirectory)));
    }
    assert!(place.write(b"file", &me(0o600), b"x", Naming::New).is_err());
    assert!(place.target.finish_dir(b"dir", &me(0o777), &mut Vec::new()).is_err());
    place.write(b"file", &me(0o600), b"x", Naming::Replace).unwrap();
    assert_eq!(fs::read(place.path("t/file")).unwrap(), b"x");
    assert_eq!(fs::read(place.path("outside/kept")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(place.path("outside")).unwrap().count(), 1);
}

#[test]
fn what_stands_in_the_way_of_a_directory_is_replaced_when_asked() {
    let place = place(true);
    fs::create_dir(place.path("outside")).unwrap();
    symlink(place.path("outside"), place.path("t/a")).unwrap();
    fs::write(place.path("t/b"), "file").unwrap();
    place.target.make_dir(b"a").unwrap();
    place.write(b"a/x", &me(0o600), b"x", Naming::New).unwrap();
    place.write(b"b/deep/er/x", &me(0o600), b"x", Naming::New).unwrap();
    assert!(fs::symlink_metadata(place.path("t/a")).unwrap().is_dir());
    assert!(place.path("t/b/deep/er/x").is_file());
    assert_eq!(fs::read_dir(place.path("outside")).unwrap().count(), 0);
}

#[test]
fn a_file_gets_its_bytes_mode_and_time() {
    let place = place(false);
    for (name, mode) in
        [("plain", 0o644), ("locked", 0o000), ("open", 0o666), ("suid", 0o4755), ("sticky", 0o1777)]
    {
        let notes = place.write(name.as_bytes(), &me(mode), b"hello", Naming::New).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let stat = fs::metadata(place.path("t").join(name)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.len()), (mode, 5), "{name}");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_500_000_000, 123_456_789));
    }
    let early = Meta { mtime: Timestamp(-1), ..me(0o600) };
    place.write(b"early", &early, b"", Naming::New).unwrap();
    let stat = fs::metadata(place.path("t/early")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (-1, 999_999_999));
}

#[test]
fn a_replaced_file_changes_at_once_and_a_discarded_one_not_at_all() {
    let place = place(true);
    fs::write(place.path("t/f"), "old").unwrap();
    let meta = me(0o600);
    let file = place.target.create_file(b"f", &meta, Naming::Replace, false).unwrap();
    file.write_at(b"damaged", 0).unwrap();
    assert_eq!(fs::read(place.path("t/f")).unwrap(), b"old");
    file.discard().unwrap();
    assert_eq!(fs::read(place.path("t/f")).unwrap(), b"old");
    place.write(b"f", &meta, b"new", Naming::Replace).unwrap();
    assert_eq!(fs::read(place.path("t/f")).unwrap(), b"new");
    assert_eq!(fs::read_dir(place.path("t")).unwrap().count(), 1, "no temporary stays");
    assert!(place.write(b"f", &meta, b"new", Naming::New).is_err(), "new never replaces");
    fs::create_dir(place.path("t/d")).unwrap();
    let error = place.write(b"d", &meta, b"new", Naming::Replace).unwrap_err();
    assert!(matches!(error, TargetError::IsDirectory), "{error:?}");
    assert_eq!(fs::read_dir(place.path("t")).unwrap().count(), 2, "no temporary stays");
}

#[test]
fn what_is_not_written_is_a_hole() {
    let place = place(false);
    let (meta, mut notes) = (me(0o644), Vec::new());
    let file = place.target.create_file(b"sparse", &meta, Naming::New, false).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_at(b"middle", 32 << 20).unwrap();
    place.target.finish(&file, &meta, &mut notes).unwrap();
    let stat = fs::metadata(place.path("t/sparse")).unwrap();
    assert_eq!(stat.len(), 64 << 20);
    assert!(stat.blocks() * 512 <= 64 << 10, "{} blocks", stat.blocks());
    assert_eq!(&fs::read(place.path("t/sparse")).unwrap()[32 << 20..(32 << 20) + 6], b"middle");
}

#[test]
fn a_parked_file_goes_on_unless_it_was_exchanged() {
    let place = place(false);
    let meta = me(0o644);
    let file = place.target.create_file(b"d/f", &meta, Naming::New, false).unwrap();
    file.write_at(b"one", 0).unwrap();
    let parked = file.park(b"d/f").unwrap();
    drop(file);
    let file = place.target.resume(&parked).unwrap();
    file.write_at(b"two", 3).unwrap();
    drop(file);
    assert_eq!(fs::read(place.path("t/d/f")).unwrap(), b"onetwo");
    fs::write(place.path("other"), "other").unwrap();
    fs::hard_link(place.path("t/d/f"), place.path("t/d/g")).unwrap();
    fs::rename(place.path("other"), place.path("t/d/f")).unwrap();
    assert!(place.target.resume(&parked).is_err());
    place.target.discard(&parked).unwrap();
    assert!(!place.path("t/d/f").exists());
}

#[test]
fn nodes_and_links_are_made() {
    let place = place(true);
    let link = Kind::Symlink(b"../nowhere/\xff".to_vec());
    assert_eq!(place.node(b"d/link", &link, &me(0o777)).unwrap(), Vec::<String>::new());
    assert_eq!(place.target.read_link(b"d/link").unwrap(), b"../nowhere/\xff");
    assert_eq!(fs::symlink_metadata(place.path("t/d/link")).unwrap().mtime_nsec(), 123_456_789);
    for (name, kind) in [("fifo", Kind::Fifo), ("socket", Kind::Socket)] {
        assert_eq!(place.node(name.as_bytes(), &kind, &me(0o622)).unwrap(), Vec::<String>::new());
        let stat = fs::symlink_metadata(place.path("t").join(name)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.mtime_nsec()), (0o622, 123_456_789));
    }
    assert!(fs::symlink_metadata(place.path("t/fifo")).unwrap().file_type().is_fifo());
    place.write(b"first", &me(0o600), b"x", Naming::New).unwrap();
    place.target.link(b"first", b"e/second", Naming::New).unwrap();
    place.target.link(b"first", b"e/second", Naming::Replace).unwrap();
    place.target.link(b"d/link", b"e/link", Naming::New).unwrap();
    assert!(place.target.link(b"first", b"e/second", Naming::New).is_err());
    assert_eq!(fs::metadata(place.path("t/first")).unwrap().nlink(), 2);
    assert_eq!(fs::read_dir(place.path("t/e")).unwrap().count(), 2, "no temporary stays");
    assert_eq!(fs::symlink_metadata(place.path("t/e/link")).unwrap().nlink(), 2);
    if is_root() {
        place.node(b"null", &Kind::CharDevice(1, 3), &me(0o600)).unwrap();
        assert_eq!(fs::symlink_metadata(place.path("t/null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
    }
}

#[test]
fn directories_are_finished_last_and_opened_again_when_locked() {
    let place = place(false);
    place.write(b"ro/deep/f", &me(0o400), b"x", Naming::New).unwrap();
    for path in [&b"ro/deep"[..], b"ro", b""] {
        let mut notes = Vec::new();
        place.target.finish_dir(path, &me(0o555), &mut notes).unwrap();
        assert_eq!(notes, Vec::<String>::new());
    }
    let stat = fs::metadata(place.path("t/ro/deep")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o555, 1_500_000_000));
    // A second restore into it works, whoever we are.
    fs::set_permissions(place.path("t"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("t/ro/deep"), fs::Permissions::from_mode(0o0)).unwrap();
    let again = Place { target: open(place.base.path(), true), base: place.base };
    again.write(b"ro/deep/g", &me(0o400), b"x", Naming::New).unwrap();
    assert!(!again.target.is_empty());
}

#[test]
fn many_directories_need_few_handles() {
    let place = place(false);
    for i in 0..400 {
        place.write(format!("d{i}/e/f").as_bytes(), &me(0o600), b"x", Naming::New).unwrap();
    }
    let ours = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let below = place.path("t/");
    let open = ours.filter(|e| fs::read_link(e.path()).is_ok_and(|p| p.starts_with(&below))).count();
    assert!(open <= 130, "{open} handles open");
    let deep = vec!["d"; 2100].join("/");
    place.write(deep.as_bytes(), &me(0o600), b"x", Naming::New).unwrap();
    assert!(place.target.find(deep.as_bytes()).unwrap().is_some(), "paths longer than PATH_MAX work");
    // std's own removal walks by handles too, but one level a call.
    place.base.close().unwrap();
}

#[test]
fn attributes_and_owners_are_set_or_noted() {
    let place = place(false);
    let xattrs = vec![(b"user.a".to_vec(), b"1".to_vec())];
    let meta = Meta { xattrs, ..me(0o400) };
    let notes = place.write(b"f", &meta, b"x", Naming::New).unwrap();
    if notes.is_empty() {
        let mut value = [0u8; 8];
        let n = rustix::fs::getxattr(place.path("t/f"), "user.a", &mut value[..]).unwrap();
        assert_eq!(&value[..n], b"1");
    } else {
        assert!(notes[0].starts_with("set attribute user.a: "), "{notes:?}");
    }
    let odd = Meta { xattrs: vec![(b"nonsense".to_vec(), b"1".to_vec())], ..me(0o600) };
    let notes = place.write(b"g", &odd, b"x", Naming::New).unwrap();
    assert!(notes.len() == 1 && notes[0].starts_with("set attribute nonsense: "), "{notes:?}");
    let foreign = Meta { uid: 12_345, gid: 12_346, ..me(0o6755) };
    let notes = place.write(b"h", &foreign, b"x", Naming::New).unwrap();
    let stat = fs::metadata(place.path("t/h")).unwrap();
    if is_root() {
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (12_345, 12_346, 0o6755));
        assert_eq!(notes, Vec::<String>::new());
    } else {
        assert_eq!(stat.mode() & 0o7777, 0o755, "setuid speaks of an owner that could not be set");
        assert_eq!(notes.len(), 2, "{notes:?}");
    }
}

#[test]
fn a_setgid_target_does_not_change_groups() {
    let place = place(false);
    if is_root() {
        std::os::unix::fs::chown(place.path("t"), None, Some(4_321)).unwrap();
        fs::set_permissions(place.path("t"), fs::Permissions::from_mode(0o2755)).unwrap();
    }
    let again = Place { target: open(place.base.path(), false), base: place.base };
    again.write(b"d/f", &me(0o644), b"x", Naming::New).unwrap();
    assert_eq!(fs::metadata(again.path("t/d/f")).unwrap().gid(), Me::now().gid);
}
