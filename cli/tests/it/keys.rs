//! Keys and domains, as an operator handles them.

use serde_json::Value;

use crate::data::{assert_same, tree};
use crate::place::Place;

/// With a volume.
fn with_data() -> Place {
    let place = Place::new();
    tree(&place.path("data"), 2 << 20, 1);
    place
}

fn lose_rings(place: &Place) {
    std::fs::remove_dir_all(place.path("repo/default/k")).unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn an_agent_gets_a_key_that_writes_and_does_not_read() {
    let place = with_data();
    let (admin, agent) = (place.on("repo", "key"), place.on("repo", "agent.key"));
    let recipient = text(&place.on("repo", "key").json(&["key", "generate", "agent.key"])["recipient"]);
    assert_eq!(text(&agent.json(&["key", "recipient"])["recipient"]), recipient);
    admin.run(&["key", "generate", "agent.key"]).failed(4, "agent.key");
    agent.run(&["backup", "data"]).failed(4, "wrong key file");
    admin.run(&["key", "add", "--recipient", "hfr1beef"]).failed(2, "hfr1beef");
    admin.run(&["key", "add", "--recipient", &recipient, "--role", "writer", "--label", "agent"]).ok();
    admin.run(&["key", "add", "--recipient", &recipient]).failed(1, "there already");
    agent.run(&["backup", "data", "--volume", "v"]).ok();
    agent.run(&["ls", "latest"]).ok();
    agent.run(&["restore", "latest", "out"]).failed(4, "role writer");
    agent.run(&["key", "list"]).failed(4, "role writer");
    agent.run(&["key", "rotate"]).failed(4, "role writer");
    admin.run(&["restore", "latest", "out"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    let list = admin.json(&["key", "list"]);
    assert_eq!((&list["version"], &list["epoch"], &list["copies"]), (&2.into(), &1.into(), &2.into()));
    let agents = list["credentials"].as_array().unwrap().iter().find(|c| c["label"] == "agent").unwrap();
    assert_eq!((&agents["role"], &agents["recipient"]), (&"writer".into(), &recipient.into()));
    admin.run(&["key", "remove", "agent"]).ok();
    assert_eq!(admin.json(&["key", "rotate"])["epoch"], 2);
    agent.run(&["backup", "data", "--volume", "v"]).failed(4, "wrong key file");
    let own = text(&admin.json(&["key", "list"])["credentials"][0]["id"]);
    admin.run(&["key", "remove", &own]).failed(1, "last credential");
    admin.run(&["key", "remove", "nobody"]).failed(1, "nobody");
    admin.run(&["backup", "data", "--volume", "v"]).ok();
    admin.run(&["verify"]).ok();
}

#[test]
fn a_passphrase_is_added_and_opens() {
    let place = with_data();
    std::fs::write(place.path("words"), "correct horse\n").unwrap();
    place.on("repo", "key").run(&["key", "add", "--new-passphrase-file", "words"]).ok();
    place.on("repo", "").run(&["snapshots", "--passphrase-file", "words"]).ok();
}

#[test]
fn an_export_brings_everything_back() {
    let place = with_data();
    let admin = place.on("repo", "key");
    admin.run(&["backup", "data"]).ok();
    std::fs::write(place.path("words"), "in the drawer\n").unwrap();
    admin.run(&["key", "export", "--out", "export", "--new-passphrase-file", "words"]).ok();
    admin.run(&["key", "export", "--out", "export", "--bare"]).failed(4, "export");
    let printed = admin.run(&["key", "export", "--bare"]).ok();
    std::fs::write(place.path("bare"), &printed).unwrap();
    let import = |words: &[&str]| place.on("repo", "").run(words);
    import(&["key", "import", "export", "--passphrase-file", "words"]).failed(1, "is there and whole");
    lose_rings(&place);
    std::fs::remove_file(place.path("repo/repo.json")).unwrap();
    admin.run(&["snapshots"]).failed(5, "no repository");
    import(&["key", "import", "export", "--key-file", "key"]).failed(4, "no wrap");
    import(&["key", "import", "export", "--passphrase-file", "words"]).ok();
    // The old key and the export's passphrase open it.
    admin.run(&["verify"]).ok();
    import(&["verify", "--passphrase-file", "words"]).ok();
    // Bare, with a key that is made for it.
    lose_rings(&place);
    import(&["key", "import", "bare", "--key-file", "new.key"]).ok();
    place.on("repo", "new.key").run(&["restore", "latest", "out"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    // What was rotated since is not given up for it.
    admin.run(&["key", "rotate"]).ok();
    import(&["key", "import", "bare", "--key-file", "new.key", "--replace"]).failed(1, "would be lost");
    let slip = printed.replacen("001 ", "001 f", 1);
    std::fs::write(place.path("slip"), slip).unwrap();
    import(&["key", "import", "slip", "--key-file", "new.key"]).failed(2, "line 001");
}

#[test]
fn a_damaged_copy_of_the_ring_is_told_and_mended() {
    let place = with_data();
    let admin = place.on("repo", "key");
    std::fs::write(place.path("repo/default/k/0000000001-a"), "rubbish").unwrap();
    let listed = admin.run(&["key", "list"]);
    assert_eq!(listed.code, Some(3), "{}", listed.stderr);
    admin.run(&["key", "rotate"]).ok();
    assert_eq!(admin.json(&["key", "list"])["copies"], 2);
}

#[test]
fn domains_have_keys_of_their_own() {
    let place = with_data();
    let (first, second) = (place.on("repo", "key"), place.on("repo", "second.key"));
    second.run(&["domain", "add", "second"]).ok();
    second.run(&["domain", "add", "second"]).failed(1, "already");
    let names: Vec<_> =
        first.json(&["domain", "list"]).as_array().unwrap().iter().map(|d| text(&d["domain"])).collect();
    assert_eq!(names, ["default", "second"]);
    first.run(&["backup", "data", "--volume", "v"]).ok();
    first.run(&["snapshots", "--domain", "second"]).failed(4, "wrong key file");
    second.run(&["snapshots"]).failed(4, "wrong key file");
    second.run(&["backup", "data", "--volume", "v", "--domain", "second"]).ok();
    second.run(&["restore", "latest", "out", "--domain", "second"]).ok();
    assert_same(&place.path("data"), &place.path("out"));
    assert_eq!(first.json(&["snapshots"]).as_array().unwrap().len(), 1);
    first.run(&["snapshots", "--domain", "third"]).failed(4, "no keys for domain third");
}
