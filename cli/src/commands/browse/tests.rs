//! What `ls --long` and `diff` print.

use repository::env::Timestamp;
use repository::items::entry::{Content, Entry, Kind, Meta};
use repository::ops::browse::Change;

use super::{change_line, long_line, permissions};
use crate::records::{ChangeRecord, EntryRecord};

#[test]
fn permission_bits_read_as_ls_shows_them() {
    for (mode, text) in [
        (0o755, "rwxr-xr-x"),
        (0o000, "---------"),
        (0o4755, "rwsr-xr-x"),
        (0o2644, "rw-r-Sr--"),
        (0o1777, "rwxrwxrwt"),
        (0o1776, "rwxrwxrwT"),
    ] {
        assert_eq!(permissions(mode), text, "{mode:o}");
    }
}

fn entry(path: &[u8], kind: Kind) -> Entry {
    let meta = Meta { mode: 0o644, uid: 1000, gid: 100, mtime: Timestamp(0), ..Meta::default() };
    Entry { path: path.to_vec(), meta, size: 5, changed_during_read: false, kind }
}

#[test]
fn a_long_line_has_type_owner_size_and_target() {
    let link = entry(b"a\xff", Kind::Symlink(b"to\x1b".to_vec()));
    let line = long_line(&link, &EntryRecord::from(&link));
    assert!(line.starts_with("lrw-r--r--   1000    100            5 19"), "{line}");
    assert!(line.ends_with(" a\\xff -> to\\x1b"), "{line}");
}

#[test]
fn changes_have_a_sign() {
    let file = || entry(b"f", Kind::File(Content::Inline(bytes::Bytes::new())));
    for (change, text) in [
        (Change::Added(file()), "+ f"),
        (Change::Removed(file()), "- f"),
        (Change::Changed(Box::new(file()), Box::new(file()), true), "M f"),
        (Change::Changed(Box::new(file()), Box::new(file()), false), "m f"),
    ] {
        assert_eq!(change_line(&change, &ChangeRecord::from(&change)), text);
    }
}
