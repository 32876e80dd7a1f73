//! The command line as plain values: every command, flag and environment variable, and its help text.
//!
//! `docs/cli.md` names each of them; a test compares. Scripts outside rely on the names: none is renamed or reused.

mod cluster;
mod copies;
mod heal;
mod keys;
mod life;
mod maintenance;
mod node;
mod operator;
mod protect;
mod servers;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use repository::ids::DomainName;

pub use self::operator::{CrdsArgs, OperatorArgs};
pub use cluster::ClusterArgs;
pub use copies::{CopyArgs, MirrorArgs, StatsArgs, To};
pub use heal::{AuditArgs, RepairCommand, RestoreTestArgs, ScrubArgs};
pub use keys::{DomainCommand, KeyAddArgs, KeyCommand, NewKey, RoleArg};
pub use life::{ForgetArgs, GcArgs, Keep, PinArgs};
pub use maintenance::{Detach, MaintenanceArgs, MaintenanceCommand};
pub use node::NodeArgs;
pub use protect::{LockArgs, PolicyArgs, UserArg};
pub use servers::{AgentArgs, CoordinatorArgs, StandaloneArgs};
pub use work::{BackupArgs, ExistingArg, RestoreArgs, Tuning};

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed
  2    usage: the command line or the configuration makes no sense
  3    partial: done, but some entries could not be read, restored or set; they are listed
  4    key: no key was given, or it does not open this repository
  5    store: the store can't be reached, refused, is full, or is unfit
  130  stopped by a signal

All flags, output formats and their fields: docs/cli.md";

/// Deduplicated, encrypted backups of volumes in object storage.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The repository's store: file:///path, s3://bucket/prefix, gs://..., az://...
    #[arg(long, global = true, env = "HOLDFAST_REPO", value_name = "URL", help_heading = "Where")]
    pub repo: Option<String>,
    /// Work through this coordinator instead: http://host:port or https://host:port
    #[arg(long, global = true, env = "HOLDFAST_COORDINATOR", value_name = "URL", help_heading = "Where")]
    pub coordinator: Option<String>,
    /// The domain within the repository [default: default; through a coordinator, the only one]
    #[arg(long, global = true, env = "HOLDFAST_DOMAIN", value_name = "NAME", help_heading = "Where")]
    pub domain: Option<DomainName>,
    /// Read the passphrase from this file (one newline at its end does not count)
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_PASSPHRASE_FILE", value_parser = path(),
        value_name = "FILE",
        help_heading = "Where"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Read the key from this file: 32 bytes, or 64 hex digits
    #[arg(long, global = true, env = "HOLDFAST_KEY_FILE", value_parser = path(), value_name = "FILE", help_heading = "Where")]
    pub key_file: Option<PathBuf>,
    /// Keep caches in this folder [default: holdfast in the XDG cache folder]; deleting it loses nothing
    #[arg(long, global = true, env = "HOLDFAST_CACHE_DIR", value_parser = path(), value_name = "DIR", help_heading = "Where")]
    pub cache_dir: Option<PathBuf>,
    /// The coordinator's bearer token is in this file
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_TOKEN_FILE", value_parser = path(),
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub token_file: Option<PathBuf>,
    /// CA of the coordinator's certificate
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_TLS_CA_FILE", value_parser = path(),
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub tls_ca_file: Option<PathBuf>,
    /// Own certificate chain: for mutual TLS, or of a coordinator's listener
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_TLS_CERT_FILE", value_parser = path(),
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub tls_cert_file: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_TLS_KEY_FILE", value_parser = path(),
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub tls_key_file: Option<PathBuf>,
    /// Plaintext also to and from other machines: token and data can then be read on the way
    #[arg(long, global = true, env = "HOLDFAST_ALLOW_PLAINTEXT", help_heading = "Connection")]
    pub allow_plaintext: bool,
    /// Which cluster, and as whom.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How results are printed on standard output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub output: OutputFormat,
    /// How log lines are written on standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub log_format: LogFormat,
    /// Log more: -v debug, -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Log errors only, show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
}

