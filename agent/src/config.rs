//! The agent's settings: one name each, whether from file, environment (`HOLDFAST_<NAME>`) or flags.

mod domains;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proto::convert;
use repository::source::Rules;
use serde::Deserialize;
use service::client::Target;
use service::config::{Invalid, Shared};
use service::tls::ClientFiles;

pub use domains::{Domain, DomainLayer};

service::server_layer! {
    /// One source of settings. Units are in the names.
    pub struct ConfigLayer {
        scalars {
            /// URL of the coordinator.
            coordinator: String,
            /// File with the bearer token for the coordinator.
            token_file: PathBuf,
            /// CA of the coordinator's certificate.
            tls_ca_file: PathBuf,
            /// This agent's id; the host unless given. Two agents must not share one.
            agent_id: String,
            /// Name of this machine in snapshots; the kernel's unless given.
            host: String,
            /// Bound on the memory of all jobs together, bytes.
            memory_bytes_max: usize,
            /// Jobs at once.
            jobs_max: u32,
            /// zstd level, 1 to 19.
            zstd_level: i32,
            /// Every file is read again within this many days; 0 for never, 30 unless given.
            reread_days: u32,
            /// Whose stored blobs backups may refer to: any, verified or own.
            reuse: String,
            /// Files read at once; 0 derives it.
            readers: usize,
            /// Longest wait before connecting again.
            reconnect_seconds_max: u64,
        }
        lists {
            /// What to back up.
            volumes: Vec<VolumeLayer>,
            /// Folders below which the coordinator may have this agent restore.
            restore_roots: Vec<PathBuf>,
            /// The domains of the volumes; without the list, the one that `domain` names.
            domains: Vec<DomainLayer>,
        }
    }
}

/// A volume, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeLayer {
    /// Its folder, absolute.
    pub path: PathBuf,
    /// Its name; `host:/path` unless given.
    pub name: Option<String>,
    /// Gitignore-like patterns to leave out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Leave out the content of directories marked by a CACHEDIR.TAG.
    #[serde(default)]
    pub exclude_caches: bool,
    /// Its domain, where there are several.
    pub domain: Option<String>,
}

impl FromStr for VolumeLayer {
    type Err = String;
    /// `PATH` or `NAME=PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => (Some(name.to_owned()), path),
            _ => (None, text),
        };
        if path.is_empty() || name.as_deref() == Some("") {
            return Err(format!("{text:?} is neither PATH nor NAME=PATH"));
        }
        Ok(Self { path: PathBuf::from(path), name, ..Self::default() })
    }
}

/// A volume, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its folder, absolute.
    pub path: PathBuf,
    /// What to leave out.
    pub rules: Rules,
}

/// The agent's settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is backed up into which domain, never empty.
    pub domains: Vec<Domain>,
    /// They come from a list: each opens and fails by itself. Else there is one, and without it nothing starts.
    pub listed: bool,
    /// The coordinator.
    pub coordinator: Target,
    /// Metrics and health; `None` for none.
    pub http_listen: Option<SocketAddr>,
    /// This agent's id.
    pub agent_id: String,
    /// Name of this machine in snapshots.
    pub host: String,
    /// Folder for results that the coordinator has not acknowledged yet.
    pub state_dir: PathBuf,
    /// Bound on the memory of all jobs together, bytes.
    pub memory_bytes_max: usize,
    /// Jobs at once.
    pub jobs_max: u32,
    /// zstd level.
    pub zstd_level: i32,
    /// Every file is read again within this many days; 0 for never.
    pub reread_days: u32,
    /// Files read at once; 0 derives it.
    pub readers: usize,
    /// Longest wait before connecting again.
    pub reconnect_seconds_max: u64,
}

/// The port of the HTTP listener.
pub const HTTP_PORT: u16 = 7427;
/// Less than this can't hold the packs in flight.
pub(crate) const MEMORY_BYTES_MIN: usize = 64 << 20;

