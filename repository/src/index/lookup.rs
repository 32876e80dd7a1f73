//! An index in bounded memory: a table for what is new, and shards on disk for the rest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::shard::{Shard, ShardError, ShardWriter, Source, merge};
use super::table::Table;
use super::{Entry, Prefix};
use crate::ids::{BlobId, PackId, PackRef, Place};
use crate::limits::{INDEX_SHARDS_MAX, INDEX_TABLE_ENTRIES};

const SUFFIX: &str = "shard";
/// A folder whose files are merged by another process is looked at again this often.
const OPENS_MAX: u32 = 8;

/// Blob ids and their places. Grows on disk, not in memory.
///
/// With a folder, its shards stay there and the next [`Index::open`] finds them; without one they are nameless
/// temporary files. *Notes* are fixed-size records that the owner adds beside packs; they are kept in the shards.
#[derive(Debug)]
pub struct Index {
    dir: Option<PathBuf>,
    pub(super) shards: Vec<(Shard, Option<PathBuf>)>,
    table: Table,
    table_entries_max: usize,
    removed: HashSet<PackId>,
    notes: Vec<u8>,
    /// In the name of the next shard, so that names sort by age.
    number: u64,
}

impl Index {
    /// An empty one that overflows into temporary files.
    #[must_use]
    pub fn temporary() -> Self {
        Self::with_table_entries(INDEX_TABLE_ENTRIES)
    }

    /// The same with another bound on what stays in memory.
    #[must_use]
    pub fn with_table_entries(table_entries_max: usize) -> Self {
        Self {
            dir: None,
            shards: Vec::new(),
            table: Table::default(),
            table_entries_max,
            removed: HashSet::new(),
            notes: Vec::new(),
            number: 0,
        }
    }

