//! The first ten minutes on a real S3 server.

use tests::versitygw::Versitygw;

use crate::data::{append, assert_same, tree};
use crate::process::Holdfast;

#[test]
fn backups_on_a_real_s3_server_come_back() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let Some(server) = Versitygw::start(&path("server")).unwrap() else { return };
    tree(&path("data"), 40 << 20, 1);
    let holdfast = Holdfast::new(home.path()).with(server.environment());
    let url = server.url("some/where");
    let run = |words: &[&str]| holdfast.run(&[words, &["--repo", &url, "--key-file", "key"]].concat());
    run(&["init"]).ok();
    run(&["init"]).failed(1, "already");
    run(&["backup", "data"]).ok();
    append(&path("data/sub/a.txt"), b"more\n");
    let second = holdfast.json(&["backup", "data", "--repo", &url, "--key-file", "key"]);
    assert_eq!(
        second[0]["figures"]["files_opened"].as_u64().map(|opened| opened <= 3),
        Some(true),
        "{second}"
    );
    run(&["verify"]).ok();
    run(&["restore", "latest", "out"]).ok();
    assert_same(&path("data"), &path("out"));
    let wrong = |name: &str, value: &str| {
        let holdfast = Holdfast::new(home.path()).with(server.environment()).with([(name, value)]);
        holdfast.run(&["snapshots", "--repo", &url, "--key-file", "key"])
    };
    // Its 404 for an unknown user must not pass for a repository that is not there.
    let stranger = wrong("AWS_ACCESS_KEY_ID", "stranger");
    stranger.failed(5, "refused by the store");
    assert!(!stranger.stderr.contains("init"), "{}", stranger.stderr);
    let denied = wrong("AWS_SECRET_ACCESS_KEY", "wrong");
    denied.failed(5, "SignatureDoesNotMatch");
    assert!(denied.stderr.len() < 1000, "{}", denied.stderr);
}
