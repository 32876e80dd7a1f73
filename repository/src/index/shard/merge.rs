//! Merges shards and a table into one new shard, with memory for the packs' names only.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use super::{Shard, ShardError, ShardWriter};
use crate::ids::{PackId, PackRef};
use crate::index::Entry;

/// Sorted entries and the packs that they number.
pub(crate) enum Source<'a> {
    /// A shard.
    Shard(&'a Shard),
    /// What was in memory.
    Table(Vec<PackRef>, Vec<Entry>),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Shard(s) => s.len(),
            Self::Table(_, entries) => entries.len(),
        }
    }

    fn entry(&self, i: usize) -> Entry {
        match self {
            Self::Shard(s) => s.entry(i),
            Self::Table(_, entries) => entries[i],
        }
    }

    fn packs(&self) -> Vec<PackRef> {
        match self {
            Self::Shard(s) => s.packs().collect(),
            Self::Table(packs, _) => packs.clone(),
        }
    }
}

/// Writes all entries of `sources` (oldest first) but those of `removed` packs into `file`, each once.
pub(crate) fn merge(
    sources: &[Source<'_>],
    removed: &HashSet<PackId>,
    notes: &[u8],
    file: File,
) -> Result<File, ShardError> {
    let (mut packs, mut numbers) = (Vec::new(), HashMap::new());
    let mut maps = Vec::with_capacity(sources.len());
    for source in sources {
        let number = |pack: PackRef| {
            (!removed.contains(&pack.id)).then(|| {
                *numbers.entry(pack).or_insert_with(|| {
                    packs.push(pack);
                    u32::try_from(packs.len() - 1).unwrap_or(u32::MAX)
                })
            })
        };
        maps.push(source.packs().into_iter().map(number).collect::<Vec<Option<u32>>>());
    }
    let mut writer = ShardWriter::create(file, sources.iter().map(Source::len).sum())?;
    let mut at = vec![0; sources.len()];
    let mut same = Vec::new();
    loop {
        let heads = sources.iter().zip(&at).filter(|(s, i)| **i < s.len()).map(|(s, i)| s.entry(*i).prefix);
        let Some(prefix) = heads.min() else { break };
        for ((source, map), i) in sources.iter().zip(&maps).zip(&mut at) {
            while *i < source.len() && source.entry(*i).prefix == prefix {
                let entry = source.entry(*i);
                if let Some(&Some(pack)) = map.get(entry.pack as usize) {
                    same.push(Entry { pack, ..entry });
                }
                *i += 1;
            }
        }
        same.sort_unstable();
        same.dedup();
        for entry in same.drain(..) {
            writer.push(&entry)?;
        }
    }
    writer.finish(&packs, notes)
}
