//! Arguments of the commands that copy repositories, and that tell what is in them.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use repository::ids::DomainName;

use proto::task::{CopySpec, MirrorSpec};

use super::Detach;
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
    /// HOLDFAST_TO_AZURE_… where they are set. Through a coordinator: the name of one of its destinations
    #[arg(long, value_name = "URL|NAME")]
    pub to: String,
    /// Send at most this much a second, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = super::work::rate)]
    pub limit_upload: Option<ByteSize>,
    /// Bound on the memory of what is on its way [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<ByteSize>,
    /// For coordinators
    #[command(flatten)]
    pub detach: Detach,
}

impl To {
    /// The bound on memory, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory.and_then(|m| usize::try_from(m.0).ok()).unwrap_or(128 << 20)
    }

    /// Flags that say what a coordinator's configuration says of its destinations.
    fn only_here(&self) -> Vec<&'static str> {
        given([("--limit-upload", self.limit_upload.is_some()), ("--memory", self.memory.is_some())])
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
    /// zstd level, 1 (fast) to 19 (small) [default: 2; through a coordinator: as configured there]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: Option<i32>,
}

impl CopyArgs {
    /// As a coordinator takes it, or the flags that say what its configuration says: what is not given is as configured there.
    pub fn spec(&self) -> Result<CopySpec, Vec<&'static str>> {
        let mut only_here = self.to.only_here();
        only_here.extend(given([
            ("--to-key-file", self.to_key_file.is_some()),
            ("--to-passphrase-file", self.to_passphrase_file.is_some()),
            ("--to-domain", self.to_domain.is_some()),
        ]));
        if !only_here.is_empty() {
            return Err(only_here);
        }
        Ok(CopySpec {
            to: self.to.to.clone(),
            snapshots: self.snapshots.clone(),
            volume: self.volume.clone(),
            newest: self.newest.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            retry_partial: self.retry_partial.then_some(true),
            zstd_level: self.zstd_level,
        })
    }
}

/// `mirror`
#[derive(Args, Clone, Debug)]
pub struct MirrorArgs {
    /// Where to
    #[command(flatten)]
    pub to: To,
    /// Delete in the mirror what the source has no more (through a coordinator: only if so configured there)
    #[arg(long)]
    pub delete: bool,
    /// Stop if more than this share of the mirror's packs, by bytes, or of a domain's outcomes would be deleted, percent [default: 50; through a coordinator: at most as configured there]
    #[arg(long, value_name = "PERCENT", requires = "delete", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_share: Option<u8>,
    /// Compare the bytes of what is there already, not only the sizes
    #[arg(long)]
    pub compare_bytes: bool,
}

impl MirrorArgs {
    /// As a coordinator takes it, or the flags that say what its configuration says.
    pub fn spec(&self) -> Result<MirrorSpec, Vec<&'static str>> {
        let only_here = self.to.only_here();
        if !only_here.is_empty() {
            return Err(only_here);
        }
        Ok(MirrorSpec {
            to: self.to.to.clone(),
            delete: self.delete.then_some(true),
            share_percent_max: self.max_share,
            compare_bytes: self.compare_bytes.then_some(true),
        })
    }
}

/// The flags that are given.
fn given<const N: usize>(all: [(&'static str, bool); N]) -> Vec<&'static str> {
    all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}
