//! Mirrors a whole repository to another store, object by object: same keys, same names, no key needed.
//!
//! At every moment the mirror restores each snapshot that it lists (docs/decisions/0012 has the argument):
//!
//! 1. The mirror is listed before the source, and the source in the order of keys: GC records, then outcomes, then packs.
//! 2. What is named is copied before what names it: packs and parts of records, then GC records, then markers, then outcomes.
//! 3. Only a listing during which no GC record and no key came to be counts: then every pack that an outcome of it needs, relocations
//!    followed, is among its packs. Otherwise it is listed again.
//! 4. What the source has no more is deleted in reverse order, only when asked, and only if it was in the mirror before the
//!    source was listed.
//! 5. Keys are listed once more at the end: of all that may change meanwhile, a rotation is what the next run would be late for.
//!
//! Nothing is ever replaced. What differs is named.

mod delete;
mod listing;
mod rings;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::error::Context as _;
use crate::layout::Layout;
use crate::limits::{MIRROR_OBJECTS_AT_ONCE, MIRROR_ROUNDS_MAX, PACK_BYTES_MAX};
use crate::ops::repo::Description;
use crate::ops::{Problems, Task};
use crate::store::{Key, Put, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

use listing::{Listing, Stage};

/// How to mirror.
#[derive(Clone, Debug)]
pub struct MirrorRequest {
    /// Delete what the source has no more.
    pub delete: bool,
    /// Refuse to delete more than this share of the mirror's packs (by bytes), or of a domain's outcomes (by count), percent.
    pub delete_share_max: u8,
    /// Compare bytes, not only sizes, of what is there already.
    pub compare_bytes: bool,
    /// Bound on the bytes of objects in memory at once.
    pub memory_bytes_max: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct MirrorReport {
    /// Objects that the source has.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Bytes of these.
    pub bytes_copied: u64,
    /// Objects that were deleted in the source before they could be read: a GC run is at it.
    pub vanished: u64,
    /// Objects that were deleted in the mirror.
    pub deleted: u64,
    /// Bytes of these.
    pub bytes_deleted: u64,
    /// Objects that the mirror's store refused to delete.
    pub leftovers: u64,
    /// Listings of the source that it took.
    pub rounds: u64,
    /// Objects that are not the same in both. They are left as they are.
    pub different: Problems,
}

/// One run.
struct Run<'a> {
    source: &'a Arc<dyn Store>,
    target: &'a Arc<dyn Store>,
    request: &'a MirrorRequest,
    task: &'a Task,
    /// KiB of objects in memory.
    memory: Semaphore,
    memory_kib: u32,
    /// What the mirror has, by its listing and by what was put since.
    there: Listing,
    report: MirrorReport,
}

/// What became of one object.
enum Copied {
    Same,
    New(u64),
    Vanished,
    Differs(String),
}

/// Brings the mirror at `target` up to date with `source`.
pub async fn mirror(
    source: &Arc<dyn Store>,
    target: &Arc<dyn Store>,
    request: &MirrorRequest,
    task: &Task,
) -> Result<MirrorReport> {
    claim(source, target).await?;
    let memory_kib = u32::try_from(request.memory_bytes_max / 1024).unwrap_or(u32::MAX >> 4).max(1);
    let there = Listing::read(target, "the mirror").await?;
    let mut run = Run {
        source,
        target,
        request,
        task,
        memory: Semaphore::new(memory_kib as usize),
        memory_kib,
        there,
        report: MirrorReport::default(),
    };
    for _ in 0..MIRROR_ROUNDS_MAX {
        run.report.rounds += 1;
        let listed = Listing::read(source, "the source").await?;
        listed.refuse_strange(&run.there)?;
        (run.report.objects, run.report.bytes) = listed.totals();
        for stage in [Stage::Keys, Stage::Packs, Stage::Others, Stage::IndexRoots, Stage::GcParts] {
            run.copy(&listed, stage).await?;
        }
        if listed.pillars_now(source).await? != listed.pillars() {
            continue;
        }
        for stage in [Stage::GcRecords, Stage::Markers, Stage::Outcomes] {
            run.copy(&listed, stage).await?;
        }
        if request.delete {
            run.delete(&listed).await?;
        }
        run.follow_rings(&listed).await?;
        return Ok(run.report);
    }
    let what = format!(
        "GC runs or changes of keys went on in the source through {MIRROR_ROUNDS_MAX} listings; packs were copied, but no snapshots: mirror again"
    );
    Err(Error::new(ErrorKind::Refused, what))
}

/// The place is the repository's, or becomes so.
async fn claim(source: &Arc<dyn Store>, target: &Arc<dyn Store>) -> Result<()> {
    let key = Layout::repo_json();
    let read = async |store: &Arc<dyn Store>| match store.get(&key).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind == StoreErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    };
    let what = || format!("read {key} of the source");
    let Some(bytes) = read(source).await.context(ErrorKind::Store, what)? else {
        return Err(Error::new(ErrorKind::NotFound, "there is no repository to mirror (no repo.json)"));
    };
    let id = Description::parse(&bytes)?;
    target
        .put_new(&key, bytes.clone())
        .await
        .context(ErrorKind::Store, || format!("create {key} of the mirror"))?;
    let there = read(target).await.context(ErrorKind::Store, || format!("read {key} of the mirror"))?;
    let there =
        there.ok_or_else(|| Error::new(ErrorKind::Store, format!("{key} of the mirror is not there")))?;
    if Description::parse(&there)? != id {
        let what = "the mirror's place holds another repository: nothing was written there";
        return Err(Error::new(ErrorKind::Refused, what));
    }
    Ok(())
}

