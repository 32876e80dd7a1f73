//! Retention and maintenance as they stand in the file, and what they mean.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use jiff::tz::TimeZone;
use proto::convert::{AGE_SECONDS_MAX, LOCK_DAYS_MAX, TAG_BYTES_MAX, TAGS_MAX, VOLUMES_MAX, check_name};
use repository::retention::Rules;
use serde::Deserialize;

use crate::maintenance::retention::SHARE_PERCENT_MAX;
use crate::maintenance::settings::DAY_SECONDS;
use crate::maintenance::{Maintenance, RetentionRule, Timing, When};

/// What to keep of which volumes. Without any rule, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionLayer {
    /// A volume's name; `*` stands for any text.
    pub volume: String,
    /// The newest so many.
    pub keep_last: Option<u32>,
    /// One of each of the newest so many hours that have one.
    pub keep_hourly: Option<u32>,
    /// The same for days (UTC).
    pub keep_daily: Option<u32>,
    /// The same for weeks (from Monday).
    pub keep_weekly: Option<u32>,
    /// The same for months.
    pub keep_monthly: Option<u32>,
    /// The same for years.
    pub keep_yearly: Option<u32>,
    /// All that are not older.
    pub keep_within_seconds: Option<u64>,
    /// All with one of these labels.
    pub keep_tags: Vec<String>,
    /// Nothing younger is forgotten.
    pub age_seconds_min: Option<u64>,
    /// A run that would forget a larger share forgets nothing.
    pub share_percent_max: Option<u8>,
}

/// What runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaintenanceLayer {
    /// Applies retention.
    pub forget: TaskLayer,
    /// Deletes what no snapshot needs.
    pub gc: TaskLayer,
    /// Reads packs.
    pub scrub: TaskLayer,
    /// Restores and compares.
    pub restore_test: TaskLayer,
    /// Extends locks.
    pub lock: TaskLayer,
}

/// One kind of task. At most one of `cron` and `every_seconds`; the budgets that the kind has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskLayer {
    /// `false`: only when somebody asks.
    pub enabled: Option<bool>,
    /// At these times.
    pub cron: Option<String>,
    /// Again so long after its last beginning.
    pub every_seconds: Option<u64>,
    /// Only in this part of the day, such as `22:00-06:00`.
    pub window: Option<String>,
    /// Bytes that a run may read, copy or restore.
    pub bytes_max: Option<u64>,
    /// Requests that a run may spend.
    pub requests_max: Option<u64>,
    /// When a silent session counts as dead.
    pub fence_after_seconds: Option<u64>,
    /// How long a run waits for writers.
    pub wait_seconds: Option<u64>,
    /// Volumes of a run.
    pub volumes_max: Option<u32>,
    /// Folder to restore into.
    pub scratch_dir: Option<PathBuf>,
    /// For how long to lock.
    pub days: Option<u32>,
}

/// Longest interval.
const EVERY_SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;

/// All of it, checked; what is wrong is added to `wrong`.
pub(super) fn maintenance(
    layer: Option<MaintenanceLayer>,
    retention: Option<&[RetentionLayer]>,
    leader: Option<bool>,
    (state_dir, zone): (&Path, &TimeZone),
    wrong: &mut Vec<String>,
) -> Maintenance {
    let mut out = Maintenance::embedded(state_dir);
    out.leader = leader.unwrap_or(true);
    if let Some(rules) = retention {
        out.retention = rules.iter().map(|r| r.rule(wrong)).collect();
    }
    let layer = layer.unwrap_or_default();
    let mut kind = |name: &str, task: &TaskLayer, timing: &mut Timing, budgets: &[&str]| {
        let mut own = Vec::new();
        timing.zone = zone.clone();
        task.timing(timing, &mut own);
        task.check(budgets, &mut own);
        wrong.extend(own.into_iter().map(|what| format!("maintenance.{name}.{what}")));
    };
    let gc = ["bytes_max", "requests_max", "fence_after_seconds", "wait_seconds"];
    kind("forget", &layer.forget, &mut out.forget, &[]);
    kind("gc", &layer.gc, &mut out.gc.timing, &gc);
    kind("scrub", &layer.scrub, &mut out.scrub.timing, &["bytes_max"]);
    let test = ["bytes_max", "volumes_max", "scratch_dir"];
    kind("restore_test", &layer.restore_test, &mut out.restore_test.timing, &test);
    if layer.lock.days.is_some() {
        // As often as GC: what a day brought is locked the same day.
        out.lock.timing.when = When::Every { seconds: DAY_SECONDS };
    }
    kind("lock", &layer.lock, &mut out.lock.timing, &["days"]);
    out.lock.days = layer.lock.days;
    if layer.lock.days.is_none() && !matches!(out.lock.timing.when, When::Never) {
        wrong.push("maintenance.lock.days is missing: for how long?".to_owned());
    }
    let set = |to: &mut u64, value: Option<u64>| *to = value.unwrap_or(*to);
    set(&mut out.gc.bytes_max, layer.gc.bytes_max);
    set(&mut out.gc.requests_max, layer.gc.requests_max);
    set(&mut out.gc.fence_after_seconds, layer.gc.fence_after_seconds);
    set(&mut out.gc.wait_seconds, layer.gc.wait_seconds);
    set(&mut out.scrub.bytes_max, layer.scrub.bytes_max);
    set(&mut out.restore_test.bytes_max, layer.restore_test.bytes_max);
    let test = layer.restore_test;
    out.restore_test.volumes_max = test.volumes_max.unwrap_or(out.restore_test.volumes_max);
    out.restore_test.scratch_dir = test.scratch_dir.unwrap_or(out.restore_test.scratch_dir);
    out
}

