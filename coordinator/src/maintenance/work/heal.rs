//! Scrubs, restore tests and repairs as tasks.

use proto::task::{RepairSpec, RestoreTestSpec, ScrubSpec, TaskResult, UNREADABLE};
use repository::env::Timestamp;
use repository::ops::forget::Because;
use repository::ops::repair::index::IndexRequest;
use repository::ops::repair::quarantine::{Fate, LiftReport};
use repository::ops::repair::snapshots::SnapshotRequest;
use repository::ops::restore_test::TestRequest;
use repository::ops::scrub::ScrubRequest;
use repository::ops::snapshots::Snapshot;
use repository::{Error, ErrorKind, Result};

use super::counts;
use crate::core::{Core, Running};
use crate::limits::TEST_MEMORY_BYTES;

impl Core {
    pub(super) async fn scrub(
        &self,
        spec: &ScrubSpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        let before = |s: u64| self.env.now().plus_seconds(-i64::try_from(s).unwrap_or(i64::MAX));
        let request = ScrubRequest {
            bytes_max: Some(spec.bytes_max.unwrap_or(self.keeper.settings.scrub.bytes_max)),
            share_percent: spec.share_percent,
            not_since: spec.older_than_seconds.map(before),
            no_quarantine: spec.no_quarantine,
        };
        let report = self.engine.scrub(&request, because, &running.task).await?;
        let damaged = report.damaged.iter().map(|d| d.pack.to_string()).collect();
        Ok(TaskResult {
            complete: true,
            counts: counts([
                ("packs_total", report.packs_total),
                ("bytes_total", report.bytes_total),
                ("packs", report.packs),
                ("bytes", report.bytes),
                ("blobs", report.blobs),
                ("quarantined", report.quarantined),
                ("damaged", report.damaged.len() as u64),
                ("never_verified", report.never),
                ("oldest_verification_unix_seconds", unix_seconds(report.oldest)),
            ]),
            lists: [("damaged".to_owned(), damaged)].into(),
            problems: report.problems,
            ..TaskResult::default()
        })
    }

    pub(super) async fn test_restores(
        &self,
        spec: &RestoreTestSpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        let settings = &self.keeper.settings.restore_test;
        let request = TestRequest {
            scratch: settings.scratch_dir.clone(),
            bytes_max: spec.bytes_max.unwrap_or(settings.bytes_max),
            against: None,
            memory_bytes_max: TEST_MEMORY_BYTES,
            by: because.by.clone(),
        };
        let made = tokio::fs::create_dir_all(&request.scratch).await;
        made.map_err(|e| {
            let what = format!("create the scratch folder {}", request.scratch.display());
            Error::with_source(ErrorKind::Target, what, e)
        })?;
        let most = match spec.volumes.is_empty() {
            true => usize::try_from(spec.volumes_max.unwrap_or(settings.volumes_max)).unwrap_or(usize::MAX),
            false => usize::MAX,
        };
        let mut result = TaskResult { complete: true, ..TaskResult::default() };
        let (mut tested, mut failed, mut files, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        for snapshot in self.engine.choose_tests(&spec.volumes, most).await? {
            running.task.check()?;
            running.say(format!("volume {}", snapshot.manifest.volume));
            let report = self.engine.test_restore(&snapshot, &request, &running.task).await?;
            tested.push(snapshot.manifest.volume.clone());
            if !report.problems.is_empty() {
                failed.push(snapshot.manifest.volume.clone());
            }
            files += report.files;
            bytes += report.bytes;
            result.problems.merge(report.problems);
        }
        result.counts = counts([
            ("volumes", tested.len() as u64),
            ("failed_volumes", failed.len() as u64),
            ("files", files),
            ("bytes", bytes),
        ]);
        result.lists = [("volumes".to_owned(), tested), ("failed_volumes".to_owned(), failed)].into();
        Ok(result)
    }

    pub(super) async fn repair(
        &self,
        spec: &RepairSpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        match spec {
            RepairSpec::Index { all, dry_run } => {
                let request = IndexRequest { all: *all, dry_run: *dry_run };
                let report = self.engine.repair_index(request, because, &running.task).await?;
                Ok(TaskResult {
                    complete: true,
                    counts: counts([
                        ("packs_total", report.packs_total),
                        ("packs", report.packs),
                        ("blobs", report.blobs),
                        ("deltas", report.deltas),
                    ]),
                    problems: report.problems,
                    ..TaskResult::default()
                })
            }
            RepairSpec::Quarantine { dry_run } => {
                let report = self.engine.lift_quarantine(*dry_run, because, &running.task).await?;
                Ok(lift_result(&report))
            }
            RepairSpec::Snapshots { snapshots, volume, forget, dry_run } => {
                let request = SnapshotRequest { dry_run: *dry_run, forget: *forget, by: because.by.clone() };
                self.repair_snapshots((snapshots, volume.as_deref()), &request, running).await
            }
        }
    }

    async fn repair_snapshots(
        &self,
        (specs, volume): (&[String], Option<&str>),
        request: &SnapshotRequest,
        running: &Running,
    ) -> Result<TaskResult> {
        let (all, damaged) = self.engine.snapshots().await?;
        let mut result = TaskResult { complete: true, ..TaskResult::default() };
        let unreadable = damaged.len() as u64;
        for error in damaged {
            result.problems.push(b"", error.chain());
        }
        let mut chosen: Vec<Snapshot> = Vec::new();
        if specs.is_empty() {
            chosen = self.engine.damaged_snapshots(&all).await?;
            chosen.retain(|s| volume.is_none_or(|v| s.manifest.volume == v));
        }
        for spec in specs {
            chosen.push(self.engine.snapshot(spec, volume).await?);
        }
        let (mut sound, mut copies, mut lost) = (0, Vec::new(), 0);
        for snapshot in &chosen {
            running.task.check()?;
            running.say(format!("snapshot {} of {}", snapshot.id, snapshot.manifest.volume));
            let report = self.engine.repair_snapshot(snapshot, &all, request, &running.task).await?;
            sound += u64::from(report.sound);
            copies.extend(report.copy.map(|c| format!("{} as {c}", snapshot.id)));
            lost += report.lost.count();
            result.problems.merge(report.lost);
        }
        let counted = [("snapshots", chosen.len() as u64), ("sound", sound), ("lost", lost)];
        result.counts = counts(counted);
        result.counts.insert(UNREADABLE.to_owned(), unreadable);
        result.counts.insert("repaired".to_owned(), copies.len() as u64);
        result.lists = [("repaired".to_owned(), copies)].into();
        Ok(result)
    }
}

fn unix_seconds(at: Option<Timestamp>) -> u64 {
    at.and_then(|t| u64::try_from(t.seconds()).ok()).unwrap_or(0)
}

/// What stays in quarantine is a problem of the task, by name.
fn lift_result(report: &LiftReport) -> TaskResult {
    let mut result = TaskResult { complete: true, ..TaskResult::default() };
    let mut lifted = Vec::new();
    for one in &report.packs {
        let name = one.pack.to_string();
        match &one.fate {
            Fate::Lifted { .. } => lifted.push(name),
            Fate::Damaged { what, .. } => result.problems.push(name.as_bytes(), what.clone()),
            Fate::Gone => result.problems.push(name.as_bytes(), "is gone"),
        }
    }
    result.counts = counts([("packs", report.packs.len() as u64), ("lifted", report.lifted())]);
    result.lists = [("lifted".to_owned(), lifted)].into();
    result
}
