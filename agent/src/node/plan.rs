//! What the coordinator wants of this node, checked: damaged or hostile plans are refused by name.
//!
//! Accesses hold keys and credentials: they live in memory only, are wiped when they are dropped, and are never printed.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::convert;
use proto::v1;
use repository::ids::DomainName;
use repository::ops::backup::Reuse;
use repository::source::Rules;
use repository::{Error, ErrorKind, Result};
use service::paths;
use zeroize::Zeroizing;

use crate::limits::{
    CA_BYTES_MAX, PLACES_MAX, PLAN_DOMAINS_MAX, PLAN_VOLUMES_MAX, PULSE_SECONDS_MAX, SECRET_BYTES_MAX,
    SETTINGS_MAX,
};

/// All that this node shall know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) revision: u64,
    pub(crate) pulse: Duration,
    pub(crate) repositories: BTreeMap<DomainName, Arc<Access>>,
    pub(crate) volumes: Vec<Arc<PlannedVolume>>,
    /// Volumes of which the plan says what makes no sense, and what that is: the others are read all the same.
    pub(crate) refused: Vec<(String, String)>,
}

/// What opens one domain of a repository.
pub(crate) struct Access {
    pub(crate) domain: DomainName,
    pub(crate) url: String,
    pub(crate) reuse: Reuse,
    pub(crate) store_ca: Vec<u8>,
    pub(crate) credentials: BTreeMap<String, Zeroizing<String>>,
    pub(crate) key_file: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("domain", &self.domain).field("url", &self.url).finish_non_exhaustive()
    }
}

impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        let public = |a: &Self| (a.domain.clone(), a.url.clone(), a.reuse, a.store_ca.clone());
        public(self) == public(other)
            && self.credentials == other.credentials
            && self.key_file == other.key_file
    }
}

/// A volume of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedVolume {
    pub(crate) name: String,
    pub(crate) domain: DomainName,
    pub(crate) places: Vec<Place>,
    pub(crate) rules: Rules,
    pub(crate) restore: bool,
}

/// Where a volume may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In kubelet's folder of a pod.
    Pod(PodPlace),
    /// On the node.
    HostPath(PathBuf),
    /// In the mover's own file system.
    Own(PathBuf),
    /// A device in the mover's own file system.
    Device(PathBuf),
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodPlace {
    pub(crate) pod: String,
    pub(crate) kind: PodKind,
}

/// How kubelet has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodKind {
    /// Mounted, by some plugin, under this name.
    Mounted(String),
    /// An emptyDir of this name.
    EmptyDir(String),
    /// A folder of the host, mounted nowhere.
    HostPath(PathBuf),
}

impl Place {
    /// The pod that it depends on.
    pub(crate) fn pod(&self) -> Option<&str> {
        match self {
            Self::Pod(place) => Some(&place.pod),
            Self::HostPath(_) | Self::Own(_) | Self::Device(_) => None,
        }
    }
}

impl Plan {
    /// Checks all of it.
    pub(crate) fn from_wire(plan: v1::NodePlan) -> Result<Self> {
        count("repositories", plan.repositories.len(), PLAN_DOMAINS_MAX)?;
        count("volumes", plan.volumes.len(), PLAN_VOLUMES_MAX)?;
        let mut repositories = BTreeMap::new();
        for access in plan.repositories {
            let access = Access::from_wire(access)?;
            let domain = access.domain.clone();
            if repositories.insert(domain.clone(), Arc::new(access)).is_some() {
                return Err(bad("repositories", format!("domain {domain} twice")));
            }
        }
        let mut volumes = Vec::with_capacity(plan.volumes.len());
        let (mut refused, mut seen) = (Vec::new(), HashSet::new());
        for volume in plan.volumes {
            let name = volume.volume.clone();
            convert::check_name("volumes.volume", &name, convert::VOLUME_BYTES_MAX)?;
            let volume = match volume_from_wire(volume) {
                Ok(volume) => volume,
                Err(e) => {
                    refused.push((name, e.chain()));
                    continue;
                }
            };
            if !repositories.contains_key(&volume.domain) {
                return Err(bad(&volume.name, format!("domain {} has no access", volume.domain)));
            }
            if !seen.insert((volume.domain.clone(), volume.name.clone())) {
                return Err(bad(&volume.name, "twice in one domain"));
            }
            volumes.push(Arc::new(volume));
        }
        let pulse = Duration::from_secs(u64::from(plan.pulse_seconds.clamp(1, PULSE_SECONDS_MAX)));
        Ok(Self { revision: plan.revision, pulse, repositories, volumes, refused })
    }
}

