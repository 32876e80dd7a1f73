//! Reads leaves back. Nothing is believed: names, order, sizes and counts are checked on the way.

use bytes::Bytes;

use super::{
    EXTENT_HOLE, EXTENT_SLICE, EXTENT_ZEROS, FLAG_CHANGED, FLAG_LINKED, FLAG_XATTRS, FORM_SAME_OWNER,
    KIND_BLOCK, KIND_CHAR, KIND_DIRECTORY, KIND_EXTENTS, KIND_FIFO, KIND_INLINE, KIND_MASK, KIND_SEGMENTS,
    KIND_SOCKET, KIND_SYMLINK, MAGIC, MTIME_AS_BEFORE, MTIME_AS_CTIME, MTIME_MASK, MTIME_SECONDS, NANOS,
    VERSION,
};
use crate::codec::{Malformed, Reader};
use crate::env::Timestamp;
use crate::ids::{BlobId, BlobRef};
use crate::items::entry::{
    Content, Entry, Extent, ExtentData, Kind, Meta, SegmentRef, check_name, check_target, check_xattrs,
    path_cmp,
};
use crate::items::usage::Usage;
use crate::limits;

/// Names with values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The entries of a leaf, joined with the places of its usage.
pub fn decode(bytes: &[u8], usage: &Usage) -> Result<Vec<Entry>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.array("leaf header")? != [MAGIC, VERSION] {
        return Err(Malformed { what: "leaf header", at: 0 });
    }
    let entries_count = r.count(7, "leaf entries")?;
    let refs_count = r.count(32, "leaf references")?;
    if entries_count > limits::LEAF_ENTRIES_MAX {
        return Err(r.malformed("leaf entries"));
    }
    if usage.places.len() != refs_count {
        return Err(r.malformed("leaf references"));
    }
    let rows = r.take(r.rest().len() - refs_count * 32, "leaf rows")?;
    let refs = Refs { ids: r.rest(), usage, used: 0, nested: 0 };
    let mut rows = Rows::new(rows, refs);
    let mut entries: Vec<Entry> = Vec::with_capacity(entries_count);
    for _ in 0..entries_count {
        let entry = rows.entry(entries.last().map(|e| &e.path[..]))?;
        entries.push(entry);
    }
    rows.end()?;
    Ok(entries)
}

/// The ids of a leaf's references, in order: what its usage has the places of.
pub fn references(bytes: &[u8]) -> Result<Vec<BlobId>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.array("leaf header")? != [MAGIC, VERSION] {
        return Err(Malformed { what: "leaf header", at: 0 });
    }
    r.count(7, "leaf entries")?;
    let count = r.count(32, "leaf references")?;
    let (_, ids) = r.rest().split_at(r.rest().len() - count * 32);
    let (ids, _) = ids.as_chunks::<32>();
    Ok(ids.iter().map(|id| BlobId(*id)).collect())
}

/// The references that have not been handed out yet.
struct Refs<'a> {
    ids: &'a [u8],
    usage: &'a Usage,
    used: usize,
    nested: usize,
}

impl Refs<'_> {
    fn next(&mut self) -> Option<BlobRef> {
        let (id, rest) = self.ids.split_first_chunk()?;
        let place = *self.usage.places.get(self.used)?;
        self.ids = rest;
        self.used += 1;
        Some(BlobRef { id: BlobId(*id), place })
    }

    fn next_nested(&mut self) -> Option<SegmentRef> {
        let usage = *self.usage.nested.get(self.nested)?;
        self.nested += 1;
        self.next().map(|segment| SegmentRef { segment, usage })
    }

    fn left(&self) -> usize {
        self.usage.places.len() - self.used
    }
}

struct Rows<'a> {
    r: Reader<'a>,
    refs: Refs<'a>,
    mtime: i64,
    ctime: i64,
    ino: u64,
    owner: Option<(u32, u32, u32)>,
    owners: Vec<(u32, u32, u32)>,
    xattrs: Vec<Xattrs>,
    /// Bytes of paths and shared attributes so far: they take more memory than the leaf has bytes.
    expanded: usize,
}

