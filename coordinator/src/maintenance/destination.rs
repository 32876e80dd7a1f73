//! Where copies and mirrors go. Only the configuration knows their URLs and credentials; whoever asks gives a name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proto::task::{TaskKind, TaskSpec};
use repository::{Error, ErrorKind, Result};
use service::repo::{Settings, read_client_settings};

use super::plan::Timing;
use super::slot::Slot;

/// A second repository.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The store's URL.
    pub url: String,
    /// File with the settings of the store's client, one `NAME=VALUE` a line; read anew by each task.
    pub credentials_file: Option<PathBuf>,
    /// Bound on the memory of what is on its way, bytes.
    pub memory_bytes_max: usize,
    /// Bound on what is sent, bytes a second.
    pub upload_bytes_per_second_max: Option<u64>,
    /// When it is written to.
    pub timing: Timing,
    /// What it holds.
    pub holds: Holds,
}

/// What a destination holds.
#[derive(Clone, Debug)]
pub enum Holds {
    /// Copies of snapshots, in a repository with keys of its own.
    Copies(Box<CopySettings>),
    /// The same repository again.
    Mirror(MirrorSettings),
}

/// How to copy, unless somebody says otherwise.
#[derive(Clone, Debug)]
pub struct CopySettings {
    /// The other repository.
    pub repository: Settings,
    /// Only snapshots of this volume.
    pub volume: Option<String>,
    /// Only the newest so many of each volume.
    pub newest: Option<u32>,
    /// Copy again what is there in part only.
    pub retry_partial: bool,
    /// zstd level, 1 to 19.
    pub zstd_level: i32,
}

/// How to mirror. Whoever asks may have less deleted, never more.
#[derive(Clone, Copy, Debug)]
pub struct MirrorSettings {
    /// Delete there what is here no more.
    pub delete: bool,
    /// Refuse to delete a larger share of its packs, by bytes, or of a domain's outcomes, by count, percent.
    pub share_percent_max: u8,
    /// Compare the bytes of what is there already.
    pub compare_bytes: bool,
}

/// Of a destination's memory, unless configured: as the command line has it.
pub const MEMORY_BYTES_MAX: usize = 128 << 20;
/// Of copies, unless configured: nearly the speed of level 1, and noticeably smaller.
pub const ZSTD_LEVEL: i32 = 2;
/// Of what a mirror deletes in a run, unless configured.
pub const SHARE_PERCENT_MAX: u8 = 50;

impl Destination {
    /// What is done to it.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let kind = match &self.holds {
            Holds::Copies(_) => TaskKind::Copy,
            Holds::Mirror(_) => TaskKind::Mirror,
        };
        Slot { kind, to: Some(self.name.clone()) }
    }

    /// The settings of the store's client, as the file has them now.
    pub fn client_settings(&self) -> Result<BTreeMap<String, String>> {
        let read = |path| read_client_settings(path, &self.url);
        self.credentials_file.as_deref().map(read).transpose().map(Option::unwrap_or_default)
    }

    /// How to copy there.
    pub fn copies(&self) -> Result<&CopySettings> {
        match &self.holds {
            Holds::Copies(copies) => Ok(copies),
            Holds::Mirror(_) => {
                Err(self.is_other("a mirror (it has no key): `holdfast mirror` writes to it"))
            }
        }
    }

    /// How to mirror there.
    pub fn mirror(&self) -> Result<&MirrorSettings> {
        match &self.holds {
            Holds::Mirror(mirror) => Ok(mirror),
            Holds::Copies(_) => {
                Err(self.is_other("a repository with keys of its own: `holdfast copy` writes to it"))
            }
        }
    }

    fn is_other(&self, what: &str) -> Error {
        Error::new(ErrorKind::Input, format!("destination {:?} is {what}", self.name))
    }
}

/// The destination of this name; an unknown one is refused with those that are known.
pub fn get<'d>(all: &'d [Destination], name: &str) -> Result<&'d Destination> {
    all.iter().find(|d| d.name == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|d| d.name.as_str()).collect();
        let known = match known.is_empty() {
            true => "none is configured".to_owned(),
            false => format!("known are: {}", known.join(", ")),
        };
        Error::new(ErrorKind::NotFound, format!("no destination {name:?}; {known}"))
    })
}

/// Refuses a task whose destination is unknown, or holds something else.
pub fn check(all: &[Destination], spec: &TaskSpec) -> Result<()> {
    match spec {
        TaskSpec::Copy(c) => get(all, &c.to)?.copies().map(drop),
        TaskSpec::Mirror(m) => get(all, &m.to)?.mirror().map(drop),
        _ => Ok(()),
    }
}
