//! Nothing left to write to: a full store, a full target, a cache folder that is full or can't be written.
//!
//! Each is tried by a limit on the size of files, which works everywhere, and on a small disk, where the machine allows
//! a test to mount one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::data::{append, assert_same, bytes_below, noise, tree};
use crate::process::{Holdfast, Ran};

const MIB: usize = 1 << 20;

/// A disk of its own, mounted where only those see it who are sent there.
struct Disk {
    keeper: Child,
    _until: Option<ChildStdin>,
    place: PathBuf,
}

impl Disk {
    /// `None` where the machine does not let a test mount one, which is said loudly.
    fn new(place: &Path, megabytes: usize) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let flags = if nix::unistd::geteuid().is_root() { "-m" } else { "-Urm" };
        let script = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &script]).arg(place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let _until = keeper.stdin.take();
        let disk = Self { keeper, _until, place: place.to_owned() };
        if line != "mounted\n" {
            tests::say_skipped("a full disk", "this machine does not allow to mount a tmpfs");
            return None;
        }
        Some(disk)
    }

    /// Words that run a program where the disk is seen.
    fn words(&self) -> Vec<String> {
        let mut words =
            vec!["nsenter".to_owned(), "-t".to_owned(), self.keeper.id().to_string(), "-m".to_owned()];
        if !nix::unistd::geteuid().is_root() {
            words.extend(["-U".to_owned(), "--preserve-credentials".to_owned()]);
        }
        // Whoever enters stands at the root.
        let back = ["--", "sh", "-c", "cd \"$HOME\" && exec \"$0\" \"$@\""];
        words.extend(back.map(str::to_owned));
        words
    }

    fn holdfast(&self, folder: &Path) -> Holdfast {
        let words = self.words();
        Holdfast::new(folder).inside(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn remount(&self, options: &str) {
        let mut words = self.words();
        words.extend(["mount", "-o", &format!("remount,{options}")].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        let status = command.args(&words[1..]).arg(&self.place).env("HOME", "/").status().unwrap();
        assert!(status.success());
    }

    /// The disk's folder as the test sees it.
    fn seen_from_outside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(self.place.strip_prefix("/").unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// No file may grow larger than this, for this program.
fn limited(folder: &Path, bytes: usize) -> Holdfast {
    Holdfast::new(folder).inside(&["prlimit", &format!("--fsize={bytes}")])
}

fn key_words<'a>(repo: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [words, &["--repo", repo, "--key-file", "key"]].concat()
}

/// The failure names the store, says that it is full and what to do, on one line and a hint.
#[track_caller]
fn says_full(ran: &Ran, url: &str) {
    ran.failed(5, "no space is left");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains(url) && lines[1].contains("free or add space"),
        "{}",
        ran.stderr
    );
    let key = lines[0].split("put ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    assert_eq!(lines[0].matches(key).count(), 1, "the object is named twice: {}", lines[0]);
}

#[test]
fn a_store_that_takes_no_large_files_fails_clearly_and_keeps_what_it_has() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    tree(&path("data"), MIB, 1);
    let repo = format!("file://{}", path("repo").display());
    let run = |holdfast: Holdfast, words: &[&str]| holdfast.run(&key_words(&repo, words));
    let free = || Holdfast::new(home.path());
    run(free(), &["init"]).ok();
    run(free(), &["backup", "data"]).ok();
    append(&path("data/noise"), &noise(8 * MIB, 2));
    says_full(&run(limited(home.path(), 2 * MIB), &["backup", "data"]), &repo);
    run(free(), &["verify"]).ok();
    run(free(), &["restore", "latest", "before"]).ok();
    assert_eq!(path("before/noise").metadata().unwrap().len(), MIB as u64);
    assert_eq!(std::fs::read_dir(path("repo/.tmp")).map_or(0, Iterator::count), 0, "unfinished files stay");
    run(free(), &["backup", "data"]).ok();
    run(free(), &["restore", "latest", "after"]).ok();
    assert_same(&path("data"), &path("after"));
}

#[test]
fn a_full_store_names_itself_and_the_next_backup_with_room_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let Some(disk) = Disk::new(&path("disk"), 100) else { return };
    tree(&path("data"), 4 * MIB, 1);
    let repo = format!("file://{}", path("disk/repo").display());
    let holdfast = disk.holdfast(home.path());
    let run = |words: &[&str]| holdfast.run(&key_words(&repo, words));
    run(&["init"]).ok();
    run(&["backup", "data"]).ok();
    append(&path("data/noise"), &noise(160 * MIB, 2));
    // Slow enough that packs are put one after the other: each that fits is there when the disk is full.
    says_full(&run(&["backup", "data", "--limit-upload", "100MiB"]), &repo);
    run(&["verify"]).ok();
    let packs = disk.seen_from_outside().join("repo/default/p");
    let kept = bytes_below(&packs);
    assert!(kept > 36 * MIB as u64, "only {kept} bytes fitted");
    disk.remount("size=400m");
    let again = holdfast.json(&key_words(&repo, &["backup", "data"]));
    let uploaded = again[0]["figures"]["bytes_uploaded"].as_u64().unwrap();
    assert!(uploaded < (170 * MIB) as u64 - kept, "{uploaded} bytes uploaded though {kept} were there");
    run(&["restore", "latest", "after"]).ok();
    assert_same(&path("data"), &path("after"));
}

/// A repository with one snapshot of a tree.
fn backed_up(noise_bytes: usize) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), noise_bytes, 1);
    let repo = format!("file://{}", home.path().join("repo").display());
    let run = |words: &[&str]| Holdfast::new(home.path()).run(&key_words(&repo, words)).ok();
    run(&["init"]);
    run(&["backup", "data"]);
    (home, repo)
}

