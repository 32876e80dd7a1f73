//! The walk of a backup, merged with the parent's item stream: decides for each entry whether it is taken over as it
//! was or has to be read.
//!
//! Runs on a thread of its own. The queue to it and from it are bounded; it holds one batch and one parent's leaf.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::links::Links;
use crate::Result;
use crate::items::entry::{Content, Entry, Kind, path_cmp};
use crate::items::reader::Leaf;
use crate::limits;
use crate::monitor::Monitor;
use crate::source::{self, Found, FoundKind, FreshRules, SourceError, SourceErrorKind, Walk};
use crate::target;

/// One entry on its way into the item stream.
#[derive(Debug)]
pub(super) enum Item {
    /// Nothing is left to read: taken over, or something without content.
    Ready(Entry),
    /// A file to read.
    Read(Found),
    /// A further name of a file that is read already.
    Further(Found),
    /// It can't be backed up.
    Problem { path: Vec<u8>, what: String },
}

/// What the walk hands on, in the order of the item stream.
#[derive(Debug)]
pub(super) enum Step {
    /// Entries, and files small enough to be read whole.
    Batch(Vec<Item>, usize),
    /// A large file.
    Large(Box<Large>),
}

/// A large file on its way into the item stream.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) found: Found,
    /// The parent's entry of it if that has segments.
    pub(super) old: Option<Entry>,
    /// The file is as it was: unless its segments refer to what may not be referenced any more, it need not be read.
    pub(super) unchanged: bool,
}

/// A batch is handed on at this many bytes to read.
const BATCH_BYTES: usize = 1 << 20;
/// ... or at this many entries.
const BATCH_ITEMS: usize = 1024;
/// ... or with files of this many directories, each of which is held open.
const BATCH_DIRECTORIES: usize = 16;

/// The parent's entries, in step with the walk.
pub(super) struct Leaves {
    leaves: mpsc::Receiver<Result<Leaf>>,
    entries: VecDeque<Entry>,
}

impl Leaves {
    /// Reads leaves from this queue; `None` stands for a first backup.
    pub(super) fn new(leaves: Option<mpsc::Receiver<Result<Leaf>>>) -> Self {
        let leaves = leaves.unwrap_or_else(|| mpsc::channel(1).1);
        Self { leaves, entries: VecDeque::new() }
    }

    /// The parent's entry at `path`. Paths come in order; what lies before is dropped.
    fn find(&mut self, path: &[u8]) -> Result<Option<Entry>> {
        loop {
            while let Some(first) = self.entries.front() {
                match path_cmp(&first.path, path) {
                    std::cmp::Ordering::Less => drop(self.entries.pop_front()),
                    std::cmp::Ordering::Equal => return Ok(self.entries.pop_front()),
                    std::cmp::Ordering::Greater => return Ok(None),
                }
            }
            match self.leaves.blocking_recv() {
                Some(leaf) => self.entries = leaf?.entries.into(),
                None => return Ok(None),
            }
        }
    }
}

/// Walks, and sends steps until the walk ends or nobody listens any more.
pub(super) struct Walker<'w> {
    pub(super) walk: Walk,
    pub(super) parent: Leaves,
    /// When an entry of the parent holds; `None` without a parent.
    pub(super) fresh: Option<FreshRules>,
    /// Says whether everything that a parent's entry names may still be referenced (rule W5).
    pub(super) may_keep: &'w (dyn Fn(&Entry) -> bool + Sync),
    pub(super) links: &'w Links,
    pub(super) monitor: &'w Monitor,
    pub(super) steps: mpsc::Sender<Result<Step>>,
}

