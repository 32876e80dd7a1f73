//! The table of files with several names keeps its bounds, and forgets what it no longer needs.

use std::path::Path;

use super::*;
use crate::items::entry::Meta;
use crate::source::{Rules, Step, Walk};

fn found(root: &Path, names: u32) -> Vec<Found> {
    std::fs::write(root.join("n0"), b"content").unwrap();
    (1..names).for_each(|i| std::fs::hard_link(root.join("n0"), root.join(format!("n{i}"))).unwrap());
    let steps = Walk::open(root, &Rules::default()).unwrap();
    let files = steps.filter_map(|s| if let Step::Found(f) = s { Some(f) } else { None });
    files.filter(|f| !f.path.is_empty()).collect()
}

fn entry(found: &Found, bytes: usize) -> Entry {
    let meta = Meta { xattrs: vec![(b"user.a".to_vec(), vec![0; bytes])], ..found.meta.clone() };
    let kind = Kind::File(Content::Inline(b"content".as_slice().into()));
    Entry { path: found.path.clone(), meta, size: found.size, changed_during_read: false, kind }
}

#[test]
fn later_names_get_the_first_ones_entry_until_all_have_come() {
    let dir = tempfile::tempdir().unwrap();
    let names = found(dir.path(), 3);
    let links = Links::default();
    assert_eq!(names.iter().map(|f| links.is_further(f)).collect::<Vec<_>>(), [false, true, true]);
    assert!(links.find(&names[1]).is_none(), "nothing was read yet");
    links.note(&entry(&names[0], 10));
    for name in &names[1..] {
        let taken = links.find(name).unwrap();
        assert_eq!((&taken.path, &taken.meta), (&name.path, &entry(&names[0], 10).meta));
        links.note(&taken);
    }
    let table = links.lock();
    assert_eq!((table.files.len(), table.bytes), (0, 0), "all names have come");
}

#[test]
fn what_changed_since_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = found(dir.path(), 2);
    let links = Links::default();
    assert!(!links.is_further(&names[0]) && links.is_further(&names[1]));
    links.note(&entry(&names[0], 10));
    names[1].meta.ctime.0 += 1;
    assert!(links.find(&names[1]).is_none());
    let mixed = Entry { changed_during_read: true, ..entry(&names[1], 10) };
    links.note(&mixed);
    assert!(links.find(&names[1]).is_none(), "a mixture is not passed on");
}

#[test]
fn the_bound_holds() {
    let dir = tempfile::tempdir().unwrap();
    let template = found(dir.path(), 2).remove(0);
    let links = Links::default();
    for ino in 0..(LINKED_FILES_MAX as u64 + 50) {
        let mut file = template.clone();
        file.meta.ino = ino;
        assert!(!links.is_further(&file));
    }
    let known = links.lock().files.len();
    assert!(known <= LINKED_FILES_MAX && known * SLOT_BYTES <= LINKED_BYTES_MAX + SLOT_BYTES, "{known}");
    for ino in 0..200 {
        let mut file = template.clone();
        file.meta.ino = ino;
        links.note(&entry(&file, 1 << 20));
        let bytes = links.lock().bytes;
        assert!(bytes <= LINKED_BYTES_MAX, "{bytes}");
    }
}
