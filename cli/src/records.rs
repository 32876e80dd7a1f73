//! What JSON and YAML show. Names and meanings are stable (docs/cli.md): fields are added, never renamed or reused.

use std::collections::BTreeMap;

use repository::env::Timestamp;
use repository::items::entry::{Entry, Kind};
use repository::manifest::audit::Damaged;
use repository::monitor::Figures;
use repository::ops::Problems;
use repository::ops::browse::Change;
use repository::ops::proofs::Health;
use repository::ops::snapshots::{Snapshot, Stats};
use serde::Serialize;

use crate::escape::escape;

/// A moment as RFC 3339 in UTC, with nanoseconds where there are any.
pub(crate) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).map_or_else(|_| at.0.to_string(), |t| t.to_string())
}

/// A moment for people: local time, whole seconds.
pub(crate) fn local_time(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).map_or_else(
        |_| at.0.to_string(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) id: String,
    pub(crate) volume: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) started: String,
    pub(crate) finished: String,
    pub(crate) parent: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) entries: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_new: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) problems: u64,
    pub(crate) changed_during_read: u64,
    /// Set in the repaired copy of a damaged snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repaired: Option<RepairMarkRecord>,
    /// What is known of its health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<HealthRecord>,
}

/// Marks a repaired copy.
#[derive(Debug, Serialize)]
pub(crate) struct RepairMarkRecord {
    pub(crate) of: String,
    pub(crate) lost: u64,
}

/// What is known of a snapshot's health.
#[derive(Debug, Serialize)]
pub(crate) struct HealthRecord {
    pub(crate) verified: Option<String>,
    pub(crate) tested: Option<String>,
    pub(crate) problems: u64,
    pub(crate) damaged: bool,
    pub(crate) pinned: bool,
}

impl From<&Health> for HealthRecord {
    fn from(h: &Health) -> Self {
        Self {
            verified: h.verified.map(time),
            tested: h.tested.map(time),
            problems: h.problems,
            damaged: h.damaged,
            pinned: h.pinned,
        }
    }
}

impl From<&Snapshot> for SnapshotRecord {
    fn from(snapshot: &Snapshot) -> Self {
        let m = &snapshot.manifest;
        Self {
            id: snapshot.id.to_string(),
            volume: m.volume.clone(),
            host: m.host.clone(),
            path: escape(&m.path),
            started: time(m.started),
            finished: time(m.finished),
            parent: m.parent.map(|p| p.to_string()),
            tags: m.tags.clone(),
            entries: m.entries,
            files: m.files,
            bytes: m.bytes,
            bytes_new: m.bytes_new,
            bytes_stored: m.bytes_stored,
            problems: m.problems,
            changed_during_read: m.changed,
            repaired: m.repaired.map(|r| RepairMarkRecord { of: r.of.to_string(), lost: r.lost }),
            health: None,
        }
    }
}

/// One entry of a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct EntryRecord {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Permission bits, four octal digits.
    pub(crate) mode: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<[u32; 2]>,
    pub(crate) hard_linked: bool,
    pub(crate) changed_during_read: bool,
    pub(crate) xattrs: Vec<String>,
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let (kind, target, device) = match &entry.kind {
            Kind::File(_) => ("file", None, None),
            Kind::Directory => ("directory", None, None),
            Kind::Symlink(to) => ("symlink", Some(escape(to)), None),
            Kind::Fifo => ("fifo", None, None),
            Kind::Socket => ("socket", None, None),
            Kind::CharDevice(major, minor) => ("char-device", None, Some([*major, *minor])),
            Kind::BlockDevice(major, minor) => ("block-device", None, Some([*major, *minor])),
        };
        Self {
            path: escape(&entry.path),
            kind,
            mode: format!("{:04o}", entry.meta.mode & 0o7777),
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            size: entry.size,
            mtime: time(entry.meta.mtime),
            target,
            device,
            hard_linked: entry.meta.linked,
            changed_during_read: entry.changed_during_read,
            xattrs: entry.meta.xattrs.iter().map(|(name, _)| escape(name)).collect(),
        }
    }
}

/// One difference between two snapshots.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeRecord {
    /// `added`, `removed`, `content`, `metadata`.
    pub(crate) change: &'static str,
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) older: Option<EntryRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newer: Option<EntryRecord>,
}

