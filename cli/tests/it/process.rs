//! Runs the built binary in a folder of its own, with nothing of the caller's environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The binary, to be run in a folder.
pub(crate) struct Holdfast {
    folder: PathBuf,
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
        Self { folder: folder.to_owned() }
    }

    /// The command, for tests that need more than its end. A session of its own has no terminal to ask on.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command
            .arg("--wait")
            .arg(env!("CARGO_BIN_EXE_holdfast"))
            .args(words)
            .current_dir(&self.folder)
            .env_clear();
        command.env("HOME", &self.folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The command as a direct child, to be killed by its test.
    pub(crate) fn server(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(words).current_dir(&self.folder).env_clear().env("HOME", &self.folder);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
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
    pub(crate) fn failed(self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        assert!(self.stdout.is_empty() || code == 1, "{:?}", String::from_utf8_lossy(&self.stdout));
    }
}
