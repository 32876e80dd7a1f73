//! Proves that a snapshot restores, or names what is damaged.

mod full;
mod live;
mod quick;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use live::Live;

use crate::error::Context as _;
use crate::manifest::summary;
use crate::monitor::Figures;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Problems, Repository, Task};
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
    Ok(VerifyReport { problems, figures: task.monitor.figures() })
}

#[cfg(test)]
mod tests;
