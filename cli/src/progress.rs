//! How far long work is: a bar on a terminal, a log line every ten seconds elsewhere, nothing when quiet.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use repository::monitor::{Figures, Monitor};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::logs;
use crate::output::size;

const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Not at all.
    Nothing,
    /// A bar.
    Bar,
    /// Log lines.
    Lines,
}

impl Show {
    /// What suits this standard error.
    pub(crate) fn choose(quiet: bool, terminal: bool) -> Self {
        match (quiet, terminal) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// Shows a piece of work until `finish`.
#[derive(Debug)]
pub(crate) struct Shown {
    stop: CancellationToken,
    task: JoinHandle<()>,
    started: tokio::time::Instant,
}

impl Shown {
    /// Begins: `what` is `backup host:/data`.
    pub(crate) fn start(show: Show, what: String, monitor: Arc<Monitor>) -> Self {
        let stop = CancellationToken::new();
        let started = tokio::time::Instant::now();
        let task = match show {
            Show::Nothing => tokio::spawn(async {}),
            Show::Bar => tokio::spawn(bar(what, monitor, stop.clone())),
            Show::Lines => tokio::spawn(lines(what, monitor, stop.clone())),
        };
        Self { stop, task, started }
    }

    /// Ends the display; gives the seconds that the work took.
    pub(crate) async fn finish(self) -> f64 {
        self.stop.cancel();
        // The display has nothing to say about its own end.
        let _ = self.task.await;
        (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }
}

async fn bar(what: String, monitor: Arc<Monitor>, stop: CancellationToken) {
    let bar = logs::bars().add(ProgressBar::new(0));
    let style =
        "{prefix}  {wide_bar}  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    let mut tick = tokio::time::interval(BAR_EVERY);
    loop {
        tokio::select! { () = stop.cancelled() => break, _ = tick.tick() => {} }
        let now = monitor.figures();
        bar.set_length(now.bytes_total.max(now.bytes_done));
        bar.set_position(now.bytes_done);
        bar.set_message(notes(now));
    }
    bar.finish_and_clear();
    logs::bars().remove(&bar);
}

async fn lines(what: String, monitor: Arc<Monitor>, stop: CancellationToken) {
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + LINE_EVERY, LINE_EVERY);
    let mut before = 0;
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = tick.tick() => {} }
        let now = monitor.figures();
        let rate = now.bytes_done.saturating_sub(before) / LINE_EVERY.as_secs();
        before = now.bytes_done;
        tracing::info!("{what}: {}", line(now, rate));
    }
}

/// One line: `1.2 GiB of 3.4 GiB, 120 MiB/s, 20 s left, 1234 files, 40 % dedup`.
fn line(now: Figures, rate: u64) -> String {
    let left = now.bytes_total.saturating_sub(now.bytes_done);
    let eta = left.checked_div(rate).map_or_else(String::new, |seconds| format!(", {seconds} s left"));
    format!("{} of {}, {}/s{eta}, {}", size(now.bytes_done), size(now.bytes_total), size(rate), notes(now))
}

fn notes(now: Figures) -> String {
    // Work on what is stored counts entries only.
    let (n, what) =
        if now.files == 0 && now.entries > 0 { (now.entries, "entries") } else { (now.files, "files") };
    let mut out = format!("{n} {what}");
    if let Some(percent) = dedup_percent(now) {
        out.push_str(&format!(", {percent} % dedup"));
    }
    if now.entries_failed > 0 {
        out.push_str(&format!(", {} problems", now.entries_failed));
    }
    out
}

/// How much of what was read was known already.
fn dedup_percent(now: Figures) -> Option<u64> {
    let all = now.bytes_new + now.bytes_found;
    (now.bytes_found * 100).checked_div(all)
}

#[cfg(test)]
mod tests;
