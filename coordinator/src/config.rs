//! The coordinator's settings: one name each, whether from file, environment (`HOLDFAST_<NAME>`) or flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use jiff::tz::TimeZone;
use repository::ids::DomainName;
use serde::Deserialize;
use service::config::Invalid;
use service::repo::{KeyFrom, Settings};
use service::tls::ServerFiles;

use crate::schedule::{Rule, Trigger};

service::layer! {
    /// One source of settings. Units are in the names.
    pub struct ConfigLayer {
        scalars {
            /// URL of the repository's store.
            repo: String,
            /// Domain of the repository; `default` unless given.
            domain: String,
            /// File with the passphrase that opens the keys.
            passphrase_file: PathBuf,
            /// Key file that opens the keys.
            key_file: PathBuf,
            /// Folder for caches; lossless to delete.
            cache_dir: PathBuf,
            /// Threads for hashing and decompression; 0 means one a core.
            cpu_threads: usize,
            /// Address of the gRPC listener; 127.0.0.1:7425 unless given.
            listen: SocketAddr,
            /// Address of `/metrics`, `/healthz` and `/readyz`; 127.0.0.1:7426 unless given.
            http_listen: SocketAddr,
            /// Plaintext gRPC also on addresses that other machines reach.
            allow_plaintext: bool,
            /// Certificate chain of the gRPC listener.
            tls_cert_file: PathBuf,
            /// Its private key.
            tls_key_file: PathBuf,
            /// CA that agents and clients must have a certificate of.
            tls_client_ca_file: PathBuf,
            /// File with the bearer token of agents.
            agent_token_file: PathBuf,
            /// File with the bearer token of clients.
            client_token_file: PathBuf,
            /// Folder for the database; deleting it loses queued jobs and the log of runs.
            state_dir: PathBuf,
            /// Time zone of cron schedules, such as `Europe/Paris`; `UTC` unless given.
            timezone: String,
            /// How often snapshots and index are read again from the store.
            refresh_seconds: u64,
            /// A job whose agent is away this long is given out again.
            lost_seconds: u64,
            /// How often agents show that they are there.
            heartbeat_seconds: u32,
        }
        lists {
            /// Schedules; the first that matches a volume counts.
            schedules: Vec<ScheduleLayer>,
        }
    }
}

/// When to back up which volumes. Exactly one of `max_age_seconds` and `cron`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleLayer {
    /// A volume's name; `*` stands for any text.
    pub volume: String,
    /// The newest snapshot shall never be older.
    pub max_age_seconds: Option<u64>,
    /// At these times: minute, hour, day of month, month, day of week.
    pub cron: Option<String>,
    /// Spreads starts over this long.
    pub jitter_seconds: Option<u64>,
}

/// The coordinator's settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The repository.
    pub repository: Settings,
    /// gRPC listener.
    pub listen: SocketAddr,
    /// Metrics and health; `None` for none.
    pub http_listen: Option<SocketAddr>,
    /// TLS of the gRPC listener.
    pub tls: Option<ServerFiles>,
    /// Token of agents.
    pub agent_token_file: Option<PathBuf>,
    /// Token of clients.
    pub client_token_file: Option<PathBuf>,
    /// The database.
    pub database: PathBuf,
    /// Schedules.
    pub rules: Vec<Rule>,
    /// How often snapshots and index are read again.
    pub refresh_seconds: u64,
    /// A job whose agent is away this long is given out again.
    pub lost_seconds: u64,
    /// How often agents show that they are there.
    pub heartbeat_seconds: u32,
}

/// The port of the gRPC listener.
pub const PORT: u16 = 7425;
/// The port of the HTTP listener.
pub const HTTP_PORT: u16 = 7426;

