//! Copies snapshots to a repository with other keys: ids, marks and the tree are made anew, boundaries of chunks and extents
//! stay.
//!
//! The source is read by a registered reader, the target written by an ordinary session, so that both may be in full use. A
//! copy keeps in its manifest what it is a copy of: by that the next run knows what is there already, and takes over what the
//! newest copy has. What is damaged in the source is named, the rest is copied, and the copy is partial. A run that was
//! killed leaves no half snapshot, and what it stored is found again.

mod blobs;
mod segments;
mod tree;
mod walk;

use std::collections::HashSet;
use std::sync::Arc;

use blobs::{Bridge, KnownBlobs};
use tree::{Earlier, Written, copy_tree};

use crate::env::Timestamp;
use crate::ids::Sid;
use crate::index::Lookup;
use crate::items::{BlobFetch, NodeRef};
use crate::limits::COPY_TRIES_MAX;
use crate::manifest::{CopiedFrom, Manifest, summary};
use crate::monitor::Figures;
use crate::ops::backup::writing::{HowToPack, Writing, index_of};
use crate::ops::forget::{Because, forget};
use crate::ops::reader::{Reader, is_damage, node_name};
use crate::ops::snapshots::{self, Snapshot};
use crate::ops::{Problems, Repository, Task};
use crate::session::{Found, Who, history};
use crate::{Error, ErrorKind, Result};

/// Which snapshots, and how.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// These; all if none is named.
    pub snapshots: Vec<Sid>,
    /// Only those of this volume.
    pub volume: Option<String>,
    /// Only the newest so many of each volume.
    pub newest: Option<usize>,
    /// Copy again what is there in part only, because the source was damaged.
    pub retry_partial: bool,
    /// zstd level, 1 to 19.
    pub zstd_level: i32,
    /// Bound on the memory of packs on their way, bytes.
    pub memory_bytes_max: usize,
}

/// What became of one snapshot.
#[derive(Debug)]
pub enum Fate {
    /// It was copied.
    Copied {
        /// The copy's id.
        id: Sid,
        /// What is damaged in the source, and missing in the copy.
        lost: Problems,
    },
    /// There is a copy already.
    Already {
        /// Its id.
        id: Sid,
        /// How many things are missing in it.
        lost: u64,
    },
    /// It can't be copied.
    Failed(Error),
}

/// One snapshot of the source.
#[derive(Debug)]
pub struct CopiedSnapshot {
    /// Its id in the source.
    pub source: Sid,
    /// Its volume.
    pub volume: String,
    /// When its walk began.
    pub started: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// What it took.
    pub figures: Figures,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct CopyReport {
    /// The chosen snapshots, oldest first.
    pub snapshots: Vec<CopiedSnapshot>,
    /// Outcomes of the source that can't be read: nobody knows what they are.
    pub damaged: Vec<Error>,
}

/// A copy in the target.
#[derive(Clone, Debug)]
struct CopyName {
    id: Sid,
    of: Sid,
    volume: String,
    started: Timestamp,
    lost: u64,
}

/// One run.
struct Run<'a> {
    source: &'a Arc<Repository>,
    target: &'a Arc<Repository>,
    request: &'a CopyRequest,
    task: &'a Task,
    lookup: Arc<dyn Lookup>,
    known: KnownBlobs,
    /// All snapshots of the source, by which earlier ones are found.
    all: Vec<Snapshot>,
    copies: Vec<CopyName>,
}

