//! What all parts of one restore share: the target, the report, the hard links, and the files being written.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{HashMap, HashSet};

use super::Existing;
use crate::items::entry::Meta;
use crate::ops::{Problems, Task};
use crate::target::{Naming, NewFile, Parked, Target, TargetError, TargetResult};
use crate::{Error, ErrorKind, Result};

/// Files held open while they wait for more of their content.
const OPEN_FILES_MAX: usize = 192;
/// Names of files with several names that are kept in memory; beyond it, further names become copies.
const LINKS_MAX: usize = 1 << 20;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files with several names.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Inode number to the first name restored.
    first: HashMap<u64, Arc<[u8]>>,
    /// First names whose content was lost.
    lost: HashSet<Arc<[u8]>>,
    /// Names to be made when their first is complete: first, name, how.
    waiting: Vec<(Arc<[u8]>, Vec<u8>, Naming)>,
}

/// Everything that is shared.
#[derive(Debug)]
pub(crate) struct State {
    /// Where to.
    pub target: Target,
    /// What to do with what is there.
    pub existing: Existing,
    /// Counters and cancellation.
    pub task: Task,
    /// Only some entries of a target that was there before: its own metadata is not ours to set.
    keeps_target: bool,
    links: Mutex<Links>,
    problems: Mutex<Problems>,
    fatal: Mutex<Option<Error>>,
    skipped: AtomicU64,
    open: Mutex<VecDeque<Arc<FileJob>>>,
}

impl State {
    pub(crate) fn new(target: Target, existing: Existing, has_patterns: bool, task: Task) -> Self {
        let keeps_target = has_patterns && !target.is_created();
        Self {
            target,
            existing,
            task,
            keeps_target,
            links: Mutex::default(),
            problems: Mutex::default(),
            fatal: Mutex::default(),
            skipped: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// True if the target's own metadata stays as it is.
    pub(crate) fn keeps_target(&self) -> bool {
        self.keeps_target
    }

    /// Notes what could not be set on an entry that is there otherwise.
    pub(crate) fn note(&self, path: &[u8], notes: Vec<String>) {
        if !notes.is_empty() {
            let mut problems = lock(&self.problems);
            notes.into_iter().for_each(|what| problems.push(path, what));
        }
    }

    /// Notes that an entry was not restored.
    pub(crate) fn failed(&self, path: &[u8], what: impl Into<String>) {
        self.task.monitor.entries_failed.add(1);
        lock(&self.problems).push(path, what);
    }

    /// Notes that the target refused an entry; a full target ends the work.
    pub(crate) fn refused(&self, path: &[u8], error: TargetError) {
        if error.is_full() {
            let what = format!("restore {}", String::from_utf8_lossy(path));
            lock(&self.fatal).get_or_insert_with(|| Error::with_source(ErrorKind::Target, what, full(error)));
        } else {
            self.failed(path, error.describe());
        }
    }

    /// Fails when going on is pointless.
    pub(crate) fn check(&self) -> Result<()> {
        self.task.check()?;
        lock(&self.fatal).take().map_or(Ok(()), Err)
    }

    /// Counts an entry that was kept as it is.
    pub(crate) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// What came of it all.
    pub(crate) fn take_report(&self) -> (Problems, u64) {
        (std::mem::take(&mut *lock(&self.problems)), self.skipped.load(Ordering::Relaxed))
    }

    /// The first name of this inode, if there is one; else `path` becomes it.
    pub(crate) fn first_name(&self, ino: u64, path: &[u8]) -> Option<Arc<[u8]>> {
        let mut links = lock(&self.links);
        if let Some(first) = links.first.get(&ino) {
            return Some(Arc::clone(first));
        }
        if links.first.len() < LINKS_MAX {
            links.first.insert(ino, path.into());
        } else {
            drop(links);
            self.note(path, vec!["restored as a copy: too many files with several names".to_owned()]);
        }
        None
    }

    /// Makes `path` a further name of `first` when that is complete.
    pub(crate) fn link_later(&self, first: Arc<[u8]>, path: Vec<u8>, naming: Naming) {
        lock(&self.links).waiting.push((first, path, naming));
    }

    /// The first name of an inode turned out to be unusable: the next one is restored by its content.
    pub(crate) fn forget_first(&self, ino: u64) {
        lock(&self.links).first.remove(&ino);
    }

    /// Makes the waiting names, except those of `unfinished`.
    pub(crate) fn make_links(&self, unfinished: Option<&[u8]>) {
        let waiting = std::mem::take(&mut lock(&self.links).waiting);
        let (later, now): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(first, ..)| Some(first.as_ref()) == unfinished);
        for (first, path, naming) in now {
            if lock(&self.links).lost.contains(&first) {
                let what = format!("left out: its content is that of {}", String::from_utf8_lossy(&first));
                self.failed(&path, what);
            } else if let Err(e) = self.target.link(&first, &path, naming) {
                self.refused(&path, e);
            }
        }
        lock(&self.links).waiting = later;
    }
}

/// Puts a full target's error into words that say what to do.
fn full(error: TargetError) -> std::io::Error {
    match error {
        TargetError::Io { source, .. } => source,
        other => std::io::Error::other(other.describe()),
    }
}

/// A regular file whose content comes from packs.
#[derive(Debug)]
pub(crate) struct FileJob {
    /// Path in the target.
    pub path: Vec<u8>,
    /// Metadata to set.
    pub meta: Meta,
    /// Size of the content.
    pub size: u64,
    /// How it takes its name.
    pub naming: Naming,
    /// One slice is all of its content.
    pub whole: bool,
    /// Slices still to come, and one more as long as not all of them are planned.
    remaining: AtomicU64,
    stage: Mutex<Stage>,
    /// One write at a time: the kernel lets no two in, and waits for its turn by spinning.
    writing: Mutex<()>,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Open(Arc<NewFile>),
    Parked(Parked),
    Done,
    Failed,
}

impl FileJob {
    pub(crate) fn new(path: Vec<u8>, meta: Meta, size: u64, naming: Naming, whole: bool) -> Arc<Self> {
        let (remaining, stage) = (AtomicU64::new(1), Mutex::new(Stage::Waiting));
        Arc::new(Self { path, meta, size, naming, whole, remaining, stage, writing: Mutex::default() })
    }

