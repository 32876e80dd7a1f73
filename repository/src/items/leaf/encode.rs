//! Builds leaves, one entry after the other.

use hashbrown::HashMap;

use super::{
    EXTENT_BLOB, EXTENT_HOLE, EXTENT_SLICE, EXTENT_ZEROS, FLAG_CHANGED, FLAG_LINKED, FLAG_XATTRS,
    FORM_SAME_OWNER, KIND_BLOCK, KIND_CHAR, KIND_DIRECTORY, KIND_EXTENTS, KIND_FIFO, KIND_INLINE,
    KIND_SEGMENTS, KIND_SOCKET, KIND_SYMLINK, MAGIC, MTIME_AS_BEFORE, MTIME_AS_CTIME, MTIME_NANOS,
    MTIME_SECONDS, NANOS, VERSION,
};
use crate::codec::{put_bytes, put_signed, put_varint};
use crate::items::branch::put_path;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind};
use crate::items::usage::Usage;
use crate::limits;

/// What a leaf holds in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LeafTotals {
    /// Entries of all kinds.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Plain bytes of regular files.
    pub bytes: u64,
}

/// A leaf being built. The caller brings entries in order, and only such as [`Entry::check`] accepts.
#[derive(Debug, Default)]
pub struct LeafEncoder {
    rows: Vec<u8>,
    ids: Vec<u8>,
    usage: Usage,
    totals: LeafTotals,
    path: Vec<u8>,
    mtime: i64,
    ctime: i64,
    ino: u64,
    owner: Option<(u32, u32, u32)>,
    owners: HashMap<(u32, u32, u32), u64>,
    xattrs: HashMap<Vec<u8>, u64>,
}

