//! G6: gathers the index into sorted shards, so that nobody has to read thousands of deltas.
//!
//! A root stands for the deltas that it lists and for all that the root before it stood for, as far as its packs were
//! still there when it was made: the deltas are listed before the packs, so that what a delta names is there or gone for
//! good. Nothing here is needed for safety (W5), and no failure here fails a run.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt as _;

use super::{Run, list_packs};
use crate::error::Context as _;
use crate::ids::{Generation, PackId};
use crate::index::objects::{Objects, Whose};
use crate::index::stored::{DeltaName, Root, ShardName};
use crate::layout::ObjectKind;
use crate::limits::{INDEX_DELTAS_MAX, INDEX_DELTAS_MIN, INDEX_ROOT_DELTAS, INDEX_SHARE, INDEX_SWEEPS_MAX};
use crate::manifest::gc::{GcDone, GcSweep};
use crate::ops::index;
use crate::session::forbidden::find_gc;
use crate::{Error, ErrorKind, Result};

/// What is stored of the index.
struct Stored {
    /// The newest root.
    root: Option<(Generation, Root)>,
    /// All roots (`None`) and shards.
    parts: Vec<(Generation, Option<[u8; 16]>)>,
    /// Deltas and their sizes.
    deltas: Vec<(DeltaName, u64)>,
}

impl Stored {
    async fn list(objects: &Objects) -> Result<Self> {
        let layout = &objects.layout;
        let keys = objects.list(&layout.folder(ObjectKind::Index), None).await?;
        let parts: Vec<_> = keys.iter().filter_map(|k| layout.parse_index(k)).collect();
        let newest = parts.iter().filter(|(_, shard)| shard.is_none()).map(|(g, _)| *g).max();
        let root = match newest {
            Some(generation) => read_root(objects, generation).await?.map(|root| (generation, root)),
            None => None,
        };
        let folder = layout.folder(ObjectKind::Delta);
        let listed: Vec<_> = objects
            .store
            .list(&folder, None)
            .try_collect()
            .await
            .context(ErrorKind::Store, || format!("list {folder}"))?;
        let deltas = listed.iter().filter_map(|l| Some((layout.parse_delta(&l.key)?, l.bytes))).collect();
        Ok(Self { root, parts, deltas })
    }

    /// Whether another root is worth its bytes, when so many packs went since the newest.
    fn is_due(&self, gone: u64) -> bool {
        let Some((_, root)) = &self.root else { return self.deltas.len() >= INDEX_DELTAS_MIN };
        let new = self.deltas.iter().filter(|(name, _)| !root.covers(name));
        let (count, bytes) = new.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
        count >= INDEX_DELTAS_MAX
            || count >= INDEX_DELTAS_MIN && bytes * INDEX_SHARE >= root.bytes()
            || gone > 0 && gone * INDEX_SHARE >= root.packs
    }
}

/// A root that can't be read is as good as none.
async fn read_root(objects: &Objects, generation: Generation) -> Result<Option<Root>> {
    let key = objects.layout.index_root(generation);
    match objects.find(ObjectKind::Index, &key).await {
        Ok(plain) => Ok(plain.and_then(|plain| Root::decode(&plain).ok())),
        Err(e) if e.kind() == ErrorKind::Damaged => Ok(None),
        Err(e) => Err(e),
    }
}

