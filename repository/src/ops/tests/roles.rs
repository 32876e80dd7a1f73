//! A writer's credential backs up, deduplicates and resumes, and reads nothing of what files hold.

use futures::TryStreamExt as _;

use super::*;
use crate::ErrorKind;
use crate::blob::seal::unseal_object;
use crate::ids::hex;
use crate::keys::{KeyError, Role, SecretKey};
use crate::layout::ObjectKind;
use crate::manifest::audit::Event;
use crate::manifest::record::Outcome;
use crate::ops::browse;
use crate::ops::gc::{Compaction, GcRequest, collect};
use crate::ops::keys::{self, NewCredential};
use crate::pack::frame::{Frames, PackError, TAIL_LEN};
use crate::session::{Commit, Session, Who};
use crate::store::{Effect, Fault, FaultPlan, FaultStore, StoreErrorKind};

/// Stands in every file, at sizes of all the ways to store one.
const SECRET: &[u8] = b"the content that nobody but full credentials may read";

fn writers_key() -> Credential {
    Credential::KeyFile(zeroize::Zeroizing::new([8; 32]))
}

async fn open_as(store: &Arc<dyn Store>, credential: Credential) -> Arc<Repository> {
    let options = OpenOptions {
        domain: DomainName::default_domain(),
        credential,
        cache_dir: None,
        remote: false,
        cpu_threads: 2,
    };
    Repository::open(Arc::clone(store), options, env()).await.unwrap()
}

/// Lets the writer in by its public key alone, and opens the repository with it.
async fn writer_of(w: &World) -> Arc<Repository> {
    let recipient = NewCredential::Recipient(writers_key().recipient().unwrap());
    keys::add(&w.repo, recipient, Role::Writer, "agent", "me").await.unwrap();
    let repo = open_as(&w.repo.store, writers_key()).await;
    assert_eq!(repo.keys.role(), Role::Writer);
    repo
}

fn with_secret(mut noise: Vec<u8>) -> Vec<u8> {
    noise.splice(0..0, SECRET.iter().copied());
    noise
}

fn fill(volume: &Path) {
    fs::write(volume.join("tiny"), SECRET).unwrap();
    fs::write(volume.join("small"), with_secret(noise(1, 5000))).unwrap();
    fs::write(volume.join("large"), with_secret(noise(2, 20 << 20))).unwrap();
    fs::write(volume.join("empty"), b"").unwrap();
}

