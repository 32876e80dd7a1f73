//! Archives are read by the system's tar.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Archive, Kind, split};

/// What tar lists of the archive.
fn listed(archive: &[u8]) -> String {
    let mut child = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn the_systems_tar_reads_it() {
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(90));
    let mut archive = Archive::default();
    archive.add("tmp/", 0o1777, Kind::Folder).unwrap();
    archive.add("bin/x", 0o755, Kind::File(&[7; 513])).unwrap();
    archive.add("bin/y", 0o777, Kind::Link("x")).unwrap();
    archive.add(&long, 0o644, Kind::File(b"")).unwrap();
    let at = "1970-01-01 00:00:00";
    let expected = format!(
        "drwxrwxrwt 0/0 0 {at} tmp/\n-rwxr-xr-x 0/0 513 {at} bin/x\nlrwxrwxrwx 0/0 0 {at} bin/y -> x\n-rw-r--r-- 0/0 0 {at} {long}\n"
    );
    assert_eq!(listed(&archive.finish()), expected);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    assert!(split(&"a".repeat(101)).is_err());
    assert!(split(&format!("{}/{}", "a".repeat(156), "b")).is_err());
    let mut archive = Archive::default();
    assert!(archive.add("x", 0o777, Kind::Link(&"t".repeat(101))).is_err());
}
