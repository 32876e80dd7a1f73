//! A second repository, by copies with other keys and as a mirror; and what `stats` tells of all this.

use serde_json::Value;

use crate::data::{append, assert_same, tree};
use crate::place::Place;
use crate::process::Holdfast;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn snapshots_are_copied_to_other_keys() {
    let place = Place::new();
    tree(&place.path("data"), 3 << 20, 1);
    place.run(&["backup", "data", "--volume", "v", "--tag", "kept"]).ok();
    place.on("other", "other-key").run(&["init"]).ok();
    let to = place.url("other");
    let to = ["--to", to.as_str(), "--to-key-file", "other-key"];
    let copy = |words: &[&str]| place.json(&[&["copy"], words, &to].concat());
    let first = copy(&[]);
    assert_eq!((&first[0]["state"], number(&first[0]["problems"])), (&Value::from("copied"), 0), "{first}");
    assert!(number(&first[0]["bytes_stored"]) > 3 << 20, "{first}");
    assert_eq!(copy(&[])[0]["state"], "already");

    append(&place.path("data/sub/a.txt"), b"more\n");
    place.run(&["backup", "data", "--volume", "v"]).ok();
    let second = copy(&["--newest", "1"]);
    assert_eq!(
        (second.as_array().unwrap().len(), &second[0]["state"]),
        (1, &Value::from("copied")),
        "{second}"
    );
    assert!(number(&second[0]["bytes_read"]) < 1 << 20, "{second}");

    let other = place.on("other", "other-key");
    let listed = other.json(&["snapshots"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["tags"][0]), (2, &Value::from("kept")));
    other.run(&["verify"]).ok();
    other.run(&["restore", "latest", "out"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    place.run(&["copy", "--to", "file:///nowhere", "--to-key-file", "other-key"]).failed(5, "nowhere");
    place.run(&[&["copy"], &to[..2], &["--to-key-file", "key"]].concat()).failed(4, "key");
}

#[test]
fn a_mirror_needs_no_key_and_opens_with_the_same() {
    let place = Place::new();
    tree(&place.path("data"), 2 << 20, 1);
    place.run(&["backup", "data", "--volume", "v"]).ok();
    let to = place.url("mirror");
    let repo = place.url("repo");
    let keyless = Holdfast::new(&place.path("")).with([("HOLDFAST_REPO", repo.as_str())]);
    let first = keyless.json(&["mirror", "--to", &to]);
    assert_eq!(
        (number(&first["copied"]) + 1, number(&first["different"])),
        (number(&first["objects"]) + 1, 0)
    );
    assert_eq!(number(&keyless.json(&["mirror", "--to", &to, "--compare-bytes"])["copied"]), 0);
    let mirror = place.on("mirror", "key");
    mirror.run(&["verify"]).ok();
    mirror.run(&["restore", "latest", "out"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    place.run(&["mirror", "--to", &to, "--key-file", "key"]).failed(2, "--key-file");
    place.on("else", "other-key").run(&["init"]).ok();
    let other = place.url("else");
    keyless.run(&["mirror", "--to", &other]).failed(1, "another repository");
}

#[test]
fn stats_tell_who_needs_what() {
    let place = Place::new();
    tree(&place.path("data"), 2 << 20, 1);
    let first = place.json(&["backup", "data", "--volume", "v"]);
    let first = first[0]["id"].as_str().unwrap();
    tree(&place.path("data/more"), 1 << 20, 2);
    place.run(&["backup", "data", "--volume", "v"]).ok();
    let detail = place.json(&["stats", "--detail"]);
    assert_eq!(number(&detail["volumes"]["v"]["snapshots"]), 2, "{detail}");
    assert!(number(&detail["needed"]["plain"]) >= 3 << 20, "{detail}");
    assert!(detail["dedup"].as_f64().unwrap() > 1.4, "{detail}");
    assert!(number(&detail["snapshots"][1]["exclusive"]["plain"]) >= 1 << 20, "{detail}");
    let between = place.json(&["stats", "--between", first, "latest", "--top", "1"]);
    assert_eq!(between["folders"][0]["path"], "more", "{between}");
    assert_eq!(between["files"].as_array().unwrap().len(), 1, "{between}");
    let freed = place.json(&["stats", "--would-free", "--keep-last", "1"]);
    assert_eq!(number(&freed["snapshots"]), 1, "{freed}");
    assert!(number(&freed["packs_bytes"]) < 64 << 10, "the second needs nearly all of it: {freed}");
    let both = place.json(&["stats", "--would-free", first, "latest"]);
    assert!(number(&both["packs_bytes"]) > 3 << 20, "{both}");
    place.run(&["stats", "--keep-last", "1"]).failed(2, "--would-free");
    place.run(&["stats", "--would-free"]).failed(2, "--keep-daily");
    assert!(place.run(&["stats", "--detail"]).ok().contains("ONLY ITS OWN"));
}
