//! Destinations of copies and mirrors as they stand in the file, and what they mean.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use proto::convert::{DESTINATION_BYTES_MAX, VOLUME_BYTES_MAX, check_name};
use repository::ids::DomainName;
use serde::Deserialize;
use service::repo::{KeyFrom, Settings};

use super::TaskLayer;
use crate::limits::DESTINATIONS_MAX;
use crate::maintenance::destination::{MEMORY_BYTES_MAX, SHARE_PERCENT_MAX, ZSTD_LEVEL};
use crate::maintenance::settings::DAY_SECONDS;
use crate::maintenance::{CopySettings, Destination, Holds, MirrorSettings, Timing, When};

/// A second repository: with a key of its own, snapshots are copied to it; without one, it is a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationLayer {
    /// By which it is asked for.
    pub name: String,
    /// URL of its store.
    pub url: String,
    /// File with settings of the store's client, one `NAME=VALUE` a line.
    pub credentials_file: Option<PathBuf>,
    /// File with the passphrase that opens its keys.
    pub passphrase_file: Option<PathBuf>,
    /// Key file that opens its keys.
    pub key_file: Option<PathBuf>,
    /// Domain within it; `default` unless given.
    pub domain: Option<String>,
    /// Bound on memory, bytes.
    pub memory_bytes_max: Option<u64>,
    /// Bound on what is sent, bytes a second.
    pub upload_bytes_per_second_max: Option<u64>,
    /// `false`: only when somebody asks.
    pub enabled: Option<bool>,
    /// At these times.
    pub cron: Option<String>,
    /// Again so long after its last beginning.
    pub every_seconds: Option<u64>,
    /// Only in this part of the day.
    pub window: Option<String>,
    /// Of copies: only snapshots of this volume.
    pub volume: Option<String>,
    /// Of copies: only the newest so many of each volume.
    pub newest: Option<u32>,
    /// Of copies: copy again what is there in part only.
    pub retry_partial: Option<bool>,
    /// Of copies: 1 to 19.
    pub zstd_level: Option<i32>,
    /// Of mirrors: delete there what is here no more.
    pub delete: Option<bool>,
    /// Of mirrors: refuse to delete a larger share of its packs, or of a domain's outcomes.
    pub share_percent_max: Option<u8>,
    /// Of mirrors: compare the bytes of what is there already.
    pub compare_bytes: Option<bool>,
}

/// Less holds no pack and its proof.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Less is no line.
const UPLOAD_BYTES_MIN: u64 = 1024;

/// All of them, checked; what is wrong is added to `wrong`. `cache_dir` and `cpu_threads` are those of the repository.
pub(super) fn destinations(
    layers: &[DestinationLayer],
    zone: &TimeZone,
    (cache_dir, cpu_threads): (Option<&Path>, usize),
    wrong: &mut Vec<String>,
) -> Vec<Destination> {
    if layers.len() > DESTINATIONS_MAX {
        wrong.push(format!("destinations: {} of them; {DESTINATIONS_MAX} are allowed", layers.len()));
    }
    let (mut out, mut names) = (Vec::new(), HashSet::new());
    for layer in layers {
        let mut own = Vec::new();
        if !names.insert(&layer.name) {
            own.push("is configured twice".to_owned());
        }
        out.extend(layer.destination(zone, (cache_dir, cpu_threads), &mut own));
        wrong.extend(own.into_iter().map(|what| format!("destination {:?}: {what}", layer.name)));
    }
    out
}

impl DestinationLayer {
    /// What has no key.
    pub(super) fn is_mirror(&self) -> bool {
        self.key_file.is_none() && self.passphrase_file.is_none()
    }

