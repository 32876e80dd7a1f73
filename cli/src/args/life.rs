//! Arguments of the commands that end snapshots' lives.

use bytesize::ByteSize;
use clap::Args;
use proto::task::GcSpec;
use repository::ops::gc::{Compaction, GcRequest};
use repository::retention::Rules;

use super::Detach;

const DAY: u64 = 24 * 3600;

/// `forget`
#[derive(Args, Clone, Debug)]
pub struct ForgetArgs {
    /// Snapshots to forget, by id or its first digits; or else give rules
    #[arg(value_name = "SNAPSHOT", conflicts_with = "keep")]
    pub snapshots: Vec<String>,
    /// Only snapshots of this volume [default: all volumes, each for itself]
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// What to keep
    #[command(flatten)]
    pub keep: Keep,
    /// Only tell what would be forgotten, and why the rest is kept
    #[arg(long)]
    pub dry_run: bool,
    /// Stop if the rules would forget more than this share of the snapshots, percent [default: 50; through a coordinator: as configured there]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_share: Option<u8>,
    /// A reason, kept with the marker
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// `pin`, `unpin`
#[derive(Args, Clone, Debug)]
pub struct PinArgs {
    /// The snapshot: its id, the id's first digits, or latest
    pub snapshot: String,
    /// Of `latest`: the newest of this volume
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// A reason, kept with the pin
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Retention rules. A snapshot is kept if any of them keeps it.
#[derive(Args, Clone, Debug)]
#[group(id = "keep", multiple = true)]
pub struct Keep {
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep one for each of the newest N hours that have one
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// Keep one for each of the newest N days (UTC) that have one
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// Keep one for each of the newest N weeks (from Monday) that have one
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// Keep one for each of the newest N months that have one
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// Keep one for each of the newest N years that have one
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// Keep all that are not older than this: 36h, 30d, 12w
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub keep_within: Option<u64>,
    /// Keep all with this label (repeatable)
    #[arg(long, value_name = "LABEL")]
    pub keep_tag: Vec<String>,
    /// Forget nothing younger than this, whatever the rules say
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub min_age: Option<u64>,
}

impl Keep {
    /// As rules.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            last: self.keep_last.unwrap_or(0),
            hourly: self.keep_hourly.unwrap_or(0),
            daily: self.keep_daily.unwrap_or(0),
            weekly: self.keep_weekly.unwrap_or(0),
            monthly: self.keep_monthly.unwrap_or(0),
            yearly: self.keep_yearly.unwrap_or(0),
            within_seconds: self.keep_within,
            tags: self.keep_tag.clone(),
            age_seconds_min: self.min_age.unwrap_or(0),
        }
    }
}

/// `gc`
#[derive(Args, Clone, Debug)]
pub struct GcArgs {
    /// Take a backup or restore that began longer ago than this for dead; a backup that is not goes on with what it stored [default: 3d; through a coordinator: as configured there]
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub fence_after: Option<u64>,
    /// Only tell what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Copy packs forward of which less than this share is still needed, percent; 0: none [default: 70]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub compact_below: Option<u8>,
    /// Copy at most this much in this run; 0 copies and repairs nothing [default: 64GiB; through a coordinator: as configured there]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub compact_bytes: Option<u64>,
    /// Spend about this many requests on copying at most [default: 50000; through a coordinator: as configured there]
    #[arg(long, value_name = "N")]
    pub compact_requests: Option<u64>,
    /// Also copy packs that are sealed under an older epoch of the keys than this one
    #[arg(long, value_name = "EPOCH")]
    pub reencrypt_below: Option<u32>,
    /// For coordinators
    #[command(flatten)]
    pub detach: Detach,
}

impl GcArgs {
    /// As the engine takes it.
    #[must_use]
    pub fn request(&self) -> GcRequest {
        let unless_given = GcRequest::default();
        let compaction = unless_given.compaction;
        GcRequest {
            fence_after_seconds: self.fence_after.unwrap_or(unless_given.fence_after_seconds),
            dry_run: self.dry_run,
            compaction: Compaction {
                live_percent_below: self.compact_below.unwrap_or(compaction.live_percent_below),
                bytes_max: self.compact_bytes.unwrap_or(compaction.bytes_max),
                requests_max: self.compact_requests.unwrap_or(compaction.requests_max),
                reencrypt_below_epoch: self.reencrypt_below,
            },
            ..unless_given
        }
    }

    /// As a coordinator takes it: what is not given is as configured there.
    #[must_use]
    pub fn spec(&self) -> GcSpec {
        GcSpec {
            dry_run: self.dry_run,
            fence_after_seconds: self.fence_after,
            bytes_max: self.compact_bytes,
            requests_max: self.compact_requests,
            live_percent_below: self.compact_below,
            reencrypt_below_epoch: self.reencrypt_below,
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.0)
}

/// An age: a number and s, m, h, d or w.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => DAY,
        Some('w') => 7 * DAY,
        _ => return Err("give a number and s, m, h, d or w, for example 36h".to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|e| format!("{e}"))?;
    number.checked_mul(unit).ok_or_else(|| "that is longer than time itself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn ages() {
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(seconds("90m"), Ok(5400));
        assert_eq!(seconds("2w"), Ok(14 * 24 * 3600));
        for bad in
            ["", "5", "d", "-1d", "1.5h", "1y", "99999999999999999999s", "9999999999999999w", "5\u{e4}"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
