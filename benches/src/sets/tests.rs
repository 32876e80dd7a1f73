//! Two makings are equal, sizes are as promised, and nothing half made bears a set's name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{DATABASE_FILE, PAGE_BYTES, Scale, Set, make, tree};
use crate::walk;

fn content_hash(folder: &Path) -> (usize, u64, String) {
    let files = walk::files(folder).unwrap();
    let mut hasher = blake3::Hasher::new();
    for file in &files {
        hasher.update(file.path.as_os_str().as_encoded_bytes());
        hasher.update(&fs::read(folder.join(&file.path)).unwrap());
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    (files.len(), bytes, hasher.finalize().to_hex()[..16].to_owned())
}

fn made(set: Set, scale: f64) -> (usize, u64, String) {
    let folder = tempfile::tempdir().unwrap();
    make(set, folder.path(), Scale::new(scale).unwrap()).unwrap();
    content_hash(&folder.path().join(set.name()))
}

#[test]
fn sets_never_change() {
    assert_eq!(
        [made(Set::D1, 0.002), made(Set::D2, 0.002), made(Set::D3, 0.001)],
        [
            (200, 1_036_660, "067cfa5811962934".to_owned()),
            (2, 4_294_966, "a48a440f64babfc9".to_owned()),
            (1, 2_146_304, "f1cb967827f014a9".to_owned()),
        ]
    );
}

#[test]
fn small_files_are_between_1_and_16_kib_in_folders_of_100() {
    let folder = tempfile::tempdir().unwrap();
    make(Set::D1, folder.path(), Scale::new(0.005).unwrap()).unwrap();
    let files = walk::files(&folder.path().join("D1")).unwrap();
    assert_eq!(files.len(), 500);
    assert!(files.iter().all(|file| (1024..16 << 10).contains(&file.bytes)));
    let below = files.iter().filter(|file| file.bytes < 4096).count();
    assert!((200..300).contains(&below), "half are below 4 KiB, not {below} of 500");
    assert_eq!(fs::read_dir(folder.path().join("D1/00")).unwrap().count(), 5);
}

#[test]
fn a_smaller_database_is_the_start_of_a_larger_one() {
    let folder = tempfile::tempdir().unwrap();
    let pages = |scale: f64| {
        let place = folder.path().join(scale.to_string());
        make(Set::D3, &place, Scale::new(scale).unwrap()).unwrap();
        fs::read(place.join("D3").join(DATABASE_FILE)).unwrap()
    };
    let (few, many) = (pages(0.0001), pages(0.0002));
    assert_eq!(few.len() % PAGE_BYTES, 0);
    assert!(many.len() > few.len() && many.starts_with(&few));
}

#[test]
fn what_is_there_is_not_made_again_and_what_was_left_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let scale = Scale::new(0.0001).unwrap();
    fs::create_dir(folder.path().join("D1.partial")).unwrap();
    fs::write(folder.path().join("D1.partial/left"), b"x").unwrap();
    make(Set::D1, folder.path(), scale).unwrap();
    assert!(!folder.path().join("D1/left").exists() && !folder.path().join("D1.partial").exists());
    let again = make(Set::D1, folder.path(), scale).unwrap_err();
    assert!(again.to_string().contains("D1: is there already"), "{again}");
}

#[test]
fn a_tree_is_copied_with_links_modes_and_times_but_without_what_is_too_large() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| from.path().join(name);
    fs::create_dir(at("package")).unwrap();
    fs::write(at("package/file"), b"content").unwrap();
    symlink("nowhere", at("package/dangling")).unwrap();
    fs::write(at("large"), vec![7; 5000]).unwrap();
    let name: &'static str = Box::leak(from.path().to_str().unwrap().to_owned().into_boxed_str());
    let trees = [tree::Tree { from: name, name: "share", entry_bytes_max: 2000, bytes_max: 9000 }];
    tree::make(&trees, to.path(), Scale::FULL).unwrap();

    let copy = to.path().join("share");
    assert_eq!(fs::read(copy.join("package/file")).unwrap(), b"content");
    assert_eq!(fs::read_link(copy.join("package/dangling")).unwrap(), Path::new("nowhere"));
    assert!(!copy.join("large").exists());
    for name in ["package", "package/file"] {
        let times =
            [from.path(), &copy].map(|root| fs::metadata(root.join(name)).unwrap().modified().unwrap());
        assert_eq!(times[0], times[1], "{name}");
    }
}

#[test]
fn scales_that_make_no_sense_are_refused() {
    for wrong in ["0", "-1", "101", "NaN", "inf", "half"] {
        assert!(wrong.parse::<Scale>().is_err(), "{wrong}");
    }
    assert_eq!("0.5".parse::<Scale>().unwrap().of(100), 50);
    assert_eq!("0.001".parse::<Scale>().unwrap().of(100), 1);
}
