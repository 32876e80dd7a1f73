//! The golden repository: stored bytes that were written once and must stay readable (docs/format.md).
//!
//! `testdata/golden-v1/` holds a small repository with an object of every kind, its credentials, `expected.txt`, which says in
//! plain text what the sources of its snapshots were, as the file system told it and not as the engine did, and
//! `records.txt`, which says what its records say. It is never edited: a changed format gets a new folder. `make_golden`
//! makes one where there is none, as root, for the sake of owners and devices: `cargo test -p repository make_golden --
//! --ignored`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;

use futures::TryStreamExt as _;

use super::*;
use crate::items::entry::{Entry, Kind};
use crate::ops::browse;
use crate::ops::snapshots::Snapshot;
use crate::store::{Effect, Fault, FaultPlan, FaultStore, FileStore, StoreErrorKind};

mod damage;
mod life;
mod make;
mod records;
mod tree;

/// What each line of `expected.txt` says of one entry.
const COLUMNS: &str = "path kind mode owner mtime size links detail attributes";
/// Details longer than this are given as their hash.
const DETAIL_BYTES_MAX: usize = 100;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden-v1")
}

/// Lines by path.
type Lines = BTreeMap<String, String>;

/// A path or target in printable letters.
fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for &b in bytes {
        match b {
            b'!'..=b'~' if b != b'%' => out.push(char::from(b)),
            _ => write!(out, "%{b:02x}").unwrap(),
        }
    }
    if out.is_empty() { ".".to_owned() } else { out }
}

fn detail_of(bytes: &[u8]) -> String {
    if bytes.len() > DETAIL_BYTES_MAX { hash(bytes) } else { printable(bytes) }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn time(nanos: i128) -> String {
    format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

fn attributes<'a>(xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let list: Vec<_> = xattrs.map(|(n, v)| format!("{}={}", printable(n), crate::ids::hex(v))).collect();
    if list.is_empty() { "-".to_owned() } else { list.join(",") }
}

/// The lines of a folder, as the file system tells it.
fn lines_of_folder(root: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let t = m.file_type();
        let (kind, detail) = if t.is_file() {
            ('f', hash(&fs::read(&path).unwrap()))
        } else if t.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            ('d', "-".to_owned())
        } else if t.is_symlink() {
            ('l', detail_of(fs::read_link(&path).unwrap().as_os_str().as_bytes()))
        } else if t.is_fifo() {
            ('p', "-".to_owned())
        } else if t.is_socket() {
            ('s', "-".to_owned())
        } else {
            let device = format!("{}:{}", rustix::fs::major(m.rdev()), rustix::fs::minor(m.rdev()));
            (if t.is_char_device() { 'c' } else { 'b' }, device)
        };
        let name = printable(path.strip_prefix(root).unwrap().as_os_str().as_bytes());
        let mtime = time(i128::from(m.mtime()) * 1_000_000_000 + i128::from(m.mtime_nsec()));
        let (mode, size) = (m.mode() & 0o7777, if t.is_file() { m.len() } else { 0 });
        let links = if t.is_dir() { 1 } else { m.nlink() };
        let xattrs = tree::xattrs(&path);
        let xattrs = attributes(xattrs.iter().map(|(n, v)| (&n[..], &v[..])));
        let rest =
            format!("{kind} {mode:04o} {}:{} {mtime} {size} {links} {detail} {xattrs}", m.uid(), m.gid());
        lines.insert(name, rest);
    }
    lines
}

/// The lines of a snapshot, as listing it and reading its files tells.
async fn lines_of_snapshot(repo: &Arc<Repository>, snapshot: &Snapshot) -> crate::Result<Lines> {
    let entries: Vec<Entry> = browse::list(repo, snapshot, b"", true).try_collect().await?;
    let mut lines = Lines::new();
    for e in &entries {
        let (kind, detail) = match &e.kind {
            Kind::File(_) => {
                let pieces: Vec<_> = browse::cat(repo, snapshot, &e.path).try_collect().await?;
                ('f', hash(&pieces.concat()))
            }
            Kind::Directory => ('d', "-".to_owned()),
            Kind::Symlink(target) => ('l', detail_of(target)),
            Kind::Fifo => ('p', "-".to_owned()),
            Kind::Socket => ('s', "-".to_owned()),
            Kind::CharDevice(major, minor) => ('c', format!("{major}:{minor}")),
            Kind::BlockDevice(major, minor) => ('b', format!("{major}:{minor}")),
        };
        let m = &e.meta;
        let others = entries.iter().filter(|o| o.meta.linked && o.meta.ino == m.ino).count();
        let links = if m.linked { others } else { 1 };
        let xattrs = attributes(m.xattrs.iter().map(|(n, v)| (&n[..], &v[..])));
        let (mtime, mode) = (time(m.mtime.0.into()), m.mode);
        let rest =
            format!("{kind} {mode:04o} {}:{} {mtime} {} {links} {detail} {xattrs}", m.uid, m.gid, e.size);
        lines.insert(printable(&e.path), rest);
    }
    Ok(lines)
}

