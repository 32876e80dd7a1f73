//! What a walk finds, in which order, and what it refuses to follow.

mod races;
mod trees;

use std::fs;
use std::path::Path;

use super::{Step, Walk, WalkCounts, WalkSettings};
use crate::items::entry::path_cmp;
use crate::source::{Found, Rules};

/// Small bounds, so that small trees reach them.
fn tight() -> WalkSettings {
    WalkSettings { names_bytes_max: 64, open_levels_max: 2, ..WalkSettings::default() }
}

fn without_openat2() -> WalkSettings {
    WalkSettings { openat2: false, ..WalkSettings::default() }
}

/// A path, and what is said about it.
type Said = (Vec<u8>, String);

/// Walks to the end: entries, problems and counts. The order is checked always.
fn walk(root: &Path, settings: WalkSettings) -> (Vec<Found>, Vec<Said>, WalkCounts) {
    let mut walk = Walk::open_with(root, &Rules::default(), settings).unwrap();
    let (mut found, mut problems) = (Vec::<Found>::new(), Vec::new());
    for step in walk.by_ref() {
        match step {
            Step::Found(next) => {
                if let Some(last) = found.last() {
                    assert!(path_cmp(&last.path, &next.path).is_lt(), "{:?} then {:?}", last.path, next.path);
                }
                found.push(next);
            }
            Step::Problem { path, error } => problems.push((path, error.to_string())),
        }
    }
    let counts = walk.counts();
    assert_eq!((counts.entries, counts.problems), (found.len() as u64, problems.len() as u64));
    (found, problems, counts)
}

/// The paths of a tree that has no problems, the same with every kind of settings.
fn paths(root: &Path) -> Vec<Vec<u8>> {
    let all = [WalkSettings::default(), tight(), without_openat2()].map(|settings| {
        let (found, problems, counts) = walk(root, settings);
        assert_eq!(problems, []);
        assert_eq!((counts.vanished, counts.mount_points), (0, 0));
        found.into_iter().map(|f| f.path).collect::<Vec<_>>()
    });
    assert!(all[0] == all[1] && all[0] == all[2]);
    let [first, ..] = all;
    first
}

fn make(root: &Path, dirs: &[&str], files: &[&str]) {
    for dir in dirs {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in files {
        fs::write(root.join(file), file).unwrap();
    }
}
