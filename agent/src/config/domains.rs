//! The domains that volumes are backed up into, and what each has of its own.
//!
//! Keys and restore roots are never taken over from the top of the file: who may have one domain restored must not reach what
//! another one restored.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use proto::convert;
use repository::ops::backup::Reuse;
use serde::Deserialize;
use service::config::DomainKey;
use service::paths::is_below;
use service::repo::Settings;

use super::{ConfigLayer, Volume, is_plain};

/// A domain, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainLayer {
    /// Its name in the repository.
    pub name: String,
    /// File with the passphrase that opens its keys.
    pub passphrase_file: Option<PathBuf>,
    /// Key file that opens its keys.
    pub key_file: Option<PathBuf>,
    /// File with settings of the store's client for this domain, one `NAME=VALUE` a line.
    pub credentials_file: Option<PathBuf>,
    /// Whose stored blobs backups may refer to; that of the top level unless given.
    pub reuse: Option<String>,
    /// Folders below which this domain's snapshots may be restored.
    pub restore_roots: Vec<PathBuf>,
}

impl DomainLayer {
    pub(super) fn key(&self) -> DomainKey {
        DomainKey {
            name: self.name.clone(),
            passphrase_file: self.passphrase_file.clone(),
            key_file: self.key_file.clone(),
        }
    }
}

/// A domain that volumes are backed up into.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The repository, this domain of it, and what opens it.
    pub repository: Settings,
    /// Settings of the store's client, instead of the environment's.
    pub credentials_file: Option<PathBuf>,
    /// Whose stored blobs backups may refer to.
    pub reuse: Reuse,
    /// What to back up.
    pub volumes: Vec<Volume>,
    /// Folders below which the coordinator may have this agent restore.
    pub restore_roots: Vec<PathBuf>,
}

impl Domain {
    /// False for one that nothing is backed up into or restored from here: it needs no stream.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        !(self.volumes.is_empty() && self.restore_roots.is_empty())
    }
}

/// What a domain has besides its repository.
pub(super) struct Own {
    credentials_file: Option<PathBuf>,
    reuse: Reuse,
    volumes: Vec<Volume>,
    restore_roots: Vec<PathBuf>,
}

impl Own {
    pub(super) fn of(self, repository: Settings) -> Domain {
        let Self { credentials_file, reuse, volumes, restore_roots } = self;
        Domain { repository, credentials_file, reuse, volumes, restore_roots }
    }
}

impl ConfigLayer {
    /// What each domain has, in the order of the list; without a list, what the only one has.
    pub(super) fn own(&self, host: &str, wrong: &mut Vec<String>) -> Vec<Own> {
        let top = self.restore_roots.clone().unwrap_or_default();
        let all = match &self.domains {
            None => {
                let named = self.volumes.iter().flatten().filter(|v| v.domain.is_some());
                wrong.extend(named.map(|v| {
                    format!("volume {}: it names a domain, and there is no list of domains", v.path.display())
                }));
                vec![self.own_of(None, host, top, wrong)]
            }
            Some(list) => {
                if !top.is_empty() {
                    wrong.push(
                        "restore_roots and domains exclude each other: each domain has its own".to_owned(),
                    );
                }
                self.check_domains(list, wrong);
                list.iter().map(|d| self.own_of(Some(d), host, d.restore_roots.clone(), wrong)).collect()
            }
        };
        self.check_roots(&all, wrong);
        for (name, count, max) in [
            ("volumes", all.iter().map(|d| d.volumes.len()).sum::<usize>(), convert::VOLUMES_MAX),
            ("restore_roots", all.iter().map(|d| d.restore_roots.len()).sum(), convert::RESTORE_ROOTS_MAX),
        ] {
            if count > max {
                wrong.push(format!("{name}: {count} of them; {max} are allowed"));
            }
        }
        all
    }

