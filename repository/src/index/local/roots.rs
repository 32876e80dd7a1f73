//! The stored index: its newest root is read unless all that it stands for is known, and what a collector makes the next
//! one of is gathered here.

use std::collections::HashSet;

use futures::{StreamExt as _, stream};

use super::{LocalIndex, ROOT, Refreshed, SWEPT, State};
use crate::error::Context as _;
use crate::ids::{Generation, PackId, PackRef};
use crate::index::Entry;
use crate::index::lookup::Import;
use crate::index::shard::{Shard, ShardError};
use crate::index::stored::{DeltaName, Root, ShardBuilder, ShardName, decode_shard, encode_name};
use crate::layout::ObjectKind;
use crate::limits::INDEX_SHARD_FETCHES;
use crate::{Error, ErrorKind, Result};

/// The number in the notes that are not deltas' names.
const MARK: u32 = u32::MAX;

fn written<T>(done: std::result::Result<T, ShardError>) -> Result<T> {
    done.context(ErrorKind::Refused, || "write the local index".to_owned())
}

impl State {
    /// True if the root says nothing new.
    fn has_all_of(&self, root: &Root) -> bool {
        let has = |name| self.known.contains(name) && !self.damaged.contains(name);
        root.previous.is_none_or(|g| self.roots.contains(&g)) && root.deltas.iter().all(has)
    }
}

impl LocalIndex {
    /// Reads the newest root, if it says anything new. False if it went while it was read: another one is there then.
    pub(super) async fn read_root(&self, done: &mut Refreshed) -> Result<bool> {
        let Some(generation) = self.find_root().await? else { return Ok(true) };
        {
            let state = self.read();
            if state.roots.contains(&generation) || state.lost_roots.contains(&generation) {
                return Ok(true);
            }
        }
        let key = self.objects.layout.index_root(generation);
        let read = match self.objects.find(ObjectKind::Index, &key).await {
            Ok(None) => return Ok(false),
            Ok(Some(plain)) => Root::decode(&plain).context(ErrorKind::Damaged, || format!("read {key}")),
            Err(e) => Err(e),
        };
        let root = match read {
            Err(e) if e.kind() == ErrorKind::Damaged => {
                self.write().lost_roots.insert(generation);
                done.damaged.push(e);
                return Ok(true);
            }
            read => read?,
        };
        if self.read().has_all_of(&root) {
            let mut state = self.write();
            state.index.insert_note(&encode_name((generation, ROOT, MARK)));
            state.roots.insert(generation);
            state.unsaved += 1;
            return Ok(true);
        }
        self.import(generation, &root, done).await
    }

    async fn find_root(&self) -> Result<Option<Generation>> {
        let (objects, layout) = (&self.objects, &self.objects.layout);
        let keys = objects.list(&layout.folder(ObjectKind::Index), None).await?;
        let roots = keys.iter().filter_map(|k| match layout.parse_index(k) {
            Some((generation, None)) => Some(generation),
            _ => None,
        });
        Ok(roots.max())
    }

    /// Takes a root's shards in, one after the other, straight into a file. Those that are lost are left out; what they said
    /// is read from deltas, as far as these are still there.
    async fn import(&self, generation: Generation, root: &Root, done: &mut Refreshed) -> Result<bool> {
        let entries = usize::try_from(root.entries()).unwrap_or(usize::MAX).min(1 << 31);
        let mut import = written(self.read().index.begin_import(entries))?;
        let reads: Vec<_> = root.shards.iter().map(|shard| self.read_shard(generation, *shard)).collect();
        let mut reads = stream::iter(reads).buffered(INDEX_SHARD_FETCHES);
        let (mut last, mut whole) = ([0; 16], true);
        while let Some(read) = reads.next().await {
            let (packs, entries) = match read {
                Ok(Some(shard)) if shard.1.first().is_none_or(|e| e.prefix >= last) => shard,
                Ok(None) if self.find_root().await? != Some(generation) => return Ok(false),
                Ok(_) => {
                    let what =
                        format!("a shard of the index of generation {generation} is lost or out of order");
                    done.damaged.push(Error::new(ErrorKind::Damaged, what));
                    whole = false;
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::Damaged => {
                    done.damaged.push(e);
                    whole = false;
                    continue;
                }
                Err(e) => return Err(e),
            };
            last = entries.last().map_or(last, |e| e.prefix);
            written(import.push(&packs, &entries))?;
            done.shards += 1;
        }
        self.take_in(generation, root, (import, whole))
    }

    fn take_in(&self, generation: Generation, root: &Root, (import, whole): (Import, bool)) -> Result<bool> {
        let mut state = self.write();
        let mut notes = Vec::new();
        if state.index.is_empty() {
            notes.extend_from_slice(&encode_name((generation, SWEPT, MARK)));
            state.swept = state.swept.max(generation);
        }
        if whole {
            notes.extend_from_slice(&encode_name((generation, ROOT, MARK)));
            notes.extend(root.deltas.iter().flat_map(|d| encode_name(*d)));
            state.roots.insert(generation);
            state.known.extend(&root.deltas);
        } else {
            state.lost_roots.insert(generation);
        }
        written(state.index.finish_import(import, &notes))?;
        Ok(true)
    }

    async fn read_shard(
        &self,
        generation: Generation,
        shard: ShardName,
    ) -> Result<Option<(Vec<PackRef>, Vec<Entry>)>> {
        let key = self.objects.layout.index_shard(generation, shard.random);
        let Some(plain) = self.objects.find(ObjectKind::Index, &key).await? else { return Ok(None) };
        decode_shard(&plain).map(Some).context(ErrorKind::Damaged, || format!("read {key}"))
    }

    /// Packs that were swept up to this generation are not in it.
    #[must_use]
    pub fn swept(&self) -> Generation {
        self.read().swept
    }

    /// Drops the packs that were swept up to this generation.
    pub fn drop_swept(&self, generation: Generation, packs: &HashSet<PackId>) -> Result<()> {
        let mut state = self.write();
        if generation <= state.swept {
            return Ok(());
        }
        state.swept = generation;
        state.unsaved += 1;
        written(state.index.purge(packs, &encode_name((generation, SWEPT, MARK))))
    }

    /// The newest root that it has all of.
    pub(crate) fn newest_root(&self) -> Option<Generation> {
        self.read().roots.iter().max().copied()
    }

    /// True if this delta was read, by itself or in a root.
    pub(crate) fn has_delta(&self, name: &DeltaName) -> bool {
        let state = self.read();
        state.known.contains(name) && !state.damaged.contains(name)
    }

    /// All entries of packs that `keep` takes, for a collector to store.
    pub(crate) fn gather(&self, keep: impl Fn(PackId) -> bool) -> Result<Gathered> {
        written(self.write().index.merged(keep)).map(Gathered)
    }
}

/// All that a new root stands for, sorted.
#[derive(Debug)]
pub(crate) struct Gathered(Shard);

impl Gathered {
    /// The packs that it names.
    pub(crate) fn pack_ids(&self) -> HashSet<PackId> {
        self.0.packs().map(|p| p.id).collect()
    }

    /// How many packs it names.
    pub(crate) fn packs(&self) -> u64 {
        self.0.packs().count() as u64
    }

    /// The stored shards, each with its number of entries.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (Vec<u8>, u64)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut builder = ShardBuilder::default();
            while at < self.0.len() && !builder.is_full() {
                let entry = self.0.entry(at);
                if let Some(pack) = self.0.pack(entry.pack as usize) {
                    builder.push(&entry, pack);
                }
                at += 1;
            }
            builder.take()
        })
    }
}
