//! Bounds on all that comes from outside, before anything is done with it. What is wrong is an `Input` error that names
//! the field: an empty name, a path that leaves its folder, a list without end, a number or a word that nobody knows.
//!
//! A newer peer may add fields; those are ignored. It may add kinds of errors, which become `Internal` on the way in:
//! a report must not get lost for a word.

use repository::Result;

use super::bad;
use crate::v1;

/// A volume's name: a host and a path at the most.
pub const VOLUME_BYTES_MAX: usize = 8 << 10;
/// Ids of agents and names of hosts, as DNS has it.
pub const HOST_BYTES_MAX: usize = 253;
/// Longest path of a folder on an agent's machine, as Linux has it.
pub const FOLDER_BYTES_MAX: usize = 4096;
/// Longest path inside a volume.
pub const PATH_BYTES_MAX: usize = repository::limits::PATH_BYTES_MAX;
/// Patterns in one request.
pub const PATTERNS_MAX: usize = 1000;
/// Longest pattern.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// Labels of one snapshot.
pub const TAGS_MAX: usize = 100;
/// Longest label.
pub const TAG_BYTES_MAX: usize = 256;
/// Volumes that one agent may register.
pub const VOLUMES_MAX: usize = 10_000;
/// Restore roots of one agent.
pub const RESTORE_ROOTS_MAX: usize = 1000;
/// Jobs that one agent may hold: the results that it keeps, and those that run.
const JOBS_MAX: usize = 4096;
/// Jobs that one agent may run at once.
pub const JOBS_AT_ONCE_MAX: u32 = 1024;
/// Runs in one answer.
pub const RUNS_LISTED_MAX: u32 = 1000;
/// Audit records in one answer, where the caller bounds them.
const LISTED_MAX: u32 = 10_000;
/// Items of one list in a task's result: sids, words of damage. Counts beside it tell how many there were.
pub const LIST_ITEMS_MAX: usize = 1000;
/// Longest reason that somebody gives for what they ask for.
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest name of a destination of copies and mirrors.
pub const DESTINATION_BYTES_MAX: usize = 63;
/// Longest time for which anything is locked: a hundred years.
pub const LOCK_DAYS_MAX: u32 = 36_500;
/// Snapshots that one request names.
const SNAPSHOTS_NAMED_MAX: usize = 10_000;
/// Longest age: a thousand years. Sums of it with a moment stay far from the end of numbers.
pub const AGE_SECONDS_MAX: u64 = 1000 * 366 * 24 * 3600;
/// `latest`, or an id.
const SPEC_BYTES_MAX: usize = 64;
/// More snapshots of a volume than anybody keeps.
const SNAPSHOTS_NEWEST_MAX: i64 = 1_000_000_000;
/// Files and folders of a comparison that are named.
const TOP_MAX: u32 = 10_000;
/// zstd's largest level that needs no more memory.
const ZSTD_LEVEL_MAX: i64 = 19;
const VERSION_BYTES_MAX: usize = 64;
const ID_BYTES: usize = 16;

/// A message that can be judged on its own.
pub trait Check {
    /// Names the first field that makes no sense.
    fn check(&self) -> Result<()>;
}

/// Judges a name: of a volume, a host, an agent.
pub fn check_name(field: &str, name: &str, bytes_max: usize) -> Result<()> {
    if name.is_empty() {
        return Err(bad(field, "empty"));
    }
    optional_name(field, name, bytes_max)
}

fn optional_name(field: &str, name: &str, bytes_max: usize) -> Result<()> {
    if name.len() > bytes_max {
        return Err(bad(field, format!("{} bytes; {bytes_max} are allowed", name.len())));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(bad(field, format!("the control character {c:?} in {name:?}"))),
        None => Ok(()),
    }
}

fn path_bytes(field: &str, path: &[u8], bytes_max: usize) -> Result<()> {
    if path.len() > bytes_max {
        return Err(bad(field, format!("{} bytes; {bytes_max} are allowed", path.len())));
    }
    if path.contains(&0) {
        return Err(bad(field, "a NUL byte"));
    }
    let shown = String::from_utf8_lossy(path);
    match path.split(|b| *b == b'/').any(|part| part == b"." || part == b"..") {
        true => Err(bad(field, format!("{shown:?} must not contain . or .."))),
        false => Ok(()),
    }
}

/// An absolute folder.
fn folder(field: &str, path: &[u8]) -> Result<()> {
    path_bytes(field, path, FOLDER_BYTES_MAX)?;
    match path.first() {
        Some(b'/') => Ok(()),
        _ => Err(bad(field, format!("{:?} is no absolute path", String::from_utf8_lossy(path)))),
    }
}

