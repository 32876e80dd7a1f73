//! SIGINT and SIGTERM: work stops cleanly, nothing is lost, and a second signal does not wait for anything.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::s3::S3Server;

use crate::data::{assert_same, bytes_below, tree};
use crate::process::{Holdfast, Running, eventually, now};

const MIB: usize = 1 << 20;
/// A stop that is graceful is also quick.
const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_secs(2);

/// A folder with data and a repository in a folder.
fn home(noise_bytes: usize) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), noise_bytes, 1);
    let repo = format!("file://{}", home.path().join("repo").display());
    Holdfast::new(home.path()).run(&["init", "--repo", &repo, "--key-file", "key"]).ok();
    (home, repo)
}

/// Ends with this code, soon.
#[track_caller]
fn stops(running: Running, signal: Signal, code: i32) -> String {
    let since = now();
    running.signal(signal);
    let ran = running.ends();
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert!(since.elapsed() < SOON, "took {:?}", since.elapsed());
    ran.stderr
}

#[test]
fn a_stopped_backup_leaves_no_snapshot_and_its_packs_are_found_again() {
    let (home, repo) = home(160 * MIB);
    let words = ["backup", "data", "--repo", &repo, "--key-file", "key"];
    let packs = home.path().join("repo/default/p");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let before = bytes_below(&packs);
        let backup = Holdfast::new(home.path()).start(&[&words[..], &["--limit-upload", "60MiB"]].concat());
        eventually("another pack is there", || bytes_below(&packs) > before + 30 * MIB as u64);
        let stderr = stops(backup, signal, 130);
        assert!(stderr.contains("stopping; a second signal stops at once"), "{stderr}");
        let listed = Holdfast::new(home.path()).json(&["snapshots", "--repo", &repo, "--key-file", "key"]);
        assert_eq!(listed.as_array().unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(home.path().join("repo/.tmp")).map_or(0, Iterator::count), 0);
    }
    let done = Holdfast::new(home.path()).json(&words);
    let uploaded = done[0]["figures"]["bytes_uploaded"].as_u64().unwrap();
    // Each of the two had stored a pack at least.
    assert!(uploaded < (108 * MIB) as u64, "{uploaded} bytes of 160 MiB were uploaded again");
    Holdfast::new(home.path()).run(&["verify", "--repo", &repo, "--key-file", "key"]).ok();
}

#[test]
fn a_stopped_restore_goes_on_where_it_stopped() {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), 64 * MIB, 1);
    let (runtime, server) = cloud(home.path());
    let holdfast = Holdfast::new(home.path()).with(server.environment());
    let words =
        |words: &[&'static str]| [words, &["--repo", "s3://holdfast/r", "--key-file", "key"]].concat();
    holdfast.run(&words(&["init"])).ok();
    holdfast.run(&words(&["backup", "data"])).ok();
    server.weather.delay_millis.store(100, Ordering::Relaxed);
    let before = server.weather.gets();
    let restore = holdfast.start(&words(&["restore", "latest", "out"]));
    eventually("bytes are fetched", || server.weather.gets() > before + 6);
    stops(restore, Signal::SIGINT, 130);
    server.weather.delay_millis.store(0, Ordering::Relaxed);
    holdfast.run(&words(&["restore", "latest", "out", "--existing", "if-changed"])).ok();
    assert_same(&home.path().join("data"), &home.path().join("out"));
    drop(runtime);
}

fn cloud(home: &Path) -> (tokio::runtime::Runtime, S3Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(S3Server::start(&home.join("s3"))).unwrap();
    (runtime, server)
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), 16 * MIB, 1);
    let (_runtime, server) = cloud(home.path());
    let holdfast = Holdfast::new(home.path()).with(server.environment());
    let words =
        |words: &[&'static str]| [words, &["--repo", "s3://holdfast/r", "--key-file", "key"]].concat();
    holdfast.run(&words(&["init"])).ok();
    let before = server.weather.puts();
    let mut backup = holdfast.start(&words(&["backup", "data", "--limit-upload", "1MiB"]));
    eventually("it has begun", || server.weather.puts() > before);
    // From now on the store answers nobody in time, so that nothing can be brought to an end.
    server.weather.delay_millis.store(600_000, Ordering::Relaxed);
    backup.signal(Signal::SIGTERM);
    backup.says("stopping");
    let since = now();
    backup.signal(Signal::SIGTERM);
    let ran = backup.ends();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(since.elapsed() < AT_ONCE, "took {:?}", since.elapsed());
}

