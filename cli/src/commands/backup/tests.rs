//! From arguments to requests.

use clap::Parser as _;

use repository::ops::backup::BackupRequest;

use super::requests as each;
use crate::args::{BackupArgs, Cli, Command};
use crate::exit::Exit;

fn args(words: &[&str]) -> BackupArgs {
    let all = ["holdfast", "backup"].iter().chain(words).copied();
    match Cli::try_parse_from(all).unwrap().command {
        Command::Backup(args) => args,
        other => panic!("{other:?}"),
    }
}

fn requests(args: &BackupArgs, host: &str) -> anyhow::Result<Vec<BackupRequest>> {
    each(args, host)?.into_iter().collect()
}

#[test]
fn a_path_that_is_none_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let both = each(&args(&[dir.path().to_str().unwrap(), "/nonexistent/folder"]), "h").unwrap();
    assert_eq!(both.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_volume_is_host_and_path_unless_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let plain = requests(&args(&[path]), "h1").unwrap();
    assert_eq!(plain[0].volume, format!("h1:{path}"));
    let slash = requests(&args(&[&format!("{path}/")]), "h1").unwrap();
    assert_eq!(slash[0].volume, plain[0].volume);
    assert_eq!(slash[0].root, plain[0].root);
    let named = requests(&args(&[path, "--volume", "db", "--tag", "a", "--tag", "b"]), "h1").unwrap();
    assert_eq!((named[0].volume.as_str(), named[0].host.as_str()), ("db", "h1"));
    assert_eq!(named[0].tags, ["a", "b"]);
    assert!(requests(&args(&[path, "--volume", ""]), "h1").is_err());
}

#[test]
fn several_paths_are_several_requests_and_dots_are_resolved() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let (a, b) = (dir.path().join("a"), dir.path().join("b/../b"));
    let both = requests(&args(&[a.to_str().unwrap(), b.to_str().unwrap()]), "h").unwrap();
    assert_eq!(both.len(), 2);
    assert!(both[1].root.ends_with("b") && !both[1].volume.contains(".."), "{}", both[1].volume);
}

#[test]
fn flags_that_an_agent_would_not_obey_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let plain = args(&[path, "--tag", "t", "--read-all", "--volume", "v"]);
    assert!(super::refuse(&plain.tuning.given()).is_ok());
    for words in [
        ["--exclude", "x"],
        ["--exclude-file", "x"],
        ["--zstd-level", "2"],
        ["--memory", "256MiB"],
        ["--threads", "0"],
        ["--limit-upload", "1MiB"],
    ] {
        let error = super::refuse(&args(&[path, words[0], words[1]]).tuning.given()).unwrap_err();
        assert_eq!(Exit::of_error(&error), Exit::Usage);
        assert!(error.to_string().starts_with(&format!("{}:", words[0])), "{error}");
    }
    let both = super::refuse(&args(&[path, "--exclude-caches", "--memory", "1GiB"]).tuning.given());
    assert!(both.unwrap_err().to_string().starts_with("--exclude-caches, --memory:"));
}

#[test]
fn excludes_come_from_files_then_flags() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    std::fs::write(&list, "# comment\n*.tmp\n\n!keep.tmp\n").unwrap();
    let path = dir.path().to_str().unwrap();
    let words = [path, "--exclude", "*.log", "--exclude-file", list.to_str().unwrap(), "--exclude-caches"];
    let request = requests(&args(&words), "h").unwrap().remove(0);
    assert_eq!(request.rules.exclude, ["*.tmp", "!keep.tmp", "*.log"]);
    assert!(request.rules.exclude_caches);
    let error = requests(&args(&[path, "--exclude-file", "/nonexistent/list"]), "h").unwrap_err();
    assert_eq!(Exit::of_error(&error), Exit::Usage);
}

#[test]
fn what_is_no_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = requests(&args(&[file.path().to_str().unwrap()]), "h").unwrap_err();
    assert!(format!("{error:#}").contains("not a directory"), "{error:#}");
    let error = requests(&args(&["/nonexistent/folder"]), "h").unwrap_err();
    assert_eq!(Exit::of_error(&error), Exit::Failed);
}
