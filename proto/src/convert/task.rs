//! Maintenance tasks; specs and results also as bytes, for the coordinator's log.

use prost::Message as _;
use repository::retention::Rules;
use repository::{Error, ErrorKind, Result};

use super::check::{Check as _, LIST_ITEMS_MAX, cut};
use super::report::{
    failure_from_wire, failure_to_wire, figures_from_wire, figures_to_wire, problems_from_wire,
    problems_to_wire,
};
use super::{bad, fixed};
use crate::task::{
    CopySpec, GcSpec, LockSpec, MirrorSpec, RepairSpec, RestoreTestSpec, ScrubSpec, TaskId, TaskResult,
    TaskSpec,
};
use crate::v1;
use crate::v1::maintenance_spec::Spec;
use crate::v1::repair_task::What;

/// A task's id.
pub fn task_id_from_wire(bytes: &[u8]) -> Result<TaskId> {
    fixed(bytes, "task id").map(TaskId)
}

/// What to do.
#[must_use]
pub fn task_spec_to_wire(spec: &TaskSpec) -> v1::MaintenanceSpec {
    let spec = match spec.clone() {
        TaskSpec::Forget => Spec::Forget(v1::ForgetTask {}),
        TaskSpec::Gc(g) => {
            let GcSpec { dry_run, fence_after_seconds, bytes_max, requests_max, .. } = g;
            Spec::Gc(v1::GcTask {
                dry_run,
                fence_after_seconds,
                bytes_max,
                requests_max,
                live_percent_below: g.live_percent_below.map(u32::from),
                reencrypt_below_epoch: g.reencrypt_below_epoch,
            })
        }
        TaskSpec::Scrub(s) => Spec::Scrub(v1::ScrubTask {
            bytes_max: s.bytes_max,
            share_percent: s.share_percent.map(u32::from),
            older_than_seconds: s.older_than_seconds,
            no_quarantine: s.no_quarantine,
        }),
        TaskSpec::RestoreTest(r) => {
            let RestoreTestSpec { volumes, volumes_max, bytes_max } = r;
            Spec::RestoreTest(v1::RestoreTestTask { volumes, volumes_max, bytes_max })
        }
        TaskSpec::Verify { volume, quick } => {
            Spec::Verify(v1::VerifyTask { volume: volume.unwrap_or_default(), quick })
        }
        TaskSpec::Repair(r) => Spec::Repair(repair_to_wire(r)),
        TaskSpec::Copy(c) => {
            let CopySpec { to, snapshots, volume, newest, retry_partial, zstd_level } = c;
            let volume = volume.unwrap_or_default();
            Spec::Copy(v1::CopyTask { to, snapshots, volume, newest, retry_partial, zstd_level })
        }
        TaskSpec::Mirror(m) => {
            let MirrorSpec { to, delete, share_percent_max, compare_bytes } = m;
            let share_percent_max = share_percent_max.map(u32::from);
            Spec::Mirror(v1::MirrorTask { to, delete, share_percent_max, compare_bytes })
        }
        TaskSpec::Lock(LockSpec { days, dry_run }) => Spec::Lock(v1::LockTask { days, dry_run }),
    };
    v1::MaintenanceSpec { spec: Some(spec) }
}

/// The reverse; a task of a kind that we don't know is refused.
pub fn task_spec_from_wire(spec: Option<v1::MaintenanceSpec>) -> Result<TaskSpec> {
    let spec = spec.ok_or_else(|| bad("spec", "missing"))?;
    spec.check()?;
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    Ok(match spec.spec {
        Some(Spec::Forget(v1::ForgetTask {})) => TaskSpec::Forget,
        Some(Spec::Gc(g)) => {
            let v1::GcTask { dry_run, fence_after_seconds, bytes_max, requests_max, .. } = g;
            TaskSpec::Gc(GcSpec {
                dry_run,
                fence_after_seconds,
                bytes_max,
                requests_max,
                live_percent_below: g.live_percent_below.and_then(|p| u8::try_from(p).ok()),
                reencrypt_below_epoch: g.reencrypt_below_epoch,
            })
        }
        Some(Spec::Scrub(s)) => TaskSpec::Scrub(ScrubSpec {
            bytes_max: s.bytes_max,
            share_percent: s.share_percent.and_then(|p| u8::try_from(p).ok()),
            older_than_seconds: s.older_than_seconds,
            no_quarantine: s.no_quarantine,
        }),
        Some(Spec::RestoreTest(r)) => {
            let v1::RestoreTestTask { volumes, volumes_max, bytes_max } = r;
            TaskSpec::RestoreTest(RestoreTestSpec { volumes, volumes_max, bytes_max })
        }
        Some(Spec::Verify(v)) => TaskSpec::Verify { volume: some(v.volume), quick: v.quick },
        Some(Spec::Repair(r)) => TaskSpec::Repair(repair_from_wire(r)?),
        Some(Spec::Copy(c)) => {
            let v1::CopyTask { to, snapshots, volume, newest, retry_partial, zstd_level } = c;
            let volume = some(volume);
            TaskSpec::Copy(CopySpec { to, snapshots, volume, newest, retry_partial, zstd_level })
        }
        Some(Spec::Mirror(m)) => {
            let v1::MirrorTask { to, delete, share_percent_max, compare_bytes } = m;
            let share_percent_max = share_percent_max.and_then(|p| u8::try_from(p).ok());
            TaskSpec::Mirror(MirrorSpec { to, delete, share_percent_max, compare_bytes })
        }
        Some(Spec::Lock(v1::LockTask { days, dry_run })) => TaskSpec::Lock(LockSpec { days, dry_run }),
        None => return Err(bad("spec", "not a known kind of task")),
    })
}

