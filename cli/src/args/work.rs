//! Arguments of the commands that move data.

use std::ffi::OsString;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use repository::limits;
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
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: i32,
    /// Bound on memory, for example 256MiB
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(limits::MEMORY_BYTES as u64), value_parser = memory)]
    pub memory: ByteSize,
    /// Threads that hash, compress and encrypt [default: one a core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Upload at most this much a second, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub limit_upload: Option<ByteSize>,
}

/// The least memory that a backup can work in: two packs, their proof, and the queues.
pub(crate) const MEMORY_MIN: ByteSize = ByteSize(64 << 20);

fn memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size < MEMORY_MIN {
        Err(format!("at least {} are needed", MEMORY_MIN.display().iec()))
    } else {
        Ok(size)
    }
}

fn rate(text: &str) -> Result<ByteSize, String> {
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
    /// Bound on memory, for example 256MiB
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(limits::MEMORY_BYTES as u64), value_parser = memory)]
    pub memory: ByteSize,
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
