//! Makes the golden repository: a year of a small repository's life in a minute.

use bytes::Bytes;

use super::*;
use crate::ids::{PackId, Sid};
use crate::keys::Role;
use crate::layout::ObjectKind;
use crate::limits::INDEX_DELTAS_MIN;
use crate::ops::forget::{Because, candidates};
use crate::ops::gc::{Alive, Compaction, GcRequest};
use crate::ops::keys::{COMMAND, NewCredential, add, rotate};
use crate::ops::noted;
use crate::ops::restore_test::{self, TestRequest};
use crate::ops::scrub::ScrubRequest;
use crate::retention::{Decision, Plan};
use crate::session::{Session, Who};

/// The manifests hold paths below it.
const PLACE: &str = "/var/tmp/holdfast-golden";
/// One blob.
const FILE: usize = 20_000;

/// All there are.
const KINDS: [ObjectKind; 11] = [
    ObjectKind::Key,
    ObjectKind::Pack,
    ObjectKind::Delta,
    ObjectKind::Index,
    ObjectKind::Registration,
    ObjectKind::Outcome,
    ObjectKind::Forget,
    ObjectKind::Pin,
    ObjectKind::Quarantine,
    ObjectKind::Gc,
    ObjectKind::Audit,
];

fn because() -> Because {
    Because { by: "golden".to_owned(), why: "a fixture".to_owned() }
}

/// Makes it, and writes what it holds as expected.
struct Maker {
    repo: Arc<Repository>,
    expected: String,
}

