//! Entries of a tree, and changes between two.

use repository::Result;
use repository::env::Timestamp;
use repository::items::entry::{Content, Entry, Kind, Meta};
use repository::ops::browse::Change;

use super::bad;
use crate::v1;

/// Everything but the content.
#[must_use]
pub fn entry_to_wire(e: &Entry) -> v1::Entry {
    let (mut symlink_target, mut device) = (Vec::new(), (0, 0));
    let kind = match &e.kind {
        Kind::File(_) => v1::EntryKind::File,
        Kind::Directory => v1::EntryKind::Directory,
        Kind::Symlink(target) => {
            symlink_target.clone_from(target);
            v1::EntryKind::Symlink
        }
        Kind::Fifo => v1::EntryKind::Fifo,
        Kind::Socket => v1::EntryKind::Socket,
        Kind::CharDevice(major, minor) => {
            device = (*major, *minor);
            v1::EntryKind::CharDevice
        }
        Kind::BlockDevice(major, minor) => {
            device = (*major, *minor);
            v1::EntryKind::BlockDevice
        }
    };
    let m = &e.meta;
    let xattr = |(name, value): &(Vec<u8>, Vec<u8>)| v1::Xattr {
        name: name.clone().into(),
        value: value.clone().into(),
    };
    v1::Entry {
        path: e.path.clone().into(),
        kind: kind.into(),
        mode: m.mode,
        uid: m.uid,
        gid: m.gid,
        mtime_unix_nanos: m.mtime.0,
        ctime_unix_nanos: m.ctime.0,
        ino: m.ino,
        linked: m.linked,
        xattrs: m.xattrs.iter().map(xattr).collect(),
        size_bytes: e.size,
        changed_during_read: e.changed_during_read,
        symlink_target: symlink_target.into(),
        device_major: device.0,
        device_minor: device.1,
    }
}

/// A file comes back without extents.
pub fn entry_from_wire(e: v1::Entry) -> Result<Entry> {
    let kind = match e.kind() {
        v1::EntryKind::File => Kind::File(Content::Extents(Vec::new())),
        v1::EntryKind::Directory => Kind::Directory,
        v1::EntryKind::Symlink => Kind::Symlink(e.symlink_target.to_vec()),
        v1::EntryKind::Fifo => Kind::Fifo,
        v1::EntryKind::Socket => Kind::Socket,
        v1::EntryKind::CharDevice => Kind::CharDevice(e.device_major, e.device_minor),
        v1::EntryKind::BlockDevice => Kind::BlockDevice(e.device_major, e.device_minor),
        v1::EntryKind::Unspecified => {
            return Err(bad("kind", format!("{} is not a known entry kind", e.kind)));
        }
    };
    let meta = Meta {
        mode: e.mode,
        uid: e.uid,
        gid: e.gid,
        mtime: Timestamp(e.mtime_unix_nanos),
        ctime: Timestamp(e.ctime_unix_nanos),
        ino: e.ino,
        linked: e.linked,
        xattrs: e.xattrs.into_iter().map(|x| (x.name.to_vec(), x.value.to_vec())).collect(),
    };
    let (path, size) = (e.path.to_vec(), e.size_bytes);
    Ok(Entry { path, meta, size, changed_during_read: e.changed_during_read, kind })
}

/// Added has only `newer`, removed only `older`.
#[must_use]
pub fn change_to_wire(c: &Change) -> v1::Change {
    let (older, newer, content_differs) = match c {
        Change::Added(e) => (None, Some(entry_to_wire(e)), true),
        Change::Removed(e) => (Some(entry_to_wire(e)), None, true),
        Change::Changed(older, newer, content) => {
            (Some(entry_to_wire(older)), Some(entry_to_wire(newer)), *content)
        }
    };
    v1::Change { older, newer, content_differs }
}

/// The reverse.
pub fn change_from_wire(c: v1::Change) -> Result<Change> {
    match (c.older.map(entry_from_wire).transpose()?, c.newer.map(entry_from_wire).transpose()?) {
        (None, Some(e)) => Ok(Change::Added(e)),
        (Some(e), None) => Ok(Change::Removed(e)),
        (Some(older), Some(newer)) => {
            Ok(Change::Changed(Box::new(older), Box::new(newer), c.content_differs))
        }
        (None, None) => Err(bad("change", "neither an older nor a newer entry")),
    }
}
