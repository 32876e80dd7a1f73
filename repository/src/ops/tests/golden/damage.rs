//! One wrong byte anywhere in the golden repository: it is named, or it changes nothing that is read.

use std::collections::HashSet;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;

use super::*;
use crate::ErrorKind;
use crate::ids::{PackId, Place};
use crate::manifest::summary;
use crate::session::Relocations;
use crate::store::Key;

/// Positions tried in each object, beside its first and its last byte, and its end.
const POSITIONS: usize = 24;
/// Damaged repositories read at once: reading one waits more than it computes.
const TRIES_AT_ONCE: usize = 4;

/// What was said while a repository was read.
#[derive(Debug, Default)]
struct Seen {
    said: Vec<String>,
}

impl Seen {
    fn error(&mut self, e: &crate::Error) {
        assert_ne!(e.kind(), ErrorKind::Internal, "{}", e.chain());
        assert!(!e.chain().contains("panic"), "{}", e.chain());
        self.said.push(e.chain());
    }

    fn problems(&mut self, problems: &Problems) {
        let kept = problems.kept().iter().filter(|p| !needs_rights(&p.what));
        self.said.extend(kept.map(|p| format!("{}: {}", printable(&p.path), p.what)));
    }
}

/// All that lies in the golden repository.
async fn objects() -> Vec<(Key, Bytes)> {
    let store = FileStore::open(&folder().join("repo"), &env()).unwrap();
    let listed: Vec<_> = store.list("", None).try_collect().await.unwrap();
    let mut out = Vec::new();
    for object in listed {
        out.push((object.key.clone(), store.get(&object.key).await.unwrap()));
    }
    out
}

/// First, last, the end, and some between that the key chooses: always the same.
fn positions(key: &Key, len: usize) -> Vec<usize> {
    let mut random = [0; 8 * POSITIONS];
    blake3::Hasher::new().update(key.as_str().as_bytes()).finalize_xof().fill(&mut random);
    let (chosen, _) = random.as_chunks::<8>();
    let mut out: Vec<_> = chosen.iter().map(|n| u64::from_le_bytes(*n) as usize % len).collect();
    out.extend([0, len - 1, len]);
    out.sort_unstable();
    out.dedup();
    out
}

/// What a reader gets must be right as far as it gets it.
fn check_partial(found: &Lines, expected: &Lines, context: &str) {
    let (found, expected) = (plain(found), plain(expected));
    for (path, line) in found {
        assert_eq!(Some(&line), expected.get(path), "{context}: {path}");
    }
}

/// Lists, reads, verifies and restores all there is; wrong content fails the test.
async fn read_all(store: Arc<dyn Store>, dir: &Path, context: &str) -> Seen {
    let mut seen = Seen::default();
    let repo = match open_with(store, key_file()).await {
        Ok(repo) => repo,
        Err(e) => {
            seen.error(&e);
            return seen;
        }
    };
    let (snapshots, damaged) = snapshots::list(&repo).await.unwrap_or_else(|e| (Vec::new(), vec![e]));
    damaged.iter().for_each(|e| seen.error(e));
    let mut expected: BTreeMap<String, Lines> = expected().into_iter().collect();
    for snapshot in snapshots {
        let expected = expected.remove(&snapshot.id.to_string()).unwrap_or_else(|| panic!("{context}"));
        let before = seen.said.len();
        match lines_of_snapshot(&repo, &snapshot).await {
            Ok(lines) => assert_eq!(lines, expected, "{context}"),
            Err(e) => seen.error(&e),
        }
        let target = dir.join(snapshot.id.to_string());
        match restore(&repo, restore_request(snapshot.clone(), target.clone()), &Task::default()).await {
            Ok(report) => {
                seen.problems(&report.problems);
                let restored = lines_of_folder(&target);
                check_partial(&restored, &expected, context);
                assert!(
                    seen.said.len() > before || plain(&restored) == plain(&expected),
                    "{context}: nothing was said"
                );
            }
            Err(e) => seen.error(&e),
        }
        let _ = fs::remove_dir_all(&target);
        let noticed = seen.said.len() > before;
        match verify(&repo, &snapshot, &Level::Full, &Task::default()).await {
            Ok(report) => {
                assert!(!noticed || !report.problems.is_empty(), "{context}: verify saw nothing");
                seen.problems(&report.problems);
            }
            Err(e) => seen.error(&e),
        }
    }
    let nothing_hidden = expected.is_empty() || !seen.said.is_empty();
    assert!(nothing_hidden, "{context}: a snapshot is gone and nothing was said");
    seen
}

