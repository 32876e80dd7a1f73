//! First pass, on blocking threads: directories, links, devices and small files are made; what needs packs is
//! handed back. Decides what happens to what is already in the target.

use rustix::fs::{FileType, Stat};

use super::Existing;
use super::state::{FileJob, State, write_now};
use crate::env::Timestamp;
use crate::items::entry::{Content, Entry, ExtentData, Kind};
use crate::target::{Naming, TargetResult, file_type};

/// A file that needs packs.
#[derive(Debug)]
pub(crate) struct Todo {
    /// The file.
    pub job: std::sync::Arc<FileJob>,
    /// Where its content is.
    pub content: Content,
}

/// Makes what can be made without packs. Paths are those of the target already.
pub(crate) fn enter(state: &State, entries: Vec<Entry>) -> Vec<Todo> {
    entries.into_iter().filter_map(|entry| enter_one(state, entry)).collect()
}

fn enter_one(state: &State, entry: Entry) -> Option<Todo> {
    let monitor = &state.task.monitor;
    monitor.entries.add(1);
    if matches!(entry.kind, Kind::File(_)) {
        monitor.files.add(1);
    }
    if entry.kind == Kind::Directory {
        if let Err(e) = state.target.make_dir(&entry.path) {
            state.refused(&entry.path, e);
        }
        return None;
    }
    let naming = match decide(state, &entry) {
        Ok(Some(naming)) => naming,
        Ok(None) => {
            state.skip();
            if entry.meta.linked && state.existing == Existing::IfChanged {
                // What is kept is the entry: its other names may be made from it.
                let _ = state.first_name(entry.meta.ino, &entry.path);
            }
            monitor.bytes_done.add(entry.size);
            return None;
        }
        Err(e) => {
            state.refused(&entry.path, e);
            return None;
        }
    };
    if entry.meta.linked
        && let Some(first) = state.first_name(entry.meta.ino, &entry.path)
    {
        state.link_later(first, entry.path, naming);
        monitor.bytes_done.add(entry.size);
        return None;
    }
    match entry.kind {
        Kind::File(content) => {
            let whole = is_whole(&content, entry.size);
            let job = FileJob::new(entry.path, entry.meta, entry.size, naming, whole);
            enter_file(state, job, content)
        }
        kind => {
            let mut notes = Vec::new();
            let made = state.target.create_node(&entry.path, &kind, &entry.meta, naming, &mut notes);
            state.note(&entry.path, notes);
            if let Err(e) = made {
                state.refused(&entry.path, e);
                state.forget_first(entry.meta.ino);
            }
            None
        }
    }
}

/// Writes the file now if it needs no pack.
fn enter_file(state: &State, job: std::sync::Arc<FileJob>, content: Content) -> Option<Todo> {
    let bytes = match &content {
        Content::Inline(bytes) => bytes.clone(),
        Content::Extents(list) if !list.iter().any(|e| matches!(e.data, ExtentData::Slice(..))) => {
            bytes::Bytes::new()
        }
        _ => return Some(Todo { job, content }),
    };
    let mut notes = Vec::new();
    match write_now(&state.target, &job, &bytes, &mut notes) {
        Ok(()) => state.task.monitor.bytes_done.add(job.size),
        Err(e) => {
            state.refused(&job.path, e);
            state.forget_first(job.meta.ino);
        }
    }
    state.note(&job.path, notes);
    None
}

/// True if one slice is the whole content.
fn is_whole(content: &Content, size: u64) -> bool {
    let Content::Extents(list) = content else { return false };
    matches!(list[..], [e] if e.bytes == size && matches!(e.data, ExtentData::Slice(..)))
}

/// How the entry takes its name; `None` if what is there is kept.
fn decide(state: &State, entry: &Entry) -> TargetResult<Option<Naming>> {
    if state.existing == Existing::Fail || state.target.is_empty() {
        return Ok(Some(Naming::New));
    }
    let Some(found) = state.target.find(&entry.path)? else { return Ok(Some(Naming::New)) };
    Ok(match state.existing {
        Existing::Fail => Some(Naming::New),
        Existing::Skip => None,
        Existing::Overwrite => Some(Naming::Replace),
        Existing::IfChanged => (!is_same(state, entry, &found)?).then_some(Naming::Replace),
    })
}

/// True if what is there looks like the entry: same kind, and size and time (or target, or number) the same.
fn is_same(state: &State, entry: &Entry, found: &Stat) -> TargetResult<bool> {
    Ok(match (&entry.kind, file_type(found)) {
        (Kind::File(_), FileType::RegularFile) => {
            u64::try_from(found.st_size) == Ok(entry.size) && mtime(found) == entry.meta.mtime
        }
        (Kind::Symlink(target), FileType::Symlink) => state.target.read_link(&entry.path)? == *target,
        (Kind::Fifo, FileType::Fifo) | (Kind::Socket, FileType::Socket) => true,
        (Kind::CharDevice(major, minor), FileType::CharacterDevice)
        | (Kind::BlockDevice(major, minor), FileType::BlockDevice) => {
            found.st_rdev == rustix::fs::makedev(*major, *minor)
        }
        _ => false,
    })
}

/// The time of the last change of the content.
pub(crate) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp::from_parts(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
