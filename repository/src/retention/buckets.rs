//! Which hour, day, week, month and year a moment belongs to.

use jiff::tz::TimeZone;

use super::Reason;
use crate::env::Timestamp;

/// A number that moments of the same period share, and that grows with time.
pub(super) fn bucket(period: &Reason, at: Timestamp) -> i64 {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    /// 1970-01-01 was a Thursday.
    const MONDAY: i64 = 3 * DAY;
    let seconds = at.seconds();
    match period {
        Reason::Hourly => seconds.div_euclid(HOUR),
        Reason::Daily => seconds.div_euclid(DAY),
        Reason::Weekly => (seconds + MONDAY).div_euclid(7 * DAY),
        Reason::Monthly => {
            let (year, month) = date(seconds);
            year * 12 + month
        }
        Reason::Yearly => date(seconds).0,
        _ => 0,
    }
}

/// Year and month. A timestamp's range lies within that of the calendar.
fn date(seconds: i64) -> (i64, i64) {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let date = TimeZone::UTC.to_datetime(at).date();
    (date.year().into(), date.month().into())
}
