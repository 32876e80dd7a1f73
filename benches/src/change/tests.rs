//! Applied and reverted, a set is what it was, also when the change was interrupted; and the change is of 1 %.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{apply, plan, revert};
use crate::journal;
use crate::sets::{PAGE_BYTES, Scale, Set, make};
use crate::walk;

type Content = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

fn content(folder: &Path) -> Content {
    let read = |path: PathBuf| {
        let place = folder.join(&path);
        let modified = fs::metadata(&place).unwrap().modified().unwrap();
        (path, (fs::read(&place).unwrap(), modified))
    };
    walk::files(folder).unwrap().into_iter().map(|file| read(file.path)).collect()
}

/// A small set whose files are old. D4 has D1's files: the machine's own trees are too large for a test.
fn made(set: Set) -> (tempfile::TempDir, PathBuf, Content) {
    let root = tempfile::tempdir().unwrap();
    let source = if set == Set::D4 { Set::D1 } else { set };
    make(source, root.path(), Scale::new(0.002).unwrap()).unwrap();
    let folder = root.path().join(source.name());
    for (i, file) in walk::files(&folder).unwrap().iter().enumerate() {
        let old = UNIX_EPOCH + Duration::new(1_000_000_000 + i as u64, 123_456_789);
        let file = File::options().write(true).open(folder.join(&file.path)).unwrap();
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
    }
    let before = content(&folder);
    (root, folder, before)
}

#[test]
fn apply_changes_and_revert_takes_back() {
    for set in [Set::D1, Set::D2, Set::D3, Set::D4] {
        let (_root, folder, before) = made(set);
        let changed = apply(set, &folder).unwrap();
        let after = content(&folder);
        let touched: BTreeSet<&PathBuf> = before.keys().filter(|&path| before[path] != after[path]).collect();
        assert!(!touched.is_empty() && changed.edits > 0, "{set:?}");
        assert!(touched.iter().all(|&path| after[path].1 > before[path].1), "{set:?}: mtimes are new");
        assert!(revert(&folder).unwrap());
        assert!(content(&folder) == before, "{set:?}: reverted");
        assert!(!revert(&folder).unwrap());

        assert_eq!(apply(set, &folder).unwrap(), changed);
        let again = content(&folder);
        assert!(
            again.iter().all(|(path, (bytes, _))| *bytes == after[path].0),
            "{set:?}: the same change again"
        );
    }
}

#[test]
fn an_interrupted_change_is_taken_back() {
    for set in [Set::D1, Set::D2, Set::D3, Set::D4] {
        let (_root, folder, before) = made(set);
        let edits = plan(set, &folder).unwrap();
        let parts: Vec<_> = edits.iter().map(super::Edit::part).collect();
        journal::save(&folder, &parts).unwrap();
        let (last, done) = edits.split_last().unwrap();
        done.iter().for_each(|edit| edit.write(&folder).unwrap());
        // The last one is killed in the middle of its write.
        let mut torn = last.clone();
        torn.new.truncate(torn.new.len() / 2);
        torn.write(&folder).unwrap();

        assert!(apply(set, &folder).is_err(), "{set:?}: not on top of another change");
        assert!(revert(&folder).unwrap());
        assert!(content(&folder) == before, "{set:?}");
    }
}

#[test]
fn an_interrupted_save_changes_nothing_and_is_forgotten() {
    let (root, folder, before) = made(Set::D1);
    fs::write(root.path().join("D1.journal-partial"), b"HFBENCH1 half a journal").unwrap();
    assert!(!revert(&folder).unwrap());
    assert!(content(&folder) == before);
    apply(Set::D1, &folder).unwrap();
    assert!(revert(&folder).unwrap());
    assert!(content(&folder) == before);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left beside the set");
}

#[test]
fn an_interrupted_revert_is_taken_up_again() {
    let (_root, folder, before) = made(Set::D3);
    apply(Set::D3, &folder).unwrap();
    let saved = fs::read(journal::path_of(&folder)).unwrap();
    assert!(revert(&folder).unwrap());
    fs::write(journal::path_of(&folder), saved).unwrap();
    assert!(revert(&folder).unwrap());
    assert!(content(&folder) == before);
}

#[test]
fn one_percent_changes() {
    let (_root, folder, before) = made(Set::D1);
    assert_eq!(apply(Set::D1, &folder).unwrap().edits, before.len() / 100);

    let (_root, folder, before) = made(Set::D2);
    let total: usize = before.values().map(|(bytes, _)| bytes.len()).sum();
    let bytes = apply(Set::D2, &folder).unwrap().bytes as usize;
    assert!((total / 105..total / 95).contains(&bytes), "{bytes} of {total}");

    let (_root, folder, before) = made(Set::D3);
    apply(Set::D3, &folder).unwrap();
    let after = content(&folder);
    let ((_, (old, _)), (_, (new, _))) = (before.iter().next().unwrap(), after.iter().next().unwrap());
    assert_eq!(old.len(), new.len());
    let pages = old.len() / PAGE_BYTES;
    let changed = old.chunks(PAGE_BYTES).zip(new.chunks(PAGE_BYTES)).filter(|(old, new)| old != new).count();
    assert_eq!(changed, pages.div_ceil(100));
}
