//! Coordinator and agent as real processes: clients through the coordinator, and `kill -9` of either during a backup.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Holdfast, Ran};

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a repository, data and two servers.
struct Site {
    folder: tempfile::TempDir,
    url: String,
    coordinator: Server,
    agent: Server,
}

/// A running server; killed at the end of its test.
struct Server {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Server {
    fn start(holdfast: &Holdfast, words: &[&str]) -> Self {
        let mut command = holdfast.server(words);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Waits for a log line that contains `text`.
    #[track_caller]
    fn says(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(e) => panic!("{text:?} was not said ({e}): {}", seen.join("\n")),
            }
        }
    }

    /// As the kernel does when memory runs out.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    fn new(bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |below: &str| folder.path().join(below);
        std::fs::create_dir(path("data")).unwrap();
        std::fs::create_dir(path("roots")).unwrap();
        std::fs::write(path("data/small.txt"), "small\n").unwrap();
        std::fs::write(path("data/big"), noise(bytes)).unwrap();
        let holdfast = Holdfast::new(folder.path());
        let repo = format!("file://{}", path("repo").display());
        holdfast.run(&["init", "--repo", &repo, "--key-file", "key"]).ok();
        let coordinator = start_coordinator(&holdfast, &repo, "127.0.0.1:0");
        let line = coordinator.says("coordinator listens");
        let address = line.split("grpc=").nth(1).unwrap().split_whitespace().next().unwrap();
        let url = format!("http://{address}");
        let agent = start_agent(&holdfast, &repo, &url, &path("data"), &path("roots"));
        agent.says("connected");
        Self { folder, url, coordinator, agent }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn repo(&self) -> String {
        format!("file://{}", self.path("repo").display())
    }

    fn run(&self, words: &[&str]) -> Ran {
        Holdfast::new(self.folder.path()).run(&[words, &["--coordinator", &self.url]].concat())
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["--output", "json"]].concat()).ok()).unwrap()
    }

    /// A client that waits for a backup of `data`.
    fn backup_in_background(&self) -> Child {
        let holdfast = Holdfast::new(self.folder.path());
        let words = ["backup", "data", "--volume", "data", "--output", "json", "--coordinator", &self.url];
        holdfast.server(&words).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn restart_agent(&mut self) {
        let holdfast = Holdfast::new(self.folder.path());
        self.agent = start_agent(&holdfast, &self.repo(), &self.url, &self.path("data"), &self.path("roots"));
    }

    fn restart_coordinator(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap();
        self.coordinator = start_coordinator(&Holdfast::new(self.folder.path()), &self.repo(), address);
    }
}

fn start_coordinator(holdfast: &Holdfast, repo: &str, listen: &str) -> Server {
    let words = ["coordinator", "--repo", repo, "--key-file", "key", "--state-dir", "coordinator"];
    let times = ["--lost-seconds", "2", "--heartbeat-seconds", "1", "--http-listen", "127.0.0.1:0"];
    Server::start(holdfast, &[&words[..], &times, &["--listen", listen]].concat())
}

fn start_agent(
    holdfast: &Holdfast,
    repo: &str,
    url: &str,
    data: &std::path::Path,
    roots: &std::path::Path,
) -> Server {
    let volume = format!("data={}", data.display());
    let words = ["agent", "--repo", repo, "--key-file", "key", "--state-dir", "agent", "--coordinator", url];
    let more = ["--http-listen", "127.0.0.1:0", "--volume", &volume, "--reconnect-seconds-max", "1"];
    Server::start(holdfast, &[&words[..], &more, &["--restore-root", roots.to_str().unwrap()]].concat())
}

/// Bytes that neither compress nor repeat.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

#[track_caller]
fn finished(client: Child) -> Value {
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn clients_work_through_the_coordinator() {
    let site = Site::new(1 << 20);
    let backup = site.json(&["backup", "data", "--volume", "data", "--tag", "t"]);
    assert_eq!((&backup[0]["files"], &backup[0]["tags"][0]), (&2.into(), &"t".into()));
    let id = backup[0]["id"].as_str().unwrap();
    assert_eq!(site.json(&["snapshots"])[0]["id"], id);
    assert_eq!(site.json(&["ls", "latest"]).as_array().unwrap().len(), 2);
    assert_eq!(site.json(&["find", id, "*.txt"])[0]["path"], "small.txt");
    assert_eq!(site.run(&["cat", "latest:small.txt"]).ok(), "small\n");
    assert_eq!(site.run(&["cat", "latest:big"]).stdout, noise(1 << 20));
    assert_eq!(site.json(&["diff", id, "latest"]), Value::Array(Vec::new()));
    assert_eq!(site.json(&["verify", "latest"])[0]["ok"], true);
    assert_eq!(site.json(&["stats"])["snapshots"], 1);
    let out = site.path("roots/out");
    site.run(&["restore", "latest", out.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(out.join("small.txt")).unwrap(), b"small\n");
    let outside = site.path("outside");
    site.run(&["restore", "latest", outside.to_str().unwrap()]).failed(1, "restore roots");
    assert!(!outside.exists());
    site.run(&["restore", "latest", "relative"]).failed(2, "absolute path");
    site.run(&["backup", "data", "--volume", "nobody's"]).failed(1, "no volume");
    site.run(&["ls", "latest:nowhere"]).failed(1, "not in the snapshot");
}

#[test]
fn a_killed_agent_comes_back_and_the_backup_is_finished() {
    let mut site = Site::new(96 << 20);
    let client = site.backup_in_background();
    site.agent.says("job begins");
    site.agent.kill();
    site.restart_agent();
    let backup = finished(client);
    assert_eq!(backup[0]["files"], 2);
    let listed = site.json(&["snapshots"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(site.json(&["verify"])[0]["ok"], true);
}

#[test]
fn a_killed_coordinator_comes_back_and_the_backup_is_finished() {
    let mut site = Site::new(96 << 20);
    let client = site.backup_in_background();
    site.agent.says("job begins");
    site.coordinator.kill();
    site.restart_coordinator();
    let backup = finished(client);
    assert_eq!(backup[0]["files"], 2);
    assert_eq!(site.json(&["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(site.json(&["verify"])[0]["ok"], true);
}
