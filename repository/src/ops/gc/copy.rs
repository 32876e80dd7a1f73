//! Copies blobs from packs into new ones, group by group. Every blob is checked against its id as it is read, and every
//! new pack is decoded again before it is put.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Context as _;
use crate::ids::{BlobId, Generation, PackId, PackRef, Place, Sid};
use crate::index::objects::{Objects, Whose};
use crate::index::{DeltaPack, delta};
use crate::layout::ObjectKind;
use crate::limits::{
    COPY_AHEAD_MIB, COPY_PACKS_AHEAD, COPY_ZSTD_LEVEL, GROUP_BYTES, META_PACK_BODY_BYTES, PACK_BLOBS_MAX,
    PACK_BODY_BYTES, SMALL_BLOB_BYTES,
};
use crate::manifest::gc::Relocation;
use crate::manifest::relocation;
use crate::manifest::summary::OrdinalSet;
use crate::ops::reader::is_damage;
use crate::ops::{Repository, Task};
use crate::pack::writer::PackBuilder;
use crate::pack::{Footer, PackKind, group};
use crate::{Error, ErrorKind, Result};

/// A pack, and what is to be copied of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub pack: PackId,
    pub kind: PackKind,
    /// About how much that is, decoded.
    pub plain: u64,
    pub blobs: OrdinalSet,
}

/// A blob on its way.
type Moving = (Place, BlobId, Bytes);

/// What is read of one source. The permit counts against what is read ahead.
struct Read {
    kind: PackKind,
    blobs: Vec<Moving>,
    _ahead: OwnedSemaphorePermit,
}

/// Reads packs and fills new ones.
pub(super) struct Copier<'a> {
    repo: &'a Repository,
    task: &'a Task,
    sid: Sid,
    kind: PackKind,
    open: Option<PackBuilder>,
    /// Small blobs that wait for their group to fill.
    small: Vec<Moving>,
    small_bytes: usize,
    /// Blobs of the open pack.
    filled: Vec<Relocation>,
    deltas: Vec<DeltaPack>,
    /// Where blobs went that are stored now.
    pub moved: Vec<Relocation>,
    /// Packs that were put.
    pub stored: Vec<PackRef>,
    /// Plain bytes that were copied.
    pub bytes: u64,
    /// Sources that are damaged or gone.
    pub damaged: BTreeSet<PackId>,
}

/// The groups that hold any of the blobs.
fn groups_of(footer: &Footer, blobs: &OrdinalSet) -> Vec<u32> {
    let mut groups: Vec<u32> =
        blobs.iter().filter_map(|o| footer.blobs.get(o as usize)).map(|b| b.group).collect();
    groups.dedup();
    groups
}

/// What is to be copied of a source; or that it is damaged.
async fn read(repo: &Repository, source: Source, ahead: Arc<Semaphore>) -> Result<Result<Read, PackId>> {
    let mib = u32::try_from((source.plain >> 20).clamp(1, COPY_AHEAD_MIB as u64)).unwrap_or(1);
    let permit =
        ahead.acquire_many_owned(mib).await.context(ErrorKind::Internal, || "read ahead".to_owned())?;
    let reader = repo.reader();
    let read = async {
        let footer = reader.footer(source.pack).await?;
        reader.read_groups(source.pack, &groups_of(&footer, &source.blobs)).await
    };
    let groups = match read.await {
        Ok(groups) => groups,
        Err(e) if is_damage(&e) => {
            tracing::warn!(pack = %source.pack, error = %e.chain(), "a pack that can't be read is not compacted");
            return Ok(Err(source.pack));
        }
        Err(e) => return Err(e),
    };
    let mut blobs = Vec::new();
    for group in groups {
        let numbered = (group.first_ordinal..).zip(group.blobs);
        let live = numbered.filter(|(ordinal, _)| source.blobs.contains(*ordinal));
        blobs.extend(live.map(|(ordinal, (id, bytes))| (Place { pack: source.pack, ordinal }, id, bytes)));
    }
    Ok(Ok(Read { kind: source.kind, blobs, _ahead: permit }))
}

impl<'a> Copier<'a> {
    /// One whose packs carry this name.
    pub(super) fn new(repo: &'a Repository, task: &'a Task, sid: Sid) -> Self {
        Self {
            repo,
            task,
            sid,
            kind: PackKind::Data,
            open: None,
            small: Vec::new(),
            small_bytes: 0,
            filled: Vec::new(),
            deltas: Vec::new(),
            moved: Vec::new(),
            stored: Vec::new(),
            bytes: 0,
            damaged: BTreeSet::new(),
        }
    }

