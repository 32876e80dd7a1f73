//! Quarantine: blobs that are proven to be damaged are named, so that no later session refers to them, the next backup that
//! has them stores them again, and GC leads old snapshots to the good copies.
//!
//! 1. Damage is proven by reading a pack twice. A store that is away, or answers late, proves nothing.
//! 2. A blob is named once, whoever meets it.
//! 3. A pack that is gone is named too: a backup would believe its parent's summary that it is there.

use std::collections::BTreeSet;

use crate::ids::PackId;
use crate::index::objects::Whose;
use crate::keys::KeyError;
use crate::layout::ObjectKind;
use crate::limits::{MET_PACKS_MAX, PUTS_MAX, SCRUB_READ_BYTES};
use crate::manifest::audit::Damaged;
use crate::manifest::gc::Quarantine;
use crate::ops::{Repository, Task};
use crate::pack::frame::PackError;
use crate::pack::{BlobReader, Footer};
use crate::session::forbidden::{self, Quarantined};
use crate::store::{StoreError, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// What was found of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no such pack.
    Gone,
    /// All of it is what was stored.
    Sound {
        /// Its blobs.
        blobs: u64,
    },
    /// Some of it is damaged.
    Damaged {
        /// The numbers of the blobs that are lost.
        ordinals: Vec<u32>,
        /// What the first damage is.
        what: String,
    },
    /// Nothing of it can be read.
    Lost {
        /// Why.
        what: String,
    },
}

impl Found {
    /// The numbers of the blobs that are lost, none for all of the pack; `None` where no blob is.
    pub(crate) fn into_lost(self) -> Option<Vec<u32>> {
        match self {
            Self::Sound { .. } => None,
            Self::Damaged { ordinals, .. } => (!ordinals.is_empty()).then_some(ordinals),
            Self::Gone | Self::Lost { .. } => Some(Vec::new()),
        }
    }
}

