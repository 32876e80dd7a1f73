//! Arguments of the commands that end snapshots' lives.

use bytesize::ByteSize;
use clap::Args;
use repository::ops::gc::{Alive, Compaction, GcRequest};
use repository::retention::Rules;

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
    /// Stop if the rules would forget more than this share of the snapshots, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_share: u8,
    /// A reason, kept with the marker
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
    /// Take a backup or restore that began longer ago than this for dead; a backup that is not goes on with what it stored
    #[arg(long, value_name = "AGE", default_value = "3d", value_parser = seconds)]
    pub fence_after: u64,
    /// Only tell what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Copy packs forward of which less than this share is still needed, percent; 0: none
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub compact_below: u8,
    /// Copy at most this much in this run; 0 copies and repairs nothing
    #[arg(long, value_name = "SIZE", default_value = "64GiB", value_parser = size)]
    pub compact_bytes: u64,
    /// Spend about this many requests on copying at most
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub compact_requests: u64,
    /// Also copy packs that are sealed under an older epoch of the keys than this one
    #[arg(long, value_name = "EPOCH")]
    pub reencrypt_below: Option<u32>,
}

impl GcArgs {
    /// As the engine takes it.
    #[must_use]
    pub fn request(&self) -> GcRequest {
        GcRequest {
            fence_after_seconds: self.fence_after,
            alive: Alive::unknown(),
            dry_run: self.dry_run,
            compaction: Compaction {
                live_percent_below: self.compact_below,
                bytes_max: self.compact_bytes,
                requests_max: self.compact_requests,
                reencrypt_below_epoch: self.reencrypt_below,
            },
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
