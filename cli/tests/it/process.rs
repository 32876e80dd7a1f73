//! Runs the built binary in a folder of its own, with nothing of the caller's environment.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const LINES_MAX: usize = 10_000;

/// The binary, to be run in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Holdfast {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    /// Words in front of the program's: what limits or moves it.
    inside: Vec<String>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Holdfast {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), environment: Vec::new(), inside: Vec::new() }
    }

    /// Where it runs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same with more environment variables.
    pub(crate) fn with<N: Into<String>, V: Into<String>>(
        mut self,
        more: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.environment.extend(more.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The same, run by these words (`prlimit --fsize=1000`).
    pub(crate) fn inside(mut self, words: &[&str]) -> Self {
        self.inside = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The command, for tests that need more than its end. A session of its own has no terminal to ask on.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").args(&self.inside).arg(env!("CARGO_BIN_EXE_holdfast")).args(words);
        self.clean(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The command as a direct child, to be stopped by its test.
    pub(crate) fn server(&self, words: &[&str]) -> Command {
        // What moves it must become it, so that signals reach it.
        let words = [env!("CARGO_BIN_EXE_holdfast")].into_iter().chain(words.iter().copied());
        let mut all = self.inside.iter().map(String::as_str).chain(words);
        let mut command = Command::new(all.next().unwrap_or_default());
        command.args(all);
        self.clean(&mut command);
        command.stderr(Stdio::piped());
        command
    }

    fn clean(&self, command: &mut Command) {
        command.current_dir(&self.folder).env_clear().env("HOME", &self.folder);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// What it prints with `--output json`.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["--output", "json"]].concat()).ok()).unwrap()
    }

    /// Starts it and goes on.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::new(self.server(words).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Ran {
    /// It worked; what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// It failed with this code, says this on standard error, and nothing on standard output.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        let empty = self.stdout.is_empty() || self.stdout == b"[]\n";
        assert!(empty || code == 1, "{:?}", String::from_utf8_lossy(&self.stdout));
    }
}

/// A program that runs beside the test; killed at its end.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stdout: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let stdout = child.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                stdout.read_to_end(&mut all).unwrap();
                all
            })
        });
        Self { child, lines, seen: Vec::new(), stdout }
    }

    /// Waits for a line on standard error that contains `text`.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(e) => panic!("{text:?} was not said ({e}): {}", self.seen.join("\n")),
            }
        }
    }

    /// The gRPC address that a coordinator took.
    #[track_caller]
    pub(crate) fn grpc(&mut self) -> String {
        let line = self.says("coordinator listens");
        line.split("grpc=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// As the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Ran {
        let since = now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if since.elapsed() > PATIENCE => {
                    let seen: Vec<String> = self.lines.try_iter().collect();
                    panic!("it does not end: {}\n{}", self.seen.join("\n"), seen.join("\n"));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let stdout = self.stdout.take().map_or_else(Vec::new, |reader| reader.join().unwrap());
        self.seen.extend(self.lines.iter());
        Ran { code: status.code(), stdout, stderr: self.seen.join("\n") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's patience is real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
