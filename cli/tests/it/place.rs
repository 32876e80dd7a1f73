//! A folder with a repository and the key that opens it, as an operator on a bare bucket has them.

use std::path::PathBuf;

use serde_json::Value;

use crate::process::{Holdfast, Ran};

/// Holds the repository `repo`, its key file `key`, and whatever else a test puts there.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    /// With an empty repository.
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.run(&["init"]).ok();
        place
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// The URL of a repository in it.
    pub(crate) fn url(&self, repo: &str) -> String {
        format!("file://{}", self.path(repo).display())
    }

    /// The program, for this repository and key file.
    pub(crate) fn on(&self, repo: &str, key: &str) -> Holdfast {
        let repo = self.url(repo);
        Holdfast::new(self.0.path()).with([("HOLDFAST_REPO", repo.as_str()), ("HOLDFAST_KEY_FILE", key)])
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.on("repo", "key").run(words)
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        self.on("repo", "key").json(words)
    }
}
