//! What each kind of task does: a few calls of the engine, and figures by name.

mod copies;
mod heal;

use std::time::Duration;

use proto::task::{GcSpec, TaskResult, TaskSpec};
use repository::ids::Sid;
use repository::ops::forget::Because;
use repository::ops::gc::{Alive, Compaction, GcReport, GcRequest};
use repository::ops::noted::gc_figures;
use repository::ops::verify::Level;
use repository::{Error, ErrorKind, Result};

use super::record::Record;
use super::retention::{Retention, decide};
use crate::core::{Core, Running};
use crate::limits::WAIT_LOOK_SECONDS;

impl Core {
    /// Does it. Ends early with [`ErrorKind::Cancelled`] when it is told to stop.
    pub(crate) async fn work(&self, record: &Record, running: &Running) -> Result<TaskResult> {
        let mut because = Because { by: record.by.clone(), why: record.reason.clone() };
        if record.spec == TaskSpec::Forget && because.why.is_empty() {
            because.why = "no retention rule keeps it".to_owned();
        }
        match &record.spec {
            TaskSpec::Forget => self.forget_by_rules(&because, running).await,
            TaskSpec::Gc(spec) => self.collect(spec, &because, running).await,
            TaskSpec::Verify { volume, quick } => self.verify_all(volume.as_deref(), *quick, running).await,
            TaskSpec::Scrub(spec) => self.scrub(spec, &because, running).await,
            TaskSpec::RestoreTest(spec) => self.test_restores(spec, &because, running).await,
            TaskSpec::Repair(spec) => self.repair(spec, &because, running).await,
            TaskSpec::Copy(spec) => self.copy_to(spec, &because, running).await,
            TaskSpec::Mirror(spec) => self.mirror_to(spec, &because, running).await,
            TaskSpec::Lock(spec) => self.lock(spec, &because, running).await,
        }
    }

    async fn forget_by_rules(&self, because: &Because, running: &Running) -> Result<TaskResult> {
        let rules = &self.keeper.settings.retention;
        let (candidates, damaged) = self.engine.candidates(None).await?;
        let decided = decide(candidates, rules, self.env.now(), None);
        running.task.check()?;
        let (forgotten, ended) = self.engine.forget(&decided.allowed(rules), because, &running.task).await;
        let mut result = TaskResult { complete: true, ..TaskResult::default() };
        let kept = decided.plan.decisions.len() as u64 - forgotten;
        result.counts =
            counts([("snapshots", decided.plan.decisions.len() as u64), ("forgotten", forgotten)]);
        result.counts.insert("kept".to_owned(), kept);
        result.counts.insert("tripped".to_owned(), decided.tripped.len() as u64);
        for error in damaged {
            result.problems.push(b"", error.chain());
        }
        let failed = ended.err().or_else(|| tripped(&decided));
        result.failure = failed.as_ref().map(Into::into);
        Ok(result)
    }

    /// Runs until it is done, or has waited for writers long enough.
    async fn collect(&self, spec: &GcSpec, because: &Because, running: &Running) -> Result<TaskResult> {
        let settings = &self.keeper.settings.gc;
        let fence_after_seconds = spec.fence_after_seconds.unwrap_or(settings.fence_after_seconds);
        let live = self.keeper.live.clone();
        let alive = match fence_after_seconds {
            // Whoever says 0 means everybody.
            0 => Alive::unknown(),
            _ => Alive::when(move |session| live.knows(session)),
        };
        let until = self.env.now().plus_seconds(i64::try_from(settings.wait_seconds).unwrap_or(i64::MAX));
        let (mut look, look_max) = WAIT_LOOK_SECONDS;
        let unless_said = Compaction::default();
        let compaction = Compaction {
            live_percent_below: spec.live_percent_below.unwrap_or(unless_said.live_percent_below),
            bytes_max: spec.bytes_max.unwrap_or(settings.bytes_max),
            requests_max: spec.requests_max.unwrap_or(settings.requests_max),
            reencrypt_below_epoch: spec.reencrypt_below_epoch,
        };
        let request = GcRequest { fence_after_seconds, alive, dry_run: spec.dry_run, compaction };
        let mut before = GcReport::default();
        loop {
            running.say(String::new());
            let mut report = self.engine.collect(request.clone(), because, &running.task).await?;
            add(&mut report, before);
            if report.done || spec.dry_run || self.env.now() >= until {
                return Ok(gc_result(&report, spec.dry_run));
            }
            running.say(format!("waiting for {} sessions that are still at work", report.waiting_for.len()));
            tokio::select! {
                () = running.task.cancel.cancelled() => running.task.check()?,
                () = tokio::time::sleep(Duration::from_secs(look)) => {}
            }
            look = (look * 2).min(look_max);
            before = report;
        }
    }

