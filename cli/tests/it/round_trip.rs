//! The first ten minutes of a user, on the bucket alone: init, backup, change, backup, look, restore, verify.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::data::assert_same;
use crate::process::{Holdfast, Ran};

/// A folder with a repository `repo`, a passphrase file `pass`, and data in `data`.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(home.path("data/sub")).unwrap();
        std::fs::write(home.path("data/sub/a.txt"), "first\n").unwrap();
        std::fs::write(
            home.path("data/big"),
            (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect::<Vec<_>>(),
        )
        .unwrap();
        std::fs::write(home.path("data").join(OsStr::from_bytes(b"odd\xff\n")), "odd").unwrap();
        std::fs::write(home.path("pass"), "correct horse\n").unwrap();
        std::fs::set_permissions(home.path("pass"), std::fs::Permissions::from_mode(0o600)).unwrap();
        home.run(&["init"]).ok();
        home
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.0.path().join(below)
    }

    fn words<'a>(&self, words: &[&'a str], repo: &'a str) -> Vec<&'a str> {
        [words, &["--repo", repo, "--passphrase-file", "pass", "--cache-dir", "cache"]].concat()
    }

    fn run(&self, words: &[&str]) -> Ran {
        let repo = format!("file://{}", self.path("repo").display());
        Holdfast::new(self.0.path()).run(&self.words(words, &repo))
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["--output", "json"]].concat()).ok()).unwrap()
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect()
}

#[test]
fn backup_look_restore_verify() {
    let home = Home::new();
    let first = home.json(&["backup", "data", "--tag", "one"]);
    assert_eq!(
        (&first[0]["files"], &first[0]["problems"], &first[0]["tags"][0]),
        (&3.into(), &0.into(), &"one".into())
    );
    std::fs::write(home.path("data/sub/a.txt"), "second\n").unwrap();
    let second = home.json(&["backup", "data"]);
    assert_eq!(second[0]["parent"], first[0]["id"]);

    let listed = home.json(&["snapshots"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["id"], second[0]["id"]);
    let (old, new) = (first[0]["id"].as_str().unwrap(), second[0]["id"].as_str().unwrap());

    assert_eq!(names(&home.json(&["ls", "latest"])), BTreeSet::from(["big", "odd\\xff\\x0a", "sub"]));
    assert_eq!(names(&home.json(&["ls", "latest", "sub"])), BTreeSet::from(["sub/a.txt"]));
    assert_eq!(names(&home.json(&["find", new, "*.txt"])), BTreeSet::from(["sub/a.txt"]));
    assert_eq!(home.run(&["cat", &format!("{}:sub/a.txt", &old[..8])]).ok(), "first\n");
    home.run(&["cat", "latest"]).failed(2, "which file?");
    assert_eq!(home.run(&["cat", "latest", "/sub/a.txt"]).ok(), "second\n");
    let diff = home.json(&["diff", old, "latest"]);
    assert_eq!((&diff[0]["change"], &diff[0]["path"]), (&"content".into(), &"sub/a.txt".into()));
    assert_eq!(diff.as_array().unwrap().len(), 1);

    let restored = home.json(&["restore", "latest", "out"]);
    assert_eq!((&restored["files"], &restored["problems"]), (&3.into(), &0.into()));
    assert_same(&home.path("data"), &home.path("out"));
    home.run(&["restore", "latest", "out"])
        .failed(1, "not empty: choose what happens to what is there (--existing");
    home.run(&["restore", "latest", "out", "--existing", "if-changed"]).ok();
    home.run(&["restore", &format!("{old}:sub/a.txt"), "one"]).ok();
    assert_eq!(std::fs::read_to_string(home.path("one/a.txt")).unwrap(), "first\n");

    let verified = home.json(&["verify"]);
    assert!(verified.as_array().unwrap().iter().all(|v| v["ok"] == true) && verified[1]["level"] == "full");
    home.run(&["verify", "latest", "--against", "data"]).ok();
    home.run(&["verify", old, "--against", "data"]).failed(1, "sub/a.txt");
    assert_eq!(home.json(&["stats"])["snapshots"], 2);
    // Caches are lossless to delete.
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    home.run(&["verify", "--quick"]).ok();
}

#[test]
fn damage_is_named_and_fails() {
    let home = Home::new();
    home.run(&["backup", "data"]).ok();
    for folder in std::fs::read_dir(home.path("repo/default/p")).unwrap() {
        for pack in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            std::fs::remove_file(pack.unwrap().path()).unwrap();
        }
    }
    std::fs::remove_dir_all(home.path("cache")).ok();
    home.run(&["verify", "--quick"]).failed(1, "is missing");
    let lost = home.run(&["cat", "latest:big"]);
    assert!(lost.code.is_some_and(|c| c != 0), "{lost:?}");
}

#[test]
fn latest_of_two_volumes_is_refused() {
    let home = Home::new();
    home.run(&["backup", "data", "--volume", "one"]).ok();
    home.run(&["backup", "data/sub", "--volume", "two"]).ok();
    home.run(&["ls", "latest"]).failed(2, "two");
    assert_eq!(names(&home.json(&["ls", "latest", "--volume", "two"])), BTreeSet::from(["a.txt"]));
    assert_eq!(home.json(&["snapshots", "--volume", "one"]).as_array().unwrap().len(), 1);
}

#[test]
fn an_unreadable_path_fails_and_the_others_are_backed_up() {
    let home = Home::new();
    let both = home.run(&["backup", "data", "nowhere"]);
    both.failed(1, "nowhere");
    assert_eq!(home.json(&["snapshots"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    let home = Home::new();
    home.run(&["backup", "data"]).ok();
    let repo = format!("file://{}", home.path("repo").display());
    let mut child =
        Holdfast::new(home.0.path()).command(&home.words(&["cat", "latest:big"], &repo)).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn standalone_once_makes_a_private_key_outside_the_store_and_never_a_second_one() {
    let home = Home::new();
    let once = || Holdfast::new(home.0.path()).run(&["standalone", "--once", "--data-dir", "own", "data"]);
    let first = once();
    assert!(first.stderr.contains("own/standalone.key"), "{}", first.stderr);
    first.ok();
    let mode = std::fs::metadata(home.path("own/standalone.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(once().stderr.matches("created").count(), 0);
    // A disk that is not mounted must not look like a first start.
    std::fs::rename(home.path("own/repository"), home.path("own/away")).unwrap();
    once().failed(5, "is a disk not mounted");
}
