//! Proves that a snapshot restores, or names what is damaged.

mod full;
mod live;
mod quick;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use live::Live;

use crate::error::Context as _;
use crate::ids::{PackId, Sid};
use crate::manifest::audit::{Damaged, Event, Verified};
use crate::manifest::proof::{Proofs, SnapshotProof};
use crate::manifest::summary;
use crate::monitor::Figures;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task, audit, proofs, quarantine};
use crate::{ErrorKind, Result};

/// How deeply to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every object that the snapshot needs exists, with its size.
    Quick,
    /// Every byte decoded, every id checked.
    Full,
    /// As `Full`, and compared with this folder.
    Against(PathBuf),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Damage and differences, by path or object.
    pub problems: Problems,
    /// Final counters.
    pub figures: Figures,
    /// Packs in which damage was met.
    pub suspects: BTreeSet<PackId>,
}

/// What is found, from all threads.
#[derive(Debug)]
struct Findings {
    problems: Mutex<Problems>,
    task: Task,
}

impl Findings {
    fn add(&self, path: &[u8], what: impl Into<String>) {
        self.task.monitor.entries_failed.add(1);
        lock(&self.problems).push(path, what);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Verifies one snapshot. Damage is in the report; only what keeps the work from being done fails it.
pub async fn verify(
    repo: &Arc<Repository>,
    snapshot: &Snapshot,
    level: &Level,
    task: &Task,
) -> Result<VerifyReport> {
    if *level != Level::Quick {
        repo.need_data("verify")?;
    }
    let live = match level {
        Level::Against(path) => {
            let opened = Live::open(path);
            Some(opened.context(ErrorKind::Source, || format!("open the folder {}", path.display()))?)
        }
        _ => None,
    };
    let reader = Reader::register_to_verify(repo, snapshot.id).await?;
    let done = verify_with(repo, &reader, snapshot, (level, live), task).await;
    reader.close().await;
    done
}

impl Level {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Against(_) => "against",
        }
    }
}

/// What was found of one snapshot, for the record.
#[derive(Clone, Debug)]
pub struct Proven {
    snapshot: Sid,
    problems: u64,
    bytes: u64,
    /// Differences from a folder prove nothing about the snapshot.
    counts: bool,
}

impl Proven {
    /// What a verification of this level says.
    #[must_use]
    pub fn of(snapshot: Sid, level: &Level, report: &VerifyReport) -> Self {
        let problems = report.problems.count();
        let counts = match level {
            Level::Quick => false,
            Level::Full => true,
            Level::Against(_) => problems == 0,
        };
        Self { snapshot, problems, bytes: report.figures.bytes_read, counts }
    }
}

/// Reads the packs whole in which a verification met damage, and puts what is damaged into quarantine, unless `no_quarantine`. Returns
/// the packs that are damaged or gone. `examined` keeps what was read, for the next snapshot. Credentials that may only read
/// name nothing.
pub async fn examine(
    repo: &Repository,
    report: &VerifyReport,
    examined: &mut Examined,
    no_quarantine: bool,
    task: &Task,
) -> Result<Vec<Damaged>> {
    let new: BTreeSet<PackId> =
        report.suspects.iter().copied().filter(|p| !examined.0.contains_key(p)).collect();
    let damaged = quarantine::examine_all(repo, &new, !no_quarantine, task).await?;
    examined.0.extend(new.into_iter().map(|pack| (pack, None)));
    examined.0.extend(damaged.into_iter().map(|d| (d.pack, Some(d))));
    Ok(report.suspects.iter().filter_map(|p| examined.0.get(p).copied().flatten()).collect())
}

/// Packs that [`examine`] has read, and which of them are damaged.
#[derive(Clone, Debug, Default)]
pub struct Examined(BTreeMap<PackId, Option<Damaged>>);

impl Examined {
    /// Those that are damaged or gone.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damaged> {
        self.0.values().copied().flatten().collect()
    }
}

/// Records what a run over some snapshots found: proofs, and one audit record by `by`.
pub async fn record(
    repo: &Repository,
    level: &Level,
    proven: &[Proven],
    damaged: Vec<Damaged>,
    by: &str,
) -> Result<()> {
    if proven.is_empty() {
        return Ok(());
    }
    let mut all = Proofs::default();
    for one in proven.iter().filter(|p| p.counts) {
        let proof = SnapshotProof { at: repo.env.now(), problems: one.problems };
        all.snapshots.insert(one.snapshot, proof);
    }
    proofs::note(repo, &all).await?;
    let verified = Verified {
        level: level.word().to_owned(),
        snapshot: if let [one] = proven { Some(one.snapshot) } else { None },
        packs: 0,
        bytes: proven.iter().map(|p| p.bytes).sum(),
        problems: proven.iter().map(|p| p.problems).sum(),
        damaged,
    };
    audit::note(repo, by, Event::Verified(verified)).await;
    Ok(())
}

async fn verify_with(
    repo: &Arc<Repository>,
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    (level, live): (&Level, Option<Live>),
    task: &Task,
) -> Result<VerifyReport> {
    let findings = Arc::new(Findings { problems: Mutex::default(), task: task.clone() });
    match summary::load(&snapshot.manifest.summary, &**reader).await {
        Ok(listed) => {
            let uses = quick::check(repo, reader, &listed, (task, &findings)).await?;
            if *level != Level::Quick {
                full::check_summary(reader, snapshot, &uses, &findings).await?;
            }
        }
        Err(e) if is_damage(&e) => findings.add(b"", format!("the summary is damaged: {}", e.chain())),
        Err(e) => return Err(e),
    }
    if *level != Level::Quick {
        task.monitor.bytes_total.add(snapshot.manifest.bytes);
        full::check(reader, snapshot, live, task, &findings).await?;
    }
    let problems = std::mem::take(&mut *lock(&findings.problems));
    Ok(VerifyReport { problems, figures: task.monitor.figures(), suspects: reader.take_suspects() })
}

#[cfg(test)]
mod tests;
