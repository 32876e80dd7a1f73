//! The change between a set's first and second version: 1 % of it, the same at every run, and taken back without a trace
//! but the inodes' ctime.
//!
//! D1 and D4: 1 % of the files grow by 100 bytes in their middle. D2: 1 % of the bytes, in long runs at scattered places.
//! D3: 1 % of the pages get a new header and a new row.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::journal::{self, Part};
use crate::random::Random;
use crate::sets::{PAGE_BYTES, Set};
use crate::text::Writer;
use crate::walk::{self, Found};

const INSERTED_BYTES: usize = 100;
const TREE_FILE_BYTES: std::ops::RangeInclusive<u64> = 256..=4 << 20;
const RUN_BYTES_MAX: u64 = 1 << 20;
const ROW_BYTES: usize = 200;

/// New bytes at a place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Path below the set's folder.
    pub path: PathBuf,
    /// Where the new bytes go.
    pub offset: u64,
    /// What is there afterwards.
    pub new: Vec<u8>,
    /// Whether what was there moves behind the new bytes; else they replace it.
    pub insert: bool,
}

/// How much a change changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Places with new bytes.
    pub edits: usize,
    /// New bytes.
    pub bytes: u64,
}

/// Changes `set` in `folder`. Saves first and changes then: [`revert`] helps at whatever moment this is killed.
pub fn apply(set: Set, folder: &Path) -> Result<Changed> {
    let edits = plan(set, folder)?;
    journal::save(folder, &edits.iter().map(Edit::part).collect::<Vec<_>>())?;
    edits.iter().try_for_each(|edit| edit.write(folder))?;
    Ok(Changed { edits: edits.len(), bytes: edits.iter().map(|edit| edit.new.len() as u64).sum() })
}

/// Takes the change of the set in `folder` back. False if there was none.
pub fn revert(folder: &Path) -> Result<bool> {
    journal::revert(folder)
}

/// What [`apply`] would do to the unchanged `set` in `folder`.
pub fn plan(set: Set, folder: &Path) -> Result<Vec<Edit>> {
    let mut files = walk::files(folder)?;
    Ok(match set {
        Set::D1 => inserts(&files),
        Set::D4 => {
            files.retain(|file| TREE_FILE_BYTES.contains(&file.bytes));
            inserts(&files)
        }
        Set::D2 => runs(&files),
        Set::D3 => pages(&files),
    })
}

impl Edit {
    /// What must be saved before.
    #[must_use]
    pub fn part(&self) -> Part {
        let bytes = if self.insert { u64::MAX } else { self.new.len() as u64 };
        Part { path: self.path.clone(), offset: self.offset, bytes }
    }

    /// Changes the file in `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let place = folder.join(&self.path);
        let change = || -> std::io::Result<()> {
            let file = File::options().read(true).write(true).open(&place)?;
            let mut new = self.new.clone();
            if self.insert {
                let rest = file.metadata()?.len().saturating_sub(self.offset);
                let mut moved = vec![0; rest as usize];
                file.read_exact_at(&mut moved, self.offset)?;
                new.extend_from_slice(&moved);
            }
            file.write_all_at(&new, self.offset)
        };
        change().with_context(|| format!("change {}", place.display()))
    }
}

fn hundredth(count: usize) -> usize {
    count.div_ceil(100)
}

fn inserts(files: &[Found]) -> Vec<Edit> {
    let mut random = Random::new("changed files", 0);
    let picked = random.sample(hundredth(files.len()), files.len());
    let edits = picked.into_iter().map(|i| {
        let mut new = vec![0; INSERTED_BYTES];
        random.fill(&mut new);
        Edit { path: files[i].path.clone(), offset: files[i].bytes / 2, new, insert: true }
    });
    edits.collect()
}

/// Each run lies in a slot of its own of twice its length, so that no two of them touch the same bytes.
fn runs(files: &[Found]) -> Vec<Edit> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let run = (total / 2000).clamp(1, RUN_BYTES_MAX);
    let mut slots = Vec::new();
    for file in files {
        slots.extend((0..file.bytes / (2 * run)).map(|i| (file, i * 2 * run)));
    }
    let mut random = Random::new("changed runs", 0);
    let count = (total / 100).div_ceil(run) as usize;
    let picked = random.sample(count, slots.len());
    let edits = picked.into_iter().map(|i| {
        let (file, slot) = slots[i];
        let mut new = vec![0; run as usize];
        let offset = slot + random.below(run);
        random.fill(&mut new);
        Edit { path: file.path.clone(), offset, new, insert: false }
    });
    edits.collect()
}

fn pages(files: &[Found]) -> Vec<Edit> {
    let writer = Writer::new();
    let mut random = Random::new("changed pages", 0);
    let mut edits = Vec::new();
    for file in files {
        let count = (file.bytes / PAGE_BYTES as u64) as usize;
        for page in random.sample(hundredth(count), count) {
            let start = page as u64 * PAGE_BYTES as u64;
            let header = (random.u64() >> 16).to_le_bytes().to_vec();
            edits.push(Edit { path: file.path.clone(), offset: start, new: header, insert: false });
            let row = start + PAGE_BYTES as u64 / 2 + random.below((PAGE_BYTES / 2 - ROW_BYTES) as u64);
            let mut new = Vec::new();
            writer.text(&mut random, &mut new, ROW_BYTES);
            edits.push(Edit { path: file.path.clone(), offset: row, new, insert: false });
        }
    }
    edits
}

#[cfg(test)]
mod tests;