impl LeafEncoder {
    /// True before the first entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.entries == 0
    }

    /// The path of the newest entry.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        &self.path
    }

    /// What it holds so far.
    #[must_use]
    pub fn totals(&self) -> LeafTotals {
        self.totals
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: &Entry) {
        let meta = &entry.meta;
        let (mtime, ctime) = (meta.mtime.0, meta.ctime.0);
        let owner = (meta.mode, meta.uid, meta.gid);
        let same_owner = self.owner == Some(owner);
        let form = if mtime == ctime {
            MTIME_AS_CTIME
        } else if mtime == self.mtime {
            MTIME_AS_BEFORE
        } else if mtime % NANOS == 0 {
            MTIME_SECONDS
        } else {
            MTIME_NANOS
        };
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(meta.linked, FLAG_LINKED)
            | flag(entry.changed_during_read, FLAG_CHANGED)
            | flag(!meta.xattrs.is_empty(), FLAG_XATTRS);
        self.rows.push(kind_code(&entry.kind) | flags);
        self.rows.push(form | flag(same_owner, FORM_SAME_OWNER));
        put_path(&mut self.rows, &self.path, &entry.path);
        if !same_owner {
            self.put_owner(owner);
        }
        put_signed(&mut self.rows, ctime.wrapping_sub(self.ctime));
        match form {
            MTIME_SECONDS => put_signed(&mut self.rows, (mtime / NANOS) - self.mtime.div_euclid(NANOS)),
            MTIME_NANOS => put_signed(&mut self.rows, mtime.wrapping_sub(self.mtime)),
            _ => {}
        }
        put_signed(&mut self.rows, meta.ino.wrapping_sub(self.ino).cast_signed());
        if !meta.xattrs.is_empty() {
            self.put_xattrs(&meta.xattrs);
        }
        (self.mtime, self.ctime, self.ino) = (mtime, ctime, meta.ino);
        self.path.clear();
        self.path.extend_from_slice(&entry.path);
        self.totals.entries += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(entry.size);
        self.totals.files += u64::from(matches!(entry.kind, Kind::File(_)));
        self.put_kind(entry);
    }

    /// The leaf's stored form and its usage; the encoder begins anew.
    pub fn finish(&mut self) -> (Vec<u8>, Usage) {
        let done = std::mem::take(self);
        let mut out = Vec::with_capacity(12 + done.rows.len() + done.ids.len());
        out.extend_from_slice(&[MAGIC, VERSION]);
        put_varint(&mut out, done.totals.entries);
        put_varint(&mut out, done.usage.places.len() as u64);
        out.extend_from_slice(&done.rows);
        out.extend_from_slice(&done.ids);
        (out, done.usage)
    }

    fn put_owner(&mut self, owner: (u32, u32, u32)) {
        self.owner = Some(owner);
        let new = self.owners.len() as u64;
        let number = *self.owners.entry(owner).or_insert(new);
        put_varint(&mut self.rows, number);
        if number == new {
            for value in [owner.0, owner.1, owner.2] {
                put_varint(&mut self.rows, u64::from(value));
            }
        }
    }

    /// 0 and the attributes, or the number (from 1) of a set of this leaf; a new number is followed by the set.
    fn put_xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        let mut set = Vec::new();
        put_varint(&mut set, xattrs.len() as u64);
        for (name, value) in xattrs {
            put_bytes(&mut set, name);
            put_bytes(&mut set, value);
        }
        if set.len() > limits::XATTR_SHARED_BYTES_MAX {
            self.rows.push(0);
            self.rows.extend_from_slice(&set);
            return;
        }
        if let Some(&number) = self.xattrs.get(&set) {
            put_varint(&mut self.rows, number);
            return;
        }
        let number = self.xattrs.len() as u64 + 1;
        put_varint(&mut self.rows, number);
        self.rows.extend_from_slice(&set);
        self.xattrs.insert(set, number);
    }

    fn put_kind(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::File(Content::Inline(bytes)) => put_bytes(&mut self.rows, bytes),
            Kind::File(Content::Extents(extents)) => {
                put_varint(&mut self.rows, extents.len() as u64);
                for extent in extents {
                    self.put_extent(extent);
                }
            }
            Kind::File(Content::Segments(segments)) => {
                put_varint(&mut self.rows, entry.size);
                for s in segments {
                    self.ids.extend_from_slice(&s.segment.id.0);
                    self.usage.places.push(s.segment.place);
                    self.usage.nested.push(s.usage);
                }
            }
            Kind::Symlink(target) => put_bytes(&mut self.rows, target),
            Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
                put_varint(&mut self.rows, u64::from(*major));
                put_varint(&mut self.rows, u64::from(*minor));
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
    }

    fn put_extent(&mut self, extent: &Extent) {
        let tag = match extent.data {
            ExtentData::Hole => EXTENT_HOLE,
            ExtentData::Zeros => EXTENT_ZEROS,
            ExtentData::Slice(_, 0) => EXTENT_BLOB,
            ExtentData::Slice(..) => EXTENT_SLICE,
        };
        put_varint(&mut self.rows, extent.bytes << 2 | tag);
        if let ExtentData::Slice(blob, offset) = extent.data {
            if offset > 0 {
                put_varint(&mut self.rows, u64::from(offset));
            }
            self.ids.extend_from_slice(&blob.id.0);
            self.usage.places.push(blob.place);
        }
    }
}

fn kind_code(kind: &Kind) -> u8 {
    match kind {
        Kind::File(Content::Inline(_)) => KIND_INLINE,
        Kind::File(Content::Extents(_)) => KIND_EXTENTS,
        Kind::File(Content::Segments(_)) => KIND_SEGMENTS,
        Kind::Directory => KIND_DIRECTORY,
        Kind::Symlink(_) => KIND_SYMLINK,
        Kind::Fifo => KIND_FIFO,
        Kind::Socket => KIND_SOCKET,
        Kind::CharDevice(..) => KIND_CHAR,
        Kind::BlockDevice(..) => KIND_BLOCK,
    }
}
