//! Whole operations over a store in memory: what goes in comes out, and how much work it takes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{BackupReport, BackupRequest, backup};
use super::restore::{Existing, RestoreReport, RestoreRequest, restore};
use super::verify::{Level, verify};
use super::*;
use crate::env::{Clock, Env, SystemRandom, Timestamp};
use crate::ids::DomainName;
use crate::keys::Credential;
use crate::store::{CountedStore, Counts, Op, RemoteStore, Store};

mod catalogue;
mod changes;
mod compaction;
mod copy;
mod counts;
mod crash;
mod damage;
mod domains;
mod fresh;
mod gc;
mod golden;
mod guard;
mod heal;
mod index;
mod kept;
mod lift;
mod lock;
mod mended;
mod met;
mod mirror;
mod mirror_losses;
mod parent;
mod pins;
mod readers;
mod rebase;
mod reuse;
mod roles;
mod soak;
mod stats;
mod undo;
mod versions;

/// A clock an hour ahead of the files, so that their ctimes are old.
#[derive(Debug)]
struct Later;

impl Clock for Later {
    fn now(&self) -> Timestamp {
        crate::env::SystemClock.now().plus_seconds(3600)
    }
}

struct World {
    repo: Arc<Repository>,
    counts: Arc<Counts>,
    dir: tempfile::TempDir,
}

fn credential() -> Credential {
    Credential::KeyFile(zeroize::Zeroizing::new([7; 32]))
}

fn env() -> Env {
    Env { clock: Arc::new(Later), random: Arc::new(SystemRandom) }
}

async fn open(store: Arc<dyn Store>) -> Arc<Repository> {
    open_with(store, env()).await
}

async fn open_with(store: Arc<dyn Store>, env: Env) -> Arc<Repository> {
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential: credential(),
        cache_dir: None,
        remote: false,
        cpu_threads: 2,
    };
    Repository::open(store, options, env).await.unwrap()
}

async fn world_on(inner: Arc<dyn Store>) -> World {
    let counts = Arc::new(Counts::default());
    let store: Arc<dyn Store> = Arc::new(CountedStore::new(inner, Arc::clone(&counts)));
    let options = init::InitOptions { domain: DomainName::default_domain(), credentials: vec![credential()] };
    init::init(Arc::clone(&store), options, &env()).await.unwrap();
    World { repo: open(store).await, counts, dir: tempfile::Builder::new().tempdir_in(disk()).unwrap() }
}

/// Not /tmp, which may lie in memory: there nothing counts as unchanged.
fn disk() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/test-volumes");
    fs::create_dir_all(&dir).unwrap();
    dir
}

async fn world() -> World {
    world_on(Arc::new(RemoteStore::memory())).await
}

fn request(root: &Path) -> BackupRequest {
    BackupRequest {
        root: root.to_path_buf(),
        volume: "vol".to_owned(),
        host: "host".to_owned(),
        rules: crate::source::Rules::default(),
        tags: Vec::new(),
        read_all: false,
        reread_days: 0,
        zstd_level: 2,
        memory_bytes_max: 128 << 20,
        readers: 0,
        reuse: backup::Reuse::Any,
        origin: None,
        shown: None,
        guard: None,
    }
}

impl World {
    fn volume(&self) -> PathBuf {
        let dir = self.dir.path().join("volume");
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    async fn back_up(&self) -> BackupReport {
        let report = backup(&self.repo, request(&self.volume()), None, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
        report
    }

    async fn restore_all(&self, spec: &str) -> (PathBuf, RestoreReport) {
        let target = self.dir.path().join(format!("out-{}", rand_name()));
        let snapshot = snapshots::get(&self.repo, spec, None).await.unwrap();
        let request = RestoreRequest {
            snapshot,
            path: Vec::new(),
            patterns: Vec::new(),
            target: target.clone(),
            existing: Existing::Fail,
            memory_bytes_max: 128 << 20,
        };
        let report = restore(&self.repo, request, &Task::default()).await.unwrap();
        (target, report)
    }

    async fn check_round_trip(&self) {
        let (target, report) = self.restore_all("latest").await;
        assert_eq!(report.problems, Problems::default());
        assert_eq!(describe(&target), describe(&self.volume()));
        fs::remove_dir_all(&target).unwrap();
    }
}

fn rand_name() -> String {
    crate::ids::hex(&Env::system().random::<4>())
}

/// Everything that a restore must bring back, one line an entry.
fn describe(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let content = if m.is_file() {
            blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string()
        } else if m.is_symlink() {
            fs::read_link(&path).unwrap().to_string_lossy().into_owned()
        } else {
            String::new()
        };
        let links = if m.is_dir() { 0 } else { m.nlink() };
        out.push(format!(
            "{name} {:o} {} {} {}.{} {} {links} {content}",
            m.permissions().mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec(),
            if m.is_file() { m.len() } else { 0 },
        ));
        if m.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    out.sort();
    out
}

/// Bytes that do not compress and repeat nowhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_of_all_kinds_comes_back() {
    let w = world().await;
    let v = w.volume();
    fs::create_dir_all(v.join("a/b/c")).unwrap();
    fs::write(v.join("empty"), b"").unwrap();
    fs::write(v.join("tiny"), b"inline").unwrap();
    fs::write(v.join("a/small"), noise(1, 5000)).unwrap();
    fs::write(v.join("a/b/zeros"), vec![0; 100_000]).unwrap();
    fs::write(v.join("a.txt"), b"x".repeat(200_000)).unwrap();
    fs::write(v.join("a/large"), noise(2, 20 << 20)).unwrap();
    fs::write(v.join("medium"), noise(3, 300_000)).unwrap();
    fs::hard_link(v.join("medium"), v.join("a/b/linked")).unwrap();
    symlink("../nowhere", v.join("a/link")).unwrap();
    nix::unistd::mkfifo(&v.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
    fs::set_permissions(v.join("a/small"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(v.join("a/b/c"), fs::Permissions::from_mode(0o500)).unwrap();
    let sparse = fs::File::create(v.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 17 << 20).unwrap();
    drop(sparse);
    let first = w.back_up().await;
    assert_eq!(first.snapshot.manifest.files, 9);
    w.check_round_trip().await;
    let (target, _) = w.restore_all("latest").await;
    assert!(fs::metadata(target.join("sparse")).unwrap().blocks() * 512 < 1 << 20, "holes stay holes");
    for level in [Level::Quick, Level::Full, Level::Against(v.clone())] {
        let report = verify(&w.repo, &first.snapshot, &level, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default(), "{level:?}");
    }
}
