//! Lifts quarantines: packs that are named as damaged are read again, and what is whole now is named no more.
//!
//! 1. The records are listed before the reading, and no other is deleted: one that came to be meanwhile tells of later damage.
//! 2. A pack counts as whole only if all of it was read well twice. One that is gone stays named, since a backup would
//!    believe its parent's summary that it is there.

use std::collections::BTreeMap;

use crate::error::Context as _;
use crate::ids::PackId;
use crate::limits::AUDIT_EVENT_ITEMS_MAX;
use crate::manifest::audit::{Event, Repaired};
use crate::manifest::proof::{PackProof, Proofs};
use crate::ops::quarantine::{self, Found};
use crate::ops::{Repository, Task, audit, gc, proofs};
use crate::session::forbidden;
use crate::store::Key;
use crate::{ErrorKind, Result};

/// What became of a pack in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of it was read well twice; its records were deleted, or in a dry run would be.
    Lifted {
        /// Its blobs.
        blobs: u64,
    },
    /// Something of it is damaged.
    Damaged {
        /// Blobs that are lost; 0 means all.
        blobs: u64,
        /// The first damage.
        what: String,
    },
    /// There is no such pack.
    Gone,
}

/// One pack, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Which.
    pub pack: PackId,
    /// What became of it.
    pub fate: Fate,
}

/// What was found of all packs in quarantine, by name.
#[derive(Clone, Debug, Default)]
pub struct LiftReport {
    /// The packs, also if the run failed behind them.
    pub packs: Vec<Looked>,
}

impl LiftReport {
    /// Packs of which the quarantine was lifted, or would be.
    #[must_use]
    pub fn lifted(&self) -> u64 {
        self.packs.iter().filter(|p| matches!(p.fate, Fate::Lifted { .. })).count() as u64
    }

    /// Packs that stay in quarantine.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.packs.len() as u64 - self.lifted()
    }
}

/// Reads all packs that are in quarantine, and lifts that of the whole ones; with `dry_run` it is only told. `by` stands in the
/// audit. Credentials that may not delete fail with [`ErrorKind::Store`].
pub async fn lift(repo: &Repository, dry_run: bool, by: &str, task: &Task) -> Result<LiftReport> {
    repo.need_data("reading packs in quarantine")?;
    let objects = repo.objects();
    let mut named: BTreeMap<PackId, Vec<Key>> = BTreeMap::new();
    for (pack, key) in forbidden::list_quarantine(&objects).await? {
        named.entry(pack).or_default().push(key);
    }
    if named.is_empty() {
        return Ok(LiftReport::default());
    }
    let sizes = gc::list_packs(&objects).await?;
    task.monitor.bytes_total.add(named.keys().filter_map(|p| sizes.get(p)).map(|bytes| bytes * 2).sum());
    let mut report = LiftReport::default();
    let mut done = Ok(());
    for (pack, records) in named {
        done = match examine(repo, pack, sizes.get(&pack).copied(), task).await {
            Ok(Fate::Lifted { blobs }) if !dry_run => {
                delete(repo, &records).await.map(|()| Fate::Lifted { blobs })
            }
            other => other,
        }
        .map(|fate| report.packs.push(Looked { pack, fate }));
        if done.is_err() {
            break;
        }
    }
    if !dry_run {
        note(repo, &report, by).await?;
    }
    done.map(|()| report)
}

/// Rule 2.
async fn examine(repo: &Repository, pack: PackId, bytes: Option<u64>, task: &Task) -> Result<Fate> {
    let mut blobs = 0;
    for _ in 0..2 {
        // With nothing in its caches: the second time the footer is read again, too.
        let found = quarantine::examine(&quarantine::fresh_reader(repo), pack, task).await?;
        task.monitor.bytes_done.add(bytes.unwrap_or(0));
        blobs = match found {
            Found::Sound { blobs } => blobs,
            Found::Damaged { ordinals, what } => {
                return Ok(Fate::Damaged { blobs: ordinals.len() as u64, what });
            }
            Found::Lost { what } => return Ok(Fate::Damaged { blobs: 0, what }),
            Found::Gone => return Ok(Fate::Gone),
        };
    }
    task.monitor.packs.add(1);
    Ok(Fate::Lifted { blobs })
}

async fn delete(repo: &Repository, records: &[Key]) -> Result<()> {
    for key in records {
        repo.store.delete(key).await.context(ErrorKind::Store, || format!("delete {key}"))?;
    }
    Ok(())
}

/// What was lifted is proven to be whole, and stands in the audit by name.
async fn note(repo: &Repository, report: &LiftReport, by: &str) -> Result<()> {
    let lifted = report.packs.iter().filter(|p| matches!(p.fate, Fate::Lifted { .. })).map(|p| p.pack);
    let lifted: Vec<PackId> = lifted.collect();
    if lifted.is_empty() {
        return Ok(());
    }
    let proof = PackProof { at: repo.env.now(), damaged: 0 };
    let packs = lifted.iter().map(|pack| (*pack, proof)).collect();
    for some in lifted.chunks(AUDIT_EVENT_ITEMS_MAX) {
        let repaired = Repaired {
            what: "quarantine".to_owned(),
            packs: some.len() as u64,
            lifted: some.to_vec(),
            ..Repaired::default()
        };
        audit::note(repo, by, Event::Repaired(repaired)).await;
    }
    proofs::note(repo, &Proofs { packs, ..Proofs::default() }).await
}