    /// Counts slices that will come.
    pub(crate) fn expect(&self, slices: u64) {
        self.remaining.fetch_add(slices, Ordering::Relaxed);
    }

    /// Says that one slice was dealt with, or that all are planned; the last one finishes the file.
    pub(crate) fn one_less(self: &Arc<Self>, state: &State) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(state);
        }
    }

    /// Says that all slices are planned; false if there is none left to come, so that `one_less` must finish the file.
    pub(crate) fn is_planned(&self) -> bool {
        let left = |n: u64| (n > 1).then(|| n - 1);
        self.remaining.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok()
    }

    /// Writes one slice.
    pub(crate) fn write(self: &Arc<Self>, state: &State, at: u64, bytes: &[u8]) {
        let result =
            if self.whole { self.write_whole(state, bytes) } else { self.write_part(state, at, bytes) };
        match result {
            Ok(()) => state.task.monitor.bytes_done.add(bytes.len() as u64),
            Err(e) => self.refused(state, e),
        }
        if !self.whole {
            self.one_less(state);
        }
    }

    fn write_whole(&self, state: &State, bytes: &[u8]) -> TargetResult<()> {
        let mut notes = Vec::new();
        write_now(&state.target, self, bytes, &mut notes)?;
        state.note(&self.path, notes);
        *lock(&self.stage) = Stage::Done;
        Ok(())
    }

    fn write_part(self: &Arc<Self>, state: &State, at: u64, bytes: &[u8]) -> TargetResult<()> {
        match self.open(state)? {
            Some(file) => {
                let _turn = lock(&self.writing);
                file.write_at(bytes, at)
            }
            None => Ok(()),
        }
    }

    /// The open file; `None` once it has failed.
    fn open(self: &Arc<Self>, state: &State) -> TargetResult<Option<Arc<NewFile>>> {
        let mut stage = lock(&self.stage);
        let file = match &*stage {
            Stage::Open(file) => return Ok(Some(Arc::clone(file))),
            Stage::Done | Stage::Failed => return Ok(None),
            Stage::Parked(parked) => state.target.resume(parked)?,
            Stage::Waiting => {
                let file = state.target.create_file(&self.path, &self.meta, self.naming, false)?;
                if let Err(e) = file.set_len(self.size) {
                    let _ = file.discard();
                    return Err(e);
                }
                file
            }
        };
        let file = Arc::new(file);
        *stage = Stage::Open(Arc::clone(&file));
        drop(stage);
        let mut open = lock(&state.open);
        open.push_back(Arc::clone(self));
        let oldest = if open.len() > OPEN_FILES_MAX { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            oldest.park(state);
        }
        Ok(Some(file))
    }

    /// Closes the handle if nobody writes just now.
    fn park(self: &Arc<Self>, state: &State) {
        let Ok(mut stage) = self.stage.try_lock() else {
            lock(&state.open).push_back(Arc::clone(self));
            return;
        };
        let Stage::Open(file) = &*stage else { return };
        if Arc::strong_count(file) > 1 {
            drop(stage);
            lock(&state.open).push_back(Arc::clone(self));
        } else if let Ok(parked) = file.park(&self.path) {
            *stage = Stage::Parked(parked);
        }
    }

    fn finish(self: &Arc<Self>, state: &State) {
        let file = match self.open(state) {
            Ok(Some(file)) => file,
            Ok(None) => return,
            Err(e) => return self.refused(state, e),
        };
        let mut notes = Vec::new();
        let result = state.target.finish(&file, &self.meta, &mut notes);
        drop(file);
        state.note(&self.path, notes);
        match result {
            Ok(()) => *lock(&self.stage) = Stage::Done,
            Err(e) => self.refused(state, e),
        }
    }

    fn refused(&self, state: &State, error: TargetError) {
        if self.fail(state) {
            state.refused(&self.path, error);
        }
    }

    /// A slice can't be had: the file is removed and named, once.
    pub(crate) fn lost(self: &Arc<Self>, state: &State, error: &Error) {
        if self.fail(state) {
            state.failed(&self.path, format!("left out: {}", error.chain()));
        }
        self.one_less(state);
    }

    /// Removes what was written; false if it failed before.
    fn fail(&self, state: &State) -> bool {
        let removed = match std::mem::replace(&mut *lock(&self.stage), Stage::Failed) {
            Stage::Failed => return false,
            Stage::Waiting | Stage::Done => Ok(()),
            Stage::Open(file) => file.discard(),
            Stage::Parked(parked) => state.target.discard(&parked),
        };
        if let Err(e) = removed {
            state.note(&self.path, vec![format!("a part of it stays: {}", e.describe())]);
        }
        if self.meta.linked {
            lock(&state.links).lost.insert(self.path.as_slice().into());
        }
        true
    }
}

/// Makes, writes and finishes a file in one go.
pub(crate) fn write_now(
    target: &Target,
    job: &FileJob,
    bytes: &[u8],
    notes: &mut Vec<String>,
) -> TargetResult<()> {
    let file = target.create_file(&job.path, &job.meta, job.naming, true)?;
    let mut result = Ok(());
    if bytes.len() as u64 != job.size {
        result = file.set_len(job.size);
    }
    let result = result.and_then(|()| file.write_at(bytes, 0));
    if let Err(e) = result {
        let _ = file.discard();
        return Err(e);
    }
    target.finish(&file, &job.meta, notes)
}
