//! Files that change, break, and come back.

use repository::{Error, ErrorKind};

use super::{Content, Follow as _, Reloads, Watched};

fn number(contents: &[Content]) -> repository::Result<u32> {
    let text = std::str::from_utf8(&contents[0]).unwrap();
    text.parse().map_err(|_| Error::new(ErrorKind::Input, format!("{text:?} is no number")))
}

#[test]
fn good_content_is_taken_over_and_broken_content_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n");
    std::fs::write(&path, "1").unwrap();
    let reloads = Reloads::default();
    let watched = Watched::open(vec![path.clone()], &reloads, number).unwrap();
    let look = |value, counts| {
        watched.look();
        assert_eq!((*watched.get(), reloads.counts()), (value, counts));
    };
    look(1, (0, 0));
    std::fs::write(&path, "2").unwrap();
    look(2, (1, 0));
    std::fs::write(&path, "x").unwrap();
    look(2, (1, 1));
    // Told once, not at every look.
    look(2, (1, 1));
    std::fs::remove_file(&path).unwrap();
    look(2, (1, 2));
    look(2, (1, 2));
    std::fs::write(&path, "2").unwrap();
    look(2, (2, 2));
    // As mounted secrets are switched: another file under the same name.
    std::fs::write(dir.path().join("m"), "3").unwrap();
    std::fs::rename(dir.path().join("m"), &path).unwrap();
    look(3, (3, 2));
}

#[test]
fn a_start_needs_good_files_of_bounded_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n");
    let open = || Watched::open(vec![path.clone()], &Reloads::default(), number).map(drop);
    assert!(open().unwrap_err().chain().contains("/n"));
    std::fs::write(&path, "x").unwrap();
    let e = open().unwrap_err().chain();
    assert!(e.contains("no number") && e.contains("/n"), "{e}");
    std::fs::write(&path, vec![b'1'; (1 << 20) + 1]).unwrap();
    assert!(open().unwrap_err().chain().contains("larger than"));
}