async fn back_up_as(repo: &Arc<Repository>, w: &World) -> BackupReport {
    let report = backup(repo, request(&w.volume()), None, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_does_all_that_a_backup_does() {
    let w = world().await;
    fill(&w.volume());
    w.back_up().await;
    let writer = writer_of(&w).await;
    let unchanged = back_up_as(&writer, &w).await;
    assert_eq!((unchanged.figures.packs, unchanged.figures.files_opened), (0, 0));
    // A changed page of a large file costs about that page, by the parent's marks.
    let large = fs::File::options().write(true).open(w.volume().join("large")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&large, &noise(3, 16 << 10), 7 << 20).unwrap();
    drop(large);
    fs::write(w.volume().join("copy"), with_secret(noise(1, 5000))).unwrap();
    let changed = back_up_as(&writer, &w).await;
    assert!(changed.figures.bytes_new < 200 << 10, "{}", changed.figures.bytes_new);
    assert_eq!(changed.snapshot.manifest.parent, Some(unchanged.snapshot.id));
    // Those with the role full read what it stored.
    w.check_round_trip().await;
    let report = verify(&w.repo, &changed.snapshot, &Level::Full, &Task::default()).await.unwrap();
    assert_eq!(report.problems, Problems::default());
    // And it goes on from what they stored, across a rotation.
    keys::rotate(&w.repo, "me").await.unwrap();
    fs::write(w.volume().join("more"), with_secret(noise(4, 300_000))).unwrap();
    w.back_up().await;
    fs::write(w.volume().join("still-more"), with_secret(noise(5, 300_000))).unwrap();
    let last = back_up_as(&writer, &w).await;
    assert_eq!(writer.keys.newest_epoch(), 2);
    assert!(last.figures.bytes_new < 400_000);
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_content_refuses_a_writer_by_its_role() {
    let w = world().await;
    fill(&w.volume());
    let snapshot = w.back_up().await.snapshot;
    let writer = writer_of(&w).await;
    let refused = |e: crate::Error| {
        assert_eq!(e.kind(), ErrorKind::Key, "{}", e.chain());
        assert!(e.chain().contains("role writer"), "{}", e.chain());
    };
    let target = w.dir.path().join("out");
    let request = RestoreRequest {
        snapshot: snapshot.clone(),
        path: Vec::new(),
        patterns: Vec::new(),
        target: target.clone(),
        existing: Existing::Fail,
        memory_bytes_max: 64 << 20,
    };
    refused(restore(&writer, request, &Task::default()).await.unwrap_err());
    assert!(!target.exists());
    refused(verify(&writer, &snapshot, &Level::Full, &Task::default()).await.unwrap_err());
    for name in [&b"tiny"[..], b"small", b"large"] {
        let read: crate::Result<Vec<_>> = browse::cat(&writer, &snapshot, name).try_collect().await;
        refused(read.unwrap_err());
    }
    refused(keys::rotate(&writer, "me").await.unwrap_err());
    refused(keys::export(&writer, None).await.unwrap_err());
    refused(keys::list(&writer).await.unwrap_err());
    refused(collect(&writer, GcRequest::default(), &Task::default()).await.unwrap_err());
    // What does not, it may: names and sizes, and that all packs are there.
    let quick = verify(&writer, &snapshot, &Level::Quick, &Task::default()).await.unwrap();
    assert_eq!(quick.problems, Problems::default());
    let names: Vec<_> = browse::list(&writer, &snapshot, b"", true).try_collect().await.unwrap();
    let names: Vec<_> = names.into_iter().map(|e| e.path).collect();
    assert!([&b"tiny"[..], b"small", b"large", b"empty"].iter().all(|n| names.contains(&n.to_vec())));
}

/// All that the writer's keys open: every sealed object, every metadata pack; data packs must not.
async fn all_that_opens(repo: &Repository) -> (Vec<u8>, u32) {
    let (mut plain, mut closed) = (Vec::new(), 0);
    let listed: Vec<_> = repo.store.list("", None).try_collect().await.unwrap();
    for key in listed.into_iter().map(|o| o.key) {
        let letter = key.as_str().split('/').nth(1).unwrap_or_default().to_owned();
        let sealed = repo.store.get(&key).await.unwrap();
        let kind = match letter.as_str() {
            "i" => ObjectKind::Delta,
            "s" => ObjectKind::Registration,
            "m" => ObjectKind::Outcome,
            "p" => {
                let id = repo.layout.parse_pack(&key).unwrap();
                let tail: [u8; TAIL_LEN] = *sealed.last_chunk().unwrap();
                match repo.reader().footer(id).await {
                    Ok(footer) => {
                        let groups: Vec<u32> = (0..u32::try_from(footer.groups.len()).unwrap()).collect();
                        for group in repo.reader().read_groups(id, &groups).await.unwrap() {
                            group.blobs.iter().for_each(|(_, bytes)| plain.extend_from_slice(bytes));
                        }
                    }
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Key);
                        closed += 1;
                        try_all_keys(repo, id, tail);
                    }
                }
                continue;
            }
            _ => continue,
        };
        plain.extend(unseal_object(&repo.keys, kind, &key, &sealed).unwrap());
    }
    (plain, closed)
}

/// Every secret that a writer has, in every way in which a pack can be opened.
fn try_all_keys(repo: &Repository, id: crate::ids::PackId, tail: [u8; TAIL_LEN]) {
    let opened = Frames::open(&repo.keys, id, &tail).map(|_| ());
    assert!(matches!(opened, Err(PackError::Key(KeyError::WriterOnly))));
    // Said to be metadata, its epoch's key would do; it is not sealed under that.
    let mut as_meta = tail;
    as_meta[4] = 2;
    assert!(matches!(Frames::open(&repo.keys, id, &as_meta).map(|_| ()), Err(PackError::OtherKey)));
    let epoch = repo.keys.newest().1;
    let known = [*epoch.key, epoch.data_public.0, *repo.keys.chunker_key(), *repo.keys.mark_key(), [8; 32]];
    for secret in known {
        let secret = SecretKey::new(zeroize::Zeroizing::new(secret));
        assert_ne!(secret.public(), epoch.data_public);
        let opened = Frames::open_own(&repo.keys, id, &tail, Some(&secret)).map(|_| ());
        assert!(matches!(opened, Err(PackError::OtherKey)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_writers_keys_open_holds_content() {
    let w = world().await;
    fill(&w.volume());
    w.back_up().await;
    let writer = writer_of(&w).await;
    fs::write(w.volume().join("small"), with_secret(noise(9, 6000))).unwrap();
    back_up_as(&writer, &w).await;
    let (plain, closed) = all_that_opens(&writer).await;
    let holds = |plain: &[u8], what: &[u8]| plain.windows(what.len()).any(|w| w == what);
    assert!(holds(&plain, b"tiny") && holds(&plain, b"large"), "names are metadata");
    assert!(!holds(&plain, SECRET) && closed >= 2);
    // The search itself finds content where it may be read.
    let (plain, closed) = all_that_opens(&w.repo).await;
    assert!(holds(&plain, SECRET), "{}", hex(&plain[..16]));
    assert_eq!(closed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_failed_finds_what_it_had_stored() {
    let memory: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let faulty = Arc::new(FaultStore::new(memory, FaultPlan::default()));
    let w = world_on(Arc::clone(&faulty) as Arc<dyn Store>).await;
    fill(&w.volume());
    let writer = writer_of(&w).await;
    let fault = Fault::always(Op::Put, "*/m/*", Effect::Fail(StoreErrorKind::Denied));
    faulty.replace(FaultPlan { faults: vec![fault], ..FaultPlan::default() });
    backup(&writer, request(&w.volume()), None, &Task::default()).await.unwrap_err();
    faulty.replace(FaultPlan::default());
    let again = back_up_as(&open_as(&w.repo.store, writers_key()).await, &w).await;
    assert!(again.figures.bytes_new < 1 << 20, "{} of 20 MiB are new", again.figures.bytes_new);
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_reads_nothing_of_a_new_epoch() {
    let w = world().await;
    fill(&w.volume());
    w.back_up().await;
    let thief = Credential::KeyFile(zeroize::Zeroizing::new([9; 32]));
    let held = NewCredential::Held(Credential::KeyFile(zeroize::Zeroizing::new([9; 32])));
    let (access, _) = keys::add(&w.repo, held, Role::Full, "thief", "me").await.unwrap();
    // It stays open, with all keys that there were.
    let thief = open_as(&w.repo.store, thief).await;
    keys::remove(&w.repo, access.id, "me").await.unwrap();
    keys::rotate(&w.repo, "me").await.unwrap();
    let after = w.back_up().await.snapshot;
    let e = snapshots::list(&thief).await.map(|(_, damaged)| damaged.into_iter().next());
    let said = match e {
        Ok(damaged) => damaged.unwrap().chain(),
        Err(e) => e.chain(),
    };
    assert!(said.contains("was removed"), "{said}");
    let request = RestoreRequest {
        snapshot: after,
        path: Vec::new(),
        patterns: Vec::new(),
        target: w.dir.path().join("stolen"),
        existing: Existing::Fail,
        memory_bytes_max: 64 << 20,
    };
    let e = restore(&thief, request, &Task::default()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Key, "{}", e.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thief_could_open_is_sealed_again_on_request() {
    let w = world().await;
    fill(&w.volume());
    w.back_up().await;
    let thief = open(Arc::clone(&w.repo.store)).await;
    keys::rotate(&w.repo, "me").await.unwrap();
    let compaction = Compaction { reencrypt_below_epoch: Some(2), ..Compaction::default() };
    for _ in 0..3 {
        let request =
            GcRequest { fence_after_seconds: 0, compaction: compaction.clone(), ..GcRequest::default() };
        collect(&w.repo, request, &Task::default()).await.unwrap();
    }
    let folder = w.repo.layout.folder(ObjectKind::Pack);
    let packs: Vec<_> = w.repo.store.list(&folder, None).map_ok(|o| o.key).try_collect().await.unwrap();
    assert!(packs.len() >= 2, "data and metadata");
    for pack in packs {
        let sealed = w.repo.store.get(&pack).await.unwrap();
        let tail: [u8; TAIL_LEN] = *sealed.last_chunk().unwrap();
        let id = w.repo.layout.parse_pack(&pack).unwrap();
        let opened = Frames::open(&thief.keys, id, &tail).map(|_| ());
        assert!(matches!(opened, Err(PackError::Key(KeyError::NoEpoch(2)))), "{pack}");
    }
    w.check_round_trip().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_began_before_a_rotation_ends_as_it_would() {
    let w = world().await;
    fill(&w.volume());
    let manifest = w.back_up().await.snapshot.manifest;
    let session = || async { Session::open(w.repo.objects(), &Who::writer("host", "vol")).await.unwrap() };
    let (commits, fenced) = (session().await, session().await);
    let admin = open_as(&w.repo.store, credential()).await;
    keys::rotate(&admin, "me").await.unwrap();
    // One is fenced by somebody who seals under the new epoch already.
    let objects = admin.objects();
    let key = admin.layout.outcome(fenced.generation(), fenced.sid());
    let outcome = Outcome::Aborted { nonce: [0; 16], reason: "too late".to_owned() };
    let sealed = objects.seal(ObjectKind::Outcome, &key, &outcome.encode());
    objects.put_own(&key, &sealed).await.unwrap();
    assert_eq!(w.repo.keys.newest_epoch(), 1);
    let ended = fenced.commit(manifest.clone()).await.unwrap();
    assert_eq!(ended, Commit::Fenced("too late".to_owned()));
    // The other commits, and is read under whatever epoch.
    assert_eq!(commits.commit(manifest).await.unwrap(), Commit::Committed);
    assert_eq!(snapshots::list(&admin).await.unwrap().0.len(), 2);
    w.check_round_trip().await;
}

#[tokio::test]
async fn other_keys_than_this_machine_has_used_are_refused() {
    let (w, cache) = (world().await, tempfile::tempdir().unwrap());
    let open = || {
        let options = OpenOptions {
            domain: DomainName::default_domain(),
            credential: credential(),
            cache_dir: Some(cache.path().to_owned()),
            remote: false,
            cpu_threads: 1,
        };
        Repository::open(Arc::clone(&w.repo.store), options, env())
    };
    let kept = open().await.unwrap().cache_dir.clone().unwrap().join("keys");
    open().await.unwrap();
    // As if the ring in the store had been another one's then.
    fs::write(&kept, hex(&[1; 32])).unwrap();
    let e = open().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Key, "{}", e.chain());
    // What is no fingerprint says nothing.
    fs::write(&kept, "").unwrap();
    open().await.unwrap();
    assert_eq!(fs::read_to_string(&kept).unwrap(), hex(&w.repo.keys.fingerprint()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_stands_in_the_audit_and_one_that_is_refused_does_not() {
    let w = world().await;
    let text = keys::export(&w.repo, Some(credential())).await.unwrap();
    let import = async || {
        let export = crate::keys::import(&text).unwrap();
        keys::import(&w.repo.store, export, credential(), false, &env()).await
    };
    let told = async || {
        let repo = open(Arc::clone(&w.repo.store)).await;
        let filter = audit::Filter { kind: Some("keys".to_owned()), ..audit::Filter::default() };
        audit::list(&repo, &filter).await.unwrap().0
    };
    let refused = import().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
    assert_eq!(told().await.len(), 1, "the export only");
    for copy in ['a', 'b'] {
        w.repo.store.delete(&w.repo.layout.ring(1, copy)).await.unwrap();
    }
    let (changed, described) = import().await.unwrap();
    assert!(!described, "repo.json was there");
    let records = told().await;
    let last = records.last().unwrap();
    let what = format!("brought the keys back from an export, as version {}", changed.version);
    assert_eq!((last.event.clone(), &*last.by), (Event::Keys(what), "holdfast key"));
    assert_eq!(records.len(), 2);
}