fn count(field: &str, count: usize, max: usize) -> Result<()> {
    if count > max { Err(bad(field, format!("{count} of them; {max} are allowed"))) } else { Ok(()) }
}

fn id(field: &str, bytes: &[u8]) -> Result<()> {
    super::fixed::<ID_BYTES>(bytes, field).map(drop)
}

fn patterns(field: &str, patterns: &[String]) -> Result<()> {
    count(field, patterns.len(), PATTERNS_MAX)?;
    patterns.iter().try_for_each(|p| check_name(field, p, PATTERN_BYTES_MAX))
}

fn tags(field: &str, tags: &[String]) -> Result<()> {
    count(field, tags.len(), TAGS_MAX)?;
    tags.iter().try_for_each(|t| check_name(field, t, TAG_BYTES_MAX))
}

/// A number that has an end.
fn at_most<T: PartialOrd + std::fmt::Display + Copy>(field: &str, value: T, max: T) -> Result<()> {
    if value > max { Err(bad(field, format!("{value}; {max} is allowed"))) } else { Ok(()) }
}

/// A number from 1 on that has an end.
fn from_one(field: &str, value: Option<i64>, max: i64) -> Result<()> {
    match value {
        Some(n) if !(1..=max).contains(&n) => Err(bad(field, format!("{n}; 1 to {max} are allowed"))),
        _ => Ok(()),
    }
}

fn age(field: &str, seconds: Option<u64>) -> Result<()> {
    at_most(field, seconds.unwrap_or(0), AGE_SECONDS_MAX)
}

/// Ids or prefixes of them.
fn snapshot_names(field: &str, names: &[String]) -> Result<()> {
    count(field, names.len(), SNAPSHOTS_NAMED_MAX)?;
    names.iter().try_for_each(|s| check_name(field, s, SPEC_BYTES_MAX))
}

fn existing(field: &str, value: i32) -> Result<()> {
    let known = v1::Existing::try_from(value);
    known.map(drop).map_err(|_| bad(field, format!("{value} is not a known way")))
}

fn snapshot(field: &str, spec: Option<&v1::SnapshotSpec>) -> Result<()> {
    let spec = spec.ok_or_else(|| bad(field, "missing"))?;
    check_name(&format!("{field}.spec"), &spec.spec, SPEC_BYTES_MAX)?;
    optional_name(&format!("{field}.volume"), &spec.volume, VOLUME_BYTES_MAX)
}

macro_rules! nothing_to_check {
    ($($message:ident),*) => {
        $(impl Check for v1::$message {
            fn check(&self) -> Result<()> {
                let Self {} = self;
                Ok(())
            }
        })*
    };
}

nothing_to_check!(ListAgentsRequest, ListVolumesRequest, StatsRequest, ListKeysRequest);

macro_rules! check {
    ($($message:ident: |$this:ident| $body:expr;)*) => {
        $(impl Check for v1::$message {
            fn check(&self) -> Result<()> {
                let $this = self;
                $body
            }
        })*
    };
}

