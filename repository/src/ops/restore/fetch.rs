//! Carries a plan out: reads packs in parallel and hands every wanted slice to a sink, damage too.
//!
//! One damaged group or missing pack never ends the work: what it hits is told to the sink, the rest goes on. Only a
//! store that fails again and again, a full target, or a cancellation ends it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hashbrown::HashMap;

use super::plan::{Batch, Plan, Want, batches};
use crate::error::Context as _;
use crate::ids::{BlobRef, PackId, Place};
use crate::ops::Task;
use crate::ops::reader::{Reader, is_damage};
use crate::pack::GroupData;
use crate::{Error, ErrorKind, Result};

/// Memory of one batch on its way: sealed, opened, decoded.
const BATCH_MEMORY_BYTES: usize = 16 << 20;
/// Footers that are read ahead.
const FOOTERS_AHEAD: usize = 4;
/// Gone packs are looked for so often; each further time takes a whole GC run meanwhile.
const ROUNDS_MAX: u32 = 4;
/// A store that fails this often in a row is down; each failure has been retried below already.
const STORE_FAILURES_MAX: u32 = 8;

/// Takes what was read.
pub(crate) trait Sink: Send + Sync {
    /// The bytes of a slice. Runs on a blocking thread; slices of one file may come on several at once.
    fn take(&self, want: &Want, bytes: &[u8]);
    /// A slice that can't be had.
    fn lost(&self, want: &Want, blob: &BlobRef, error: &Error);
    /// Fails when going on is pointless.
    fn check(&self) -> Result<()>;
}

/// Batches that fit into `memory_bytes` at once.
pub(crate) fn batches_at_once(memory_bytes: usize) -> usize {
    (memory_bytes / 2 / BATCH_MEMORY_BYTES).clamp(2, 12)
}

/// Everything that one run shares.
struct Fetch<S> {
    reader: Arc<Reader>,
    sink: Arc<S>,
    failures: AtomicU32,
    /// Of blobs that a GC run moved: from where they are now to where the snapshot has them.
    origins: HashMap<Place, Place>,
    gone: Mutex<Vec<Gone>>,
}

/// What a pack that is gone or damaged was to give.
struct Gone {
    pack: PackId,
    wants: Vec<Want>,
    error: Error,
}

/// Reads all that `plan` wants. Packs that are gone or damaged are looked for again at the end: their blobs may have
/// been moved.
pub(crate) async fn run<S: Sink + 'static>(
    reader: &Arc<Reader>,
    mut plan: Plan,
    sink: &Arc<S>,
    at_once: usize,
    task: &Task,
) -> Result<()> {
    let mut fetch = Fetch {
        reader: Arc::clone(reader),
        sink: Arc::clone(sink),
        failures: AtomicU32::new(0),
        origins: HashMap::new(),
        gone: Mutex::default(),
    };
    let mut rounds = 0;
    while plan.len() > 0 {
        let resolved = fetch.follow(plan);
        read(&fetch, resolved, at_once, task).await?;
        rounds += 1;
        plan = fetch.look_again(rounds < ROUNDS_MAX).await?;
    }
    Ok(())
}

async fn read<S: Sink + 'static>(fetch: &Fetch<S>, plan: Plan, at_once: usize, task: &Task) -> Result<()> {
    stream::iter(plan.by_pack())
        .map(|(pack, wants)| async move { fetch.prepare(pack, wants).await })
        .buffered(FOOTERS_AHEAD)
        .map_ok(|(pack, list)| stream::iter(list.into_iter().map(move |b| Ok((pack, b)))))
        .try_flatten()
        .try_for_each_concurrent(at_once, |(pack, batch)| async move {
            task.check()?;
            fetch.sink.check()?;
            fetch.batch(pack, batch, task).await
        })
        .await
}