/// Packs that some snapshot needs, as they are named today.
async fn needed_packs() -> HashSet<PackId> {
    let repo = open_with(read_only(), key_file()).await.unwrap();
    let moved = Relocations::load_newest(&repo.objects()).await.unwrap();
    let mut packs = HashSet::new();
    for snapshot in snapshots::list(&repo).await.unwrap().0 {
        let summary = &snapshot.manifest.summary;
        packs.extend(summary.pieces().iter().map(|p| moved.resolve(p.place).pack));
        for needed in summary::load(summary, &*repo.reader()).await.unwrap() {
            let pack = needed.pack.id;
            packs.extend(needed.ordinals.iter().map(|ordinal| moved.resolve(Place { pack, ordinal }).pack));
        }
    }
    packs
}

/// Stores the objects with one byte changed, or missing at the end, and reads all. True if the damage was noticed.
async fn try_one(objects: &[(Key, Bytes)], damaged: &Key, at: usize) -> bool {
    let store: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    for (key, bytes) in objects {
        let mut bytes = bytes.to_vec();
        if key == damaged {
            match bytes.get_mut(at) {
                Some(byte) => *byte ^= 1 << (at % 8),
                None => drop(bytes.pop()),
            }
        }
        store.put_new(key, Bytes::from(bytes)).await.unwrap();
    }
    let context = format!("{damaged} byte {at}");
    // In memory, where there is such a folder: a hundred restores would keep a disk busy.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir_in(disk())).unwrap();
    let said = read_all(store, dir.path(), &context).await.said;
    let name = match letter_of(damaged) {
        '-' => "repo",
        // A damaged salt can't be told from another credential.
        'k' => "domain default",
        _ => damaged.name(),
    };
    let names_it = said.iter().any(|s| s.contains(name) || s.contains(damaged.name()));
    assert!(said.is_empty() || names_it, "{context}: {said:?}");
    !said.is_empty()
}

/// The letter of the object's kind; `-` for `repo.json`.
fn letter_of(key: &Key) -> char {
    key.as_str().split('/').nth(1).and_then(|s| s.chars().next()).unwrap_or('-')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_byte_is_named_or_changes_nothing() {
    let objects = objects().await;
    let forgotten: Vec<&str> =
        objects.iter().filter(|(k, _)| letter_of(k) == 'f').map(|(k, _)| k.name()).collect();
    let needed: Vec<String> = needed_packs().await.iter().map(ToString::to_string).collect();
    let places = |(key, bytes): &'_ (Key, Bytes)| {
        positions(key, bytes.len()).into_iter().map(|at| (key.clone(), at)).collect::<Vec<_>>()
    };
    let tries: Vec<(Key, usize)> = objects.iter().flat_map(places).collect();
    let tried = stream::iter(tries).map(|(damaged, at)| {
        let objects = &objects;
        async move { (try_one(objects, &damaged, at).await, damaged, at) }
    });
    let tried: Vec<_> = tried.buffer_unordered(TRIES_AT_ONCE).collect().await;
    for (noticed, damaged, at) in tried {
        match letter_of(&damaged) {
            // Nobody reads the outcome of a forgotten one, before it is to come back.
            'm' if forgotten.contains(&damaged.name()) => assert!(!noticed, "{damaged} byte {at}"),
            'p' if !needed.iter().any(|p| p == damaged.name()) => assert!(!noticed, "{damaged} byte {at}"),
            // Every byte of these counts; of `repo.json` all but spaces, and of wraps only the one that is used.
            'm' | 'p' => assert!(noticed, "{damaged} byte {at} is wrong, and nothing was said"),
            // Only writers and collectors read these, and the index is a hint.
            'i' | 'x' | 's' | 'f' => assert!(!noticed, "{damaged} byte {at} is no reader's business"),
            _ => {}
        }
    }
}
