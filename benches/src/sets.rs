//! The data sets and how they are made: D1 small files, D2 large mixed files, D3 a database, D4 a system's own trees.
//!
//! D1 to D3 are the same bytes on every machine for the same scale. D4 is copied from the machine, so its figures compare
//! only with figures of the same machine. A set appears under its name when it is whole, never half made.

mod database;
mod mixed;
mod small;
mod tree;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

pub use database::{FILE_NAME as DATABASE_FILE, PAGE_BYTES};

use crate::text::Writer;

/// A data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Set {
    /// 100,000 text files of 1 to 16 KiB in 1,000 folders.
    #[value(name = "D1")]
    D1,
    /// Two files of 1 GiB: text, code, records and bytes that don't compress.
    #[value(name = "D2")]
    D2,
    /// A database file of 2 GiB in pages of 8 KiB.
    #[value(name = "D3")]
    D3,
    /// A copy of /usr/share and of the smaller parts of /usr/lib.
    #[value(name = "D4")]
    D4,
}

impl Set {
    /// The set's name, which is also its folder's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::D1 => "D1",
            Self::D2 => "D2",
            Self::D3 => "D3",
            Self::D4 => "D4",
        }
    }
}

/// The part of the full size that is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    factor: f64,
}

impl Scale {
    /// The sizes that README.md speaks of.
    pub const FULL: Self = Self { factor: 1.0 };

    /// A scale above 0 and up to 100.
    pub fn new(factor: f64) -> Result<Self> {
        ensure!(factor > 0.0 && factor <= 100.0, "scale {factor}: must be above 0 and at most 100");
        Ok(Self { factor })
    }

    /// `full` at this scale, 1 at least.
    #[must_use]
    pub fn of(self, full: u64) -> u64 {
        ((full as f64 * self.factor) as u64).max(1)
    }
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.parse().with_context(|| format!("scale {text:?}: not a number"))?)
    }
}

/// Makes `set` as a folder of its name in `folder`. Refuses if it is there already.
pub fn make(set: Set, folder: &Path, scale: Scale) -> Result<()> {
    let done = folder.join(set.name());
    let partial = folder.join(format!("{}.partial", set.name()));
    if done.try_exists().with_context(|| format!("stat {}", done.display()))? {
        bail!("{}: is there already; remove it first to make it again", done.display());
    }
    if partial.try_exists().with_context(|| format!("stat {}", partial.display()))? {
        fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    match set {
        Set::D1 => small::make(&Writer::new(), &partial, scale)?,
        Set::D2 => mixed::make(&Writer::new(), &partial, scale)?,
        Set::D3 => database::make(&Writer::new(), &partial, scale)?,
        Set::D4 => tree::make(&tree::SYSTEM, &partial, scale)?,
    }
    fs::rename(&partial, &done).with_context(|| format!("rename {} to {}", partial.display(), done.display()))
}

#[cfg(test)]
mod tests;
