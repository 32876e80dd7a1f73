//! The store goes away, comes back, is slow, refuses: what is waited for, what is said, and what is not lost.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tests::s3::S3Server;
use tokio::runtime::Runtime;

use crate::data::{append, assert_same, noise, tree};
use crate::process::{Holdfast, Ran, eventually};

const MIB: usize = 1 << 20;

/// A folder with data, a key and an S3 server, which lives in the test's process.
struct Cloud {
    home: tempfile::TempDir,
    runtime: Runtime,
    server: Option<S3Server>,
    port: u16,
}

impl Cloud {
    fn new(noise_bytes: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        tree(&home.path().join("data"), noise_bytes, 1);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(S3Server::start(&home.path().join("s3"))).unwrap();
        let cloud = Self { home, runtime, port: server.port(), server: Some(server) };
        cloud.run(&["init"]).ok();
        cloud
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    fn server(&self) -> &S3Server {
        self.server.as_ref().unwrap()
    }

    fn holdfast(&self) -> Holdfast {
        Holdfast::new(self.home.path()).with(self.server().environment())
    }

    fn words<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--repo", "s3://holdfast/repo", "--key-file", "key"]].concat()
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.holdfast().run(&self.words(words))
    }

    /// The server is gone at once, with all its connections.
    fn goes(&mut self) {
        self.server = None;
    }

    fn comes_back(&mut self) {
        let server = self.runtime.block_on(S3Server::start_at(&self.path("s3"), self.port)).unwrap();
        self.server = Some(server);
    }

    fn delay(&self, millis: u64) {
        self.server().weather.delay_millis.store(millis, Ordering::Relaxed);
    }
}

#[test]
fn a_store_that_goes_and_comes_back_in_a_backup_and_a_restore_is_waited_for() {
    let mut cloud = Cloud::new(96 * MIB);
    cloud.delay(50);
    let before = cloud.server().weather.puts();
    let mut backup = cloud.holdfast().start(&cloud.words(&["backup", "data"]));
    // Registration, then a pack.
    eventually("a pack is there", || cloud.server().weather.puts() >= before + 2);
    cloud.goes();
    backup.says("trying again");
    cloud.comes_back();
    backup.ends().ok();
    cloud.run(&["verify"]).ok();

    cloud.delay(50);
    let before = cloud.server().weather.gets();
    let mut restore = cloud.holdfast().start(&cloud.words(&["restore", "latest", "out"]));
    eventually("bytes are fetched", || cloud.server().weather.gets() > before + 8);
    cloud.goes();
    restore.says("trying again");
    cloud.comes_back();
    restore.ends().ok();
    assert_same(&cloud.path("data"), &cloud.path("out"));
}

#[test]
fn a_store_that_stays_away_is_5_within_a_minute_and_the_next_backup_goes_on() {
    let mut cloud = Cloud::new(160 * MIB);
    cloud.run(&["backup", "data/sub", "--volume", "earlier"]).ok();
    cloud.delay(50);
    let before = cloud.server().weather.puts();
    let backup =
        cloud.holdfast().start(&cloud.words(&["backup", "data", "--volume", "v", "--limit-upload", "60MiB"]));
    eventually("packs are there", || cloud.server().weather.puts() >= before + 3);
    cloud.goes();
    let ran = backup.ends();
    ran.failed(5, "can't reach the store");
    ran.failed(5, "hint: the store did not answer well for some time; run it again");
    let told = ran.stderr.lines().filter(|line| line.starts_with("holdfast: ")).count();
    assert_eq!(told, 1, "{}", ran.stderr);
    cloud.comes_back();
    let words = cloud.words(&["restore", "latest", "earlier", "--volume", "earlier"]);
    cloud.holdfast().run(&words).ok();
    assert_same(&cloud.path("data/sub"), &cloud.path("earlier"));
    cloud.run(&["backup", "data", "--volume", "v"]).ok();
    cloud.run(&["verify"]).ok();
    cloud.run(&["restore", "latest", "out", "--volume", "v"]).ok();
    assert_same(&cloud.path("data"), &cloud.path("out"));
}

