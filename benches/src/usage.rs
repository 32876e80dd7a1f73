//! What this process has used so far, as the kernel counts it.

use anyhow::{Context as _, Result};

/// A field of `/proc/self/status` in KiB, such as `VmRSS` or `VmHWM`.
pub fn status_kib(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(field)).context("no such field")?;
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().context("a number")
}

/// User and system seconds.
pub fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after = text.rsplit(')').next().context("no name")?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

/// Lets the peak of memory (`VmHWM`) begin anew.
pub fn forget_peak() -> Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("forget the peak of memory")
}
