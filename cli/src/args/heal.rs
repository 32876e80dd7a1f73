//! Arguments of the commands that look after what is stored.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use proto::task::{RepairSpec, RestoreTestSpec, ScrubSpec};

use super::Detach;
use super::life::seconds;

/// `audit`
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Only what was done within this time: 36h, 30d, 12w
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub since: Option<u64>,
    /// Only records of this kind: forgot, unforgot, gc, verified, restore-test, repaired, keys
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}

/// `scrub`
#[derive(Args, Clone, Debug)]
pub struct ScrubArgs {
    /// Read at most about this much; one pack at least [default: everything]
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<ByteSize>,
    /// Read at most this share of all packs, percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub share: Option<u8>,
    /// Only packs that were not verified within this time: 36h, 30d, 12w
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub older_than: Option<u64>,
    /// Only tell what is damaged: put nothing into quarantine
    #[arg(long)]
    pub no_quarantine: bool,
    /// For coordinators
    #[command(flatten)]
    pub detach: Detach,
}

impl ScrubArgs {
    /// As a coordinator takes it: what is not given is as configured there.
    #[must_use]
    pub fn spec(&self) -> ScrubSpec {
        ScrubSpec {
            bytes_max: self.budget.map(|b| b.0),
            share_percent: self.share,
            older_than_seconds: self.older_than,
            no_quarantine: self.no_quarantine,
        }
    }
}

/// `restore-test`
#[derive(Args, Clone, Debug)]
pub struct RestoreTestArgs {
    /// Test these volumes [default: those that were tested longest ago]
    #[arg(long, value_name = "NAME")]
    pub volume: Vec<String>,
    /// At most so many volumes [default: 1; through a coordinator: as configured there]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub volumes: Option<u32>,
    /// A folder for the scratch; what is made in it is deleted again [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Restore at most this much of a volume; of a larger one a sample of its files [default: 10GiB; through a coordinator: as configured there]
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<ByteSize>,
    /// Compare with this folder as well; needs one --volume
    #[arg(long, value_name = "DIR", requires = "volume")]
    pub against: Option<PathBuf>,
    /// For coordinators
    #[command(flatten)]
    pub detach: Detach,
}

impl RestoreTestArgs {
    /// As a coordinator takes it: what is not given is as configured there.
    #[must_use]
    pub fn spec(&self) -> RestoreTestSpec {
        RestoreTestSpec {
            volumes: self.volume.clone(),
            volumes_max: self.volumes,
            bytes_max: self.budget.map(|b| b.0),
        }
    }
}

/// `repair`
#[derive(Clone, Debug, Subcommand)]
pub enum RepairCommand {
    /// Name the packs again that no index object names, from what they say of themselves
    Index {
        /// All packs: for an index that is lost or not to be believed
        #[arg(long)]
        all: bool,
        /// Only tell
        #[arg(long)]
        dry_run: bool,
        /// For coordinators
        #[command(flatten)]
        detach: Detach,
    },
    /// Read what is in quarantine again, and lift the quarantine of packs that are whole
    Quarantine {
        /// Only tell
        #[arg(long)]
        dry_run: bool,
        /// For coordinators
        #[command(flatten)]
        detach: Detach,
    },
    /// Commit copies of damaged snapshots, without what is lost for good
    Snapshots {
        /// Which, by id or its first digits [default: all that refer to what is known to be damaged or gone]
        snapshots: Vec<String>,
        /// Only snapshots of this volume
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
        /// Forget the originals of what was repaired
        #[arg(long)]
        forget: bool,
        /// Only tell what is lost
        #[arg(long)]
        dry_run: bool,
        /// For coordinators
        #[command(flatten)]
        detach: Detach,
    },
}

impl RepairCommand {
    /// As a coordinator takes it, and whether to wait.
    #[must_use]
    pub fn spec(&self) -> (RepairSpec, Detach) {
        match self.clone() {
            Self::Index { all, dry_run, detach } => (RepairSpec::Index { all, dry_run }, detach),
            Self::Quarantine { dry_run, detach } => (RepairSpec::Quarantine { dry_run }, detach),
            Self::Snapshots { snapshots, volume, forget, dry_run, detach } => {
                (RepairSpec::Snapshots { snapshots, volume, forget, dry_run }, detach)
            }
        }
    }
}
