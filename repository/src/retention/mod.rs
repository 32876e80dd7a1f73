//! Retention: which snapshots of a volume are kept, and why. Pure: no clock, no IO.
//!
//! Times are those at which the store recorded the outcomes, not what writers say: a writer with a wrong or lying clock can
//! neither push good snapshots out of a rule nor make its own live for ever. The last good snapshot of a volume is
//! never forgotten, whatever the rules say.

mod buckets;
mod plan;

use std::fmt;

use thiserror::Error;

use crate::env::Timestamp;
use crate::ids::Sid;

pub use plan::plan;

/// What to keep. A snapshot is kept if any rule keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the newest so many hours that have one.
    pub hourly: u32,
    /// The same for days (UTC).
    pub daily: u32,
    /// The same for weeks (from Monday, UTC).
    pub weekly: u32,
    /// The same for months (UTC).
    pub monthly: u32,
    /// The same for years (UTC).
    pub yearly: u32,
    /// All that are not older than this, seconds.
    pub within_seconds: Option<u64>,
    /// All with one of these tags.
    pub tags: Vec<String>,
    /// Nothing younger than this is forgotten, seconds.
    pub age_seconds_min: u64,
}

impl Rules {
    /// True if no rule keeps anything: surely a mistake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().all(|&n| n == 0) && self.within_seconds.is_none_or(|s| s == 0) && self.tags.is_empty()
    }
}

/// How much a snapshot is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Verification found damage.
    Damaged,
    /// Some entries could not be read.
    Partial,
    /// Whole, as far as is known.
    Good,
}

/// A snapshot that may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: Sid,
    /// Its volume.
    pub volume: String,
    /// When the store recorded it.
    pub recorded: Timestamp,
    /// Its tags.
    pub tags: Vec<String>,
    /// How much it is worth.
    pub quality: Quality,
    /// Somebody said that it is to be kept.
    pub pinned: bool,
}

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// One of the newest.
    Last,
    /// The newest of an hour.
    Hourly,
    /// The newest of a day.
    Daily,
    /// The newest of a week.
    Weekly,
    /// The newest of a month.
    Monthly,
    /// The newest of a year.
    Yearly,
    /// Young enough.
    Within,
    /// It has this tag.
    Tag(String),
    /// Somebody said so, of this one.
    Pinned,
    /// Too young to be forgotten.
    Young,
    /// No other good one of its volume is left.
    LastGood,
    /// Nobody said that anything of its volume may go.
    NoRule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Hourly => f.write_str("hourly"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly => f.write_str("weekly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Yearly => f.write_str("yearly"),
            Self::Within => f.write_str("within"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Pinned => f.write_str("pinned"),
            Self::Young => f.write_str("minimum age"),
            Self::LastGood => f.write_str("last good one"),
            Self::NoRule => f.write_str("no rule"),
        }
    }
}

/// What happens to one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub snapshot: Candidate,
    /// Why it is kept, sorted; none: it is forgotten.
    pub kept: Vec<Reason>,
}

/// What happens to all of them: by volume, then newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each candidate.
    pub decisions: Vec<Decision>,
}

/// A plan that would forget so much that somebody should look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this would forget {forgotten} of {all} snapshots, more than {percent_max} %")]
pub struct TooMany {
    /// Snapshots to be forgotten.
    pub forgotten: usize,
    /// Snapshots looked at.
    pub all: usize,
    /// The bound.
    pub percent_max: u8,
}

impl Plan {
    /// Those that are to be forgotten.
    pub fn forgotten(&self) -> impl Iterator<Item = &Candidate> {
        self.decisions.iter().filter(|d| d.kept.is_empty()).map(|d| &d.snapshot)
    }

    /// The breaker: fails if more than this share of the snapshots would go, unless it is only one.
    pub fn check_share(&self, percent_max: u8) -> Result<(), TooMany> {
        let (forgotten, all) = (self.forgotten().count(), self.decisions.len());
        let too_many = forgotten > 1 && forgotten * 100 > all * usize::from(percent_max);
        if too_many { Err(TooMany { forgotten, all, percent_max }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
