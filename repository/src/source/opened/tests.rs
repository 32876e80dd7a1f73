//! Reading one file: by position, around holes, and while others write.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;

use super::super::{Found, Rules, SourceErrorKind, Step, Walk};
use super::{OpenedFile, Segment};

/// What a walk finds under this name.
fn find(root: &Path, name: &str) -> Found {
    Walk::open(root, &Rules::default())
        .unwrap()
        .find_map(|step| match step {
            Step::Found(found) if found.path == name.as_bytes() => Some(found),
            _ => None,
        })
        .unwrap()
}

fn open(root: &Path, name: &str) -> OpenedFile {
    find(root, name).open_file().unwrap()
}

#[test]
fn reads_by_position_and_tells_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    fs::write(dir.path().join("f"), &content).unwrap();
    let file = open(dir.path(), "f");
    assert_eq!(file.size(), 3_000_000);
    let mut all = Vec::new();
    assert_eq!(file.read_at(&mut all, 3_000_100, 0).unwrap(), 3_000_000);
    assert_eq!(all, content);
    let mut part = b"kept".to_vec();
    assert_eq!(file.read_at(&mut part, 10, 2_999_995).unwrap(), 5);
    assert_eq!((&part[..4], &part[4..]), (&b"kept"[..], &content[2_999_995..]));
    let mut roomy = Vec::with_capacity(100);
    assert_eq!(
        file.read_at(&mut roomy, 10, 7).unwrap(),
        10,
        "not more than asked for, whatever room there is"
    );
    assert_eq!(roomy, content[7..17]);
    assert_eq!(file.read_at(&mut part, 10, 4_000_000).unwrap(), 0);
    assert_eq!(file.read_at(&mut part, 0, 0).unwrap(), 0);
    assert_eq!(part.len(), 9);
    assert_eq!(file.segments().collect::<Vec<_>>(), [Segment { offset: 0, bytes: 3_000_000, data: true }]);
}

#[test]
fn the_empty_file_has_no_segments() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    assert_eq!(open(dir.path(), "f").segments().count(), 0);
}

/// A file of `size` bytes with data at these places of 64 KiB, and its segments.
fn check_sparse(size: u64, data_at: &[u64]) {
    const PIECE: usize = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let written = File::create(dir.path().join("f")).unwrap();
    written.set_len(size).unwrap();
    for at in data_at {
        let len = PIECE.min(usize::try_from(size - at).unwrap());
        written.write_all_at(&vec![7; len], *at).unwrap();
    }
    written.sync_all().unwrap();
    let file = open(dir.path(), "f");
    let segments: Vec<_> = file.segments().collect();
    let mut end = 0;
    for segment in &segments {
        assert_eq!(segment.offset, end, "no gaps: {segments:?}");
        assert!(segment.bytes > 0);
        end += segment.bytes;
        let is_data = |at: &u64| (segment.offset..end).contains(at);
        assert!(segment.data || !data_at.iter().any(is_data), "data in a hole: {segments:?}");
    }
    assert_eq!(end, size);
    // Some file systems of build machines have no holes; those that have them tell.
    let holes: u64 = segments.iter().filter(|s| !s.data).map(|s| s.bytes).sum();
    if file.stat.blocks * 512 < size / 2 {
        assert!(holes >= size / 2, "{segments:?}");
    }
}

#[test]
fn holes_are_told() {
    const MIB: u64 = 1 << 20;
    check_sparse(64 * MIB, &[]);
    check_sparse(64 * MIB, &[0]);
    check_sparse(64 * MIB, &[8 * MIB, 9 * MIB, 40 * MIB]);
    check_sparse(64 * MIB + 100, &[0, 64 * MIB]);
}

#[test]
fn changes_show() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "before").unwrap();
    let file = open(dir.path(), "f");
    let (meta, size) = (file.meta().clone(), file.size());
    file.read_at(&mut Vec::new(), 6, 0).unwrap();
    assert!(!file.changed_since(&meta, size).unwrap(), "reading changes nothing");
    // The kernel's clock moves in ticks of some milliseconds: wait for the next one by looking.
    loop {
        OpenOptions::new().write(true).open(&path).unwrap().write_all(b"after!").unwrap();
        if find(dir.path(), "f").meta.mtime != meta.mtime {
            break;
        }
    }
    assert!(file.changed_since(&meta, size).unwrap());
    let again = find(dir.path(), "f").restat().unwrap();
    assert!(!file.changed_since(&again.meta, again.size).unwrap());
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    assert!(file.changed_since(&again.meta, again.size).unwrap());
}

#[test]
fn a_file_that_shrinks_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, vec![1; 100_000]).unwrap();
    let file = open(dir.path(), "f");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert_eq!(file.read_at(&mut Vec::new(), 100_000, 0).unwrap(), 10);
    assert_eq!(file.segments().map(|s| s.bytes).sum::<u64>(), 100_000, "the segments of the size that was");
    assert!(file.changed_since(file.meta(), file.size()).unwrap());
}

#[test]
fn what_took_the_name_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let check = |put: &dyn Fn(), expected: SourceErrorKind| {
        let _ = fs::remove_file(&path);
        fs::write(&path, "mine").unwrap();
        let found = find(dir.path(), "f");
        // Kept under another name, so that its inode number is not given to the next.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        put();
        assert_eq!(found.open_file().unwrap_err().kind(), expected);
    };
    check(&|| {}, SourceErrorKind::Vanished);
    check(&|| fs::write(&path, "other").unwrap(), SourceErrorKind::Replaced);
    check(&|| symlink("/etc/passwd", &path).unwrap(), SourceErrorKind::Replaced);
    check(&|| symlink("moved", &path).unwrap(), SourceErrorKind::Replaced);
    check(&|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(), SourceErrorKind::Replaced);
    check(&|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()), SourceErrorKind::Replaced);
}