/// Copies snapshots of `source` to `target`, the oldest first, so that each finds the one before it.
pub async fn copy(
    source: &Arc<Repository>,
    target: &Arc<Repository>,
    request: &CopyRequest,
    task: &Task,
) -> Result<CopyReport> {
    if source.id == target.id && source.layout.domain() == target.layout.domain() {
        return Err(Error::new(ErrorKind::Input, "both are the same domain of the same repository"));
    }
    source.need_data("copy")?;
    let (all, damaged) = snapshots::list(source).await?;
    let chosen = choose(&all, request)?;
    let copies = list_copies(source, target).await?;
    let mut report = CopyReport { snapshots: Vec::new(), damaged };
    let (lookup, known) = (index_of(target), KnownBlobs::default());
    let mut run = Run { source, target, request, task, lookup, known, all, copies };
    for id in chosen {
        task.check()?;
        let Some(snapshot) = run.all.iter().find(|s| s.id == id).cloned() else { continue };
        let before = task.monitor.figures();
        let fate = match Box::pin(run.one(&snapshot)).await {
            Ok(fate) => fate,
            Err(e) if is_damage(&e) => Fate::Failed(e.context(format!("copy snapshot {id}"))),
            Err(e) => return Err(e.context(format!("copy snapshot {id}"))),
        };
        let figures = gained(&before, &task.monitor.figures());
        let Manifest { volume, started, .. } = snapshot.manifest;
        report.snapshots.push(CopiedSnapshot { source: id, volume, started, fate, figures });
    }
    Ok(report)
}

fn gained(before: &Figures, now: &Figures) -> Figures {
    let gained = crate::monitor::Monitor::default();
    gained.raise(before, now);
    gained.figures()
}

/// The chosen ones, oldest first.
fn choose(all: &[Snapshot], request: &CopyRequest) -> Result<Vec<Sid>> {
    if let Some(missing) = request.snapshots.iter().find(|id| all.iter().all(|s| s.id != **id)) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot {missing} to copy")));
    }
    let named = |s: &&Snapshot| request.snapshots.is_empty() || request.snapshots.contains(&s.id);
    let of_volume = |s: &&Snapshot| request.volume.as_ref().is_none_or(|v| *v == s.manifest.volume);
    let mut left: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    let mut newest: HashSet<Sid> = HashSet::new();
    for s in all.iter().rev().filter(named).filter(of_volume) {
        let left = left.entry(&s.manifest.volume).or_insert(request.newest.unwrap_or(usize::MAX));
        if *left > 0 {
            *left -= 1;
            newest.insert(s.id);
        }
    }
    Ok(all.iter().map(|s| s.id).filter(|id| newest.contains(id)).collect())
}

/// Copies of snapshots of the source that are in the target.
async fn list_copies(source: &Repository, target: &Repository) -> Result<Vec<CopyName>> {
    let of = |s: Snapshot| {
        let from = s
            .manifest
            .copied
            .filter(|c| c.repository == source.id && c.domain == source.layout.domain().as_str())?;
        let (volume, started) = (s.manifest.volume, s.manifest.started);
        Some(CopyName { id: s.id, of: from.snapshot, volume, started, lost: from.lost })
    };
    // A copy that can't be read is no copy.
    Ok(snapshots::list(target).await?.0.into_iter().filter_map(of).collect())
}