    /// Copies all sources, in their order. A damaged one is left out. After an error, what is in `moved` is stored.
    pub(super) async fn copy(&mut self, sources: Vec<Source>) -> Result<()> {
        let ahead = Arc::new(Semaphore::new(COPY_AHEAD_MIB));
        let repo = self.repo;
        let mut reads =
            stream::iter(sources.into_iter().map(|source| read(repo, source, Arc::clone(&ahead))))
                .buffered(COPY_PACKS_AHEAD);
        while let Some(read) = reads.try_next().await? {
            self.task.check()?;
            let read = match read {
                Ok(read) => read,
                Err(damaged) => {
                    self.damaged.insert(damaged);
                    continue;
                }
            };
            if read.kind != self.kind {
                self.close().await?;
                self.kind = read.kind;
            }
            self.append(read.blobs).await?;
        }
        self.close().await
    }

    async fn append(&mut self, blobs: Vec<Moving>) -> Result<()> {
        let mut groups = Vec::new();
        for blob in blobs {
            let bytes = blob.2.len();
            self.bytes += bytes as u64;
            self.task.monitor.bytes_done.add(bytes as u64);
            if bytes > SMALL_BLOB_BYTES {
                groups.push(vec![blob]);
                continue;
            }
            if self.small_bytes + bytes > GROUP_BYTES && !self.small.is_empty() {
                groups.push(self.take_small());
            }
            self.small_bytes += bytes;
            self.small.push(blob);
        }
        self.write(groups).await
    }

    fn take_small(&mut self) -> Vec<Moving> {
        self.small_bytes = 0;
        std::mem::take(&mut self.small)
    }

    async fn write(&mut self, groups: Vec<Vec<Moving>>) -> Result<()> {
        let pool = &self.repo.pool;
        let mut built = stream::iter(groups.into_iter().map(|moving| async move {
            let places: Vec<Place> = moving.iter().map(|m| m.0).collect();
            let blobs: Vec<_> = moving.into_iter().map(|(_, id, bytes)| (id, bytes)).collect();
            (places, pool.run(move || group::build(&blobs, COPY_ZSTD_LEVEL)).await)
        }))
        .buffered(pool.threads());
        while let Some((places, group)) = built.next().await {
            let body = match self.kind {
                PackKind::Data => PACK_BODY_BYTES,
                PackKind::Meta => META_PACK_BODY_BYTES,
            };
            let repo = self.repo;
            let builder = self
                .open
                .get_or_insert_with(|| PackBuilder::new(&repo.keys, self.sid, self.kind, &repo.env, body));
            let (pack, first) = (builder.id(), builder.append(&group));
            let moved = places.into_iter().zip(first..);
            self.filled.extend(moved.map(|(from, ordinal)| Relocation::one(from, Place { pack, ordinal })));
            if builder.len() >= body || builder.blobs() >= PACK_BLOBS_MAX / 2 {
                self.put().await?;
            }
        }
        Ok(())
    }

    /// Stores what waits and what is open.
    async fn close(&mut self) -> Result<()> {
        let waiting = self.take_small();
        if !waiting.is_empty() {
            self.write(vec![waiting]).await?;
        }
        self.put().await
    }

    async fn put(&mut self) -> Result<()> {
        let Some(builder) = self.open.take() else { return Ok(()) };
        let (id, keys) = (builder.id(), Arc::clone(&self.repo.keys));
        let finished = self.repo.pool.run(move || builder.finish(&keys)).await;
        let finished = finished.context(ErrorKind::Internal, || {
            format!("pack {id} did not decode again before its upload; this machine's memory is not reliable")
        })?;
        let key = self.repo.layout.pack(id);
        if let Whose::Others(_) = self.repo.objects().put_own(&key, &finished.bytes).await? {
            return Err(Error::new(ErrorKind::Damaged, format!("{key} is there and is not ours")));
        }
        self.task.monitor.packs.add(1);
        self.task.monitor.bytes_stored.add(finished.pack.bytes);
        self.moved.extend(relocation::joined(std::mem::take(&mut self.filled)));
        self.stored.push(finished.pack);
        self.deltas.push(DeltaPack::new(finished.pack, finished.kind, &finished.footer));
        Ok(())
    }

    /// Names the new packs in deltas, so that backups find the blobs there when their old packs are gone. Before `open`: who
    /// refers to a copy of a run that loses the race keeps it alive by that, as any other pack. Under the generation that
    /// is about to be opened, because readers of the index take the newest place.
    pub(super) async fn publish(&mut self, objects: &Objects, generation: Generation) -> Result<()> {
        let packs = std::mem::take(&mut self.deltas);
        for (part, n) in delta::split(&packs).into_iter().zip(0..) {
            let key = objects.layout.delta(generation, self.sid, n);
            let sealed = objects.seal(ObjectKind::Delta, &key, &delta::encode(part));
            objects.put_own(&key, &sealed).await?;
        }
        Ok(())
    }
}
