//! Commands that are run to their end, and waiting for something to become true.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const TRY_EVERY: Duration = Duration::from_millis(200);
/// What of a failed command's output is in its error.
const TOLD_BYTES_MAX: usize = 4_000;

/// What a command said that succeeded.
pub type Output = String;

/// A command of these words.
///
/// # Panics
/// Without any word.
pub fn command<S: AsRef<str>>(words: &[S]) -> Command {
    let (program, args) = words.split_first().expect("a command has a word");
    let mut command = Command::new(program.as_ref());
    command.args(args.iter().map(AsRef::as_ref));
    command
}

/// Runs it to its end, with `input` for its standard input. A failure says what it wrote.
pub fn run(command: &mut Command, input: Option<&[u8]>) -> anyhow::Result<Output> {
    let named = format!("{command:?}");
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {named}"))?;
    let mut pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Who writes all before it reads waits for ever beside one who does the same.
        scope.spawn(|| {
            if let (Some(mut pipe), Some(input)) = (pipe.take(), input) {
                drop(pipe.write_all(input)); // It may have had enough.
            }
        });
        child.wait_with_output()
    })
    .with_context(|| format!("wait for {named}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let told = format!("{}{said}", String::from_utf8_lossy(&output.stderr));
        bail!("{named} failed ({}): {}", output.status, tail(told.trim()));
    }
    Ok(said)
}

/// The last part of a text that may be long.
pub(crate) fn tail(text: &str) -> &str {
    let mut at = text.len().saturating_sub(TOLD_BYTES_MAX);
    while !text.is_char_boundary(at) {
        at += 1;
    }
    &text[at..]
}

/// Waits until `check` gives something, at most so many seconds; then its last words are the error.
#[expect(clippy::disallowed_methods, reason = "the edge: tests wait for real processes")]
pub fn until<T>(
    what: &str,
    seconds: u64,
    mut check: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let last = match check() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            let late = format!("{what}: not so after {seconds} s");
            return Err(last.map_or_else(|| anyhow::anyhow!("{late}"), |error| error.context(late.clone())));
        }
        std::thread::sleep(TRY_EVERY);
    }
}
