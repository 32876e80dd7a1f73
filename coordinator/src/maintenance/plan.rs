//! Decides when a kind of task is due, and whether its window is open. Plain functions over values.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use repository::env::Timestamp;

use crate::limits::{TASK_AGAIN_SECONDS, TASK_FIRST_SECONDS, TASK_RETRY_SECONDS};

/// When a kind of task runs by itself.
#[derive(Clone, Debug)]
pub enum When {
    /// Only when somebody asks.
    Never,
    /// Again so long after its last beginning.
    Every {
        /// The interval.
        seconds: u64,
    },
    /// At these times.
    Cron(Box<Cron>),
}

/// A part of the day, from its first minute up to its last; it may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: Time,
    to: Time,
}

impl FromStr for Window {
    type Err = String;

    /// `22:00-06:00`
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?}: give two times of day, such as 22:00-06:00");
        let time = |part: &str| {
            let (hour, minute) = part.split_once(':')?;
            let digits = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
            let good = digits(hour) && digits(minute);
            let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
            good.then(|| Time::new(hour, minute, 0, 0).ok()).flatten()
        };
        let (from, to) = text.split_once('-').ok_or_else(bad)?;
        let (from, to) = (time(from).ok_or_else(bad)?, time(to).ok_or_else(bad)?);
        if from == to { Err(format!("{text:?}: the window is empty")) } else { Ok(Self { from, to }) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

impl Window {
    /// True while it is open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let Some(now) = zoned(at, zone).map(|z| z.time()) else { return false };
        if self.from < self.to {
            self.from <= now && now < self.to
        } else {
            self.from <= now || now < self.to
        }
    }

    /// The first moment from `at` on at which it is open. Days without that time (clocks that are put forward) count from
    /// the next moment that there is.
    #[must_use]
    pub fn next_open(&self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        if self.is_open(at, zone) {
            return at;
        }
        let opening = || {
            let now = zoned(at, zone)?;
            let today = now.date().to_zoned(zone.clone()).ok()?.with().time(self.from).build().ok()?;
            let opens = if today > now { today } else { today.tomorrow().ok()? };
            Some(Timestamp::from_parts(opens.timestamp().as_second(), 0))
        };
        opening().unwrap_or(at)
    }
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(jiff::Timestamp::from_nanosecond(i128::from(at.0)).ok()?.to_zoned(zone.clone()))
}

/// When a kind of task runs, and in which part of the day.
#[derive(Clone, Debug)]
pub struct Timing {
    /// When.
    pub when: When,
    /// Only in this part of the day; what has begun stops at its end.
    pub window: Option<Window>,
    /// Of cron and windows.
    pub zone: TimeZone,
}

/// How the last task of a kind ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When it was queued.
    pub queued: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How.
    pub end: End,
}

/// How a task ended, as far as the schedule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It came to its end, or somebody cancelled it.
    Whole,
    /// There is more to do now: it waited for somebody, or its window ended.
    More,
    /// It failed.
    Failed,
}

impl Timing {
    /// Never by itself.
    #[must_use]
    pub fn never() -> Self {
        Self { when: When::Never, window: None, zone: TimeZone::UTC }
    }

    /// In words, for people; empty if it never runs by itself.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.when {
            When::Never => String::new(),
            When::Every { seconds } => format!("every {seconds} s"),
            When::Cron(cron) => {
                format!("cron {} ({})", cron.as_str(), self.zone.iana_name().unwrap_or("local time"))
            }
        }
    }

    /// When the next task is to begin: the past means now. `begun` is when the coordinator first knew of the schedule.
    #[must_use]
    pub fn next(&self, last: Option<Last>, begun: Timestamp) -> Option<Timestamp> {
        let since = last.map_or(begun, |l| l.queued);
        let planned = match &self.when {
            When::Never => return None,
            When::Every { seconds } => {
                let seconds = i64::try_from(*seconds).unwrap_or(i64::MAX);
                // What never ran begins soon: it may be long overdue.
                since.plus_seconds(if last.is_none() { seconds.min(TASK_FIRST_SECONDS) } else { seconds })
            }
            When::Cron(cron) => {
                let next = cron.find_next_occurrence(&zoned(since, &self.zone)?, false).ok()?;
                Timestamp::from_parts(next.timestamp().as_second(), 0)
            }
        };
        let due = match last {
            Some(Last { end: End::More, finished, .. }) => {
                planned.min(finished.plus_seconds(TASK_AGAIN_SECONDS))
            }
            Some(Last { end: End::Failed, finished, .. }) => {
                planned.min(finished.plus_seconds(TASK_RETRY_SECONDS))
            }
            _ => planned,
        };
        Some(self.window.map_or(due, |w| w.next_open(due, &self.zone)))
    }

    /// True if a task that the schedule began has to go on another day.
    #[must_use]
    pub fn has_closed(&self, now: Timestamp) -> bool {
        self.window.is_some_and(|w| !w.is_open(now, &self.zone))
    }

    /// True if the schedule begins a task now. A window that closed while nobody looked is waited for again.
    #[must_use]
    pub fn is_due(&self, last: Option<Last>, begun: Timestamp, now: Timestamp) -> bool {
        self.next(last, begun).is_some_and(|at| at <= now) && !self.has_closed(now)
    }
}

#[cfg(test)]
mod tests;
