//! Snapshots are forgotten, brought back and collected, as an operator does it on a bare repository.

use serde_json::Value;

use crate::data::{assert_same, bytes_below, tree};
use crate::place::Place;

impl Place {
    /// A version of the volume, backed up; its id.
    fn version(&self, seed: u64) -> String {
        let _ = std::fs::remove_dir_all(self.path("data"));
        tree(&self.path("data"), 2 << 20, seed);
        let done = self.json(&["backup", "data", "--volume", "v"]);
        let id = done.as_array().map_or(&done["id"], |list| &list[0]["id"]);
        id.as_str().unwrap().to_owned()
    }

    fn snapshots(&self) -> Vec<String> {
        let all = self.json(&["snapshots"]);
        all.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }

    fn stored(&self) -> u64 {
        bytes_below(&self.path("repo"))
    }
}

#[test]
fn forgotten_space_comes_back_and_the_rest_stays() {
    let place = Place::new();
    let first = place.version(1);
    let one = place.stored();
    let second = place.version(2);
    let both = place.stored();
    assert!(both > one + (1 << 20), "{one} {both}");

    place.run(&["forget"]).failed(2, "--keep-daily");
    place.run(&["forget", &first, "--keep-last", "1"]).failed(2, "cannot be used with");
    place.run(&["forget", "--keep-last", "1", "--keep-within", "soon"]).failed(2, "36h");
    let told = place.json(&["forget", "--keep-last", "1", "--dry-run"]);
    assert_eq!(told[0]["kept_because"][0], "last");
    assert_eq!((&told[1]["id"], &told[1]["forgotten"]), (&Value::from(first.as_str()), &Value::from(true)));
    assert_eq!(place.snapshots().len(), 2, "it only told");

    let said = place.run(&["forget", "--keep-last", "1"]).ok();
    assert!(said.contains("holdfast gc"), "{said}");
    assert_eq!(place.snapshots(), [second.as_str()]);
    assert!(place.stored() >= both, "a marker deletes nothing");
    let told = place.json(&["gc", "--dry-run"]);
    assert!(told["condemned_bytes"].as_u64().unwrap() > 1 << 20, "{told}");
    let done = place.json(&["gc"]);
    assert_eq!(done["done"], true, "{done}");
    assert_eq!(done["deleted_bytes"], told["condemned_bytes"], "{done}");
    assert!(place.stored() < one + (64 << 10), "{} of {both}", place.stored());
    place.run(&["verify"]).ok();
    place.run(&["restore", "latest", "out"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    place.run(&["unforget", &first]).failed(1, "GC has deleted it");
    assert_eq!(place.json(&["gc"])["deleted"], 0);
}

#[test]
fn forgetting_by_name_is_undone() {
    let place = Place::new();
    let first = place.version(1);
    place.version(2);
    place.run(&["forget", &first[..8], "--reason", "a test"]).ok();
    assert_eq!(place.snapshots().len(), 1);
    place.run(&["unforget", &first[..8]]).ok();
    assert_eq!(place.snapshots().len(), 2);
    assert_eq!(place.json(&["gc"])["done"], true);
    place.run(&["verify"]).ok();
    let audit = place.json(&["audit", "--since", "1h"]);
    let kinds: Vec<_> = audit.as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["forgot", "unforgot", "gc"], "{audit}");
    let forgot = &audit[0]["detail"]["snapshots"][0];
    assert_eq!((&forgot["id"], &forgot["why"]), (&Value::from(first.as_str()), &Value::from("a test")));
    assert_eq!(audit[2]["detail"]["done"], true);
    assert_eq!(place.json(&["audit", "--kind", "gc"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_pin_keeps_a_snapshot_until_it_is_taken_back() {
    let place = Place::new();
    let first = place.version(1);
    let ids: Vec<String> = (2..5).map(|seed| place.version(seed)).collect();
    assert_eq!(place.json(&["pin", &first[..8], "--reason", "an audit"])["pinned"], true);
    place.run(&["forget", &first]).failed(1, "is pinned by holdfast pin (an audit)");
    place.run(&["forget", "--keep-last", "1"]).ok();
    assert_eq!(place.snapshots(), [first.as_str(), ids[2].as_str()]);
    let shown = place.json(&["snapshots"]);
    assert_eq!((&shown[0]["health"]["pinned"], &shown[1]["health"]["pinned"]), (&true.into(), &false.into()));
    assert!(place.run(&["snapshots"]).ok().contains("complete, pinned"));
    place.run(&["unpin", "latest"]).failed(1, "is not pinned");
    place.run(&["unpin", &first]).ok();
    place.run(&["forget", &first]).ok();
    let audit = place.json(&["audit", "--kind", "unpinned"]);
    assert!(audit[0]["detail"]["text"].as_str().unwrap().starts_with(&first), "{audit}");
}

#[test]
fn a_landslide_is_stopped() {
    let place = Place::new();
    for seed in 0..5 {
        place.version(seed);
    }
    place.run(&["forget", "--keep-last", "1"]).failed(1, "4 of 5 snapshots, more than 50 %");
    assert_eq!(place.snapshots().len(), 5);
    place.run(&["forget", "--keep-last", "1", "--max-share", "80"]).ok();
    assert_eq!(place.snapshots().len(), 1);
}
