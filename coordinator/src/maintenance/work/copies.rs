//! Copies, mirrors and locks as tasks.

use std::time::Duration;

use proto::task::{CopySpec, LockSpec, MirrorSpec, TaskResult};
use repository::ops::Task;
use repository::ops::copy::{CopyReport, CopyRequest, Fate};
use repository::ops::forget::Because;
use repository::ops::lock::LockRequest;
use repository::ops::mirror::MirrorRequest;
use repository::{Error, ErrorKind, Result};

use super::counts;
use crate::core::{Core, Running};
use crate::limits::CANCEL_SECONDS;
use crate::maintenance::destination;
use crate::maintenance::settings::DAY_SECONDS;

impl Core {
    pub(super) async fn copy_to(
        &self,
        spec: &CopySpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        let to = destination::get(&self.keeper.settings.destinations, &spec.to)?;
        let settings = to.copies()?;
        running.say(format!("to {}", to.name));
        let volume = spec.volume.clone().or_else(|| settings.volume.clone());
        let mut snapshots = Vec::new();
        for name in &spec.snapshots {
            snapshots.push(self.engine.snapshot(name, volume.as_deref()).await?.id);
        }
        let newest = spec.newest.or(settings.newest);
        let request = CopyRequest {
            snapshots,
            volume,
            newest: newest.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            retry_partial: spec.retry_partial.unwrap_or(settings.retry_partial),
            zstd_level: spec.zstd_level.unwrap_or(settings.zstd_level),
            memory_bytes_max: to.memory_bytes_max,
        };
        let copied = self.engine.copy(to, &request, because, &running.task);
        unless_stuck(&running.task, copied).await.map(copy_result)
    }

    pub(super) async fn mirror_to(
        &self,
        spec: &MirrorSpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        let to = destination::get(&self.keeper.settings.destinations, &spec.to)?;
        let settings = to.mirror()?;
        // Who asks may hold less than the operator does: a request tightens what is configured, and never widens it.
        let share = spec.share_percent_max.unwrap_or(settings.share_percent_max);
        let request = MirrorRequest {
            delete: settings.delete && spec.delete.unwrap_or(true),
            delete_share_max: share.min(settings.share_percent_max),
            compare_bytes: spec.compare_bytes.unwrap_or(settings.compare_bytes),
            memory_bytes_max: to.memory_bytes_max,
        };
        let kept =
            if spec.delete == Some(true) && !request.delete { "; configured not to delete" } else { "" };
        running.say(format!("to {}{kept}", to.name));
        let mirrored = self.engine.mirror(to, &request, because, &running.task);
        let r = unless_stuck(&running.task, mirrored).await?;
        let counts = counts([
            ("objects", r.objects),
            ("bytes", r.bytes),
            ("copied", r.copied),
            ("bytes_copied", r.bytes_copied),
            ("vanished", r.vanished),
            ("deleted", r.deleted),
            ("bytes_deleted", r.bytes_deleted),
            ("leftovers", r.leftovers),
            ("rounds", r.rounds),
            ("different", r.different.count()),
        ]);
        Ok(TaskResult { complete: true, counts, problems: r.different, ..TaskResult::default() })
    }

    pub(super) async fn lock(
        &self,
        spec: &LockSpec,
        because: &Because,
        running: &Running,
    ) -> Result<TaskResult> {
        let missing = "for how many days? say --days, or configure maintenance.lock.days";
        let days = spec.days.or(self.keeper.settings.lock.days);
        let days = days.ok_or_else(|| Error::new(ErrorKind::Input, missing))?;
        let request = LockRequest { seconds: u64::from(days) * DAY_SECONDS, dry_run: spec.dry_run };
        let locked = self.engine.lock(request, because, &running.task);
        let r = unless_stuck(&running.task, locked).await?;
        let counts =
            counts([("objects", r.objects), ("due", r.due), ("extended", r.extended), ("longer", r.longer)]);
        Ok(TaskResult { complete: true, counts, problems: r.problems, ..TaskResult::default() })
    }
}

/// Ends work that was told to end and does not: a store that never answers must not hold the queue. All of it goes on, or
/// begins again, from what the stores say.
async fn unless_stuck<T>(task: &Task, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = task.cancel.cancelled() => {}
    }
    let ended = tokio::time::timeout(Duration::from_secs(CANCEL_SECONDS), work).await;
    ended.unwrap_or_else(|_| Err(Error::new(ErrorKind::Cancelled, "cancelled; a store did not answer")))
}

fn copy_result(report: CopyReport) -> TaskResult {
    let mut result = TaskResult { complete: true, ..TaskResult::default() };
    let (mut copied, mut failed) = (Vec::new(), Vec::new());
    let (mut already, mut partial, mut lost_count) = (0, 0, 0);
    let (mut bytes_read, mut bytes_new, mut bytes_stored) = (0, 0, 0);
    let total = report.snapshots.len() as u64;
    for s in report.snapshots {
        bytes_read += s.figures.bytes_read;
        bytes_new += s.figures.bytes_new;
        bytes_stored += s.figures.bytes_stored;
        match s.fate {
            Fate::Copied { id, lost } => {
                copied.push(format!("{} as {id}", s.source));
                partial += u64::from(!lost.is_empty());
                lost_count += lost.count();
                result.problems.merge(lost);
            }
            Fate::Already { lost, .. } => {
                already += 1;
                partial += u64::from(lost > 0);
            }
            Fate::Failed(e) => {
                failed.push(s.source.to_string());
                result.problems.push(s.source.to_string().as_bytes(), e.chain());
            }
        }
    }
    for error in report.damaged {
        result.problems.push(b"", error.chain());
    }
    result.counts = counts([
        ("snapshots", total),
        ("copied", copied.len() as u64),
        ("already", already),
        ("partial", partial),
        ("failed", failed.len() as u64),
        ("lost", lost_count),
        ("bytes_read", bytes_read),
        ("bytes_new", bytes_new),
        ("bytes_stored", bytes_stored),
    ]);
    result.lists = [("copied".to_owned(), copied), ("failed".to_owned(), failed)].into();
    result
}
