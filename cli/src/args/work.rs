//! Arguments of the commands that move data.

use std::ffi::OsString;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use repository::limits;
use repository::ops::backup::Reuse;
use repository::ops::restore::Existing;

/// `backup`
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Directories to back up, one snapshot each
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The volume's name, stable across machines and paths [default: host:/path]; only with a single PATH
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// How to read and store
    #[command(flatten)]
    pub tuning: Tuning,
    /// Keep this label in the snapshot (repeatable)
    #[arg(long, value_name = "LABEL")]
    pub tag: Vec<String>,
    /// Read every file, also those that look unchanged
    #[arg(long)]
    pub read_all: bool,
}

/// How backups read and store; `backup` and `standalone` share it.
#[derive(Args, Clone, Debug)]
pub struct Tuning {
    /// Leave out what matches this gitignore-like pattern (repeatable; a later one wins, `!` takes back)
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Read such patterns from this file, one a line, `#` starts a comment (repeatable)
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,
    /// Leave out the content of directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub exclude_caches: bool,
    /// zstd level, 1 (fast) to 19 (small) [default: 2]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: Option<i32>,
    /// Read every file again within this many days, whatever its times say; 0 for never [default: 30]
    #[arg(long, value_name = "N")]
    pub reread_days: Option<u32>,
    /// Refer to stored blobs of any pack, of verified packs, or of the own volume's: any, verified, own [default: any]
    #[arg(long, value_name = "WHOSE")]
    pub reuse: Option<Reuse>,
    /// Bound on memory, for example 1GiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<ByteSize>,
    /// Threads that hash, compress and encrypt [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Upload at most this much a second, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub limit_upload: Option<ByteSize>,
}

/// The zstd level unless one is given: nearly the speed of level 1, and noticeably smaller.
const ZSTD_LEVEL: i32 = 2;

impl Tuning {
    /// The zstd level.
    #[must_use]
    pub fn zstd_level(&self) -> i32 {
        self.zstd_level.unwrap_or(ZSTD_LEVEL)
    }

    /// Days within which every file is read again.
    #[must_use]
    pub fn reread_days(&self) -> u32 {
        self.reread_days.unwrap_or(limits::REREAD_DAYS)
    }

    /// The bound on memory, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        memory_bytes(self.memory)
    }

    /// Threads; 0 means one a core.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or(0)
    }

    /// The flags that were given, by name.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--exclude", !self.exclude.is_empty()),
            ("--exclude-file", !self.exclude_file.is_empty()),
            ("--exclude-caches", self.exclude_caches),
            ("--zstd-level", self.zstd_level.is_some()),
            ("--reread-days", self.reread_days.is_some()),
            ("--reuse", self.reuse.is_some()),
            ("--memory", self.memory.is_some()),
            ("--threads", self.threads.is_some()),
            ("--limit-upload", self.limit_upload.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

fn memory_bytes(given: Option<ByteSize>) -> usize {
    given.map_or(limits::MEMORY_BYTES, |size| usize::try_from(size.0).unwrap_or(usize::MAX))
}

/// The least memory that a backup can work in: two packs, their proof, and the queues.
pub(crate) const MEMORY_MIN: ByteSize = ByteSize(64 << 20);

pub(super) fn memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size < MEMORY_MIN {
        Err(format!("at least {} are needed", MEMORY_MIN.display().iec()))
    } else {
        Ok(size)
    }
}

pub(super) fn rate(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.0 < 1024 { Err("at least 1KiB a second is needed".to_owned()) } else { Ok(size) }
}

/// `restore`
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// `latest`, an id, or the first digits of one; with `:PATH`, only that path, directly into TARGET
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: OsString,
    /// The folder to fill
    pub target: PathBuf,
    /// The volume that `latest` is about
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// What to do with what is already in TARGET
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub existing: ExistingArg,
    /// With --coordinator: the agent that restores, where several may write to TARGET
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// Only what matches this gitignore-like pattern (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Bound on memory, for example 1GiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<ByteSize>,
}

impl RestoreArgs {
    /// The bound on memory, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        memory_bytes(self.memory)
    }
}

/// `--existing`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExistingArg {
    /// Refuse a TARGET that is not empty
    #[default]
    Fail,
    /// Keep existing files as they are
    Skip,
    /// Replace existing files
    Overwrite,
    /// Replace files whose size or time differs
    IfChanged,
}

impl From<ExistingArg> for Existing {
    fn from(arg: ExistingArg) -> Self {
        match arg {
            ExistingArg::Fail => Self::Fail,
            ExistingArg::Skip => Self::Skip,
            ExistingArg::Overwrite => Self::Overwrite,
            ExistingArg::IfChanged => Self::IfChanged,
        }
    }
}
