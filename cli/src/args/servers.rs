//! Arguments of the servers: each flag is a setting of the configuration file by the same name. Where to work, keys and
//! TLS are flags of every command.

use std::net::SocketAddr;
use std::path::PathBuf;

use agent::VolumeLayer;
use clap::Args;

use super::Tuning;

/// `agent`
#[derive(Args, Clone, Debug, Default)]
pub struct AgentArgs {
    /// The configuration file (YAML); flags and environment win over it
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A volume: its folder, absolute, and a name other than host:/path if wanted (repeatable)
    #[arg(long = "volume", value_name = "[NAME=]PATH")]
    pub volumes: Vec<VolumeLayer>,
    /// The coordinator may restore below this folder (repeatable)
    #[arg(long = "restore-root", value_name = "DIR")]
    pub restore_roots: Vec<PathBuf>,
    /// Folder for results that the coordinator has not acknowledged yet
    #[arg(long, env = "HOLDFAST_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of /metrics, /healthz and /readyz [default: 127.0.0.1:7427]
    #[arg(long, env = "HOLDFAST_HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// This agent's id [default: the host]; two agents must not share one
    #[arg(long, env = "HOLDFAST_AGENT_ID", value_name = "ID")]
    pub agent_id: Option<String>,
    /// This machine's name in snapshots [default: the kernel's]
    #[arg(long, env = "HOLDFAST_HOST", value_name = "NAME")]
    pub host: Option<String>,
    /// Bound on the memory of all jobs together, bytes
    #[arg(long, env = "HOLDFAST_MEMORY_BYTES_MAX", value_name = "BYTES")]
    pub memory_bytes_max: Option<usize>,
    /// Jobs at once
    #[arg(long, env = "HOLDFAST_JOBS_MAX", value_name = "N")]
    pub jobs_max: Option<u32>,
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, env = "HOLDFAST_ZSTD_LEVEL", value_name = "LEVEL")]
    pub zstd_level: Option<i32>,
    /// Every file is read again within this many days, whatever its times say; 0 for never [default: 30]
    #[arg(long, env = "HOLDFAST_REREAD_DAYS", value_name = "N")]
    pub reread_days: Option<u32>,
    /// Refer to stored blobs of any pack, of verified packs, or of the own volume's: any, verified, own [default: any]
    #[arg(long, env = "HOLDFAST_REUSE", value_name = "WHOSE")]
    pub reuse: Option<String>,
    /// Threads that hash, compress and encrypt; 0 means one a core
    #[arg(long, env = "HOLDFAST_CPU_THREADS", value_name = "N")]
    pub cpu_threads: Option<usize>,
    /// Files read at once; 0 derives it
    #[arg(long, env = "HOLDFAST_READERS", value_name = "N")]
    pub readers: Option<usize>,
    /// Longest wait before connecting again
    #[arg(long, env = "HOLDFAST_RECONNECT_SECONDS_MAX", value_name = "SECONDS")]
    pub reconnect_seconds_max: Option<u64>,
}

/// `coordinator`
#[derive(Args, Clone, Debug, Default)]
pub struct CoordinatorArgs {
    /// The configuration file (YAML), with the schedules; flags and environment win over it
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the gRPC listener [default: 127.0.0.1:7425]
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics, /healthz and /readyz [default: 127.0.0.1:7426]
    #[arg(long, env = "HOLDFAST_HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// Folder for the database; deleting it loses queued jobs and the log of runs
    #[arg(long, env = "HOLDFAST_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// CA that agents and clients must have a certificate of
    #[arg(long, env = "HOLDFAST_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// File with a bearer token of agents, whatever their ids
    #[arg(long, env = "HOLDFAST_AGENT_TOKEN_FILE", value_name = "FILE")]
    pub agent_token_file: Option<PathBuf>,
    /// File with a bearer token of clients that may do everything
    #[arg(long, env = "HOLDFAST_CLIENT_TOKEN_FILE", value_name = "FILE")]
    pub client_token_file: Option<PathBuf>,
    /// Threads for hashing and decompression; 0 means one a core
    #[arg(long, env = "HOLDFAST_CPU_THREADS", value_name = "N")]
    pub cpu_threads: Option<usize>,
    /// Time zone of cron schedules [default: UTC]
    #[arg(long, env = "HOLDFAST_TIMEZONE", value_name = "ZONE")]
    pub timezone: Option<String>,
    /// How often snapshots and index are read again from the store
    #[arg(long, env = "HOLDFAST_REFRESH_SECONDS", value_name = "SECONDS")]
    pub refresh_seconds: Option<u64>,
    /// A job whose agent is away this long is given out again
    #[arg(long, env = "HOLDFAST_LOST_SECONDS", value_name = "SECONDS")]
    pub lost_seconds: Option<u64>,
    /// How often agents show that they are there
    #[arg(long, env = "HOLDFAST_HEARTBEAT_SECONDS", value_name = "SECONDS")]
    pub heartbeat_seconds: Option<u32>,
    /// This coordinator runs maintenance; `false` where another one does [default: true]
    #[arg(long, env = "HOLDFAST_LEADER", value_name = "BOOL")]
    pub leader: Option<bool>,
}

/// `standalone`
#[derive(Args, Clone, Debug)]
pub struct StandaloneArgs {
    /// Directories to back up
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Keep the repository, the key and the state below this folder [default: holdfast in the XDG data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Back every PATH up once, then exit
    #[arg(long)]
    pub once: bool,
    /// The newest snapshot of each PATH shall never be older
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "once")]
    pub max_age_seconds: u64,
    /// Address of the gRPC listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7425", conflicts_with = "once")]
    pub listen: SocketAddr,
    /// Address of /metrics, /healthz and /readyz of the coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7426", conflicts_with = "once")]
    pub http_listen: SocketAddr,
    /// Restores through the coordinator may write below this folder (repeatable)
    #[arg(long = "restore-root", value_name = "DIR", conflicts_with = "once")]
    pub restore_roots: Vec<PathBuf>,
    /// How to read and store
    #[command(flatten)]
    pub tuning: Tuning,
}