/// A path that may be empty: an empty environment variable counts as unset.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs; the fields are stable.
    Json,
    /// The same fields as YAML.
    Yaml,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a repository: probe the store, make the keys
    Init,
    /// Back directories up, one snapshot for each PATH
    Backup(BackupArgs),
    /// List the snapshots, oldest first
    Snapshots {
        /// Only those of this volume
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
    },
    /// List a directory of a snapshot
    Ls {
        /// Where to look
        #[command(flatten)]
        at: At,
        /// List everything below, not only the directory itself
        #[arg(short, long)]
        recursive: bool,
        /// Show type, mode, owner, size and time
        #[arg(short, long)]
        long: bool,
    },
    /// Write a file of a snapshot to standard output
    Cat {
        /// Which file
        #[command(flatten)]
        at: At,
    },
    /// Find entries of a snapshot by gitignore-like patterns
    Find {
        /// `latest`, an id, or the first digits of one
        snapshot: String,
        /// Patterns: `*.db`, `/etc/**/passwd`, `cache/`
        #[arg(required = true)]
        patterns: Vec<String>,
        /// The volume that `latest` is about
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
        /// Show type, mode, owner, size and time
        #[arg(short, long)]
        long: bool,
    },
    /// Show what differs between two snapshots
    Diff {
        /// The older snapshot
        older: String,
        /// The newer snapshot
        newer: String,
        /// The volume that `latest` is about
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
    },
    /// Restore a snapshot, or a path of it, directly into a folder
    Restore(RestoreArgs),
    /// Prove that snapshots restore, or name what is damaged
    Verify {
        /// `latest`, an id, or the first digits of one [default: all snapshots]
        snapshot: Option<String>,
        /// The volume that `latest` is about; without SNAPSHOT, all snapshots of this volume
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
        /// Only check that all needed objects exist, with their sizes
        #[arg(long, conflicts_with = "against")]
        quick: bool,
        /// Compare with this folder as well; needs SNAPSHOT
        #[arg(long, value_name = "DIR", requires = "snapshot")]
        against: Option<PathBuf>,
        /// Have a coordinator verify all snapshots
        #[command(flatten)]
        detach: Detach,
        /// Only tell what is damaged: put nothing into quarantine
        #[arg(long)]
        no_quarantine: bool,
    },
    /// Read whole packs, those that were verified longest ago first, and name what is damaged
    Scrub(ScrubArgs),
    /// Restore the newest snapshots of some volumes into a scratch folder, compare, and delete them again
    RestoreTest(RestoreTestArgs),
    /// Repair the index, or snapshots of which something is lost
    Repair {
        /// What to repair
        #[command(subcommand)]
        command: RepairCommand,
    },
    /// Forget snapshots: those that are named, or those that no rule keeps; nothing is deleted before the next `gc`
    Forget(ForgetArgs),
    /// Bring a forgotten snapshot back, under a new id, as long as nothing of it was deleted
    Unforget {
        /// The first digits of its id
        snapshot: String,
    },
    /// Keep a snapshot, whatever the rules say, until `unpin`
    Pin(PinArgs),
    /// Leave a pinned snapshot to the rules again
    Unpin(PinArgs),
    /// Delete what no snapshot needs; backups and restores may go on meanwhile
    Gc(GcArgs),
    /// List what was decided, deleted, proven and repaired, by whom and why
    Audit(AuditArgs),
    /// Show what the repository holds, who needs it, what a snapshot brought, and what would be freed
    Stats(Box<StatsArgs>),
    /// Copy snapshots to a repository with other keys
    Copy(CopyArgs),
    /// Mirror the whole repository to another store, with the same keys; needs none itself
    Mirror(MirrorArgs),
    /// Who may open the domain: list, add, remove, rotate, export, import
    #[command(subcommand)]
    Key(KeyCommand),
    /// The domains of the repository: list, add
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Keep what snapshots need locked against deletion, in a bucket with object lock
    Lock(LockArgs),
    /// Print which requests to an S3 bucket an agent, a coordinator or a reader needs, as a policy
    Policy(PolicyArgs),
    /// Show, watch and cancel what a coordinator does to the repository
    Maintenance(MaintenanceArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Run coordinator and agent in one process, with embedded defaults
    Standalone(StandaloneArgs),
    /// Run an agent: reads volumes, takes jobs from a coordinator
    Agent(AgentArgs),
    /// Run the agent of a node in a cluster: the coordinator says what it reads
    Node(Box<NodeArgs>),
    /// Run for one job on the volume of the own pod
    Mover(Box<NodeArgs>),
    /// Do one job for an agent, which says everything over standard input
    #[command(hide = true)]
    VolumeWorker,
    /// Run a coordinator: decides what is backed up when, answers clients
    Coordinator(CoordinatorArgs),
    /// Run the coordinator inside a cluster of Kubernetes: repositories and policies are custom resources
    Operator(OperatorArgs),
    /// Print the definitions of the custom resources (YAML)
    Crds(CrdsArgs),
}

/// A snapshot and a path in it.
#[derive(Args, Clone, Debug)]
pub struct At {
    /// `latest`, an id, or the first digits of one; with `:PATH`, a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: OsString,
    /// The path, where it is not part of the first argument
    pub path: Option<OsString>,
    /// The volume that `latest` is about
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
}

#[cfg(test)]
mod tests;
