//! Settings in layers: file, then environment, then flags; the later one wins. All three fill the same struct, so that a
//! setting has one name and one meaning.
//!
//! Merging never validates: a server validates the whole at the end and names everything that is wrong.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use repository::ids::DomainName;

use crate::repo::{KeyFrom, Settings};

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {}", self.0.join("; "))
    }
}

impl std::error::Error for Invalid {}

/// Reads a YAML file into a layer. An unknown key is an error that names it and its line.
pub fn read_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Invalid> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| Invalid(vec![format!("read {name}: {e}")]))?;
    parse(&text).map_err(|e| Invalid(vec![format!("{name}: {e}")]))
}

/// Parses YAML into a layer.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|e| e.to_string())
}

/// What both servers have in their configuration, validated.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The repository, once for each domain, in the order of the list; exactly one without a list.
    pub repositories: Vec<Settings>,
    /// Metrics and health.
    pub http_listen: SocketAddr,
    /// Folder for what must outlive the process, as far as it can.
    pub state_dir: PathBuf,
}

/// What each of several domains has of its own in both servers.
#[derive(Clone, Debug, Default)]
pub struct DomainKey {
    /// Its name.
    pub name: String,
    /// What opens its keys: one of the two.
    pub passphrase_file: Option<PathBuf>,
    /// What opens its keys: one of the two.
    pub key_file: Option<PathBuf>,
}

/// What both servers have in their configuration, as given.
#[derive(Clone, Debug, Default)]
pub struct SharedLayer {
    /// URL of the repository's store.
    pub repo: Option<String>,
    /// Domain of the repository.
    pub domain: Option<String>,
    /// What opens the keys: one of the two.
    pub passphrase_file: Option<PathBuf>,
    /// What opens the keys: one of the two.
    pub key_file: Option<PathBuf>,
    /// Folder for caches.
    pub cache_dir: Option<PathBuf>,
    /// Threads for hashing, compressing and encrypting.
    pub cpu_threads: Option<usize>,
    /// Metrics and health.
    pub http_listen: Option<SocketAddr>,
    /// Folder for state.
    pub state_dir: Option<PathBuf>,
}

impl SharedLayer {
    /// Checks all of it; what is wrong is added to `wrong`. `None` only if something was. With `domains` each of them
    /// brings its own name and key.
    pub fn validate(
        mut self,
        http_port: u16,
        domains: Option<Vec<DomainKey>>,
        wrong: &mut Vec<String>,
    ) -> Option<Shared> {
        let opened = match domains {
            None => self.take_domain(wrong).map(|one| vec![one]),
            Some(list) => self.check_list(list, wrong),
        };
        if self.repo.as_ref().is_none_or(String::is_empty) {
            wrong.push("repo is missing: the URL of the repository's store".to_owned());
        }
        if self.state_dir.is_none() {
            wrong.push("state_dir is missing: the folder for what must outlive the process".to_owned());
        }
        if self.cpu_threads.is_some_and(|n| n > CPU_THREADS_MAX) {
            wrong.push(format!("cpu_threads must be at most {CPU_THREADS_MAX}"));
        }
        let url = self.repo?;
        let settings = |(domain, key)| Settings {
            url: url.clone(),
            domain,
            key,
            cache_dir: self.cache_dir.clone(),
            cpu_threads: self.cpu_threads.unwrap_or(0),
        };
        Some(Shared {
            repositories: opened?.into_iter().map(settings).collect(),
            http_listen: self.http_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], http_port))),
            state_dir: self.state_dir?,
        })
    }

    /// The only domain.
    fn take_domain(&mut self, wrong: &mut Vec<String>) -> Option<(DomainName, KeyFrom)> {
        let domain = self.domain.as_deref().map(str::parse).transpose();
        let domain = domain.map_err(|e| wrong.push(format!("domain: {e}"))).ok();
        let key = KeyFrom::one_of(self.passphrase_file.take(), self.key_file.take());
        let key = key.map_err(|e| wrong.push(e)).ok();
        Some((domain?.unwrap_or_else(DomainName::default_domain), key?))
    }

    /// A key at the top would be everybody's: that is what domains are against.
    fn check_list(
        &self,
        list: Vec<DomainKey>,
        wrong: &mut Vec<String>,
    ) -> Option<Vec<(DomainName, KeyFrom)>> {
        let before = wrong.len();
        let top = [
            ("domain", self.domain.is_some()),
            ("passphrase_file", self.passphrase_file.is_some()),
            ("key_file", self.key_file.is_some()),
        ];
        for (name, _) in top.into_iter().filter(|(_, given)| *given) {
            wrong.push(format!("{name} and domains exclude each other: each domain has its own"));
        }
        if list.is_empty() || list.len() > DOMAINS_MAX {
            wrong.push(format!("domains: {} of them; 1 to {DOMAINS_MAX} are allowed", list.len()));
        }
        let mut out: Vec<(DomainName, KeyFrom)> = Vec::new();
        for DomainKey { name, passphrase_file, key_file } in list {
            let key = KeyFrom::one_of(passphrase_file, key_file);
            match (name.parse::<DomainName>(), key) {
                (Ok(domain), Ok(_)) if out.iter().any(|(known, _)| *known == domain) => {
                    wrong.push(format!("domain {name} is configured twice"));
                }
                (Ok(_), Ok(key)) if out.iter().any(|(_, known)| *known == key) => {
                    wrong.push(format!("domain {name}: its key file is another domain's, too"));
                }
                (Ok(domain), Ok(key)) => out.push((domain, key)),
                (Err(e), _) => wrong.push(format!("domain {name:?}: {e}")),
                (_, Err(e)) => wrong.push(format!("domain {name}: {e}")),
            }
        }
        (wrong.len() == before).then_some(out)
    }
}