    fn own_of(
        &self,
        domain: Option<&DomainLayer>,
        host: &str,
        restore_roots: Vec<PathBuf>,
        wrong: &mut Vec<String>,
    ) -> Own {
        let volumes = self.volumes(host, domain.map(|d| d.name.as_str()), wrong);
        for root in restore_roots.iter().filter(|r| !is_plain(r)) {
            wrong.push(format!("restore root {} must be an absolute path without . and ..", root.display()));
        }
        let reuse = domain.and_then(|d| d.reuse.as_deref()).or(self.reuse.as_deref());
        let reuse = reuse.map(str::parse::<Reuse>).transpose();
        let reuse = reuse.map_err(|e| wrong.push(e.to_string())).unwrap_or_default();
        let credentials_file = domain.and_then(|d| d.credentials_file.clone());
        Own { credentials_file, reuse: reuse.unwrap_or_default(), volumes, restore_roots }
    }

    /// Each volume is of one domain of the list.
    fn check_domains(&self, list: &[DomainLayer], wrong: &mut Vec<String>) {
        for v in self.volumes.iter().flatten() {
            let path = v.path.display();
            match &v.domain {
                None => wrong.push(format!("volume {path}: domain is missing: which of domains?")),
                Some(name) if !list.iter().any(|d| d.name == *name) => {
                    wrong.push(format!("volume {path}: domain {name:?} is not in domains"));
                }
                Some(_) => {}
            }
        }
    }

    /// What one domain restores is out of the others' reach: a backup of theirs must not read it, nor a restore write there. And
    /// no restore reaches what the agent itself lives on.
    fn check_roots(&self, all: &[Own], wrong: &mut Vec<String>) {
        let needed = self.needed();
        for (n, one) in all.iter().enumerate() {
            for root in &one.restore_roots {
                let shown = root.display();
                for (m, other) in all.iter().enumerate().filter(|(m, _)| *m != n) {
                    // Both have the other's roots to look at: once is enough.
                    for b in other.restore_roots.iter().filter(|b| m < n && lie_in_each_other(root, b)) {
                        let b = b.display();
                        wrong.push(format!("restore roots {shown} and {b} of two domains lie in each other"));
                    }
                    for v in other.volumes.iter().filter(|v| lie_in_each_other(root, &v.path)) {
                        let (name, path) = (&v.name, v.path.display());
                        wrong.push(format!(
                            "restore root {shown} and volume {name} ({path}) of another domain lie in each other"
                        ));
                    }
                }
                for (name, path) in needed.iter().filter(|(_, path)| lies_in(path, root)) {
                    let path = path.display();
                    wrong.push(format!(
                        "restore root {shown}: {name} {path} lies in it, and a restore could replace it"
                    ));
                }
            }
        }
    }

    /// The agent's folders and its files with secrets, as plain paths.
    fn needed(&self) -> Vec<(&'static str, PathBuf)> {
        let top = [
            ("state_dir", &self.state_dir),
            ("cache_dir", &self.cache_dir),
            ("key_file", &self.key_file),
            ("passphrase_file", &self.passphrase_file),
            ("token_file", &self.token_file),
            ("tls_key_file", &self.tls_key_file),
        ];
        let domains = self.domains.iter().flatten().flat_map(|d| {
            [
                ("key_file", &d.key_file),
                ("passphrase_file", &d.passphrase_file),
                ("credentials_file", &d.credentials_file),
            ]
        });
        let given = top.into_iter().chain(domains);
        given.filter_map(|(name, path)| Some((name, plain(path.as_deref()?)))).collect()
    }
}

fn lies_in(path: &Path, folder: &Path) -> bool {
    is_below(path.as_os_str().as_bytes(), folder.as_os_str().as_bytes())
}

fn lie_in_each_other(a: &Path, b: &Path) -> bool {
    lies_in(a, b) || lies_in(b, a)
}

/// An absolute path without `.` and `..`; these paths, unlike volumes and roots, may have them.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
        plain
    })
}