impl TaskLayer {
    /// When, as configured; `timing` has what counts unless it is.
    pub(super) fn timing(&self, timing: &mut Timing, wrong: &mut Vec<String>) {
        match (&self.cron, self.every_seconds) {
            (Some(_), Some(_)) => wrong.push("cron and every_seconds exclude each other".to_owned()),
            (Some(text), None) => match croner::Cron::from_str(text) {
                Ok(cron) => timing.when = When::Cron(Box::new(cron)),
                Err(e) => wrong.push(format!("cron {text:?}: {e}")),
            },
            (None, Some(seconds)) if (1..=EVERY_SECONDS_MAX).contains(&seconds) => {
                timing.when = When::Every { seconds };
            }
            (None, Some(seconds)) => {
                wrong.push(format!("every_seconds {seconds}: 1 to {EVERY_SECONDS_MAX} are allowed"));
            }
            (None, None) => {}
        }
        match self.window.as_deref().map(str::parse).transpose() {
            Ok(window) => timing.window = window,
            Err(e) => wrong.push(format!("window {e}")),
        }
        if self.enabled == Some(false) {
            if self.cron.is_some() || self.every_seconds.is_some() {
                wrong.push("enabled is false, and yet it has a schedule".to_owned());
            }
            timing.when = When::Never;
        }
    }

    /// A budget that does nothing makes people believe in a bound that is not there.
    fn check(&self, budgets: &[&str], wrong: &mut Vec<String>) {
        let given = [
            ("bytes_max", self.bytes_max.map(|n| n == 0)),
            ("requests_max", self.requests_max.map(|n| n == 0)),
            ("fence_after_seconds", self.fence_after_seconds.map(|n| n == 0 || n > AGE_SECONDS_MAX)),
            ("wait_seconds", self.wait_seconds.map(|n| n > EVERY_SECONDS_MAX)),
            ("volumes_max", self.volumes_max.map(|n| n == 0 || n as usize > VOLUMES_MAX)),
            ("days", self.days.map(|n| n == 0 || n > LOCK_DAYS_MAX)),
            ("scratch_dir", self.scratch_dir.as_ref().map(|d| !d.is_absolute())),
        ];
        for (name, out_of_range) in given {
            match out_of_range {
                Some(_) if !budgets.contains(&name) => wrong.push(format!("{name}: there is no such budget")),
                Some(true) if name == "scratch_dir" => wrong.push(format!("{name} must be absolute")),
                Some(true) => wrong.push(format!("{name} is out of range")),
                _ => {}
            }
        }
    }
}

impl RetentionLayer {
    fn rule(&self, wrong: &mut Vec<String>) -> RetentionRule {
        let mut refuse = |what: String| wrong.push(format!("retention of {:?}: {what}", self.volume));
        if self.volume.is_empty() {
            refuse("volume is missing; `*` means all".to_owned());
        }
        if self.keep_tags.len() > TAGS_MAX {
            refuse(format!("keep_tags: {} of them; {TAGS_MAX} are allowed", self.keep_tags.len()));
        }
        for tag in &self.keep_tags {
            if let Err(e) = check_name("keep_tags", tag, TAG_BYTES_MAX) {
                refuse(e.to_string());
            }
        }
        for (name, age) in
            [("keep_within_seconds", self.keep_within_seconds), ("age_seconds_min", self.age_seconds_min)]
        {
            if age.is_some_and(|a| a > AGE_SECONDS_MAX) {
                refuse(format!("{name} must be at most {AGE_SECONDS_MAX}"));
            }
        }
        if self.share_percent_max.is_some_and(|p| p > 100) {
            refuse("share_percent_max must be at most 100".to_owned());
        }
        let rules = Rules {
            last: self.keep_last.unwrap_or(0),
            hourly: self.keep_hourly.unwrap_or(0),
            daily: self.keep_daily.unwrap_or(0),
            weekly: self.keep_weekly.unwrap_or(0),
            monthly: self.keep_monthly.unwrap_or(0),
            yearly: self.keep_yearly.unwrap_or(0),
            within_seconds: self.keep_within_seconds,
            tags: self.keep_tags.clone(),
            age_seconds_min: self.age_seconds_min.unwrap_or(0),
        };
        if rules.is_empty() && rules.age_seconds_min > 0 {
            refuse("age_seconds_min alone keeps nothing for good: add a rule such as keep_daily".to_owned());
        }
        RetentionRule {
            volume: self.volume.clone(),
            rules,
            share_percent_max: self.share_percent_max.unwrap_or(SHARE_PERCENT_MAX),
        }
    }
}
