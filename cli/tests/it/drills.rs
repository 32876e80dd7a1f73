//! The drills of docs/operations.md, with real processes on a bucket alone.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::{assert_same, tree};
use crate::place::Place;

/// With a volume.
fn with_data() -> Place {
    let place = Place::new();
    tree(&place.path("data"), 2 << 20, 7);
    place
}

impl Place {
    /// What it prints, whatever it ends with.
    fn told(&self, words: &[&str]) -> (Option<i32>, Value) {
        let ran = self.run(&[words, &["--output", "json"]].concat());
        let text = String::from_utf8(ran.stdout).unwrap();
        (ran.code, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {}", ran.stderr)))
    }

    fn back_up(&self) -> String {
        let done = self.json(&["backup", "data", "--volume", "v", "--read-all"]);
        done[0]["id"].as_str().unwrap().to_owned()
    }

    /// As a machine that was never here: caches know what the store has lost.
    fn forget_caches(&self) {
        let _ = std::fs::remove_dir_all(self.path(".cache"));
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.path("repo/default").join(kind)];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() { dirs.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found.sort();
        found
    }

    /// The largest pack: data.
    fn data_pack(&self) -> PathBuf {
        self.files("p").into_iter().max_by_key(|p| std::fs::metadata(p).unwrap().len()).unwrap()
    }

    fn check_restores(&self, id: &str) {
        let out = self.path("out");
        let _ = std::fs::remove_dir_all(&out);
        self.run(&["restore", id, "out"]).ok();
        assert_same(&self.path("data"), &out);
    }
}

/// Flips a bit in the middle.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_pack_is_found_and_healed() {
    let place = with_data();
    let first = place.back_up();
    assert_eq!(place.json(&["scrub", "--share", "50"])["ok"], true);
    damage(&place.data_pack());
    place.forget_caches();
    let (code, verify) = place.told(&["verify"]);
    assert_eq!((code, &verify[0]["ok"]), (Some(1), &Value::from(false)));
    assert_eq!(verify[0]["damaged"].as_array().unwrap().len(), 1, "{verify}");
    assert_eq!(place.files("q").len(), 1);
    let (code, scrub) = place.told(&["scrub"]);
    assert_eq!((code, &scrub["quarantined"]), (Some(1), &Value::from(0)), "verify has named it: {scrub}");
    let shown = place.json(&["snapshots"]);
    assert_eq!(shown[0]["health"]["damaged"], true, "{shown}");
    assert!(place.run(&["snapshots"]).ok().contains("damaged"));

    let second = place.back_up();
    place.check_restores(&second);
    let repaired = place.json(&["repair", "snapshots", "--forget"]);
    assert_eq!((&repaired[0]["id"], &repaired[0]["lost"]), (&Value::from(first.as_str()), &Value::from(0)));
    place.check_restores(repaired[0]["copy"].as_str().unwrap());
    assert_eq!(place.json(&["gc", "--fence-after", "0s"])["done"], true);
    place.run(&["verify"]).ok();
    place.run(&["scrub"]).ok();
    let (_, test) = place.told(&["restore-test", "--against", "data", "--volume", "v"]);
    assert_eq!(test[0]["ok"], true, "{test}");
    let kinds: Vec<String> =
        place.json(&["audit"]).as_array().unwrap().iter().map(|r| r["kind"].to_string()).collect();
    for kind in ["verified", "repaired", "forgot", "gc", "restore-test"] {
        assert!(kinds.contains(&format!("{kind:?}")), "{kind}: {kinds:?}");
    }
}

#[test]
fn a_pack_that_is_put_back_leaves_the_quarantine() {
    let place = with_data();
    let id = place.back_up();
    let (pack, aside) = (place.data_pack(), place.path("aside"));
    std::fs::copy(&pack, &aside).unwrap();
    damage(&pack);
    place.forget_caches();
    // The restore itself puts it there.
    assert_eq!(place.run(&["restore", &id, "out"]).code, Some(3));
    assert_eq!(place.files("q").len(), 1);
    let (code, told) = place.told(&["repair", "quarantine"]);
    assert_eq!(
        (code, &told["left"], &told["pack_list"][0]["state"]),
        (Some(3), &1.into(), &"damaged".into())
    );
    std::fs::remove_file(&pack).unwrap();
    let (code, told) = place.told(&["repair", "quarantine"]);
    assert_eq!((code, &told["pack_list"][0]["state"]), (Some(3), &"gone".into()), "{told}");
    std::fs::copy(&aside, &pack).unwrap();
    let said = place.run(&["repair", "quarantine", "--dry-run"]).ok();
    assert!(said.contains("would be lifted") && place.files("q").len() == 1, "{said}");
    let done = place.json(&["repair", "quarantine"]);
    assert_eq!((&done["lifted"], &done["left"]), (&1.into(), &0.into()), "{done}");
    assert!(place.files("q").is_empty());
    let audit = place.json(&["audit", "--kind", "repaired"]);
    assert_eq!(audit[0]["detail"]["lifted"][0], done["pack_list"][0]["pack"], "{audit}");
    assert_eq!(place.json(&["snapshots"])[0]["health"]["damaged"], false);
    place.check_restores(&id);
}

