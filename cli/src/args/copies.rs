//! Arguments of the commands that copy repositories, and that tell what is in them.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use repository::ids::DomainName;

use super::life::Keep;
use super::work::memory;

/// `stats`
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Also what is needed by whom, and growth: reads what every snapshot needs, and one footer a pack
    #[arg(long, conflicts_with_all = ["between", "would_free"])]
    pub detail: bool,
    /// What the NEWER of two snapshots brought: the files and folders with most new bytes
    #[arg(long, num_args = 2, value_names = ["OLDER", "NEWER"], conflicts_with = "would_free")]
    pub between: Option<Vec<String>>,
    /// What would be freed if these were forgotten, or all that the rules below don't keep
    #[arg(long, num_args = 0.., value_name = "SNAPSHOT")]
    pub would_free: Option<Vec<String>>,
    /// What to keep
    #[command(flatten)]
    pub keep: Keep,
    /// The volume that `latest` is about, or that the rules look at
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// Name so many files and folders [default: 20]
    #[arg(long, value_name = "N", requires = "between")]
    pub top: Option<usize>,
}

/// Another repository.
#[derive(Args, Clone, Debug)]
pub struct To {
    /// The other store; settings and credentials of its own come from HOLDFAST_TO_AWS_…, HOLDFAST_TO_GOOGLE_…,
    /// HOLDFAST_TO_AZURE_… where they are set
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Send at most this much a second, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = super::work::rate)]
    pub limit_upload: Option<ByteSize>,
    /// Bound on the memory of what is on its way [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<ByteSize>,
}

impl To {
    /// The bound on memory, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory.and_then(|m| usize::try_from(m.0).ok()).unwrap_or(128 << 20)
    }
}

/// `copy`
#[derive(Args, Clone, Debug)]
pub struct CopyArgs {
    /// `latest`, ids, or their first digits [default: all snapshots]
    pub snapshots: Vec<String>,
    /// Where to
    #[command(flatten)]
    pub to: To,
    /// The key of the other repository
    #[arg(long, value_name = "FILE", conflicts_with = "to_passphrase_file")]
    pub to_key_file: Option<PathBuf>,
    /// The passphrase of the other repository
    #[arg(long, value_name = "FILE")]
    pub to_passphrase_file: Option<PathBuf>,
    /// The domain within the other repository [default: default]
    #[arg(long, value_name = "NAME")]
    pub to_domain: Option<DomainName>,
    /// Only snapshots of this volume
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// Only the newest N of each volume
    #[arg(long, value_name = "N")]
    pub newest: Option<usize>,
    /// Copy again what is there in part only, because the source was damaged
    #[arg(long)]
    pub retry_partial: bool,
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: i32,
}

/// `mirror`
#[derive(Args, Clone, Debug)]
pub struct MirrorArgs {
    /// Where to
    #[command(flatten)]
    pub to: To,
    /// Delete in the mirror what the source has no more
    #[arg(long)]
    pub delete: bool,
    /// Stop if more than this share of the mirror's packs, by bytes, would be deleted, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, requires = "delete", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_share: u8,
    /// Compare the bytes of what is there already, not only the sizes
    #[arg(long)]
    pub compare_bytes: bool,
}