impl Run<'_> {
    async fn one(&mut self, snapshot: &Snapshot) -> Result<Fate> {
        let there = self.copies.iter().filter(|c| c.of == snapshot.id).min_by_key(|c| c.lost).cloned();
        if let Some(there) = there.as_ref().filter(|c| c.lost == 0 || !self.request.retry_partial) {
            return Ok(Fate::Already { id: there.id, lost: there.lost });
        }
        let reader = Reader::register(self.source, snapshot.id).await?;
        let copied = self.tries(&reader, snapshot).await;
        reader.close().await;
        let (id, lost) = copied?;
        let (volume, started) = (snapshot.manifest.volume.clone(), snapshot.manifest.started);
        self.copies.push(CopyName { id, of: snapshot.id, volume, started, lost: lost.count() });
        if let Some(partial) = there.filter(|c| c.lost > lost.count()) {
            self.replace(&partial, id).await;
        }
        Ok(Fate::Copied { id, lost })
    }

    /// Forgets a partial copy for a better one: both are of one time, and neither would be the latest.
    async fn replace(&self, partial: &CopyName, better: Sid) {
        let why = format!("{better} is a better copy of the same snapshot");
        let because = Because { by: format!("holdfast copy on {}", node_name()), why };
        if let Err(e) = forget(self.target, partial.id, &because).await {
            tracing::warn!(error = %e.chain(), copy = %partial.id, "the partial copy could not be forgotten");
        }
    }

    async fn tries(&self, reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<(Sid, Problems)> {
        let mut tried = 1;
        loop {
            match self.session(reader, snapshot).await {
                Err(e) if e.kind() == ErrorKind::Fenced && tried < COPY_TRIES_MAX => tried += 1,
                other => return other,
            }
        }
    }

    /// One session in the target.
    async fn session(&self, reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<(Sid, Problems)> {
        let who = Who::writer(&node_name(), &snapshot.manifest.volume);
        let how = HowToPack {
            zstd_level: self.request.zstd_level,
            memory_bytes_max: self.request.memory_bytes_max,
        };
        let writing = Writing::open(self.target, &who, how, &self.lookup, &self.task.monitor).await?;
        let bridge = Arc::new(Bridge {
            source: Arc::clone(reader),
            target: Arc::new(writing),
            known: self.known.clone(),
            task: self.task.clone(),
        });
        let done = self.write(&bridge, snapshot).await;
        if let Err(e) = &done {
            bridge.target.give_up(e).await;
        }
        done
    }

    async fn write(&self, bridge: &Arc<Bridge>, snapshot: &Snapshot) -> Result<(Sid, Problems)> {
        let before = self.task.monitor.figures();
        let (earlier, parent) = match self.find_earlier(bridge, snapshot).await? {
            Some((earlier, id)) => (Some(earlier), Some(id)),
            None => (None, None),
        };
        let m = &snapshot.manifest;
        let root = NodeRef { node: m.root, usage: m.root_usage };
        let Written { tree, lost } = copy_tree(bridge, root, earlier).await?;
        let summary = bridge.target.finish().await?;
        self.task.check()?;
        let figures = gained(&before, &self.task.monitor.figures());
        let copied = CopiedFrom {
            repository: self.source.id,
            domain: self.source.layout.domain().to_string(),
            snapshot: snapshot.id,
            lost: lost.count(),
        };
        let manifest = Manifest {
            parent,
            entries: tree.totals.entries,
            files: tree.totals.files,
            bytes: tree.totals.bytes,
            bytes_new: figures.bytes_new,
            bytes_stored: figures.bytes_stored,
            problems: m.problems.saturating_add(lost.count()),
            root: tree.root.node,
            root_usage: tree.root.usage,
            summary,
            copied: Some(copied),
            ..m.clone()
        };
        Ok((bridge.target.commit(manifest).await?, lost))
    }

    /// W4: a whole copy of another snapshot of the volume, and that snapshot. Both are read from their stores.
    async fn find_earlier(
        &self,
        bridge: &Arc<Bridge>,
        snapshot: &Snapshot,
    ) -> Result<Option<(Earlier, Sid)>> {
        let m = &snapshot.manifest;
        let whole = |c: &&CopyName| c.volume == m.volume && c.lost == 0;
        let mut candidates: Vec<&CopyName> = self.copies.iter().filter(whole).collect();
        // The nearest before it, else the nearest after it.
        candidates.sort_by_key(|c| {
            (c.started > m.started, (c.started.0.saturating_sub(m.started.0)).saturating_abs())
        });
        let objects = self.target.objects();
        let names = history::list_outcomes(&objects).await?;
        for copy in candidates {
            let Some(old) = self.all.iter().find(|s| s.id == copy.of) else { continue };
            let Some(&(generation, sid)) = names.iter().find(|(_, sid)| *sid == copy.id) else { continue };
            let manifest = match history::read(&objects, generation, sid).await {
                Ok(Found::Committed(manifest)) => manifest,
                Ok(_) => continue,
                Err(e) if is_damage(&e) => continue,
                Err(e) => return Err(e),
            };
            let session = bridge.target.session();
            let fetch = Reader::of_writer(self.target, session);
            match summary::load(&manifest.summary, &*fetch).await {
                Ok(uses) => session.note_exists(uses.iter().map(|u| u.pack)),
                Err(e) if is_damage(&e) => continue,
                Err(e) => return Err(e),
            }
            let source = NodeRef { node: old.manifest.root, usage: old.manifest.root_usage };
            let target = NodeRef { node: manifest.root, usage: manifest.root_usage };
            return Ok(Some((Earlier { source, target, fetch: fetch as Arc<dyn BlobFetch> }, copy.id)));
        }
        Ok(None)
    }
}
