//! The built binary as scripts see it: exit codes, standard output and standard error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod away;
mod copies;
mod data;
mod domains;
mod drills;
mod fleet;
mod full;
mod keys;
mod life;
mod maintenance;
mod many;
mod memory;
mod node;
mod outage;
mod place;
mod process;
mod prompt;
mod protection;
mod round_trip;
mod servers;
mod signals;
mod tls;
mod versitygw;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use process::Holdfast;

#[test]
fn usage_errors_are_2_and_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| Holdfast::new(dir.path()).run(words);
    run(&["frobnicate"]).failed(2, "frobnicate");
    run(&["snapshots"]).failed(2, "--repo");
    run(&["snapshots", "--repo", "ftp://x/y"]).failed(2, "ftp");
    run(&["snapshots", "--repo", "/a", "--coordinator", "http://127.0.0.1:1"])
        .failed(2, "both --repo and --coordinator");
    run(&["snapshots", "--repo", "/a", "--key-file", "k", "--passphrase-file", "p"])
        .failed(2, "both --passphrase-file and --key-file");
    run(&["backup", ".", "..", "--volume", "x", "--repo", "/a"]).failed(2, "--volume");
    run(&["restore", "latest", "t", "--agent", "a", "--repo", "/a"]).failed(2, "--agent");
    run(&["cat", "latest:a/../b", "--repo", "/a"]).failed(2, "..");
}

#[test]
fn help_and_version_are_0_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let help = Holdfast::new(dir.path()).run(&["--help"]).ok();
    for words in ["HOLDFAST_REPO", "backup", "130  stopped by a signal", "5    store"] {
        assert!(help.contains(words), "{words} in {help}");
    }
    assert!(Holdfast::new(dir.path()).run(&["--version"]).ok().starts_with("holdfast "));
    let script = Holdfast::new(dir.path()).run(&["completions", "bash"]).ok();
    assert!(script.contains("_holdfast"), "{script}");
}

#[test]
fn a_key_is_needed_and_a_missing_or_odd_one_is_4() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    let repo = repo.to_str().unwrap();
    let run = |words: &[&str]| Holdfast::new(dir.path()).run(&[words, &["--repo", repo]].concat());
    run(&["init", "--passphrase-file", "nowhere"]).failed(4, "nowhere");
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    run(&["init", "--passphrase-file", "empty"]).failed(4, "empty");
    std::fs::write(dir.path().join("odd"), "12").unwrap();
    run(&["init", "--key-file", "odd"]).failed(4, "64 hex digits");
    // The tests have no terminal to ask on.
    run(&["init"]).failed(4, "--passphrase-file");
}

#[test]
fn a_store_without_a_repository_is_5() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    for repo in ["gone", "empty"] {
        if repo == "empty" {
            std::fs::create_dir(dir.path().join(repo)).unwrap();
        }
        let url = format!("file://{}", dir.path().join(repo).display());
        let run = Holdfast::new(dir.path()).run(&["snapshots", "--repo", &url, "--key-file", "key"]);
        run.failed(5, "holdfast init --repo");
    }
}

#[test]
fn a_new_key_file_is_made_private_and_others_are_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let init = Holdfast::new(dir.path()).run(&[
        "init",
        "--repo",
        &repo(dir.path()),
        "--key-file",
        "key",
        "--output",
        "json",
    ]);
    assert!(init.stderr.contains("keep a copy"), "{}", init.stderr);
    let record: serde_json::Value = serde_json::from_str(&init.ok()).unwrap();
    assert_eq!(record["repository"].as_str().unwrap().len(), 32);
    let key = dir.path().join("key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    Holdfast::new(dir.path())
        .run(&["init", "--repo", &repo(dir.path()), "--key-file", "key"])
        .failed(1, "already");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let listed =
        Holdfast::new(dir.path()).run(&["snapshots", "--repo", &repo(dir.path()), "--key-file", "key"]);
    assert!(listed.stderr.contains("chmod 600"), "{}", listed.stderr);
}

#[test]
fn a_wrong_key_is_4() {
    let dir = tempfile::tempdir().unwrap();
    Holdfast::new(dir.path()).run(&["init", "--repo", &repo(dir.path()), "--key-file", "key"]).ok();
    std::fs::write(dir.path().join("other"), [9; 32]).unwrap();
    let listed =
        Holdfast::new(dir.path()).run(&["snapshots", "--repo", &repo(dir.path()), "--key-file", "other"]);
    listed.failed(4, "hint: check --passphrase-file or --key-file");
}

fn repo(dir: &Path) -> String {
    format!("file://{}", dir.join("repo").display())
}

#[test]
fn an_empty_environment_variable_counts_as_unset() {
    let dir = tempfile::tempdir().unwrap();
    let unset = ["HOLDFAST_REPO", "HOLDFAST_PASSPHRASE_FILE", "HOLDFAST_CACHE_DIR", "HOLDFAST_TOKEN_FILE"];
    let holdfast = Holdfast::new(dir.path()).with(unset.map(|name| (name, "")));
    holdfast.run(&["snapshots"]).failed(2, "no repository given");
    holdfast.run(&["init", "--repo", &repo(dir.path()), "--key-file", "key"]).ok();
}
