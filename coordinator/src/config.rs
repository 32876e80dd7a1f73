//! The coordinator's settings: one name each, whether from file, environment (`HOLDFAST_<NAME>`) or flags.

mod destinations;
mod domains;
mod maintenance;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use jiff::tz::TimeZone;
use proto::convert::{TAG_BYTES_MAX, check_name};
use serde::Deserialize;
use service::config::{Invalid, Shared};
use service::tls::{ServerFiles, lower_name};

use crate::gate::{Access, Grant};
use crate::schedule::{Rule, Trigger};

pub use destinations::DestinationLayer;
pub use domains::{Domain, DomainLayer};
pub use maintenance::{MaintenanceLayer, RetentionLayer, TaskLayer};

service::server_layer! {
    /// One source of settings. Units are in the names.
    pub struct ConfigLayer {
        scalars {
            /// Address of the gRPC listener; 127.0.0.1:7425 unless given.
            listen: SocketAddr,
            /// CA that agents and clients must have a certificate of.
            tls_client_ca_file: PathBuf,
            /// File with a bearer token of agents, whatever their ids.
            agent_token_file: PathBuf,
            /// File with a bearer token of clients that may do everything.
            client_token_file: PathBuf,
            /// Time zone of cron schedules, such as `Europe/Paris`; `UTC` unless given.
            timezone: String,
            /// How often snapshots and index are read again from the store.
            refresh_seconds: u64,
            /// A job whose agent is away this long is given out again.
            lost_seconds: u64,
            /// How often agents show that they are there.
            heartbeat_seconds: u32,
            /// This coordinator runs maintenance; `false` where another one does.
            leader: bool,
        }
        lists {
            /// Schedules; the first that matches a volume counts.
            schedules: Vec<ScheduleLayer>,
            /// Tokens, and what each lets its holder be.
            tokens: Vec<TokenLayer>,
            /// What to keep; the first that matches a volume counts. Empty: everything.
            retention: Vec<RetentionLayer>,
            /// What runs by itself, when, and how much of it.
            maintenance: MaintenanceLayer,
            /// The domains that are served; without the list, the one that `domain` names.
            domains: Vec<DomainLayer>,
            /// Where copies and mirrors go.
            destinations: Vec<DestinationLayer>,
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

/// A token or the name of a certificate, and what it lets its holder be: at least one of `agents` and `clients`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLayer {
    /// The file with the token; or else `certificate`.
    pub file: Option<PathBuf>,
    /// A name in the client's certificate; `*` stands for any text. The case of a URI's path counts.
    pub certificate: Option<String>,
    /// Ids of agents; `*` stands for any text.
    #[serde(default)]
    pub agents: Vec<String>,
    /// `read`, `write` or `admin`.
    pub clients: Option<AccessLayer>,
    /// Who its holder is, for the audit; the file's name unless given.
    pub name: Option<String>,
    /// Names of domains that it is for; `*` stands for any text. All unless given.
    pub domains: Option<Vec<String>>,
}

/// What clients may do, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLayer {
    /// List, look, verify and watch.
    Read,
    /// That, and run and cancel.
    Write,
    /// That, and handle keys.
    Admin,
}

/// The coordinator's settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is served, never empty.
    pub domains: Vec<Domain>,
    /// They come from a list: each opens, fails and is measured by itself. Else there is one, and without it nothing starts.
    pub listed: bool,
    /// gRPC listener.
    pub listen: SocketAddr,
    /// Metrics and health; `None` for none.
    pub http_listen: Option<SocketAddr>,
    /// TLS of the gRPC listener.
    pub tls: Option<ServerFiles>,
    /// Files of tokens, and what each grants; without any, and without certificates, everybody may do everything.
    pub tokens: Vec<(PathBuf, Grant)>,
    /// Names in certificates, and what each grants to who shows no token; the first that fits counts.
    pub certificates: Vec<(String, Grant)>,
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
    pub fn validate(mut self) -> Result<Config, Invalid> {
        let mut wrong = Vec::new();
        let tls = self.tls(&mut wrong);
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], PORT)));
        let tokens = self.tokens(&mut wrong);
        let certificates = self.certificates(&mut wrong);
        let asks = !tokens.is_empty() || tls.as_ref().is_some_and(|t| t.client_ca_file.is_some());
        self.check_reach(listen, tls.is_some(), asks, &mut wrong);
        if tokens.is_empty()
            && certificates.is_empty()
            && !listen.ip().is_loopback()
            && self.domains.as_ref().is_some_and(|d| d.len() > 1)
        {
            wrong.push("domains: without tokens every caller may use all of them; set tokens".to_owned());
        }
        let zone = self.zone(&mut wrong);
        let (listed, own) = (self.domains.is_some(), self.own(&zone, &mut wrong));
        for (name, value) in [
            ("refresh_seconds", self.refresh_seconds),
            ("lost_seconds", self.lost_seconds),
            ("heartbeat_seconds", self.heartbeat_seconds.map(u64::from)),
        ] {
            if value == Some(0) {
                wrong.push(format!("{name} must be at least 1"));
            }
        }
        let keys = self.domains.as_ref().map(|all| all.iter().map(DomainLayer::key).collect());
        let shared = self.take_shared().validate(HTTP_PORT, keys, &mut wrong);
        let (Some(Shared { repositories, http_listen, .. }), true) = (shared, wrong.is_empty()) else {
            return Err(Invalid(wrong));
        };
        Ok(Config {
            domains: repositories.into_iter().zip(own).map(|(repo, own)| own.of(repo)).collect(),
            listed,
            listen,
            http_listen: Some(http_listen),
            tls,
            tokens,
            certificates,
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
    fn check_reach(&self, listen: SocketAddr, encrypted: bool, asks: bool, wrong: &mut Vec<String>) {
        if listen.ip().is_loopback() {
            return;
        }
        if !encrypted && self.allow_plaintext != Some(true) {
            wrong.push(format!(
                "listen {listen}: plaintext is refused where other machines reach it; set tls_cert_file and \
                 tls_key_file, or allow_plaintext"
            ));
        }
        if !asks {
            wrong.push(format!(
                "listen {listen}: anybody could connect; set tokens (or agent_token_file and client_token_file), or \
                 tls_client_ca_file"
            ));
        }
    }

    fn tokens(&self, wrong: &mut Vec<String>) -> Vec<(PathBuf, Grant)> {
        let all = || vec!["*".to_owned()];
        let grant = |f: &PathBuf| Grant { name: name_of(f), ..Grant::default() };
        let agents = |f: &PathBuf| (f.clone(), Grant { agents: all(), ..grant(f) });
        let admin = Some(Access::Admin);
        let clients = |f: &PathBuf| (f.clone(), Grant { clients: admin, ..grant(f) });
        let mut all: Vec<_> = self.agent_token_file.iter().map(agents).collect();
        all.extend(self.client_token_file.iter().map(clients));
        for token in self.tokens.iter().flatten() {
            match (&token.file, &token.certificate) {
                (Some(file), None) => all.push((file.clone(), token.grant(name_of(file), wrong))),
                (None, Some(_)) => {}
                _ => wrong.push("tokens: each needs file or certificate, and not both".to_owned()),
            }
        }
        let mut files = HashSet::new();
        for (file, _) in &all {
            if !files.insert(file) {
                wrong.push(format!("token {}: the file is configured twice", file.display()));
            }
        }
        all
    }

    fn certificates(&self, wrong: &mut Vec<String>) -> Vec<(String, Grant)> {
        let mut all: Vec<(String, Grant)> = Vec::new();
        for token in self.tokens.iter().flatten().filter(|t| t.file.is_none()) {
            let Some(name) = token.certificate.as_deref().map(lower_name) else { continue };
            if self.tls_client_ca_file.is_none() {
                wrong.push(format!("certificate {name}: without tls_client_ca_file nobody shows one"));
            }
            if name.is_empty() || all.iter().any(|(known, _)| *known == name) {
                wrong.push(format!("certificate {name:?}: empty, or configured twice"));
            }
            let grant = token.grant(name.clone(), wrong);
            all.push((name, grant));
        }
        all
    }

    fn zone(&self, wrong: &mut Vec<String>) -> TimeZone {
        let name = self.timezone.as_deref().unwrap_or("UTC");
        TimeZone::get(name).unwrap_or_else(|e| {
            wrong.push(format!("timezone {name}: {e}"));
            TimeZone::UTC
        })
    }
}

fn rules(schedules: &[ScheduleLayer], zone: &TimeZone, wrong: &mut Vec<String>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for s in schedules {
        match s.trigger(zone) {
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

impl TokenLayer {
    /// What it grants to its holder, who is called `holder` unless it says otherwise.
    fn grant(&self, holder: String, wrong: &mut Vec<String>) -> Grant {
        let what = match (&self.file, &self.certificate) {
            (Some(file), _) => format!("token {}", file.display()),
            (None, name) => format!("certificate {}", name.as_deref().unwrap_or_default()),
        };
        if self.agents.is_empty() && self.clients.is_none() {
            wrong.push(format!("{what}: grants nothing; set agents or clients"));
        }
        if self.domains.as_ref().is_some_and(|d| d.is_empty() || d.iter().any(String::is_empty)) {
            wrong.push(format!("{what}: domains must name some; without them it is for all"));
        }
        if self.agents.iter().any(String::is_empty) {
            wrong.push(format!("{what}: an agent's id is empty"));
        }
        let clients = self.clients.map(|access| match access {
            AccessLayer::Read => Access::Read,
            AccessLayer::Write => Access::Write,
            AccessLayer::Admin => Access::Admin,
        });
        let name = self.name.clone().unwrap_or(holder);
        if let Err(e) = check_name("name", &name, TAG_BYTES_MAX) {
            wrong.push(format!("{what}: {e}"));
        }
        let (agents, domains) = (self.agents.clone(), self.domains.clone());
        Grant { name, agents, clients, domains, planned: false }
    }
}

/// A token's file says whose it is, where nothing else does.
fn name_of(file: &std::path::Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl ScheduleLayer {
    /// When; or what is wrong with it.
    pub fn trigger(&self, zone: &TimeZone) -> Result<Trigger, String> {
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