check! {
    ListSnapshotsRequest: |r| optional_name("volume", &r.volume, VOLUME_BYTES_MAX);
    GetSnapshotRequest: |r| snapshot("snapshot", r.snapshot.as_ref());
    RunBackupRequest: |r| {
        check_name("volume", &r.volume, VOLUME_BYTES_MAX)?;
        tags("tags", &r.tags)
    };
    RestoreRequest: |r| {
        snapshot("snapshot", r.snapshot.as_ref())?;
        path_bytes("path", &r.path, PATH_BYTES_MAX)?;
        patterns("patterns", &r.patterns)?;
        folder("target", &r.target)?;
        existing("existing", r.existing)?;
        optional_name("agent_id", &r.agent_id, HOST_BYTES_MAX)
    };
    ListRunsRequest: |r| {
        optional_name("volume", &r.volume, VOLUME_BYTES_MAX)?;
        match r.limit > RUNS_LISTED_MAX {
            true => Err(bad("limit", format!("{}; {RUNS_LISTED_MAX} are allowed", r.limit))),
            false => Ok(()),
        }
    };
    WatchRunRequest: |r| id("run_id", &r.run_id);
    CancelRunRequest: |r| id("run_id", &r.run_id);
    ListEntriesRequest: |r| {
        snapshot("snapshot", r.snapshot.as_ref())?;
        path_bytes("path", &r.path, PATH_BYTES_MAX)
    };
    FindEntriesRequest: |r| {
        snapshot("snapshot", r.snapshot.as_ref())?;
        match r.patterns.is_empty() {
            true => Err(bad("patterns", "missing")),
            false => patterns("patterns", &r.patterns),
        }
    };
    DiffRequest: |r| {
        snapshot("older", r.older.as_ref())?;
        snapshot("newer", r.newer.as_ref())
    };
    CatRequest: |r| {
        snapshot("snapshot", r.snapshot.as_ref())?;
        match r.path.is_empty() {
            true => Err(bad("path", "missing")),
            false => path_bytes("path", &r.path, PATH_BYTES_MAX),
        }
    };
    VerifyRequest: |r| snapshot("snapshot", r.snapshot.as_ref());
    RetentionRules: |r| {
        age("rules.within_seconds", r.within_seconds)?;
        age("rules.age_seconds_min", Some(r.age_seconds_min))?;
        tags("rules.tags", &r.tags)
    };
    ForgetRequest: |r| {
        snapshot_names("snapshots", &r.snapshots)?;
        optional_name("volume", &r.volume, VOLUME_BYTES_MAX)?;
        r.rules.as_ref().map_or(Ok(()), Check::check)?;
        if !r.snapshots.is_empty() && r.rules.is_some() {
            return Err(bad("rules", "given together with snapshots"));
        }
        at_most("share_percent_max", r.share_percent_max.unwrap_or(0), 100)?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    UnforgetRequest: |r| {
        check_name("snapshot", &r.snapshot, SPEC_BYTES_MAX)?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    PinRequest: |r| {
        check_name("snapshot", &r.snapshot, SPEC_BYTES_MAX)?;
        optional_name("volume", &r.volume, VOLUME_BYTES_MAX)?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    ListHealthRequest: |r| optional_name("volume", &r.volume, VOLUME_BYTES_MAX);
    MaintenanceSpec: |s| match &s.spec {
        None => Err(bad("spec", "missing, or not a known kind of task")),
        Some(v1::maintenance_spec::Spec::Forget(v1::ForgetTask {})) => Ok(()),
        Some(v1::maintenance_spec::Spec::Gc(g)) => {
            age("spec.gc.fence_after_seconds", g.fence_after_seconds)?;
            at_most("spec.gc.live_percent_below", g.live_percent_below.unwrap_or(0), 100)
        }
        Some(v1::maintenance_spec::Spec::Scrub(s)) => {
            at_most("spec.scrub.share_percent", s.share_percent.unwrap_or(0), 100)?;
            age("spec.scrub.older_than_seconds", s.older_than_seconds)
        }
        Some(v1::maintenance_spec::Spec::RestoreTest(r)) => {
            let field = "spec.restore_test.volumes";
            count(field, r.volumes.len(), VOLUMES_MAX)?;
            r.volumes.iter().try_for_each(|v| check_name(field, v, VOLUME_BYTES_MAX))?;
            at_most("spec.restore_test.volumes_max", r.volumes_max.unwrap_or(0) as usize, VOLUMES_MAX)
        }
        Some(v1::maintenance_spec::Spec::Verify(r)) => {
            optional_name("spec.verify.volume", &r.volume, VOLUME_BYTES_MAX)
        }
        Some(v1::maintenance_spec::Spec::Repair(r)) => {
            if r.what() == v1::repair_task::What::Unspecified {
                return Err(bad("spec.repair.what", format!("{} is not a known repair", r.what)));
            }
            optional_name("spec.repair.volume", &r.volume, VOLUME_BYTES_MAX)?;
            snapshot_names("spec.repair.snapshots", &r.snapshots)
        }
        Some(v1::maintenance_spec::Spec::Copy(c)) => {
            check_name("spec.copy.to", &c.to, DESTINATION_BYTES_MAX)?;
            snapshot_names("spec.copy.snapshots", &c.snapshots)?;
            optional_name("spec.copy.volume", &c.volume, VOLUME_BYTES_MAX)?;
            from_one("spec.copy.newest", c.newest.map(i64::from), SNAPSHOTS_NEWEST_MAX)?;
            from_one("spec.copy.zstd_level", c.zstd_level.map(i64::from), ZSTD_LEVEL_MAX)
        }
        Some(v1::maintenance_spec::Spec::Mirror(m)) => {
            check_name("spec.mirror.to", &m.to, DESTINATION_BYTES_MAX)?;
            at_most("spec.mirror.share_percent_max", m.share_percent_max.unwrap_or(0), 100)
        }
        Some(v1::maintenance_spec::Spec::Lock(l)) => {
            from_one("spec.lock.days", l.days.map(i64::from), i64::from(LOCK_DAYS_MAX))
        }
    };
    StartMaintenanceRequest: |r| {
        r.spec.as_ref().ok_or_else(|| bad("spec", "missing"))?.check()?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    ListMaintenanceRequest: |r| at_most("limit", r.limit, RUNS_LISTED_MAX);
    GetMaintenanceRequest: |r| id("task_id", &r.task_id);
    CancelMaintenanceRequest: |r| id("task_id", &r.task_id);
    WatchMaintenanceRequest: |r| id("task_id", &r.task_id);
    MeasureRequest: |r| match &r.what {
        None => Err(bad("what", "missing")),
        Some(v1::measure_request::What::Detail(v1::MeasureDetail {})) => Ok(()),
        Some(v1::measure_request::What::Between(b)) => {
            snapshot("between.older", b.older.as_ref())?;
            snapshot("between.newer", b.newer.as_ref())?;
            at_most("between.top", b.top, TOP_MAX)
        }
        Some(v1::measure_request::What::WouldFree(w)) => {
            snapshot_names("would_free.snapshots", &w.snapshots)?;
            optional_name("would_free.volume", &w.volume, VOLUME_BYTES_MAX)?;
            w.rules.as_ref().map_or(Ok(()), Check::check)?;
            match w.snapshots.is_empty() == w.rules.is_none() {
                true => Err(bad("would_free", "name snapshots, or give rules")),
                false => Ok(()),
            }
        }
    };
    AddKeyRequest: |r| {
        check_name("recipient", &r.recipient, TAG_BYTES_MAX)?;
        if r.role() == v1::add_key_request::Role::Unspecified {
            return Err(bad("role", format!("{} is not a known role", r.role)));
        }
        optional_name("label", &r.label, TAG_BYTES_MAX)?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    RemoveKeyRequest: |r| {
        check_name("which", &r.which, TAG_BYTES_MAX)?;
        optional_name("reason", &r.reason, REASON_BYTES_MAX)
    };
    RotateKeysRequest: |r| optional_name("reason", &r.reason, REASON_BYTES_MAX);
    ListAuditRequest: |r| {
        optional_name("kind", &r.kind, TAG_BYTES_MAX)?;
        at_most("newest", r.newest, LISTED_MAX)
    };
    LookupRequest: |r| super::ids_from_wire(r).map(drop);
    BackupJob: |j| {
        check_name("backup.volume", &j.volume, VOLUME_BYTES_MAX)?;
        tags("backup.tags", &j.tags)
    };
    RestoreJob: |j| {
        id("restore.snapshot", &j.snapshot)?;
        path_bytes("restore.path", &j.path, PATH_BYTES_MAX)?;
        patterns("restore.patterns", &j.patterns)?;
        folder("restore.target", &j.target)?;
        existing("restore.existing", j.existing)
    };
    Volume: |v| {
        check_name("volumes.name", &v.name, VOLUME_BYTES_MAX)?;
        optional_name("volumes.host", &v.host, HOST_BYTES_MAX)?;
        folder("volumes.path", &v.path)
    };
    Arrival: |a| {
        check_name("node", &a.node, HOST_BYTES_MAX)?;
        optional_name("version", &a.version, VERSION_BYTES_MAX)
    };
    Sightings: |s| {
        count("volumes", s.volumes.len(), VOLUMES_MAX)?;
        s.volumes.iter().try_for_each(|s| {
            check_name("volumes.volume", &s.volume, VOLUME_BYTES_MAX)?;
            optional_name("volumes.pod_uid", &s.pod_uid, HOST_BYTES_MAX)?;
            optional_name("volumes.what", &s.what, REASON_BYTES_MAX)
        })
    };
    Volumes: |v| {
        count("volumes", v.volumes.len(), VOLUMES_MAX)?;
        v.volumes.iter().try_for_each(Check::check)?;
        count("restore_roots", v.restore_roots.len(), RESTORE_ROOTS_MAX)?;
        v.restore_roots.iter().try_for_each(|r| folder("restore_roots", r))
    };
    Hello: |h| {
        check_name("agent_id", &h.agent_id, HOST_BYTES_MAX)?;
        optional_name("host", &h.host, HOST_BYTES_MAX)?;
        optional_name("version", &h.version, VERSION_BYTES_MAX)?;
        count("volumes", h.volumes.len(), VOLUMES_MAX)?;
        h.volumes.iter().try_for_each(Check::check)?;
        count("restore_roots", h.restore_roots.len(), RESTORE_ROOTS_MAX)?;
        h.restore_roots.iter().try_for_each(|r| folder("restore_roots", r))?;
        count("jobs", h.jobs.len(), JOBS_MAX)?;
        match h.jobs_max == 0 || h.jobs_max > JOBS_AT_ONCE_MAX {
            true => Err(bad("jobs_max", format!("{}; 1 to {JOBS_AT_ONCE_MAX} are allowed", h.jobs_max))),
            false => Ok(()),
        }
    };
}

/// Cuts a text for people that is longer than anybody reads.
pub(super) fn cut(mut text: String) -> String {
    const TEXT_BYTES_MAX: usize = 4096;
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(" ... (cut)");
    }
    text
}