impl<'a> Rows<'a> {
    fn new(rows: &'a [u8], refs: Refs<'a>) -> Self {
        let r = Reader::new(rows);
        let (owners, xattrs) = (Vec::new(), Vec::new());
        Self { r, refs, mtime: 0, ctime: 0, ino: 0, owner: None, owners, xattrs, expanded: 0 }
    }

    fn end(&self) -> Result<(), Malformed> {
        let all_used = self.refs.left() == 0 && self.refs.nested == self.refs.usage.nested.len();
        if all_used { self.r.end("leaf end") } else { Err(self.r.malformed("leaf references")) }
    }

    fn entry(&mut self, before: Option<&[u8]>) -> Result<Entry, Malformed> {
        let flags = self.r.byte("entry kind")?;
        let form = self.r.byte("entry form")?;
        if flags & !(KIND_MASK | FLAG_LINKED | FLAG_CHANGED | FLAG_XATTRS) != 0
            || form & !(MTIME_MASK | FORM_SAME_OWNER) != 0
        {
            return Err(self.r.malformed("entry flags"));
        }
        let path = self.path(before)?;
        let (mode, uid, gid) = self.owner(form & FORM_SAME_OWNER != 0)?;
        self.ctime = self.ctime.wrapping_add(self.r.signed("entry ctime")?);
        self.mtime = self.mtime(form & MTIME_MASK)?;
        self.ino = self.ino.wrapping_add(self.r.signed("entry inode")?.cast_unsigned());
        let xattrs = if flags & FLAG_XATTRS == 0 { Vec::new() } else { self.xattrs()? };
        if path.len() + self.expanded > limits::LEAF_PATH_BYTES_MAX * 2 {
            return Err(self.r.malformed("leaf paths"));
        }
        self.expanded += path.len();
        let (kind, size) = self.kind(flags & KIND_MASK)?;
        let meta = Meta {
            mode,
            uid,
            gid,
            mtime: Timestamp(self.mtime),
            ctime: Timestamp(self.ctime),
            ino: self.ino,
            linked: flags & FLAG_LINKED != 0,
            xattrs,
        };
        Ok(Entry { path, meta, size, changed_during_read: flags & FLAG_CHANGED != 0, kind })
    }

    /// The path, checked from the first name on that differs from the one before.
    fn path(&mut self, before: Option<&[u8]>) -> Result<Vec<u8>, Malformed> {
        let at = self.r.malformed("entry path");
        let shared = self.r.u32("entry path")? as usize;
        let tail = self.r.bytes(limits::PATH_BYTES_MAX, "entry path")?;
        let head = before.unwrap_or(&[]).get(..shared).ok_or(at)?;
        let ordered = before.is_none_or(|b| path_cmp(&b[shared..], tail).is_lt());
        if !ordered || shared + tail.len() > limits::PATH_BYTES_MAX {
            return Err(at);
        }
        let mut path = Vec::with_capacity(shared + tail.len());
        path.extend_from_slice(head);
        path.extend_from_slice(tail);
        let from = head.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
        if !path.is_empty() {
            path[from..].split(|&b| b == b'/').try_for_each(check_name).map_err(|_| at)?;
        }
        Ok(path)
    }

    fn owner(&mut self, same: bool) -> Result<(u32, u32, u32), Malformed> {
        if same {
            return self.owner.ok_or(self.r.malformed("entry owner"));
        }
        let at = self.r.malformed("entry owner");
        let number = self.r.u32("entry owner")? as usize;
        if number == self.owners.len() {
            let mode = self.r.u32("entry mode")?;
            self.owners.push((mode, self.r.u32("entry uid")?, self.r.u32("entry gid")?));
        }
        let owner = *self.owners.get(number).ok_or(at)?;
        self.owner = Some(owner);
        Ok(owner)
    }

    fn mtime(&mut self, form: u8) -> Result<i64, Malformed> {
        Ok(match form {
            MTIME_AS_BEFORE => self.mtime,
            MTIME_AS_CTIME => self.ctime,
            MTIME_SECONDS => {
                let seconds = self.mtime.div_euclid(NANOS).checked_add(self.r.signed("entry mtime")?);
                seconds.and_then(|s| s.checked_mul(NANOS)).ok_or(self.r.malformed("entry mtime"))?
            }
            _ => self.mtime.wrapping_add(self.r.signed("entry mtime")?),
        })
    }