    async fn verify_all(&self, volume: Option<&str>, quick: bool, running: &Running) -> Result<TaskResult> {
        let (all, damaged) = self.engine.snapshots().await?;
        let level = if quick { Level::Quick } else { Level::Full };
        let mut result = TaskResult { complete: true, ..TaskResult::default() };
        for error in damaged {
            result.problems.push(b"", error.chain());
        }
        let (mut snapshots, mut bad) = (0, Vec::new());
        for snapshot in all.iter().filter(|s| volume.is_none_or(|v| s.manifest.volume == v)) {
            running.task.check()?;
            running.say(format!("snapshot {} of {}", snapshot.id, snapshot.manifest.volume));
            let report = self.engine.verify(snapshot, &level, &running.task).await?;
            snapshots += 1;
            if !report.problems.is_empty() {
                bad.push(snapshot.id.to_string());
            }
            result.problems.merge(report.problems);
        }
        result.counts = counts([("snapshots", snapshots), ("damaged_snapshots", bad.len() as u64)]);
        result.lists.insert("damaged_snapshots".to_owned(), bad);
        Ok(result)
    }
}

/// What was fenced and copied before the run waited: going on does not do it again.
fn add(report: &mut GcReport, before: GcReport) {
    report.fenced.extend(before.fenced);
    report.compacted += before.compacted;
    report.copied_bytes += before.copied_bytes;
    report.copies += before.copies;
    report.copies_bytes += before.copies_bytes;
    report.compaction_waiting += before.compaction_waiting;
    report.compaction_locked += before.compaction_locked;
    report.compaction_locked_bytes += before.compaction_locked_bytes;
    report.repaired += before.repaired;
    report.damaged.extend(before.damaged);
    report.compaction_stopped = report.compaction_stopped.take().or(before.compaction_stopped);
}

/// The breaker's words, as a failure: somebody should look.
fn tripped(decided: &Retention) -> Option<Error> {
    let one = |(volume, e): &(String, _)| format!("volumes {volume}: {e}");
    let words: Vec<String> = decided.tripped.iter().map(one).collect();
    let what = format!("retention stopped, nothing of these was forgotten: {}", words.join("; "));
    (!words.is_empty()).then(|| Error::new(ErrorKind::Refused, what))
}

pub(super) fn counts<const N: usize>(all: [(&str, u64); N]) -> std::collections::BTreeMap<String, u64> {
    all.into_iter().map(|(name, n)| (name.to_owned(), n)).collect()
}

fn gc_result(report: &GcReport, dry_run: bool) -> TaskResult {
    let names = |sids: &[Sid]| sids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let waiting = match report.waiting_for.len() {
        0 => None,
        n => Some(format!("{n} sessions are still at work; nothing is deleted before they are done")),
    };
    let stopped = report.compaction_stopped.as_ref().map(|why| format!("copying stopped early: {why}"));
    let note = waiting.into_iter().chain(stopped).collect::<Vec<_>>().join("; ");
    let mut counts = gc_figures(report);
    counts.insert("generation".to_owned(), report.generation.0);
    let damaged = report.damaged.iter().map(ToString::to_string).collect();
    let lists = [
        ("fenced", names(&report.fenced)),
        ("waiting_for", names(&report.waiting_for)),
        ("damaged", damaged),
    ];
    TaskResult {
        complete: report.done || dry_run,
        note,
        counts,
        lists: lists.into_iter().map(|(name, list)| (name.to_owned(), list)).collect(),
        ..TaskResult::default()
    }
}