impl ConfigLayer {
    /// Checks everything, and names everything that is wrong at once.
    pub fn validate(self) -> Result<Config, Invalid> {
        let mut wrong = Vec::new();
        let tls = self.tls(&mut wrong);
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], PORT)));
        self.check_reach(listen, tls.as_ref(), &mut wrong);
        let rules = self.rules(&mut wrong);
        let domain = self.domain.as_deref().map(str::parse).transpose();
        let domain = domain.map_err(|e| wrong.push(format!("domain: {e}"))).ok().flatten();
        let key = KeyFrom::one_of(self.passphrase_file, self.key_file).map_err(|e| wrong.push(e)).ok();
        if self.repo.is_none() {
            wrong.push("repo is missing: the URL of the repository's store".to_owned());
        }
        if self.state_dir.is_none() {
            wrong.push("state_dir is missing: the folder for the database".to_owned());
        }
        for (name, value) in [
            ("refresh_seconds", self.refresh_seconds),
            ("lost_seconds", self.lost_seconds),
            ("heartbeat_seconds", self.heartbeat_seconds.map(u64::from)),
        ] {
            if value == Some(0) {
                wrong.push(format!("{name} must be at least 1"));
            }
        }
        let (Some(url), Some(key), Some(state_dir), true) =
            (self.repo, key, self.state_dir, wrong.is_empty())
        else {
            return Err(Invalid(wrong));
        };
        let http = self.http_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], HTTP_PORT)));
        Ok(Config {
            repository: Settings {
                url,
                domain: domain.unwrap_or_else(DomainName::default_domain),
                key,
                cache_dir: self.cache_dir,
                cpu_threads: self.cpu_threads.unwrap_or(0),
            },
            listen,
            http_listen: Some(http),
            tls,
            agent_token_file: self.agent_token_file,
            client_token_file: self.client_token_file,
            database: state_dir.join("coordinator.db"),
            rules,
            refresh_seconds: self.refresh_seconds.unwrap_or(60),
            lost_seconds: self.lost_seconds.unwrap_or(300),
            heartbeat_seconds: self.heartbeat_seconds.unwrap_or(15),
        })
    }

    fn tls(&self, wrong: &mut Vec<String>) -> Option<ServerFiles> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(cert), Some(key)) => Some(ServerFiles {
                cert_file: cert.clone(),
                key_file: key.clone(),
                client_ca_file: self.tls_client_ca_file.clone(),
            }),
            (None, None) => {
                if self.tls_client_ca_file.is_some() {
                    wrong.push("tls_client_ca_file needs tls_cert_file and tls_key_file".to_owned());
                }
                None
            }
            _ => {
                wrong.push("tls_cert_file and tls_key_file go together".to_owned());
                None
            }
        }
    }

    /// What other machines reach must be encrypted, and must ask who calls.
    fn check_reach(&self, listen: SocketAddr, tls: Option<&ServerFiles>, wrong: &mut Vec<String>) {
        if listen.ip().is_loopback() {
            return;
        }
        if tls.is_none() && self.allow_plaintext != Some(true) {
            wrong.push(format!(
                "listen {listen}: plaintext is refused where other machines reach it; set tls_cert_file and \
                 tls_key_file, or allow_plaintext"
            ));
        }
        let mutual = tls.is_some_and(|t| t.client_ca_file.is_some());
        if !mutual && (self.agent_token_file.is_none() || self.client_token_file.is_none()) {
            wrong.push(format!(
                "listen {listen}: anybody could connect; set agent_token_file and client_token_file, or \
                 tls_client_ca_file"
            ));
        }
    }

    fn rules(&self, wrong: &mut Vec<String>) -> Vec<Rule> {
        let name = self.timezone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name).unwrap_or_else(|e| {
            wrong.push(format!("timezone {name}: {e}"));
            TimeZone::UTC
        });
        let mut rules = Vec::new();
        for s in self.schedules.iter().flatten() {
            match s.trigger(&zone) {
                Ok(trigger) => rules.push(Rule {
                    volume: s.volume.clone(),
                    trigger,
                    jitter_seconds: s.jitter_seconds.unwrap_or(0),
                }),
                Err(e) => wrong.push(format!("schedule of {}: {e}", s.volume)),
            }
        }
        rules
    }
}

impl ScheduleLayer {
    fn trigger(&self, zone: &TimeZone) -> Result<Trigger, String> {
        match (self.max_age_seconds, &self.cron) {
            (Some(seconds), None) if seconds >= 1 => Ok(Trigger::MaxAge { seconds }),
            (Some(_), None) => Err("max_age_seconds must be at least 1".to_owned()),
            (None, Some(text)) => {
                let cron = croner::Cron::from_str(text).map_err(|e| format!("cron {text:?}: {e}"))?;
                Ok(Trigger::Cron { cron: Box::new(cron), zone: zone.clone() })
            }
            _ => Err("exactly one of max_age_seconds and cron is needed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
