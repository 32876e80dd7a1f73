//! Log lines on standard error, out of the way of a progress bar.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{Global, LogFormat};

/// The bars on the terminal; log lines and messages are written above them.
pub(crate) fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Starts logging. `HOLDFAST_LOG` overrides the filter (`repository=debug,info`).
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,cli=info,agent=info,coordinator=info,service=info",
        (_, 1) => "info,cli=debug,agent=debug,coordinator=debug,service=debug,repository=debug",
        _ => "trace,h2=info,hyper=info,rustls=info,tonic=info",
    };
    let filter = match std::env::var("HOLDFAST_LOG") {
        Ok(text) => EnvFilter::try_new(&text).unwrap_or_else(|e| {
            say(&format!("holdfast: HOLDFAST_LOG={text} is not a log filter and is not used: {e}"));
            EnvFilter::new(level)
        }),
        Err(_) => EnvFilter::new(level),
    };
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AboveBars);
    // A test may have started it before.
    let _ = match global.log_format {
        LogFormat::Json => to.json().flatten_event(true).try_init(),
        LogFormat::Text => to.with_target(global.verbose > 0).with_ansi(is_terminal()).try_init(),
    };
}

/// Whether standard error is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// Writes a line for people to standard error; a closed standard error is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = AboveBars.make_writer().write_all(format!("{line}\n").as_bytes());
}

struct AboveBars;

impl MakeWriter<'_> for AboveBars {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