#[test]
fn a_stop_does_not_wait_long_for_a_store_that_hangs() {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), 16 * MIB, 1);
    let (_runtime, server) = cloud(home.path());
    let holdfast = Holdfast::new(home.path()).with(server.environment());
    let words =
        |words: &[&'static str]| [words, &["--repo", "s3://holdfast/r", "--key-file", "key"]].concat();
    holdfast.run(&words(&["init"])).ok();
    let before = server.weather.puts();
    let backup = holdfast.start(&words(&["backup", "data", "--limit-upload", "1MiB"]));
    eventually("it has begun", || server.weather.puts() > before);
    server.weather.delay_millis.store(600_000, Ordering::Relaxed);
    stops(backup, Signal::SIGINT, 130);
}

#[test]
fn standalone_stops_with_0_and_has_backed_up() {
    let (home, _) = home(MIB);
    let words = ["standalone", "data", "--data-dir", "own", "--listen", "127.0.0.1:0"];
    let http = ["--http-listen", "127.0.0.1:0"];
    let mut standalone = Holdfast::new(home.path()).start(&[&words[..], &http].concat());
    standalone.says("job begins");
    let repo = home.path().join("own/repository");
    let outcomes = repo.join("default/m");
    let stderr = {
        eventually("a snapshot is there", || bytes_below(&outcomes) > 0);
        stops(standalone, Signal::SIGTERM, 0)
    };
    assert!(stderr.contains("agent stopped") && stderr.contains("coordinator stopped"), "{stderr}");
    let (url, key) = (format!("file://{}", repo.display()), home.path().join("own/standalone.key"));
    let verify = ["verify", "--repo", &url, "--key-file", key.to_str().unwrap()];
    Holdfast::new(home.path()).run(&verify).ok();
}

/// A coordinator and an agent that are told to stop while a backup runs; both come back.
struct Pair {
    home: tempfile::TempDir,
    repo: String,
    url: String,
}

impl Pair {
    fn coordinator(&self, listen: &str) -> Running {
        let words = ["coordinator", "--repo", &self.repo, "--key-file", "key", "--state-dir", "c"];
        let times = ["--lost-seconds", "2", "--heartbeat-seconds", "1", "--http-listen", "127.0.0.1:0"];
        Holdfast::new(self.home.path()).start(&[&words[..], &times, &["--listen", listen]].concat())
    }

    fn agent(&self) -> Running {
        let words = ["agent", "--repo", &self.repo, "--key-file", "key", "--state-dir", "a"];
        let more =
            ["--coordinator", &self.url, "--http-listen", "127.0.0.1:0", "--reconnect-seconds-max", "1"];
        let data: PathBuf = self.home.path().join("data");
        let volume = format!("v={}", data.display());
        Holdfast::new(self.home.path()).start(&[&words[..], &more, &["--volume", &volume]].concat())
    }
}

#[test]
fn servers_stop_with_0_and_the_backup_is_finished_when_they_are_back() {
    let (home, repo) = home(200 * MIB);
    let mut pair = Pair { home, repo, url: String::new() };
    let mut coordinator = pair.coordinator("127.0.0.1:0");
    let address = coordinator.grpc();
    pair.url = format!("http://{address}");
    let mut agent = pair.agent();
    agent.says("connected");
    let words = ["backup", "data", "--volume", "v", "--output", "json", "--coordinator", &pair.url];
    let client = Holdfast::new(pair.home.path()).start(&words);
    agent.says("job begins");
    let stderr = stops(agent, Signal::SIGTERM, 0);
    assert!(stderr.contains("agent stopped"), "{stderr}");
    let mut agent = pair.agent();
    agent.says("job begins");
    let stderr = stops(coordinator, Signal::SIGINT, 0);
    assert!(stderr.contains("coordinator stopped"), "{stderr}");
    let coordinator = pair.coordinator(&address);
    let done = client.ends();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let verify = ["verify", "--repo", &pair.repo, "--key-file", "key", "--output", "json"];
    let verified = Holdfast::new(pair.home.path()).run(&verify).ok();
    assert_eq!(
        verified.matches("\"ok\":true").count() + verified.matches("\"ok\": true").count(),
        1,
        "{verified}"
    );
    stops(agent, Signal::SIGINT, 0);
    stops(coordinator, Signal::SIGTERM, 0);
}