    fn xattrs(&mut self) -> Result<Xattrs, Malformed> {
        let at = self.r.malformed("entry attributes");
        let number = self.r.u32("entry attributes")? as usize;
        if number == 0 {
            return self.xattr_set();
        }
        if number == self.xattrs.len() + 1 {
            let before = self.r.rest().len();
            let set = self.xattr_set()?;
            if before - self.r.rest().len() > limits::XATTR_SHARED_BYTES_MAX {
                return Err(at);
            }
            self.xattrs.push(set);
        }
        self.xattrs.get(number - 1).cloned().ok_or(at)
    }

    fn xattr_set(&mut self) -> Result<Xattrs, Malformed> {
        let at = self.r.malformed("entry attributes");
        let count = self.r.count(3, "entry attributes")?;
        let mut set = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.r.bytes(limits::NAME_BYTES_MAX, "attribute name")?.to_vec();
            set.push((name, self.r.bytes(limits::XATTR_BYTES_MAX, "attribute value")?.to_vec()));
        }
        if set.is_empty() || check_xattrs(&set).is_err() { Err(at) } else { Ok(set) }
    }

    fn kind(&mut self, code: u8) -> Result<(Kind, u64), Malformed> {
        let at = self.r.malformed("entry kind");
        let kind = match code {
            KIND_INLINE => {
                let bytes = self.r.bytes(limits::INLINE_BYTES, "inline content")?;
                return Ok((Kind::File(Content::Inline(Bytes::copy_from_slice(bytes))), bytes.len() as u64));
            }
            KIND_EXTENTS => {
                let (extents, size) = self.extents()?;
                let content = Content::Extents(extents);
                content.check(size).map_err(|_| at)?;
                return Ok((Kind::File(content), size));
            }
            KIND_SEGMENTS => return self.segments(),
            KIND_DIRECTORY => Kind::Directory,
            KIND_SYMLINK => {
                let target = self.r.bytes(limits::SYMLINK_BYTES_MAX, "symlink target")?;
                check_target(target).map_err(|_| at)?;
                Kind::Symlink(target.to_vec())
            }
            KIND_FIFO => Kind::Fifo,
            KIND_SOCKET => Kind::Socket,
            KIND_CHAR => Kind::CharDevice(self.r.u32("device")?, self.r.u32("device")?),
            KIND_BLOCK => Kind::BlockDevice(self.r.u32("device")?, self.r.u32("device")?),
            _ => return Err(at),
        };
        Ok((kind, 0))
    }

    fn extents(&mut self) -> Result<(Vec<Extent>, u64), Malformed> {
        let count = self.r.count(1, "extents")?;
        let mut extents = Vec::with_capacity(count.min(64));
        let mut size = 0u64;
        for _ in 0..count {
            let head = self.r.varint("extent")?;
            let (bytes, tag) = (head >> 2, head & 3);
            let offset = if tag == EXTENT_SLICE { self.r.u32("extent offset")? } else { 0 };
            let data = match tag {
                EXTENT_HOLE => ExtentData::Hole,
                EXTENT_ZEROS => ExtentData::Zeros,
                _ => ExtentData::Slice(self.refs.next().ok_or(self.r.malformed("extent blob"))?, offset),
            };
            size = size.checked_add(bytes).ok_or(self.r.malformed("extent length"))?;
            extents.push(Extent { bytes, data });
        }
        Ok((extents, size))
    }

    fn segments(&mut self) -> Result<(Kind, u64), Malformed> {
        let at = self.r.malformed("segments");
        let size = self.r.varint("file size")?;
        let count = usize::try_from(size.div_ceil(limits::SEGMENT_BYTES)).map_err(|_| at)?;
        if count > self.refs.left() {
            return Err(at);
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            segments.push(self.refs.next_nested().ok_or(at)?);
        }
        let content = Content::Segments(segments);
        content.check(size).map_err(|_| at)?;
        Ok((Kind::File(content), size))
    }
}