impl Walker<'_> {
    /// Runs to the end. Errors go into the queue.
    pub(super) fn run(mut self) {
        if let Err(e) = self.run_inner() {
            // Nobody listening means that the backup has failed already.
            let _ = self.steps.blocking_send(Err(e));
        }
    }

    fn run_inner(&mut self) -> Result<()> {
        let mut batch = Batch::default();
        while let Some(step) = self.walk.next() {
            let found = match step {
                source::Step::Found(found) => found,
                source::Step::Problem { path, error } => {
                    batch.items.push(Item::Problem { path, what: chain(&error) });
                    continue;
                }
            };
            if found.kind != FoundKind::Directory && target::is_temporary(found.name()) {
                // Half a file under a name of ours: neither kept nor passed over in silence.
                let what = "left out: a restore that runs or was killed has not finished it; restore again, or delete it";
                batch.items.push(Item::Problem { path: found.path, what: what.to_owned() });
                continue;
            }
            self.monitor.entries.add(1);
            let old = self.parent.find(&found.path)?;
            if found.kind == FoundKind::File {
                self.monitor.files.add(1);
                self.monitor.bytes_total.add(found.size);
            }
            match self.decide(found, old) {
                Decision::Item(item) => batch.push(item),
                Decision::Skip => {}
                Decision::Large(large) => {
                    if !self.send(batch.take()) || !self.send(Some(Step::Large(large))) {
                        return Ok(());
                    }
                }
            }
            if batch.is_full() && !self.send(batch.take()) {
                return Ok(());
            }
        }
        self.send(batch.take());
        Ok(())
    }

    fn send(&self, step: Option<Step>) -> bool {
        step.is_none_or(|step| self.steps.blocking_send(Ok(step)).is_ok())
    }

    fn decide(&self, found: Found, old: Option<Entry>) -> Decision {
        if let (Some(rules), Some(old)) = (&self.fresh, &old)
            && found.is_unchanged(old, rules)
            && (self.may_keep)(old)
        {
            if matches!(old.kind, Kind::File(Content::Segments(_))) {
                let mut old = old.clone();
                old.meta.linked = found.meta.linked;
                return Decision::Large(Box::new(Large { found, old: Some(old), unchanged: true }));
            }
            if found.kind == FoundKind::File {
                self.monitor.files_unchanged.add(1);
                self.monitor.bytes_done.add(found.size);
            }
            let mut entry = old.clone();
            entry.meta.linked = found.meta.linked;
            return Decision::Item(Item::Ready(entry));
        }
        if found.kind == FoundKind::File {
            if self.links.is_further(&found) {
                return Decision::Item(Item::Further(found));
            }
            if found.size <= limits::LARGE_FILE_BYTES {
                return Decision::Item(Item::Read(found));
            }
            let old = old.filter(|o| matches!(o.kind, Kind::File(Content::Segments(_))));
            return Decision::Large(Box::new(Large { found, old, unchanged: false }));
        }
        match read_other(&found) {
            Ok(entry) => Decision::Item(Item::Ready(entry)),
            Err(e) if e.kind() == SourceErrorKind::Vanished => Decision::Skip,
            Err(e) => Decision::Item(Item::Problem { path: found.path, what: chain(&e) }),
        }
    }
}

enum Decision {
    Item(Item),
    Large(Box<Large>),
    Skip,
}

#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    directories: usize,
    last_directory: Vec<u8>,
}

impl Batch {
    fn push(&mut self, item: Item) {
        if let Item::Read(found) = &item {
            self.bytes += usize::try_from(found.size).unwrap_or(usize::MAX).min(BATCH_BYTES);
        }
        if let Item::Read(found) | Item::Further(found) = &item {
            let parent = &found.path[..found.path.len() - found.name().len()];
            if self.last_directory != parent {
                self.directories += 1;
                self.last_directory.clear();
                self.last_directory.extend_from_slice(parent);
            }
        }
        self.items.push(item);
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.items.len() >= BATCH_ITEMS || self.directories >= BATCH_DIRECTORIES
    }

    fn take(&mut self) -> Option<Step> {
        let batch = std::mem::take(self);
        (!batch.items.is_empty()).then_some(Step::Batch(batch.items, batch.bytes))
    }
}

/// The entry of anything but a regular file.
fn read_other(found: &Found) -> Result<Entry, SourceError> {
    let kind = found.read_kind()?.unwrap_or(Kind::Directory);
    let mut meta = found.meta.clone();
    meta.xattrs = found.read_xattrs()?;
    Ok(Entry { path: found.path.clone(), meta, size: 0, changed_during_read: false, kind })
}

/// A source's error with its cause, on one line.
pub(super) fn chain(e: &SourceError) -> String {
    match std::error::Error::source(e) {
        Some(cause) => format!("{e}: {cause}"),
        None => e.to_string(),
    }
}