impl From<&Change> for ChangeRecord {
    fn from(change: &Change) -> Self {
        match change {
            Change::Added(e) => {
                Self { change: "added", path: escape(&e.path), older: None, newer: Some(e.into()) }
            }
            Change::Removed(e) => {
                Self { change: "removed", path: escape(&e.path), older: Some(e.into()), newer: None }
            }
            Change::Changed(older, newer, content) => Self {
                change: if *content { "content" } else { "metadata" },
                path: escape(&newer.path),
                older: Some(older.as_ref().into()),
                newer: Some(newer.as_ref().into()),
            },
        }
    }
}

/// One thing that went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemRecord {
    pub(crate) path: String,
    pub(crate) what: String,
}

/// A pack that is damaged or gone.
#[derive(Debug, Serialize)]
pub(crate) struct DamagedRecord {
    pub(crate) pack: String,
    /// 0 for all.
    pub(crate) blobs: u32,
}

impl From<&Damaged> for DamagedRecord {
    fn from(d: &Damaged) -> Self {
        Self { pack: d.pack.to_string(), blobs: d.blobs }
    }
}

/// The first thousand problems.
pub(crate) fn problems(list: &Problems) -> Vec<ProblemRecord> {
    list.kept().iter().map(|p| ProblemRecord { path: escape(&p.path), what: p.what.clone() }).collect()
}

/// What a backup did.
#[derive(Debug, Serialize)]
pub(crate) struct BackupRecord {
    #[serde(flatten)]
    pub(crate) snapshot: SnapshotRecord,
    pub(crate) problem_list: Vec<ProblemRecord>,
    pub(crate) figures: FiguresRecord,
    pub(crate) seconds: f64,
}

/// What a restore did.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreRecord {
    pub(crate) id: String,
    pub(crate) volume: String,
    pub(crate) target: String,
    pub(crate) entries: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) skipped: u64,
    pub(crate) problems: u64,
    pub(crate) problem_list: Vec<ProblemRecord>,
    pub(crate) seconds: f64,
}

/// What a verification found.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyRecord {
    pub(crate) id: String,
    pub(crate) volume: String,
    /// `quick`, `full` or `against`.
    pub(crate) level: &'static str,
    pub(crate) ok: bool,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) problems: u64,
    pub(crate) problem_list: Vec<ProblemRecord>,
    pub(crate) damaged: Vec<DamagedRecord>,
    pub(crate) seconds: f64,
}

/// Counters of a backup.
#[derive(Debug, Serialize)]
pub(crate) struct FiguresRecord {
    pub(crate) files_opened: u64,
    pub(crate) files_unchanged: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_found: u64,
    pub(crate) bytes_rewritten: u64,
    pub(crate) bytes_uploaded: u64,
    pub(crate) blobs_new: u64,
    pub(crate) blobs_found: u64,
    pub(crate) packs: u64,
}

impl From<Figures> for FiguresRecord {
    fn from(f: Figures) -> Self {
        Self {
            files_opened: f.files_opened,
            files_unchanged: f.files_unchanged,
            bytes_read: f.bytes_read,
            bytes_found: f.bytes_found,
            bytes_rewritten: f.bytes_rewritten,
            bytes_uploaded: f.bytes_stored,
            blobs_new: f.blobs_new,
            blobs_found: f.blobs_found,
            packs: f.packs,
        }
    }
}

/// Objects of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct StoredRecord {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// What a repository holds.
#[derive(Debug, Serialize)]
pub(crate) struct StatsRecord {
    pub(crate) snapshots: u64,
    pub(crate) bytes_plain: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) stored: BTreeMap<String, StoredRecord>,
    /// Start of the newest snapshot of each volume.
    pub(crate) volumes: BTreeMap<String, String>,
}

impl From<&Stats> for StatsRecord {
    fn from(stats: &Stats) -> Self {
        let stored =
            stats.stored.iter().map(|(k, &(objects, bytes))| (k.clone(), StoredRecord { objects, bytes }));
        Self {
            snapshots: stats.snapshots,
            bytes_plain: stats.bytes_plain,
            bytes_stored: stats.stored.values().map(|v| v.1).sum(),
            stored: stored.collect(),
            volumes: stats.volumes.iter().map(|(name, at)| (name.clone(), time(*at))).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