/// Domains that one process serves: each has tasks, a database or a stream of its own.
pub const DOMAINS_MAX: usize = 64;

/// More threads than any machine has cores for.
const CPU_THREADS_MAX: usize = 1024;

/// Defines a layer of settings of a server: what both have ([`SharedLayer`], TLS of their own, plaintext), and its own
/// settings, as for [`layer!`](crate::layer).
#[macro_export]
macro_rules! server_layer {
    (
        $(#[$doc:meta])* pub struct $name:ident {
            scalars { $($scalars:tt)* }
            lists { $($lists:tt)* }
        }
    ) => {
        $crate::layer! {
            $(#[$doc])* pub struct $name {
                scalars {
                    /// URL of the repository's store.
                    repo: String,
                    /// Domain of the repository; `default` unless given.
                    domain: String,
                    /// File with the passphrase that opens the keys.
                    passphrase_file: std::path::PathBuf,
                    /// Key file that opens the keys.
                    key_file: std::path::PathBuf,
                    /// Folder for caches; lossless to delete.
                    cache_dir: std::path::PathBuf,
                    /// Threads for hashing, compressing and encrypting; 0 means one a core.
                    cpu_threads: usize,
                    /// Address of `/metrics`, `/healthz` and `/readyz`.
                    http_listen: std::net::SocketAddr,
                    /// Folder for what must outlive the process.
                    state_dir: std::path::PathBuf,
                    /// Own certificate chain.
                    tls_cert_file: std::path::PathBuf,
                    /// Its private key.
                    tls_key_file: std::path::PathBuf,
                    /// Plaintext gRPC also to or from other machines.
                    allow_plaintext: bool,
                    $($scalars)*
                }
                lists { $($lists)* }
            }
        }

        impl $name {
            /// Takes out what both servers have.
            fn take_shared(&mut self) -> $crate::config::SharedLayer {
                $crate::config::SharedLayer {
                    repo: self.repo.take(),
                    domain: self.domain.take(),
                    passphrase_file: self.passphrase_file.take(),
                    key_file: self.key_file.take(),
                    cache_dir: self.cache_dir.take(),
                    cpu_threads: self.cpu_threads.take(),
                    http_listen: self.http_listen.take(),
                    state_dir: self.state_dir.take(),
                }
            }
        }
    };
}

/// Defines a layer of settings: a struct of options that a YAML file fills, that the environment fills
/// (`HOLDFAST_` and the field's name in capitals; `scalars` only), and that can be merged.
#[macro_export]
macro_rules! layer {
    (
        $(#[$doc:meta])* pub struct $name:ident {
            scalars { $($(#[$sdoc:meta])* $scalar:ident: $stype:ty,)* }
            lists { $($(#[$ldoc:meta])* $list:ident: $ltype:ty,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$sdoc])* pub $scalar: Option<$stype>,)*
            $($(#[$ldoc])* pub $list: Option<$ltype>,)*
        }

        impl $name {
            /// The names of all settings.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($scalar),)* $(stringify!($list),)*];

            /// What `over` sets wins.
            #[must_use]
            pub fn merge(self, over: Self) -> Self {
                Self {
                    $($scalar: over.$scalar.or(self.$scalar),)*
                    $($list: over.$list.or(self.$list),)*
                }
            }

            /// Reads `HOLDFAST_<NAME>` variables through `get`. An empty one counts as unset.
            pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, $crate::config::Invalid> {
                let mut out = Self::default();
                let mut wrong = Vec::new();
                $($crate::config::take(get, stringify!($scalar), &mut out.$scalar, &mut wrong);)*
                if wrong.is_empty() { Ok(out) } else { Err($crate::config::Invalid(wrong)) }
            }

            /// File (if any), then environment, then flags.
            pub fn load(
                file: Option<&std::path::Path>,
                get: &dyn Fn(&str) -> Option<String>,
                flags: Self,
            ) -> Result<Self, $crate::config::Invalid> {
                let file: Self = file.map($crate::config::read_file).transpose()?.unwrap_or_default();
                Ok(file.merge(Self::from_env(get)?).merge(flags))
            }
        }
    };
}

/// Parses one variable; used by [`layer!`](crate::layer).
pub fn take<T: std::str::FromStr>(
    get: &dyn Fn(&str) -> Option<String>,
    field: &str,
    out: &mut Option<T>,
    wrong: &mut Vec<String>,
) where
    T::Err: fmt::Display,
{
    let name = format!("HOLDFAST_{}", field.to_uppercase());
    let Some(text) = get(&name).filter(|t| !t.is_empty()) else { return };
    match text.parse() {
        Ok(value) => *out = Some(value),
        Err(e) => wrong.push(format!("{name}={text}: {e}")),
    }
}

#[cfg(test)]
mod tests;