    fn destination(
        &self,
        zone: &TimeZone,
        caches: (Option<&Path>, usize),
        wrong: &mut Vec<String>,
    ) -> Option<Destination> {
        if let Err(e) = check_name("name", &self.name, DESTINATION_BYTES_MAX) {
            wrong.push(e.to_string());
        }
        if self.url.is_empty() {
            wrong.push("url is missing".to_owned());
        }
        if self.memory_bytes_max.is_some_and(|n| n < MEMORY_BYTES_MIN) {
            wrong.push(format!("memory_bytes_max must be at least {MEMORY_BYTES_MIN}"));
        }
        if self.upload_bytes_per_second_max.is_some_and(|n| n < UPLOAD_BYTES_MIN) {
            wrong.push(format!("upload_bytes_per_second_max must be at least {UPLOAD_BYTES_MIN}"));
        }
        let mut timing =
            Timing { when: When::Every { seconds: DAY_SECONDS }, window: None, zone: zone.clone() };
        let task = TaskLayer {
            enabled: self.enabled,
            cron: self.cron.clone(),
            every_seconds: self.every_seconds,
            window: self.window.clone(),
            ..TaskLayer::default()
        };
        task.timing(&mut timing, wrong);
        let holds = match self.is_mirror() {
            true => Holds::Mirror(self.mirror(wrong)),
            false => Holds::Copies(Box::new(self.copies(caches, wrong)?)),
        };
        let memory = self.memory_bytes_max.and_then(|n| usize::try_from(n).ok());
        Some(Destination {
            name: self.name.clone(),
            url: self.url.clone(),
            credentials_file: self.credentials_file.clone(),
            memory_bytes_max: memory.unwrap_or(MEMORY_BYTES_MAX),
            upload_bytes_per_second_max: self.upload_bytes_per_second_max,
            timing,
            holds,
        })
    }

    fn copies(
        &self,
        (cache_dir, cpu_threads): (Option<&Path>, usize),
        wrong: &mut Vec<String>,
    ) -> Option<CopySettings> {
        let of_mirrors = [
            ("delete", self.delete.is_some()),
            ("share_percent_max", self.share_percent_max.is_some()),
            ("compare_bytes", self.compare_bytes.is_some()),
        ];
        refuse(&of_mirrors, "is for mirrors, and this has a key: snapshots are copied to it", wrong);
        if self.newest == Some(0) {
            wrong.push("newest must be at least 1".to_owned());
        }
        if self.zstd_level.is_some_and(|level| !(1..=19).contains(&level)) {
            wrong.push("zstd_level must be 1 to 19".to_owned());
        }
        if let Some(Err(e)) = self.volume.as_ref().map(|v| check_name("volume", v, VOLUME_BYTES_MAX)) {
            wrong.push(e.to_string());
        }
        let domain = self.domain.as_deref().map(str::parse).transpose();
        let domain = domain.map_err(|e| wrong.push(format!("domain: {e}"))).ok();
        let key = KeyFrom::one_of(self.passphrase_file.clone(), self.key_file.clone());
        let key = key.map_err(|e| wrong.push(e)).ok();
        Some(CopySettings {
            repository: Settings {
                url: self.url.clone(),
                domain: domain?.unwrap_or_else(DomainName::default_domain),
                key: key?,
                cache_dir: cache_dir.map(Path::to_owned),
                cpu_threads,
            },
            volume: self.volume.clone(),
            newest: self.newest,
            retry_partial: self.retry_partial.unwrap_or(false),
            zstd_level: self.zstd_level.unwrap_or(ZSTD_LEVEL),
        })
    }

    fn mirror(&self, wrong: &mut Vec<String>) -> MirrorSettings {
        let of_copies = [
            ("domain", self.domain.is_some()),
            ("volume", self.volume.is_some()),
            ("newest", self.newest.is_some()),
            ("retry_partial", self.retry_partial.is_some()),
            ("zstd_level", self.zstd_level.is_some()),
        ];
        refuse(
            &of_copies,
            "is for copies, which need key_file or passphrase_file; without a key it is a mirror",
            wrong,
        );
        if self.share_percent_max.is_some_and(|p| p > 100) {
            wrong.push("share_percent_max must be at most 100".to_owned());
        }
        MirrorSettings {
            delete: self.delete.unwrap_or(false),
            share_percent_max: self.share_percent_max.unwrap_or(SHARE_PERCENT_MAX),
            compare_bytes: self.compare_bytes.unwrap_or(false),
        }
    }
}

/// A setting that does nothing makes people believe in what is not there.
fn refuse(given: &[(&str, bool)], why: &str, wrong: &mut Vec<String>) {
    wrong.extend(given.iter().filter(|(_, given)| *given).map(|(name, _)| format!("{name} {why}")));
}