#[test]
fn a_lost_pack_costs_its_files_and_they_are_named() {
    let place = with_data();
    place.back_up();
    std::fs::remove_file(place.data_pack()).unwrap();
    place.forget_caches();
    place.run(&["verify", "--quick"]).failed(1, "is missing: the snapshot needs");
    let (code, told) = place.told(&["repair", "snapshots", "--dry-run"]);
    let lost = told[0]["lost"].as_u64().unwrap();
    assert!(code == Some(3) && lost > 0, "{told}");
    let (code, done) = place.told(&["repair", "snapshots", "--forget"]);
    assert_eq!((code, done[0]["lost"].as_u64()), (Some(3), Some(lost)));
    place.run(&["verify"]).ok();
    let shown = place.json(&["snapshots"]);
    assert_eq!(shown[0]["repaired"]["lost"].as_u64(), Some(lost), "{shown}");
    // The next backup has all again.
    let id = place.back_up();
    place.check_restores(&id);
}

#[test]
fn a_lost_index_and_an_empty_cache_lose_nothing() {
    let place = with_data();
    let id = place.back_up();
    std::fs::remove_dir_all(place.path("repo/default/i")).unwrap();
    let _ = std::fs::remove_dir_all(place.path("repo/default/x"));
    place.forget_caches();
    place.run(&["verify"]).ok();
    place.check_restores(&id);
    let done = place.json(&["repair", "index"]);
    assert_eq!(done["packs"], done["packs_total"]);
    assert!(place.run(&["repair", "index"]).ok().starts_with("0 of "));
    let again = place.json(&["backup", "data", "--volume", "another"]);
    assert_eq!(again[0]["figures"]["blobs_new"], 0, "{again}");
}

#[test]
fn a_lost_outcome_costs_its_snapshot_only() {
    let place = with_data();
    let first = place.back_up();
    std::fs::write(place.path("data/more"), vec![7; 100_000]).unwrap();
    let second = place.back_up();
    let outcome = place.files("m").into_iter().find(|p| p.ends_with(&second)).unwrap();
    damage(&outcome);
    place.forget_caches();
    place.run(&["snapshots"]).ok();
    place.run(&["gc"]).failed(1, "GC must know what snapshot");
    std::fs::remove_file(&outcome).unwrap();
    assert_eq!(place.json(&["snapshots"]).as_array().unwrap().len(), 1);
    place.run(&["verify", &first]).ok();
    let third = place.back_up();
    assert_eq!(place.json(&["gc", "--fence-after", "0s"])["done"], true);
    place.check_restores(&third);
}

#[test]
fn lost_gc_records_lose_no_snapshot() {
    let place = with_data();
    let first = place.back_up();
    std::fs::remove_dir_all(place.path("data")).unwrap();
    tree(&place.path("data"), 2 << 20, 8);
    place.back_up();
    place.run(&["forget", &first]).ok();
    assert!(place.json(&["gc", "--fence-after", "0s"])["deleted"].as_u64().unwrap() > 0);
    std::fs::remove_dir_all(place.path("repo/default/g")).unwrap();
    place.forget_caches();
    // Where compacted packs' blobs went is lost; the index, made again, tells.
    place.run(&["repair", "index", "--all"]).ok();
    place.run(&["repair", "snapshots", "--forget"]).ok();
    place.run(&["verify", "--quick"]).ok();
    assert_eq!(place.json(&["gc", "--dry-run"])["generation"], 1);
    let latest = place.back_up();
    place.run(&["gc", "--fence-after", "0s"]).ok();
    place.run(&["verify"]).ok();
    place.check_restores(&latest);
}

/// What operations.md and keys.md promise together: of all that can be lost beside packs and outcomes, nothing is needed.
#[test]
fn the_bucket_and_an_export_suffice() {
    let place = with_data();
    let id = place.back_up();
    std::fs::write(place.path("words"), "in the drawer\n").unwrap();
    place.run(&["key", "export", "--out", "export", "--new-passphrase-file", "words"]).ok();
    // The machines with their caches, keys and coordinator; then the index, the wraps, and what describes the repository.
    place.forget_caches();
    std::fs::remove_file(place.path("key")).unwrap();
    for kind in ["i", "x", "k", "s", "a"] {
        let _ = std::fs::remove_dir_all(place.path("repo/default").join(kind));
    }
    std::fs::remove_file(place.path("repo/repo.json")).unwrap();
    let drawer = place.on("repo", "");
    drawer.run(&["snapshots", "--passphrase-file", "words"]).failed(5, "no repository");
    drawer.run(&["key", "import", "export", "--passphrase-file", "words"]).ok();
    drawer.run(&["key", "generate", "key"]).ok();
    let recipient = place.json(&["key", "recipient"])["recipient"].as_str().unwrap().to_owned();
    drawer.run(&["key", "add", "--passphrase-file", "words", "--recipient", &recipient]).ok();
    place.run(&["verify"]).ok();
    place.check_restores(&id);
    place.run(&["repair", "index"]).ok();
    let again = place.json(&["backup", "data", "--volume", "another"]);
    assert_eq!(again[0]["figures"]["blobs_new"], 0, "{again}");
    assert_eq!(place.json(&["gc", "--fence-after", "0s"])["done"], true);
    place.check_restores(&id);
    let audit = place.json(&["audit", "--kind", "keys"]);
    let told: Vec<_> = audit.as_array().unwrap().iter().map(|r| r["detail"]["text"].to_string()).collect();
    assert!(told.iter().any(|t| t.contains("brought the keys back")), "{audit}");
}