/// What `expected.txt` says: snapshots by id, oldest first.
fn expected() -> Vec<(String, Lines)> {
    let text = fs::read_to_string(folder().join("expected.txt")).unwrap();
    let mut out: Vec<(String, Lines)> = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        match line.split_once(' ').unwrap() {
            ("snapshot", id) => out.push((id.to_owned(), Lines::new())),
            (path, rest) => drop(out.last_mut().unwrap().1.insert(path.to_owned(), rest.to_owned())),
        }
    }
    out
}

/// What a user can restore without any right: path, kind, size and content; no devices.
fn plain(lines: &Lines) -> BTreeMap<&str, [&str; 3]> {
    lines
        .iter()
        .map(|(path, rest)| {
            let column: Vec<&str> = rest.split(' ').collect();
            (path.as_str(), [column[0], column[4], column[6]])
        })
        .filter(|(_, [kind, ..])| !matches!(*kind, "c" | "b"))
        .collect()
}

async fn open_with(store: Arc<dyn Store>, credential: Credential) -> crate::Result<Arc<Repository>> {
    let domain = DomainName::default_domain();
    let options = OpenOptions { domain, credential, cache_dir: None, remote: false, cpu_threads: 1 };
    Repository::open(store, options, env()).await
}

/// The fixture, as it is for credentials that may only read: not even a reader's registration gets into it.
fn read_only() -> Arc<dyn Store> {
    let files = Arc::new(FileStore::open(&folder().join("repo"), &env()).unwrap());
    let denied = Fault::always(Op::Put, "*", Effect::Fail(StoreErrorKind::Denied));
    Arc::new(FaultStore::new(files, FaultPlan { faults: vec![denied], ..FaultPlan::default() }))
}

fn key_file() -> Credential {
    Credential::read_key_file(&folder().join("key-file")).unwrap()
}

fn restore_request(snapshot: Snapshot, target: PathBuf) -> RestoreRequest {
    RestoreRequest {
        snapshot,
        path: Vec::new(),
        patterns: Vec::new(),
        target,
        existing: Existing::Fail,
        memory_bytes_max: 64 << 20,
    }
}

/// True for what only root, or only some file systems, can restore.
fn needs_rights(what: &str) -> bool {
    ["set owner", "setuid and setgid", "create: ", "set attribute"].iter().any(|p| what.starts_with(p))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_repository_reads_as_ever() {
    let repo = open_with(read_only(), key_file()).await.unwrap();
    let (snapshots, damaged) = snapshots::list(&repo).await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let expected = expected();
    let ids: Vec<_> = snapshots.iter().map(|s| s.id.to_string()).collect();
    assert_eq!(ids, expected.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    let dir = tempfile::Builder::new().tempdir_in(disk()).unwrap();
    for (snapshot, (id, expected)) in snapshots.iter().zip(&expected) {
        assert_eq!(lines_of_snapshot(&repo, snapshot).await.unwrap(), *expected, "{id}");
        for level in [Level::Quick, Level::Full] {
            let report = verify(&repo, snapshot, &level, &Task::default()).await.unwrap();
            assert_eq!(report.problems, Problems::default(), "{id} {level:?}");
        }
        let target = dir.path().join(id);
        let request = restore_request(snapshot.clone(), target.clone());
        let report = restore(&repo, request, &Task::default()).await.unwrap();
        let restored = lines_of_folder(&target);
        if report.problems.is_empty() {
            assert_eq!(restored, *expected, "{id}");
        } else {
            let mut kept = report.problems.kept().iter();
            assert!(kept.all(|p| needs_rights(&p.what)), "{id}: {:?}", report.problems);
            assert_eq!(plain(&restored), plain(expected), "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_repository_opens_by_passphrase_too() {
    let store = read_only();
    let passphrase = Credential::read_passphrase_file(&folder().join("passphrase")).unwrap();
    let repo = open_with(Arc::clone(&store), passphrase).await.unwrap();
    assert_eq!(snapshots::list(&repo).await.unwrap().0.len(), expected().len());
    let wrong = open_with(store, Credential::KeyFile(zeroize::Zeroizing::new([7; 32]))).await.unwrap_err();
    assert_eq!(wrong.kind(), crate::ErrorKind::Key, "{}", wrong.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_records_say_what_they_said() {
    let repo = open_with(read_only(), key_file()).await.unwrap();
    let said = fs::read_to_string(folder().join("records.txt")).unwrap();
    let says = records::lines(&repo).await;
    for (says, said) in says.iter().zip(said.lines()) {
        assert_eq!(says, said);
    }
    assert_eq!(says.len(), said.lines().count());
}
