//! A coordinator and its agents as real processes, and what tests do with them.

use std::path::PathBuf;

use serde_json::Value;

use crate::process::{Holdfast, Ran, Running};

/// How old the coordinator's index may be when it answers.
pub(crate) const REFRESH_SECONDS: &str = "1";

/// A folder with a repository, and a coordinator that serves it.
pub(crate) struct Fleet {
    folder: tempfile::TempDir,
    /// What the coordinator's file says.
    yaml: String,
    pub(crate) url: String,
    pub(crate) coordinator: Running,
}

impl Fleet {
    /// A job is given out again two seconds after its agent was lost.
    pub(crate) fn new() -> Self {
        Self::configured("lost_seconds: 2\n")
    }

    /// With this in the coordinator's file.
    pub(crate) fn configured(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = format!("file://{}", folder.path().join("repo").display());
        let holdfast = Holdfast::new(folder.path());
        holdfast.run(&["init", "--repo", &repo, "--key-file", "key"]).ok();
        let yaml = yaml.to_owned();
        let mut coordinator = start_coordinator(&holdfast, &repo, "127.0.0.1:0", ("coordinator", &yaml));
        let url = format!("http://{}", coordinator.grpc());
        Self { folder, yaml, url, coordinator }
    }

    /// One more of the same repository, with a state folder of its own, and where it listens.
    pub(crate) fn another_coordinator(&self, yaml: &str) -> (Running, String) {
        let mut another = start_coordinator(&self.holdfast(), &self.repo(), "127.0.0.1:0", ("another", yaml));
        let url = format!("http://{}", another.grpc());
        (another, url)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn holdfast(&self) -> Holdfast {
        Holdfast::new(self.folder.path())
    }

    fn repo(&self) -> String {
        format!("file://{}", self.path("repo").display())
    }

    /// Starts an agent that has these folders as volumes, each under its own name, and waits until it is connected.
    pub(crate) fn agent(&self, id: &str, volumes: &[&str]) -> Running {
        let (repo, state, cache) = (self.repo(), format!("state-{id}"), format!("cache-{id}"));
        let volumes = volumes.iter().map(|v| format!("--volume={v}={}", self.path(v).display()));
        let volumes: Vec<String> = volumes.collect();
        let root = self.path("roots");
        std::fs::create_dir_all(&root).unwrap();
        let words = ["agent", "--repo", &repo, "--key-file", "key", "--coordinator", &self.url];
        let own = ["--agent-id", id, "--state-dir", &state, "--cache-dir", &cache];
        let more = ["--http-listen", "127.0.0.1:0", "--reconnect-seconds-max", "1", "--restore-root"];
        let words = [&words[..], &own, &more, &[root.to_str().unwrap()]].concat();
        let words: Vec<&str> = words.into_iter().chain(volumes.iter().map(String::as_str)).collect();
        let mut agent = self.holdfast().start(&words);
        agent.says("connected");
        agent
    }

    /// Starts the coordinator again where it was.
    pub(crate) fn restart_coordinator(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap();
        let state = ("coordinator", &*self.yaml);
        self.coordinator = start_coordinator(&self.holdfast(), &self.repo(), address, state);
        self.coordinator.grpc();
    }

    /// A client through the coordinator.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.holdfast().run(&[words, &["--coordinator", &self.url]].concat())
    }

    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        self.holdfast().json(&[words, &["--coordinator", &self.url]].concat())
    }

    /// A client that waits for a backup of a volume.
    pub(crate) fn backup(&self, volume: &str) -> Running {
        let words = ["backup", volume, "--volume", volume, "--output", "json", "--coordinator", &self.url];
        self.holdfast().start(&words)
    }

    /// A client on the bucket alone.
    #[track_caller]
    pub(crate) fn on_bucket(&self, words: &[&str]) -> Value {
        self.holdfast().json(&[words, &["--repo", &self.repo(), "--key-file", "key"]].concat())
    }
}

/// With this state folder, and this in its file.
fn start_coordinator(holdfast: &Holdfast, repo: &str, listen: &str, (state, yaml): (&str, &str)) -> Running {
    let config = format!("{state}.yaml");
    std::fs::write(holdfast.folder().join(&config), yaml).unwrap();
    let words =
        ["coordinator", "--repo", repo, "--key-file", "key", "--state-dir", state, "--config", &config];
    let times = ["--heartbeat-seconds", "1", "--refresh-seconds", REFRESH_SECONDS];
    let times = [&times[..], &["--http-listen", "127.0.0.1:0"]].concat();
    holdfast.start(&[&words[..], &times, &["--listen", listen]].concat())
}

/// The one snapshot that a backup's client reports.
#[track_caller]
pub(crate) fn finished(client: Running) -> Value {
    let done: Value = serde_json::from_str(&client.ends().ok()).unwrap();
    assert_eq!(done.as_array().unwrap().len(), 1, "{done}");
    done[0].clone()
}