#[test]
fn a_target_that_takes_no_large_files_gets_the_others() {
    let (home, repo) = backed_up(8 * MIB);
    let full = limited(home.path(), 2 * MIB).run(&key_words(&repo, &["restore", "latest", "out"]));
    // Another file may still fit, so this is not the end.
    assert_eq!(full.code, Some(3), "{}", full.stderr);
    assert!(full.stderr.contains("noise: set length: File too large"), "{}", full.stderr);
    Holdfast::new(home.path())
        .run(&key_words(&repo, &["restore", "latest", "out", "--existing", "if-changed"]))
        .ok();
    assert_same(&home.path().join("data"), &home.path().join("out"));
}

#[test]
fn a_full_target_says_how_to_go_on() {
    let (home, repo) = backed_up(8 * MIB);
    let Some(disk) = Disk::new(&home.path().join("disk"), 4) else { return };
    let target = home.path().join("disk/out");
    let words = ["restore", "latest", target.to_str().unwrap()];
    let full = disk.holdfast(home.path()).run(&key_words(&repo, &words));
    full.failed(1, target.to_str().unwrap());
    full.failed(1, "No space left");
    full.failed(1, "--existing if-changed");
    disk.remount("size=40m");
    let words = [&words[..], &["--existing", "if-changed"]].concat();
    disk.holdfast(home.path()).run(&key_words(&repo, &words)).ok();
    assert_same(&home.path().join("data"), &disk.seen_from_outside().join("out"));
}

/// Each command works with this cache folder, and warns if it is one of those that use it most.
#[track_caller]
fn works_with_cache(holdfast: &Holdfast, home: &Path, repo: &str, cache: &Path, warns: bool) {
    let cache = cache.to_str().unwrap();
    append(&home.join("data/more"), b"more");
    let run = |words: &[&str]| holdfast.run(&[&key_words(repo, words)[..], &["--cache-dir", cache]].concat());
    let backup = run(&["backup", "data"]);
    assert_eq!(backup.stderr.contains("cache folder can't be"), warns, "{}", backup.stderr);
    backup.ok();
    run(&["ls", "latest"]).ok();
    run(&["verify", "latest"]).ok();
    let out = home.join("out");
    run(&["restore", "latest", out.to_str().unwrap()]).ok();
    assert_same(&home.join("data"), &out);
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_cache_folder_that_cannot_be_used_only_warns() {
    let (home, repo) = backed_up(MIB);
    std::fs::write(home.path().join("file"), "").unwrap();
    works_with_cache(&Holdfast::new(home.path()), home.path(), &repo, &home.path().join("file"), true);
    // Neither can anything be made there, whoever asks.
    works_with_cache(&Holdfast::new(home.path()), home.path(), &repo, Path::new("/proc/holdfast"), true);
}

#[test]
fn a_cache_folder_that_is_full_or_read_only_costs_nothing_else() {
    let (home, repo) = backed_up(MIB);
    let Some(disk) = Disk::new(&home.path().join("disk"), 1) else { return };
    let fill = disk.seen_from_outside().join("fill");
    let full = std::fs::write(&fill, vec![0; 2 * MIB]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let cache = home.path().join("disk/cache");
    works_with_cache(&disk.holdfast(home.path()), home.path(), &repo, &cache, false);
    disk.remount("ro");
    works_with_cache(&disk.holdfast(home.path()), home.path(), &repo, &home.path().join("disk/other"), true);
}