impl ConfigLayer {
    /// Checks everything, and names everything that is wrong at once.
    pub fn validate(mut self) -> Result<Config, Invalid> {
        let mut wrong = Vec::new();
        let host = self.host.clone().or_else(find_host);
        if host.is_none() {
            wrong.push("host is missing, and the kernel does not tell it".to_owned());
        }
        let host = host.unwrap_or_default();
        let agent_id = self.agent_id.clone().unwrap_or_else(|| host.clone());
        for (name, value) in [("host", &host), ("agent_id", &agent_id)] {
            check(convert::check_name(name, value, convert::HOST_BYTES_MAX), &mut wrong);
        }
        let (listed, own) = (self.domains.is_some(), self.own(&host, &mut wrong));
        let coordinator = self.target();
        if let Err(e) = coordinator.check() {
            wrong.push(if self.coordinator.is_none() {
                "coordinator is missing: its URL".to_owned()
            } else {
                e.chain()
            });
        }
        let memory_bytes_max = self.memory_bytes_max.unwrap_or(repository::limits::MEMORY_BYTES);
        if memory_bytes_max < MEMORY_BYTES_MIN {
            wrong.push(format!("memory_bytes_max must be at least {MEMORY_BYTES_MIN}"));
        }
        let zstd_level = self.zstd_level.unwrap_or(DEFAULT_ZSTD_LEVEL);
        if !(1..=19).contains(&zstd_level) {
            wrong.push("zstd_level must be 1 to 19".to_owned());
        }
        if self.jobs_max.is_some_and(|n| n == 0 || n > convert::JOBS_AT_ONCE_MAX) {
            wrong.push(format!("jobs_max must be 1 to {}", convert::JOBS_AT_ONCE_MAX));
        }
        if self.reconnect_seconds_max == Some(0) {
            wrong.push("reconnect_seconds_max must be at least 1".to_owned());
        }
        let keys = self.domains.as_ref().map(|all| all.iter().map(DomainLayer::key).collect());
        let shared = self.take_shared().validate(HTTP_PORT, keys, &mut wrong);
        let (Some(Shared { repositories, http_listen, state_dir }), true) = (shared, wrong.is_empty()) else {
            return Err(Invalid(wrong));
        };
        Ok(Config {
            domains: repositories.into_iter().zip(own).map(|(repo, own)| own.of(repo)).collect(),
            listed,
            coordinator,
            http_listen: Some(http_listen),
            agent_id,
            host,
            state_dir,
            memory_bytes_max,
            jobs_max: self.jobs_max.unwrap_or(1),
            zstd_level,
            reread_days: self.reread_days.unwrap_or(repository::limits::REREAD_DAYS),
            readers: self.readers.unwrap_or(0),
            reconnect_seconds_max: self.reconnect_seconds_max.unwrap_or(30),
        })
    }

    fn target(&self) -> Target {
        Target {
            url: self.coordinator.clone().unwrap_or_default(),
            token_file: self.token_file.clone(),
            tls: ClientFiles {
                ca_file: self.tls_ca_file.clone(),
                cert_file: self.tls_cert_file.clone(),
                key_file: self.tls_key_file.clone(),
            },
            allow_plaintext: self.allow_plaintext.unwrap_or(false),
            // Each stream says its own.
            domain: None,
        }
    }

    /// Those of one domain.
    fn volumes(&self, host: &str, domain: Option<&str>, wrong: &mut Vec<String>) -> Vec<Volume> {
        let mut names = HashSet::new();
        let mut volumes = Vec::new();
        for v in self.volumes.iter().flatten().filter(|v| v.domain.as_deref() == domain) {
            let path = v.path.display();
            if !is_plain(&v.path) {
                wrong.push(format!("volume {path} must be an absolute path without . and .."));
            }
            let name = v.name.clone().unwrap_or_else(|| format!("{host}:{path}"));
            check(convert::check_name("volume", &name, convert::VOLUME_BYTES_MAX), wrong);
            if !names.insert(name.clone()) {
                wrong.push(format!("volume {name} is configured twice"));
            }
            let rules = Rules { exclude: v.exclude.clone(), exclude_caches: v.exclude_caches };
            volumes.push(Volume { name, path: v.path.clone(), rules });
        }
        volumes
    }
}

pub(crate) const DEFAULT_ZSTD_LEVEL: i32 = 2;

/// The coordinator would refuse the agent for it.
fn check(judged: repository::Result<()>, wrong: &mut Vec<String>) {
    wrong.extend(judged.err().map(|e| e.chain()));
}

fn is_plain(path: &Path) -> bool {
    service::paths::parts(path.as_os_str().as_bytes()).is_some()
}

/// The machine's name, by the kernel.
#[must_use]
pub fn find_host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|n| !n.is_empty())
}

#[cfg(test)]
mod tests;