impl Access {
    /// Checks it, and takes what is secret out of the message.
    pub(crate) fn from_wire(access: v1::Access) -> Result<Self> {
        let v1::Access { domain, url, credentials, key_file, reuse, store_ca } = access;
        let credentials: Vec<_> = credentials.into_iter().map(|(n, v)| (n, Zeroizing::new(v))).collect();
        let key_file = wiped(key_file);
        let domain: DomainName =
            domain.parse().map_err(|e| Error::with_source(ErrorKind::Input, "plan: domain", e))?;
        let about = format!("access of domain {domain}");
        count(&about, credentials.len(), SETTINGS_MAX)?;
        if key_file.is_empty() || key_file.len() > SECRET_BYTES_MAX {
            return Err(bad(&about, format!("key file of {} bytes", key_file.len())));
        }
        if store_ca.len() > CA_BYTES_MAX {
            return Err(bad(&about, format!("CA bundle of {} bytes", store_ca.len())));
        }
        if url.is_empty() || url.len() > convert::FOLDER_BYTES_MAX || url.starts_with("memory:") {
            return Err(bad(&about, "no URL of a store"));
        }
        let prefix = service::repo::client_prefix(&url).unwrap_or("no setting at all");
        let mut settings = BTreeMap::new();
        for (name, value) in credentials {
            let upper = name.to_ascii_uppercase();
            if !upper.starts_with(prefix) || value.is_empty() || value.len() > SECRET_BYTES_MAX {
                return Err(bad(&about, format!("setting {name:?} is not one of {prefix}...")));
            }
            if settings.insert(name.to_ascii_lowercase(), value).is_some() {
                return Err(bad(&about, format!("setting {name} twice")));
            }
        }
        let reuse =
            if reuse.is_empty() { Reuse::default() } else { reuse.parse().map_err(|e| bad(&about, e))? };
        Ok(Self { domain, url, reuse, store_ca: store_ca.to_vec(), credentials: settings, key_file })
    }

    /// For the pipe to a child.
    pub(crate) fn to_wire(&self) -> v1::Access {
        let credentials = self.credentials.iter().map(|(n, v)| (n.clone(), v.to_string())).collect();
        v1::Access {
            domain: self.domain.to_string(),
            url: self.url.clone(),
            credentials,
            key_file: Bytes::copy_from_slice(&self.key_file),
            reuse: self.reuse.to_string(),
            store_ca: Bytes::copy_from_slice(&self.store_ca),
        }
    }
}

/// Takes a secret over, and wipes the message's own bytes where nobody else has them.
fn wiped(bytes: Bytes) -> Zeroizing<Vec<u8>> {
    use zeroize::Zeroize as _;
    let copy = Zeroizing::new(bytes.to_vec());
    if let Ok(mut own) = bytes.try_into_mut() {
        own.as_mut().zeroize();
    }
    copy
}

fn volume_from_wire(volume: v1::NodeVolume) -> Result<PlannedVolume> {
    let v1::NodeVolume { volume: name, domain, places, exclude, exclude_caches, restore } = volume;
    let domain = domain.parse().map_err(|e| bad(&name, format!("domain: {e}")))?;
    count(&name, places.len(), PLACES_MAX)?;
    count(&name, exclude.len(), convert::PATTERNS_MAX)?;
    if exclude.iter().any(|p| p.len() > convert::PATTERN_BYTES_MAX) {
        return Err(bad(&name, "a pattern is too long"));
    }
    let places = places.into_iter().map(|p| place_from_wire(&name, p)).collect::<Result<_>>()?;
    Ok(PlannedVolume { name, domain, places, rules: Rules { exclude, exclude_caches }, restore })
}

fn place_from_wire(volume: &str, place: v1::VolumePlace) -> Result<Place> {
    use v1::volume_place::Place as Wire;
    Ok(match place.place {
        Some(Wire::HostPath(path)) => Place::HostPath(folder(volume, &path)?),
        Some(Wire::OwnPath(path)) => Place::Own(folder(volume, &path)?),
        Some(Wire::Device(path)) => Place::Device(folder(volume, &path)?),
        Some(Wire::Pod(v1::PodPlace { pod_uid, name, ephemeral, host_path })) => {
            if !is_name(&pod_uid) || pod_uid.len() > POD_UID_BYTES_MAX {
                return Err(bad(volume, format!("{pod_uid:?} is no uid of a pod")));
            }
            let kind = match (host_path.is_empty(), ephemeral) {
                (false, false) => PodKind::HostPath(folder(volume, &host_path)?),
                (false, true) => return Err(bad(volume, "a hostPath that is an emptyDir")),
                (true, _) if !is_name(&name) => {
                    return Err(bad(volume, format!("{name:?} is no name of a volume")));
                }
                (true, true) => PodKind::EmptyDir(name),
                (true, false) => PodKind::Mounted(name),
            };
            Place::Pod(PodPlace { pod: pod_uid, kind })
        }
        None => return Err(bad(volume, "a place of a kind that this version does not know")),
    })
}

/// Uids are UUIDs, those of static pods hashes.
const POD_UID_BYTES_MAX: usize = 64;
/// Names of volumes are DNS names.
const NAME_BYTES_MAX: usize = 253;

/// One component of a path, of the letters that Kubernetes allows.
fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) && !matches!(name, "." | "..")
}

fn folder(volume: &str, path: &[u8]) -> Result<PathBuf> {
    let good = path.len() <= convert::FOLDER_BYTES_MAX && paths::parts(path).is_some_and(|p| !p.is_empty());
    match good {
        true => Ok(PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))),
        false => Err(bad(volume, "its path must be absolute, without . and .., and not /")),
    }
}

fn count(what: &str, count: usize, max: usize) -> Result<()> {
    match count > max {
        true => Err(bad(what, format!("{count}; {max} are allowed"))),
        false => Ok(()),
    }
}

fn bad(what: &str, why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Input, format!("plan: {what}: {why}"))
}

#[cfg(test)]
mod tests;