    /// One that keeps its shards in `dir`, with those that are there already; all are deleted if one is damaged.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        for _ in 0..OPENS_MAX {
            let found = shard_files(dir)?;
            let number = found.last().and_then(|p| number(p)).map_or(0, |n| n + 1);
            let mut shards = Vec::with_capacity(found.len());
            let mut whole = true;
            for path in &found {
                match File::open(path).map_err(ShardError::Io).and_then(|f| Shard::open(&f)) {
                    Ok(shard) => shards.push((shard, Some(path.clone()))),
                    // Another process has merged it away: what it held lies in a new one.
                    Err(ShardError::Io(e)) if e.kind() == io::ErrorKind::NotFound => whole = false,
                    Err(ShardError::Io(e)) => return Err(e),
                    // The notes of one may speak of entries in another: all are made again.
                    Err(ShardError::Damaged(_)) => {
                        whole = false;
                        found.iter().try_for_each(|p| remove(p))?;
                        break;
                    }
                }
            }
            if whole {
                return Ok(Self { dir: Some(dir.to_owned()), shards, number, ..Self::temporary() });
            }
        }
        // Other processes are at it all the time.
        Err(io::Error::other("its files change at each look"))
    }

    /// Begins to add what comes sorted, about so many entries, without going through memory.
    pub(crate) fn begin_import(&self, entries_max: usize) -> Result<Import, ShardError> {
        let (file, temporary) = match &self.dir {
            Some(dir) => {
                let temporary = part_file(dir)?;
                (temporary.reopen()?, Some(temporary))
            }
            None => (tempfile::tempfile()?, None),
        };
        let writer = ShardWriter::create(file, entries_max)?;
        Ok(Import { writer, temporary, packs: Vec::new(), numbers: HashMap::new() })
    }

    /// Adds all that was imported, and these notes.
    pub(crate) fn finish_import(&mut self, import: Import, notes: &[u8]) -> Result<(), ShardError> {
        let file = import.writer.finish(&import.packs, notes)?;
        let shard = Shard::open(&file)?;
        let path = import.temporary.map(|t| self.persist(t)).transpose()?;
        self.shards.push((shard, path));
        Ok(())
    }

    /// All entries of packs that `keep` takes, sorted, each once, as one shard of its own.
    pub(crate) fn merged(&mut self, keep: impl Fn(PackId) -> bool) -> Result<Shard, ShardError> {
        self.flush()?;
        let sources: Vec<_> = self.shards.iter().map(|(s, _)| Source::Shard(s)).collect();
        let packs = self.shards.iter().flat_map(|(s, _)| s.packs()).map(|p| p.id);
        let gone: HashSet<PackId> = packs.filter(|p| self.removed.contains(p) || !keep(*p)).collect();
        let file = merge(&sources, &gone, &[], tempfile::tempfile()?)?;
        Shard::open(&file)
    }

    /// Forgets packs that are gone, on the disk too, if it has any of them; and adds a note.
    pub(crate) fn purge(&mut self, gone: &HashSet<PackId>, note: &[u8]) -> Result<(), ShardError> {
        self.flush()?;
        self.insert_note(note);
        let mut packs = self.shards.iter().flat_map(|(s, _)| s.packs());
        if !packs.any(|p| gone.contains(&p.id)) {
            return Ok(());
        }
        drop(packs);
        self.removed.extend(gone);
        self.rewrite(true)
    }

    /// How many entries there are; a blob in two packs counts twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len() + self.shards.iter().map(|(s, _)| s.len()).sum::<usize>()
    }

    /// True when nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that are in memory only.
    #[must_use]
    pub fn unsaved(&self) -> usize {
        self.table.len()
    }

    /// Adds a pack and its blobs, in the order of their ordinals.
    pub fn insert_pack(&mut self, pack: PackRef, blobs: &[BlobId]) -> Result<(), ShardError> {
        self.removed.remove(&pack.id);
        self.table.insert_pack(pack, blobs);
        if self.table.len() > self.table_entries_max && self.dir.is_none() {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a note. It is saved no earlier than the packs that were inserted before it; the owner calls
    /// [`Index::flush_if_full`] when its notes and packs agree.
    pub fn insert_note(&mut self, note: &[u8]) {
        self.notes.extend_from_slice(note);
    }

    /// All notes that are saved or were added.
    pub fn notes(&self) -> impl Iterator<Item = &[u8]> {
        self.shards.iter().map(|(s, _)| s.notes()).chain([&self.notes[..]])
    }

    /// The newest place of a blob, if it is known.
    #[must_use]
    pub fn find(&self, id: &BlobId) -> Option<Place> {
        self.find_where(id, |_| true)
    }

    /// The newest place of a blob in a pack that `accept` takes.
    pub fn find_where(&self, id: &BlobId, accept: impl FnMut(&PackRef) -> bool) -> Option<Place> {
        self.find_prefix(super::prefix(id), accept)
    }

    /// The entries of one pack. Looks at everything: for rare questions.
    pub(crate) fn blobs_of(&self, pack: PackId) -> BTreeMap<u32, Prefix> {
        let shards = self.shards.iter().flat_map(move |(s, _)| s.blobs_of(pack));
        shards.chain(self.table.blobs_of(pack)).collect()
    }

    /// The newest place of a blob, by the first half of its id, in a pack that `accept` takes.
    pub(crate) fn find_prefix(
        &self,
        prefix: Prefix,
        mut accept: impl FnMut(&PackRef) -> bool,
    ) -> Option<Place> {
        let mut accept = |pack: &PackRef| !self.removed.contains(&pack.id) && accept(pack);
        self.table
            .find(&prefix, &mut accept)
            .or_else(|| self.shards.iter().rev().find_map(|(s, _)| s.find(&prefix, &mut accept)))
    }

    /// Forgets packs that are gone. Their entries leave the disk with the next merge.
    pub fn remove_packs(&mut self, packs: impl IntoIterator<Item = PackId>) {
        self.removed.extend(packs);
    }

    /// Writes what is in memory to disk when it is more than the bound.
    pub fn flush_if_full(&mut self) -> Result<(), ShardError> {
        if self.table.len() > self.table_entries_max { self.flush() } else { Ok(()) }
    }

    /// Writes what is in memory to disk; merges all shards when they have become many.
    pub fn flush(&mut self) -> Result<(), ShardError> {
        if self.table.len() == 0 && self.notes.is_empty() {
            return Ok(());
        }
        self.rewrite(self.shards.len() >= INDEX_SHARDS_MAX)
    }

    /// Writes what is in memory to disk, with all that is there already if `all`.
    fn rewrite(&mut self, all: bool) -> Result<(), ShardError> {
        let old = if all { std::mem::take(&mut self.shards) } else { Vec::new() };
        let (packs, entries) = self.table.take_sorted();
        let mut sources: Vec<_> = old.iter().map(|(s, _)| Source::Shard(s)).collect();
        sources.push(Source::Table(packs, entries));
        let mut notes: Vec<u8> = old.iter().flat_map(|(s, _)| s.notes()).copied().collect();
        notes.append(&mut self.notes);
        let written = self.write(&sources, &notes)?;
        self.shards.push(written);
        for path in old.into_iter().filter_map(|(_, path)| path) {
            remove(&path)?;
        }
        Ok(())
    }

    /// Under its final name only when it is whole; two processes never write the same name.
    fn write(
        &mut self,
        sources: &[Source<'_>],
        notes: &[u8],
    ) -> Result<(Shard, Option<PathBuf>), ShardError> {
        let Some(dir) = &self.dir else {
            let file = merge(sources, &self.removed, notes, tempfile::tempfile()?)?;
            return Ok((Shard::open(&file)?, None));
        };
        let temporary = part_file(dir)?;
        let file = merge(sources, &self.removed, notes, temporary.reopen()?)?;
        let shard = Shard::open(&file)?;
        let path = self.persist(temporary)?;
        Ok((shard, Some(path)))
    }

    fn persist(&mut self, temporary: tempfile::NamedTempFile) -> Result<PathBuf, ShardError> {
        let random = temporary.path().file_name().unwrap_or_default().to_string_lossy().replace("part-", "");
        let dir = temporary.path().parent().unwrap_or(Path::new("")).to_owned();
        let path = dir.join(format!("{:012}-{random}.{SUFFIX}", self.number));
        self.number += 1;
        temporary.persist_noclobber(&path).map_err(|e| e.error)?;
        Ok(path)
    }
}

/// A shard in the making, from sorted parts.
#[derive(Debug)]
pub(crate) struct Import {
    writer: ShardWriter,
    temporary: Option<tempfile::NamedTempFile>,
    packs: Vec<PackRef>,
    numbers: HashMap<PackRef, u32>,
}

impl Import {
    /// Adds sorted entries that come after all before them; they number `packs`.
    pub(crate) fn push(&mut self, packs: &[PackRef], entries: &[Entry]) -> Result<(), ShardError> {
        let number = |pack: &PackRef| {
            *self.numbers.entry(*pack).or_insert_with(|| {
                self.packs.push(*pack);
                u32::try_from(self.packs.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let numbers: Vec<u32> = packs.iter().map(number).collect();
        for entry in entries {
            self.writer.push(&Entry { pack: numbers[entry.pack as usize], ..*entry })?;
        }
        Ok(())
    }
}

fn part_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix("part-").tempfile_in(dir)
}

fn shard_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == SUFFIX) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Deletes a file; one that another process has deleted is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The number in a shard's name.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}