impl Run<'_> {
    /// True if a run is worth it for the index alone.
    pub(super) async fn index_is_due(&self) -> Result<bool> {
        Ok(Stored::list(&self.objects).await?.is_due(0))
    }

    /// G6, if it is worth it. `swept` are about to be deleted.
    pub(super) async fn write_index(&mut self, generation: Generation, swept: &[PackId]) -> Result<()> {
        match self.gather(generation, swept).await {
            Err(e) if e.kind() != ErrorKind::Cancelled => {
                tracing::warn!(error = %e.chain(), "the index is not gathered; deltas are read instead");
                Ok(())
            }
            done => done,
        }
    }

    async fn gather(&mut self, generation: Generation, swept: &[PackId]) -> Result<()> {
        let stored = Stored::list(&self.objects).await?;
        let before = stored.root.as_ref().map(|(g, _)| *g);
        if stored.parts.contains(&(generation, None)) {
            return Ok(());
        }
        let gone = self.swept_since(before, generation).await?;
        if !stored.is_due(gone) {
            return Ok(());
        }
        let index = index::open_own(self.repo);
        for damaged in index.refresh().await?.damaged {
            tracing::warn!(error = %damaged.chain(), "a part of the index is not readable");
        }
        self.task.check()?;
        let swept: HashSet<PackId> = swept.iter().copied().collect();
        let there: HashSet<PackId> =
            list_packs(&self.objects).await?.into_keys().filter(|p| !swept.contains(p)).collect();
        let gathered = {
            let index = Arc::clone(&index);
            let work = move || index.gather(|pack| there.contains(&pack));
            let gathered = tokio::task::spawn_blocking(work).await;
            gathered.context(ErrorKind::Internal, || "gather the index".to_owned())??
        };
        let mut shards = Vec::new();
        for (plain, entries) in gathered.shards() {
            self.task.check()?;
            let (random, bytes) = (self.objects.env.random(), plain.len() as u64);
            let key = self.objects.layout.index_shard(generation, random);
            let sealed = self.objects.seal(ObjectKind::Index, &key, &plain);
            if self.objects.put_own(&key, &sealed).await? != Whose::Ours {
                return Err(Error::new(ErrorKind::Damaged, format!("{key} is there and is not ours")));
            }
            shards.push(ShardName { random, entries, bytes });
        }
        let mut deltas: Vec<DeltaName> =
            stored.deltas.iter().map(|(name, _)| *name).filter(|name| index.has_delta(name)).collect();
        deltas.sort_unstable();
        deltas.truncate(INDEX_ROOT_DELTAS);
        let root = Root { previous: index.newest_root(), packs: gathered.packs(), shards, deltas };
        let key = self.objects.layout.index_root(generation);
        let sealed = self.objects.seal(ObjectKind::Index, &key, &root.encode());
        // Another collector's root is as good; then these shards go with the next one.
        if self.objects.put_own(&key, &sealed).await? == Whose::Ours {
            self.report.indexed = root.entries();
        }
        Ok(())
    }

    /// How many packs were swept after the generation of the last root.
    async fn swept_since(&self, before: Option<Generation>, generation: Generation) -> Result<u64> {
        let Some(before) = before else { return Ok(0) };
        let mut packs = 0;
        for number in (before.0 + 1..=generation.0).rev().take(INDEX_SWEEPS_MAX) {
            let sweep = find_gc(&self.objects, Generation(number), "sweep", GcSweep::decode).await?;
            packs += sweep.map_or(0, |s| s.packs.len() as u64);
        }
        Ok(packs)
    }

    /// After G8: deltas that the newest root stands for, older roots and shards, and shards of collectors that lost the race
    /// for it. Whoever reads them meanwhile lists again.
    pub(super) async fn tidy_index(&mut self, done: &GcDone) -> Result<()> {
        let Stored { root: Some((newest, root)), parts, deltas } = Stored::list(&self.objects).await? else {
            return Ok(());
        };
        let named: HashSet<[u8; 16]> = root.shards.iter().map(|s| s.random).collect();
        let layout = &self.objects.layout;
        let covered = deltas.iter().map(|(name, _)| name).filter(|d| d.0 <= done.frozen && root.covers(d));
        let covered = covered.map(|d| layout.delta(d.0, d.1, d.2)).collect();
        let useless = parts.iter().filter(|(generation, shard)| {
            let unnamed = shard.is_some_and(|s| !named.contains(&s));
            *generation < newest || *generation == newest && unnamed
        });
        let key = |(generation, shard): &(Generation, Option<[u8; 16]>)| match shard {
            Some(random) => layout.index_shard(*generation, *random),
            None => layout.index_root(*generation),
        };
        let useless = useless.map(key).collect();
        self.delete_all(covered).await?;
        self.delete_all(useless).await.map(drop)
    }
}
