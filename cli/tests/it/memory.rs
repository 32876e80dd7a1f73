//! Peak memory for half a million small files: a first backup, an unchanged one, and a restore.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};

use crate::process::Holdfast;

const FILES: usize = 500_000;
const FILES_PER_FOLDER: usize = 1000;
/// Above what the item stream takes in itself, so that each file is a blob of its own.
const FILE_BYTES: usize = 300;
const PEAK_MIB_MAX: i64 = 256;
/// What source and restored copy take on a file system in memory, with room to spare.
const SHM_BYTES_MIN: u64 = 6 << 30;
/// Tells the measured process what to run.
const LINE: &str = "HOLDFAST_TESTS_MEASURE";

/// Not a test: a process of its own, whose only child is the measured one.
#[test]
#[ignore = "started by the test of memory, as a process"]
fn measured() {
    let Some(line) = std::env::var_os(LINE) else { return };
    let line: Vec<String> = serde_json::from_str(line.to_str().unwrap()).unwrap();
    let status = Command::new(&line[0]).args(&line[1..]).env_remove(LINE).status().unwrap();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(status.success(), "{status}");
    assert!(peak >> 10 <= PEAK_MIB_MAX, "peak memory of {} MiB", peak >> 10);
}

/// Where the files are quick to make: in memory, where there is room for them.
fn place() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(shm).map_or(0, |s| s.blocks_available() * s.fragment_size());
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?.trim().to_owned();
        line.split(' ').next()?.parse::<u64>().ok()
    });
    let enough = room > SHM_BYTES_MIN && free.is_some_and(|kib| kib << 10 > 2 * SHM_BYTES_MIN);
    let folder = if enough { shm.to_owned() } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) };
    tempfile::tempdir_in(folder).unwrap()
}

fn make_files(data: &Path) {
    let mut content = [b'.'; FILE_BYTES];
    for n in 0..FILES {
        let folder = data.join(format!("{:03}", n / FILES_PER_FOLDER));
        if n % FILES_PER_FOLDER == 0 {
            std::fs::create_dir_all(&folder).unwrap();
        }
        content[..16].copy_from_slice(format!("{n:016x}").as_bytes());
        std::fs::write(folder.join(format!("file-{n}")), content).unwrap();
    }
}

/// Runs it and asserts its peak; what it printed.
#[track_caller]
fn measure(home: &Path, words: &[&str]) -> String {
    let command = Holdfast::new(home).server(words);
    let line: Vec<&str> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_str().unwrap())
        .collect();
    let mut outer = Command::new(std::env::current_exe().unwrap());
    outer.args(["--exact", "memory::measured", "--include-ignored", "--nocapture"]);
    outer.env_clear().env(LINE, serde_json::to_string(&line).unwrap()).env("HOME", home).current_dir(home);
    let output = outer.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn half_a_million_files_need_a_quarter_of_a_gibibyte() {
    let home = place();
    make_files(&home.path().join("data"));
    let repo = format!("file://{}", home.path().join("repo").display());
    let words = |words: &[&'static str]| [words, &["--repo", &repo, "--key-file", "key"]].concat();
    Holdfast::new(home.path()).run(&words(&["init"])).ok();
    let first = measure(home.path(), &words(&["backup", "data"]));
    assert!(first.contains("500000 files"), "{first}");
    let second = measure(home.path(), &words(&["backup", "data"]));
    assert!(second.contains("0 B new"), "{second}");
    let restored = measure(home.path(), &words(&["restore", "latest", "out"]));
    assert!(restored.contains("500000 files"), "{restored}");
    let last = format!("out/{:03}/file-{}", (FILES - 1) / FILES_PER_FOLDER, FILES - 1);
    assert_eq!(std::fs::read(home.path().join(last)).unwrap().len(), FILE_BYTES);
}
