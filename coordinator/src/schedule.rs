//! Decides which volumes are due. Plain functions over values: the clock, the volumes and the rules come in.
//!
//! "At most N old" counts from the start of the newest snapshot, so jitter makes it earlier, never later. Cron counts
//! from the newest snapshot too (a missed time is made up for once), and its jitter makes it later.

use std::collections::HashMap;

use croner::Cron;
use jiff::tz::TimeZone;
use repository::env::Timestamp;

use crate::glob::matches;
use crate::limits::RETRY_SECONDS;

/// When to back up.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// The newest snapshot shall never be older.
    MaxAge {
        /// Allowed age.
        seconds: u64,
    },
    /// At these times.
    Cron {
        /// The pattern.
        cron: Box<Cron>,
        /// Its time zone.
        zone: TimeZone,
    },
}

/// When to back up which volumes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// A volume's name; `*` stands for any text.
    pub volume: String,
    /// When.
    pub trigger: Trigger,
    /// Spreads starts over this long.
    pub jitter_seconds: u64,
}

impl Rule {
    /// In words, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.trigger {
            Trigger::MaxAge { seconds } => format!("at most {seconds} s old"),
            Trigger::Cron { cron, zone } => {
                format!("cron {} ({})", cron.as_str(), zone.iana_name().unwrap_or("local time"))
            }
        }
    }
}

/// Which rule counts for which volume: its own, or else the first pattern that matches.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Rules of single volumes, by their names.
    pub named: HashMap<String, Rule>,
    /// Rules of all others.
    pub patterns: Vec<Rule>,
}

impl Rules {
    /// The rule that counts for a volume.
    #[must_use]
    pub fn find(&self, volume: &str) -> Option<&Rule> {
        self.named.get(volume).or_else(|| self.patterns.iter().find(|r| matches(&r.volume, volume)))
    }
}

/// What is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When the coordinator first heard of it.
    pub first_seen: Timestamp,
    /// Start of its newest snapshot.
    pub newest_started: Option<Timestamp>,
    /// End of its newest run, if that failed.
    pub last_failed: Option<Timestamp>,
    /// A backup of it is queued or running.
    pub busy: bool,
    /// An agent that has it is connected.
    pub connected: bool,
}

/// What to do with a volume now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No rule matches it.
    Unscheduled,
    /// It is due: back it up.
    Run,
    /// It is due, and on its way.
    Busy,
    /// It is due, but no agent has it now.
    Unreachable,
    /// Not before this.
    Wait(Timestamp),
}

/// The fate of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its name.
    pub volume: String,
    /// What to do.
    pub action: Action,
    /// The objective is missed already.
    pub late: bool,
}

/// A cron time that passed this long ago without a snapshot is late.
const CRON_LATE_SECONDS: i64 = 3600;

/// Decides for each volume, in the order given.
#[must_use]
pub fn plan(now: Timestamp, volumes: &[Volume], rules: &Rules) -> Vec<Decision> {
    volumes.iter().map(|v| decide(now, v, rules.find(&v.name))).collect()
}

fn decide(now: Timestamp, volume: &Volume, rule: Option<&Rule>) -> Decision {
    let decision = |action, late| Decision { volume: volume.name.clone(), action, late };
    let Some(rule) = rule else { return decision(Action::Unscheduled, false) };
    let Some((due, late_after)) = due(volume, rule) else { return decision(Action::Unscheduled, false) };
    let retry = volume.last_failed.map(|t| t.plus_seconds(RETRY_SECONDS));
    let not_before = retry.map_or(due, |r| r.max(due));
    let action = match () {
        () if now < due => Action::Wait(due),
        () if volume.busy => Action::Busy,
        () if now < not_before => Action::Wait(not_before),
        () if !volume.connected => Action::Unreachable,
        () => Action::Run,
    };
    decision(action, now > late_after)
}

/// When it is due, and after when it is late. `None` for a cron pattern that never comes again.
fn due(volume: &Volume, rule: &Rule) -> Option<(Timestamp, Timestamp)> {
    let since = volume.newest_started.unwrap_or(volume.first_seen);
    match &rule.trigger {
        Trigger::MaxAge { seconds } => {
            let age = i64::try_from(*seconds).unwrap_or(i64::MAX);
            let late_after = since.plus_seconds(age);
            let due = match volume.newest_started {
                None => volume.first_seen,
                Some(_) => {
                    late_after.plus_seconds(-jitter(&volume.name, rule.jitter_seconds.min(seconds / 2)))
                }
            };
            Some((due, late_after))
        }
        Trigger::Cron { cron, zone } => {
            let since = jiff::Timestamp::from_nanosecond(i128::from(since.0)).ok()?.to_zoned(zone.clone());
            let next = cron.find_next_occurrence(&since, false).ok()?.timestamp();
            let due = Timestamp::from_parts(next.as_second(), 0);
            let due = due.plus_seconds(jitter(&volume.name, rule.jitter_seconds));
            Some((due, due.plus_seconds(CRON_LATE_SECONDS)))
        }
    }
}

/// The same for a volume every time, evenly spread over volumes (FNV-1a of the name).
fn jitter(name: &str, seconds_max: u64) -> i64 {
    let fnv = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    i64::try_from((hash >> 16) % seconds_max.saturating_add(1).max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