impl Maker {
    async fn back_up(&self, volume: &str) -> Sid {
        let root = Path::new(PLACE).join(volume);
        let request = BackupRequest {
            volume: volume.to_owned(),
            tags: vec!["golden".to_owned()],
            // Made just now, by a clock that is an hour ahead.
            read_all: true,
            ..request(&root)
        };
        let report = backup(&self.repo, request, None, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
        report.snapshot.id
    }

    /// Writes down what the volume is now.
    fn expect(&mut self, snapshot: Sid, volume: &str) {
        writeln!(self.expected, "snapshot {snapshot}").unwrap();
        for (path, rest) in lines_of_folder(&Path::new(PLACE).join(volume)) {
            writeln!(self.expected, "{path} {rest}").unwrap();
        }
    }

    async fn forget(&self, ids: &[Sid]) {
        let (all, damaged) = candidates(&self.repo, None).await.unwrap();
        assert!(damaged.is_empty());
        let chosen = all.into_iter().filter(|c| ids.contains(&c.id));
        let decisions = chosen.map(|snapshot| Decision { snapshot, kept: Vec::new() }).collect();
        let (count, ended) =
            noted::forget(&self.repo, &Plan { decisions }, &because(), &Task::default()).await;
        ended.unwrap();
        assert_eq!(count, ids.len() as u64);
    }

    /// Many small sessions of which only the last is kept, and the collection of what they leave: relocations, a catalogue
    /// in parts, an index in shards.
    async fn churn(&mut self) {
        let root = Path::new(PLACE).join("churn");
        fs::create_dir_all(&root).unwrap();
        for n in 0..10 {
            fs::write(root.join(format!("c{n}")), noise(n, FILE)).unwrap();
        }
        let mut ids = Vec::new();
        for n in 0..INDEX_DELTAS_MIN as u64 {
            fs::write(root.join("changing"), noise(100 + n, 400)).unwrap();
            ids.push(self.back_up("churn").await);
        }
        for n in 3..10 {
            fs::remove_file(root.join(format!("c{n}"))).unwrap();
        }
        let kept = self.back_up("churn").await;
        self.expect(kept, "churn");
        self.forget(&ids).await;
        let request = GcRequest {
            fence_after_seconds: 0,
            alive: Alive::unknown(),
            dry_run: false,
            compaction: Compaction::default(),
        };
        let run = noted::collect(&self.repo, request, &because(), &Task::default()).await.unwrap();
        assert!(run.done && run.deleted > 0 && run.copies > 0 && run.indexed > 0, "{run:?}");
    }

    /// A volume of which the newest snapshot is forgotten, and not yet collected; and one session that never ended.
    async fn leave(&mut self) {
        let root = Path::new(PLACE).join("churn");
        fs::write(root.join("new"), noise(200, FILE)).unwrap();
        let kept = self.back_up("churn").await;
        self.expect(kept, "churn");
        fs::write(root.join("newer"), noise(201, FILE)).unwrap();
        let forgotten = self.back_up("churn").await;
        self.forget(&[forgotten]).await;
        Session::open(self.repo.objects(), &Who::writer("node", "died")).await.unwrap();
    }

    /// A pack that was damaged for a day: named in quarantine, and well again.
    async fn quarantine(&self, pack: PackId) {
        let key = self.repo.layout.pack(pack);
        let whole = self.repo.store.get(&key).await.unwrap();
        let mut damaged = whole.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        for bytes in [Bytes::from(damaged), whole] {
            self.repo.store.delete(&key).await.unwrap();
            self.repo.store.put_new(&key, bytes).await.unwrap();
            // As another process: without what this one has in memory.
            let repo = open_with(Arc::clone(&self.repo.store), key_file()).await.unwrap();
            let request = ScrubRequest::default();
            noted::scrub(&repo, &request, &because(), &Task::default()).await.unwrap();
        }
    }
}

/// The pack of a file's data.
async fn pack_of(repo: &Arc<Repository>, snapshot: Sid, path: &str) -> PackId {
    let snapshot = snapshots::get(repo, &snapshot.to_string(), None).await.unwrap();
    let entries: Vec<Entry> =
        browse::list(repo, &snapshot, path.as_bytes(), false).try_collect().await.unwrap();
    let place = entries[0].blobs().next().unwrap().place;
    crate::session::Relocations::load_newest(&repo.objects()).await.unwrap().resolve(place).pack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes the fixture that the other tests read"]
async fn make_golden() {
    let folder = folder();
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::create_dir(&folder).expect("a golden repository is never made again in the same folder");
    let key_file = Credential::create_key_file(&folder.join("key-file"), &env()).unwrap();
    fs::write(folder.join("passphrase"), "four golden words here\n").unwrap();
    let passphrase = Credential::read_passphrase_file(&folder.join("passphrase")).unwrap();
    let store: Arc<dyn Store> = Arc::new(FileStore::create(&folder.join("repo"), &env()).unwrap());
    let domain = DomainName::default_domain();
    let options = init::InitOptions { domain, credentials: vec![key_file, passphrase] };
    init::init(Arc::clone(&store), options, &env()).await.unwrap();
    let repo = open_with(store, self::key_file()).await.unwrap();
    let mut maker = Maker { repo: Arc::clone(&repo), expected: format!("# {COLUMNS}\n") };
    let volume = Path::new(PLACE).join("volume");
    fs::create_dir_all(&volume).unwrap();
    tree::make(&volume);
    let first = maker.back_up("volume").await;
    maker.expect(first, "volume");
    tree::change(&volume);
    let second = maker.back_up("volume").await;
    maker.expect(second, "volume");
    maker.churn().await;
    let writer = Credential::create_key_file(&folder.join("writer-key-file"), &env()).unwrap();
    add(&repo, NewCredential::Recipient(writer.recipient().unwrap()), Role::Writer, "agents", COMMAND)
        .await
        .unwrap();
    rotate(&repo, COMMAND).await.unwrap();
    maker.leave().await;
    let pinned = snapshots::get(&repo, &first.to_string(), None).await.unwrap();
    noted::pin(&repo, &pinned, &because()).await.unwrap();
    maker.quarantine(pack_of(&repo, first, "a.txt").await).await;
    test_restores(&repo).await;
    fs::write(folder.join("expected.txt"), &maker.expected).unwrap();
    fs::write(folder.join("records.txt"), records::lines(&repo).await.join("\n") + "\n").unwrap();
    for kind in KINDS {
        let listed = repo.objects().list(&repo.layout.folder(kind), None).await.unwrap();
        assert!(!listed.is_empty(), "the fixture has an object of every kind: {kind:?}");
    }
    fs::remove_dir_all(PLACE).unwrap();
}

/// The restore test of the volumes that were never tested.
async fn test_restores(repo: &Arc<Repository>) {
    let scratch = Path::new(PLACE).join("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let request = TestRequest {
        scratch,
        bytes_max: 1 << 30,
        against: None,
        memory_bytes_max: 64 << 20,
        by: "golden".to_owned(),
    };
    let (all, _) = snapshots::list(repo).await.unwrap();
    for snapshot in restore_test::choose(repo, &all, &[], 2).await.unwrap() {
        let report = restore_test::test(repo, &snapshot, &request, &Task::default()).await.unwrap();
        assert_eq!(report.problems, Problems::default());
    }
}
