//! Damage of a journal is found before anything is written, and no journal means no change.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Part, exists, path_of, revert, save};

fn set_with_journal() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("D9");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), b"old content").unwrap();
    save(&folder, &[Part { path: "file".into(), offset: 4, bytes: 100 }]).unwrap();
    (root, folder)
}

#[test]
fn old_bytes_and_length_come_back() {
    let (_root, folder) = set_with_journal();
    fs::write(folder.join("file"), b"old and much longer").unwrap();
    assert!(exists(&folder).unwrap());
    assert!(revert(&folder).unwrap());
    assert_eq!(fs::read(folder.join("file")).unwrap(), b"old content");
    assert!(!exists(&folder).unwrap());
    assert!(!revert(&folder).unwrap());
}

#[test]
fn a_second_change_is_refused() {
    let (_root, folder) = set_with_journal();
    let before = fs::read(path_of(&folder)).unwrap();
    let again = save(&folder, &[]).unwrap_err();
    assert!(again.to_string().contains("revert it first"), "{again}");
    assert_eq!(fs::read(path_of(&folder)).unwrap(), before);
}

#[test]
fn a_damaged_journal_writes_nothing() {
    let (_root, folder) = set_with_journal();
    let whole = fs::read(path_of(&folder)).unwrap();
    fs::write(folder.join("file"), b"changed").unwrap();
    for i in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[i] ^= 1;
        for wrong in [&flipped[..], &whole[..i]] {
            fs::write(path_of(&folder), wrong).unwrap();
            assert!(revert(&folder).is_err(), "byte {i}");
        }
    }
    assert_eq!(fs::read(folder.join("file")).unwrap(), b"changed");
    assert!(exists(&folder).unwrap());
}

#[test]
fn a_path_out_of_the_set_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("D9");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("outside"), b"safe").unwrap();
    save(&folder, &[Part { path: "../outside".into(), offset: 0, bytes: 4 }]).unwrap();
    let refused = format!("{:#}", revert(&folder).unwrap_err());
    assert!(refused.contains("not a path below the set"), "{refused}");
}

#[test]
fn a_missing_file_leaves_no_journal() {
    let root = tempfile::tempdir().unwrap();
    let part = Part { path: "missing".into(), offset: 0, bytes: 1 };
    assert!(save(root.path(), &[part]).is_err());
    assert!(!exists(root.path()).unwrap());
    assert_eq!(path_of(Path::new("data/D1")), Path::new("data/D1.journal"));
}