impl Run<'_> {
    /// Copies what the mirror lacks of one stage, all of it before this returns. Records go one after the other.
    async fn copy(&mut self, listed: &Listing, stage: Stage) -> Result<()> {
        let objects = listed.of(stage);
        let at_once = if stage.is_ordered() { 1 } else { MIRROR_OBJECTS_AT_ONCE };
        let this = &*self;
        let copies: Vec<_> = objects
            .iter()
            .map(|(key, bytes)| async move { (*key, *bytes, this.one(key, *bytes).await) })
            .collect();
        let copies = stream::iter(copies);
        let mut done =
            if at_once == 1 { copies.buffered(1).boxed() } else { copies.buffer_unordered(at_once).boxed() };
        let (mut report, mut new) = (self.report.clone(), Vec::new());
        while let Some((key, bytes, copied)) = done.next().await {
            self.task.check()?;
            match copied? {
                Copied::Same => {}
                Copied::New(n) => {
                    report.copied += 1;
                    report.bytes_copied += n;
                    self.task.monitor.bytes_stored.add(n);
                    new.push((key.clone(), bytes));
                }
                Copied::Vanished => report.vanished += 1,
                Copied::Differs(what) => report.different.push(key.as_str().as_bytes(), what),
            }
        }
        drop(done);
        self.report = report;
        self.there.extend(new);
        Ok(())
    }

    async fn one(&self, key: &Key, bytes: u64) -> Result<Copied> {
        match self.there.size(key) {
            Some(there) if there != bytes => {
                Ok(Copied::Differs(format!("has {there} bytes in the mirror, {bytes} in the source")))
            }
            Some(_) if !self.request.compare_bytes => Ok(Copied::Same),
            Some(_) => self.compare(key, bytes).await,
            None => self.put(key, bytes).await,
        }
    }

    /// The whole object, and its share of memory; `None` if it is gone.
    async fn read(&self, store: &Arc<dyn Store>, key: &Key, bytes: u64) -> Result<Option<Bytes>> {
        let read = if bytes == 0 { store.get(key).await } else { store.get_range(key, 0..bytes).await };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind == StoreErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::with_source(ErrorKind::Store, format!("read {key}"), e)),
        }
    }

    async fn room(&self, bytes: u64) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let room = self.memory.acquire_many(kib).await;
        room.context(ErrorKind::Internal, || "the memory bound is closed".to_owned())
    }

    async fn compare(&self, key: &Key, bytes: u64) -> Result<Copied> {
        let _room = self.room(bytes.saturating_mul(2)).await?;
        let (ours, theirs) =
            futures::try_join!(self.read(self.source, key, bytes), self.read(self.target, key, bytes))?;
        self.task.monitor.bytes_read.add(bytes);
        Ok(match (ours, theirs) {
            (None, _) => Copied::Vanished,
            (Some(ours), Some(theirs)) if ours == theirs => Copied::Same,
            (Some(_), Some(_)) => Copied::Differs("other bytes than in the source".to_owned()),
            (Some(_), None) => Copied::Differs("gone from the mirror".to_owned()),
        })
    }

    async fn put(&self, key: &Key, bytes: u64) -> Result<Copied> {
        if bytes > PACK_BYTES_MAX {
            return Ok(Copied::Differs(format!("has {bytes} bytes, more than any object of a repository")));
        }
        let _room = self.room(bytes).await?;
        let Some(object) = self.read(self.source, key, bytes).await? else { return Ok(Copied::Vanished) };
        self.task.monitor.bytes_read.add(bytes);
        match self.target.put_new(key, object).await.context(ErrorKind::Store, || format!("create {key}"))? {
            Put::Created => Ok(Copied::New(bytes)),
            // A reply that was lost, or another run: all put the same.
            Put::AlreadyExists => {
                let size = self.target.find_size(key).await;
                match size.context(ErrorKind::Store, || format!("look for {key}"))? {
                    Some(size) if size == bytes => Ok(Copied::New(bytes)),
                    Some(size) => {
                        Ok(Copied::Differs(format!("has {size} bytes in the mirror, {bytes} in the source")))
                    }
                    None => Err(Error::new(
                        ErrorKind::Store,
                        format!("create {key}: whether it exists is unknown"),
                    )),
                }
            }
        }
    }
}