#[test]
fn a_slow_store_that_throttles_is_patiently_used() {
    let cloud = Cloud::new(4 * MIB);
    cloud.delay(20);
    cloud.server().weather.served_one_in.store(2, Ordering::Relaxed);
    let backup = cloud.run(&["backup", "data"]);
    assert!(
        backup.stderr.contains("asks to slow down") || backup.stderr.contains("store failed"),
        "{}",
        backup.stderr
    );
    backup.ok();
    cloud.run(&["restore", "latest", "out"]).ok();
    assert_same(&cloud.path("data"), &cloud.path("out"));
    assert!(cloud.server().weather.refused() > 10);
}

/// One line and a hint, without what the server wrapped it in.
#[track_caller]
fn refused(ran: &Ran, text: &str, hint: &str) {
    ran.failed(5, text);
    ran.failed(5, hint);
    assert!(ran.stderr.lines().count() == 2 && !ran.stderr.contains("<Error>"), "{}", ran.stderr);
    assert!(ran.stderr.len() < 1000, "{}", ran.stderr);
}

#[test]
fn a_wrong_bucket_or_wrong_credentials_are_5_in_plain_words() {
    let cloud = Cloud::new(1000);
    let at = |url: &'static str, more: &[(&str, &str)]| {
        let holdfast = cloud.holdfast().with(more.iter().copied());
        let words = ["snapshots", "--repo", url, "--key-file", "key"];
        holdfast.run(&words)
    };
    let right = "s3://holdfast/repo";
    refused(&at("s3://nowhere/repo", &[]), "bucket or container does not exist", "s3://nowhere/repo");
    let nowhere = cloud.holdfast().run(&["init", "--repo", "s3://nowhere/repo", "--key-file", "key"]);
    refused(&nowhere, "bucket or container does not exist", "s3://nowhere/repo");
    let hint = "hint: check the store's credentials and permissions";
    refused(&at(right, &[("AWS_SECRET_ACCESS_KEY", "wrong")]), "credentials", hint);
    refused(&at(right, &[("AWS_ACCESS_KEY_ID", "stranger")]), "credentials", hint);
    // A bucket that is there, and holds no repository where it was looked for.
    at("s3://holdfast/other", &[]).failed(5, "holdfast init --repo s3://holdfast/other");
}

#[test]
fn odd_key_files_are_4_and_change_nothing() {
    let cloud = Cloud::new(1000);
    std::fs::create_dir(cloud.path("folder")).unwrap();
    std::fs::write(cloud.path("short"), "abcd").unwrap();
    std::fs::write(cloud.path("zeroes"), "00".repeat(32)).unwrap();
    std::os::unix::fs::symlink("nowhere", cloud.path("dangling")).unwrap();
    let with = |key: &str| {
        cloud.holdfast().run(&["backup", "data", "--repo", "s3://holdfast/repo", "--key-file", key])
    };
    with("nowhere").failed(4, "nowhere: No such file");
    with("dangling").failed(4, "dangling");
    with("folder").failed(4, "folder");
    with("short").failed(4, "64 hex digits");
    with("zeroes").failed(4, "wrong key file");
    if !nix::unistd::geteuid().is_root() {
        std::fs::copy(cloud.path("key"), cloud.path("closed")).unwrap();
        close(&cloud.path("closed"));
        with("closed").failed(4, "closed: Permission denied");
    }
    let none = cloud.holdfast().json(&cloud.words(&["snapshots"]));
    assert_eq!(none.as_array().unwrap().len(), 0);
    // A key file is never made for a repository that exists.
    assert!(!cloud.path("nowhere").exists());
    append(&cloud.path("data/noise"), &noise(8, 1));
    cloud.run(&["backup", "data"]).ok();
}

fn close(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn a_store_that_ignores_conditions_is_refused_by_init_and_at_every_start() {
    let cloud = Cloud::new(1000);
    cloud.server().weather.ignores_conditions.store(true, Ordering::Relaxed);
    let init = ["init", "--repo", "s3://holdfast/other", "--key-file", "key"];
    cloud.holdfast().run(&init).failed(5, "the store is unfit: create-if-absent");
    let listen = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--state-dir", "state"];
    cloud.run(&[&["coordinator"], &listen[..]].concat()).failed(5, "the store is unfit: create-if-absent");
    // Nothing was begun in it.
    assert!(!cloud.path("s3/holdfast/other/repo.json").exists());
    assert!(!cloud.path("state").exists());
}