/// Reads all of a pack, every frame and every blob, a few MiB at a time. `reader` must not have the pack in its cache, or else
/// the footer is not read again.
pub(crate) async fn examine(reader: &BlobReader, pack: PackId, task: &Task) -> Result<Found> {
    let footer = match twice(|| reader.footer(pack)).await {
        Ok(footer) => footer,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
        Err(e) if is_proof(&e) => return Ok(Found::Lost { what: e.chain() }),
        Err(e) => return Err(e),
    };
    let (mut ordinals, mut what) = (Vec::new(), None);
    for batch in batches(&footer) {
        task.check()?;
        match reader.read_groups(pack, &batch).await {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
            Err(e) if is_proof(&e) => {
                for group in batch {
                    let one = [group];
                    match twice(|| reader.read_groups(pack, &one)).await {
                        Ok(_) => {}
                        Err(e) if is_proof(&e) => {
                            let info = footer.groups[group as usize];
                            ordinals.extend(info.first_ordinal..info.first_ordinal + info.blobs);
                            what.get_or_insert_with(|| e.chain());
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
            Err(e) => return Err(e),
        }
    }
    match twice(|| reader.check_end(pack)).await {
        Ok(()) => {}
        Err(e) if is_proof(&e) => drop(what.get_or_insert_with(|| e.chain())),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
        Err(e) => return Err(e),
    }
    Ok(match what {
        None => Found::Sound { blobs: footer.blobs.len() as u64 },
        Some(what) => Found::Damaged { ordinals, what },
    })
}

/// What fails once may have been hit on its way.
async fn twice<T, F: Future<Output = Result<T>>>(read: impl Fn() -> F) -> Result<T> {
    match read().await {
        Err(e) if is_proof(&e) => read().await,
        other => other,
    }
}

/// Groups that are read together, in order.
fn batches(footer: &Footer) -> Vec<Vec<u32>> {
    let (mut out, mut open, mut bytes) = (Vec::new(), Vec::new(), 0u64);
    for (number, group) in (0u32..).zip(&footer.groups) {
        let weight = u64::from(group.stored).max(u64::from(group.plain));
        if bytes + weight > SCRUB_READ_BYTES && !open.is_empty() {
            out.push(std::mem::take(&mut open));
            bytes = 0;
        }
        open.push(number);
        bytes += weight;
    }
    out.extend((!open.is_empty()).then_some(open));
    out
}

/// True for damage of what is stored; not if merely a key is missing here.
fn is_proof(e: &Error) -> bool {
    e.kind() == ErrorKind::Damaged
        && !causes(e)
            .any(|c| c.is::<KeyError>() || matches!(c.downcast_ref::<PackError>(), Some(PackError::Key(_))))
}

fn causes(e: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(e), |cause| cause.source())
}

/// True if the store takes nothing: credentials that may only read, or no space.
pub(crate) fn has_no_place(e: &Error) -> bool {
    let store = causes(e).find_map(|c| c.downcast_ref::<StoreError>());
    store.is_some_and(|s| matches!(s.kind, StoreErrorKind::Denied | StoreErrorKind::Full))
}

/// Names damaged blobs of a pack (no ordinals: all of it), unless they are named already. False if there was nothing to name,
/// or the store takes no record.
pub(crate) async fn name(
    repo: &Repository,
    known: &Quarantined,
    pack: PackId,
    ordinals: &[u32],
) -> Result<bool> {
    let is_known = known.get(&pack).is_some_and(|known| {
        known.as_ref().is_none_or(|k| !ordinals.is_empty() && ordinals.iter().all(|o| k.contains(o)))
    });
    if is_known {
        return Ok(false);
    }
    match put(repo, &Quarantine { pack, ordinals: ordinals.to_vec() }).await {
        Ok(()) => Ok(true),
        Err(e) if has_no_place(&e) => {
            tracing::warn!(%pack, error = %e.chain(), "damage could not be recorded: later backups may refer to it");
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

async fn put(repo: &Repository, record: &Quarantine) -> Result<()> {
    let objects = repo.objects();
    for _ in 0..PUTS_MAX {
        let key = objects.layout.quarantine(record.pack, objects.env.random());
        let sealed = objects.seal(ObjectKind::Quarantine, &key, &record.encode());
        if objects.put_own(&key, &sealed).await? == Whose::Ours {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Internal, "write a quarantine record: random names repeat"))
}

/// Reads all of these packs, in which damage was met, and names what is damaged. Those that are damaged or gone are returned;
/// with `write` false they are only told.
pub(crate) async fn examine_all(
    repo: &Repository,
    suspects: &BTreeSet<PackId>,
    write: bool,
    task: &Task,
) -> Result<Vec<Damaged>> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let reader = fresh_reader(repo);
    let known = forbidden::load_quarantine(&repo.objects()).await?;
    let mut damaged = Vec::new();
    for &pack in suspects {
        let Some(ordinals) = examine(&reader, pack, task).await?.into_lost() else { continue };
        let blobs = u32::try_from(ordinals.len()).unwrap_or(u32::MAX);
        damaged.push(Damaged { pack, blobs });
        if write {
            name(repo, &known, pack, &ordinals).await?;
        }
    }
    Ok(damaged)
}

/// What work met that must go on all the same (a restore, a compaction): named like what a verification meets, but nothing fails
/// for it, and only so much is read. What is named as a whole already is not read again.
pub(crate) async fn name_met(repo: &Repository, met: BTreeSet<PackId>, task: &Task) {
    if met.is_empty() || task.check().is_err() {
        return;
    }
    let named = async {
        let known = forbidden::load_quarantine(&repo.objects()).await?;
        let new = met.into_iter().filter(|pack| !matches!(known.get(pack), Some(None)));
        let mut new: BTreeSet<PackId> = new.collect();
        if let Some(&first_left) = new.iter().nth(MET_PACKS_MAX) {
            let left = new.split_off(&first_left).len();
            tracing::warn!(left, "more packs look damaged than are read now: `holdfast verify` names them");
        }
        examine_all(repo, &new, true, task).await
    };
    match named.await {
        Ok(damaged) => {
            for Damaged { pack, blobs } in damaged {
                tracing::warn!(%pack, blobs, "the pack is damaged or gone, and is in quarantine from now on");
            }
        }
        Err(e) => tracing::warn!(error = %e.chain(), "packs that look damaged could not be examined"),
    }
}

/// One that has nothing in its caches.
pub(crate) fn fresh_reader(repo: &Repository) -> BlobReader {
    let (store, keys) = (repo.store.clone(), repo.keys.clone());
    BlobReader::new(store, repo.layout.clone(), keys, repo.pool.clone())
}