fn repair_to_wire(spec: RepairSpec) -> v1::RepairTask {
    match spec {
        RepairSpec::Index { all, dry_run } => {
            v1::RepairTask { what: What::Index.into(), all, dry_run, ..v1::RepairTask::default() }
        }
        RepairSpec::Quarantine { dry_run } => {
            v1::RepairTask { what: What::Quarantine.into(), dry_run, ..v1::RepairTask::default() }
        }
        RepairSpec::Snapshots { snapshots, volume, forget, dry_run } => v1::RepairTask {
            what: What::Snapshots.into(),
            snapshots,
            volume: volume.unwrap_or_default(),
            forget,
            dry_run,
            ..v1::RepairTask::default()
        },
    }
}

fn repair_from_wire(r: v1::RepairTask) -> Result<RepairSpec> {
    let (what, dry_run) = (r.what(), r.dry_run);
    match what {
        What::Index => Ok(RepairSpec::Index { all: r.all, dry_run }),
        What::Quarantine => Ok(RepairSpec::Quarantine { dry_run }),
        What::Snapshots => {
            let volume = Some(r.volume).filter(|v| !v.is_empty());
            Ok(RepairSpec::Snapshots { snapshots: r.snapshots, volume, forget: r.forget, dry_run })
        }
        What::Unspecified => Err(bad("spec.repair.what", "missing")),
    }
}

/// How it ended.
#[must_use]
pub fn task_result_to_wire(r: &TaskResult) -> v1::MaintenanceResult {
    let lists = r.lists.iter().map(|(name, items)| v1::NamedList {
        name: name.clone(),
        items: items.iter().take(LIST_ITEMS_MAX).cloned().collect(),
    });
    v1::MaintenanceResult {
        failure: r.failure.as_ref().map(failure_to_wire),
        figures: Some(figures_to_wire(&r.figures)),
        complete: r.complete,
        note: r.note.clone(),
        counts: r
            .counts
            .iter()
            .map(|(name, value)| v1::Count { name: name.clone(), value: *value })
            .collect(),
        lists: lists.collect(),
        problems: Some(problems_to_wire(&r.problems)),
    }
}

/// The reverse.
#[must_use]
pub fn task_result_from_wire(r: v1::MaintenanceResult) -> TaskResult {
    let list = |l: v1::NamedList| {
        (cut(l.name), l.items.into_iter().take(LIST_ITEMS_MAX).map(cut).collect::<Vec<_>>())
    };
    TaskResult {
        failure: r.failure.map(failure_from_wire),
        figures: figures_from_wire(r.figures.as_ref()),
        complete: r.complete,
        note: cut(r.note),
        counts: r.counts.into_iter().take(LIST_ITEMS_MAX).map(|c| (cut(c.name), c.value)).collect(),
        lists: r.lists.into_iter().take(LIST_ITEMS_MAX).map(list).collect(),
        problems: problems_from_wire(r.problems),
    }
}

/// What to keep.
#[must_use]
pub fn rules_to_wire(r: &Rules) -> v1::RetentionRules {
    let Rules { last, hourly, daily, weekly, monthly, yearly, within_seconds, tags, age_seconds_min } =
        r.clone();
    v1::RetentionRules { last, hourly, daily, weekly, monthly, yearly, within_seconds, tags, age_seconds_min }
}

/// The reverse.
pub fn rules_from_wire(r: v1::RetentionRules) -> Result<Rules> {
    r.check()?;
    let v1::RetentionRules {
        last,
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        within_seconds,
        tags,
        age_seconds_min,
    } = r;
    Ok(Rules { last, hourly, daily, weekly, monthly, yearly, within_seconds, tags, age_seconds_min })
}

/// A task's spec as bytes.
#[must_use]
pub fn encode_task_spec(spec: &TaskSpec) -> Vec<u8> {
    task_spec_to_wire(spec).encode_to_vec()
}

/// The reverse.
pub fn decode_task_spec(bytes: &[u8]) -> Result<TaskSpec> {
    let spec = v1::MaintenanceSpec::decode(bytes);
    task_spec_from_wire(Some(spec.map_err(|e| Error::with_source(ErrorKind::Damaged, "decode task", e))?))
}

/// A result as bytes.
#[must_use]
pub fn encode_task_result(result: &TaskResult) -> Vec<u8> {
    task_result_to_wire(result).encode_to_vec()
}

/// The reverse.
pub fn decode_task_result(bytes: &[u8]) -> Result<TaskResult> {
    let result = v1::MaintenanceResult::decode(bytes);
    let bad = |e| Error::with_source(ErrorKind::Damaged, "decode task result", e);
    result.map(task_result_from_wire).map_err(bad)
}