impl<S: Sink + 'static> Fetch<S> {
    /// The plan with all blobs where they are now.
    fn follow(&mut self, plan: Plan) -> Plan {
        let relocations = self.reader.relocations();
        if relocations.is_empty() {
            return plan;
        }
        let mut out = Plan::default();
        for (pack, wants) in plan.by_pack() {
            for want in wants {
                let mut blob = blob_of(pack, &want);
                let now = relocations.resolve(blob.place);
                if now != blob.place {
                    self.origins.insert(now, blob.place);
                    blob.place = now;
                }
                out.push(want.file, want.at, blob, want.from, want.bytes);
            }
        }
        out
    }

    /// What of the gone packs lies elsewhere by now; the rest is lost.
    async fn look_again(&mut self, may_go_on: bool) -> Result<Plan> {
        let gone = std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        let mut plan = Plan::default();
        for Gone { pack, wants, error } in gone {
            self.reader.look_again(pack).await?;
            for want in wants {
                let found = blob_of(pack, &want);
                let blob = self.origin(found);
                if may_go_on && self.reader.resolve(blob.place) != found.place {
                    plan.push(want.file, want.at, blob, want.from, want.bytes);
                } else {
                    self.sink.lost(&want, &blob, &error);
                }
            }
        }
        Ok(plan)
    }

    /// The blob as the snapshot names it.
    fn origin(&self, blob: BlobRef) -> BlobRef {
        BlobRef { place: self.origins.get(&blob.place).copied().unwrap_or(blob.place), ..blob }
    }

    async fn prepare(&self, pack: PackId, wants: Vec<Want>) -> Result<(PackId, Vec<Batch>)> {
        match self.reader.footer(pack).await {
            Ok(footer) => {
                self.failures.store(0, Ordering::Relaxed);
                let (list, bad) = batches(&footer, wants);
                let what = format!("pack {pack} does not hold a blob that the snapshot needs of it");
                let error = Error::new(ErrorKind::Damaged, what);
                if !bad.is_empty() {
                    self.lost(pack, bad, error);
                }
                Ok((pack, list))
            }
            Err(e) => {
                let e = self.bearable(e)?;
                self.lost(pack, wants, e);
                Ok((pack, Vec::new()))
            }
        }
    }

    /// Returns an error that hits single blobs only, and fails with one that hits everything.
    fn bearable(&self, e: Error) -> Result<Error> {
        match e.kind() {
            ErrorKind::Damaged | ErrorKind::NotFound => Ok(e),
            ErrorKind::Store if self.failures.fetch_add(1, Ordering::Relaxed) < STORE_FAILURES_MAX => Ok(e),
            _ => Err(e),
        }
    }

    fn lost(&self, pack: PackId, wants: Vec<Want>, error: Error) {
        if is_damage(&error) {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.push(Gone { pack, wants, error });
        } else {
            wants.iter().for_each(|want| self.sink.lost(want, &self.origin(blob_of(pack, want)), &error));
        }
    }

    async fn batch(&self, pack: PackId, batch: Batch, task: &Task) -> Result<()> {
        match self.reader.read_groups(pack, &batch.groups).await {
            Ok(groups) => {
                self.failures.store(0, Ordering::Relaxed);
                task.monitor.bytes_read.add(groups.iter().map(plain_bytes).sum());
                self.hand_over(pack, groups, batch.wants).await
            }
            Err(e) => {
                let e = self.bearable(e)?;
                if e.kind() == ErrorKind::NotFound {
                    self.lost(pack, batch.wants, e);
                    return Ok(());
                }
                self.one_by_one(pack, batch, task).await
            }
        }
    }

    /// Something in a batch is damaged: finds out what, group by group.
    async fn one_by_one(&self, pack: PackId, batch: Batch, task: &Task) -> Result<()> {
        let footer = self.reader.footer(pack).await?;
        let group_of = |w: &Want| footer.blobs.get(w.ordinal as usize).map(|b| b.group);
        for same in batch.wants.chunk_by(|a, b| group_of(a) == group_of(b)) {
            task.check()?;
            let group: Vec<u32> = group_of(&same[0]).into_iter().collect();
            match self.reader.read_groups(pack, &group).await {
                Ok(groups) => {
                    self.failures.store(0, Ordering::Relaxed);
                    task.monitor.bytes_read.add(groups.iter().map(plain_bytes).sum());
                    self.hand_over(pack, groups, same.to_vec()).await?;
                }
                Err(e) => {
                    let e = self.bearable(e)?;
                    self.lost(pack, same.to_vec(), e);
                }
            }
        }
        Ok(())
    }

    async fn hand_over(&self, pack: PackId, groups: Vec<GroupData>, wants: Vec<Want>) -> Result<()> {
        let sink = Arc::clone(&self.sink);
        let work = move || {
            let error = || Error::new(ErrorKind::Damaged, "a group lacks a blob that the pack lists in it");
            for want in &wants {
                match slice(&groups, want) {
                    Some(bytes) => sink.take(want, &bytes),
                    None => sink.lost(want, &blob_of(pack, want), &error()),
                }
            }
        };
        tokio::task::spawn_blocking(work)
            .await
            .context(ErrorKind::Internal, || "write what was read".to_owned())
    }
}

fn blob_of(pack: PackId, want: &Want) -> BlobRef {
    BlobRef { id: want.id, place: Place { pack, ordinal: want.ordinal } }
}

fn plain_bytes(group: &GroupData) -> u64 {
    group.blobs.iter().map(|(_, b)| b.len() as u64).sum()
}

/// The wanted bytes, if the groups (ascending) hold the blob with the right id.
fn slice(groups: &[GroupData], want: &Want) -> Option<Bytes> {
    let at = groups.partition_point(|g| g.first_ordinal <= want.ordinal).checked_sub(1)?;
    let group = &groups[at];
    let (id, bytes) = group.blobs.get((want.ordinal - group.first_ordinal) as usize)?;
    let range = want.from as usize..want.from as usize + want.bytes as usize;
    (*id == want.id && range.end <= bytes.len()).then(|| bytes.slice(range))
}
