//! Copies, mirrors and locks through the coordinator, as real processes: to configured places only, over cancels and kills.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::data::{append, assert_same, tree};
use crate::fleet::{Fleet, finished};
use crate::process::{Holdfast, Ran, eventually};

const MIB: usize = 1 << 20;

/// Places that are written to when somebody asks, so slowly that what is under way can be interrupted: the same two stores twice.
const SLOW: &str = "destinations:\n\
    - {name: offsite, url: OTHER, key_file: other-key, enabled: false, upload_bytes_per_second_max: 6000000}\n\
    - {name: offsite-slow, url: OTHER, key_file: other-key, enabled: false, upload_bytes_per_second_max: 1000000}\n\
    - {name: twin, url: TWIN, enabled: false, upload_bytes_per_second_max: 6000000}\n\
    - {name: twin-slow, url: TWIN, enabled: false, upload_bytes_per_second_max: 1000000}\n\
    - {name: nowhere, url: 'file:///nowhere/at/all', key_file: other-key, enabled: false}\n";

/// A fleet with one volume of 24 MiB in one snapshot, and a second repository with a key of its own.
fn fleet(more: &str) -> (Fleet, tempfile::TempDir) {
    let away = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("file://{}", away.path().join(name).display());
    let (other, key) = (url("other"), away.path().join("other-key"));
    let key = key.to_str().unwrap();
    Holdfast::new(away.path()).run(&["init", "--repo", &other, "--key-file", key]).ok();
    let yaml = SLOW.replace("OTHER", &other).replace("TWIN", &url("twin")).replace("other-key", key);
    let fleet = Fleet::configured(&format!("{more}{yaml}"));
    tree(&fleet.path("v"), 24 * MIB, 1);
    {
        let _agent = fleet.agent("a", &["v"]);
        finished(fleet.backup("v"));
    }
    (fleet, away)
}

#[track_caller]
fn record(ran: Ran) -> Value {
    serde_json::from_str(&ran.ok()).unwrap()
}

fn cancel_in_the_middle(fleet: &Fleet, kind: &str, to: &str) {
    let started = fleet.json(&[kind, "--to", to, "--detach"]);
    let task = started["task"].as_str().unwrap();
    eventually("it runs", || fleet.json(&["maintenance", "show", task])["state"] == "running");
    fleet.run(&["maintenance", "cancel", task]).ok();
    let ended = fleet.run(&["maintenance", "watch", task]);
    let told = String::from_utf8_lossy(&ended.stdout);
    let title = format!("{kind} to {to} cancelled");
    assert!(ended.code == Some(130) && told.starts_with(&title), "{:?}: {told}", ended.code);
}

/// The client waits over the kill; the task goes on and tells that it was begun twice.
fn kill_in_the_middle(fleet: &mut Fleet, kind: &str, to: &str) -> Value {
    let words = [kind, "--to", to, "--output", "json", "--coordinator", &fleet.url];
    let mut watching = fleet.holdfast().start(&words);
    watching.says(&format!("to {to}"));
    fleet.coordinator.kill();
    fleet.restart_coordinator();
    let done = record(watching.ends());
    assert_eq!((&done["attempts"], &done["state"]), (&2.into(), &"done".into()), "{done}");
    assert_eq!((&done["to"], &done["problems"]), (&to.into(), &0.into()), "{done}");
    done
}

#[test]
fn a_copy_is_cancelled_killed_and_finished() {
    let (mut fleet, away) = fleet("");
    cancel_in_the_middle(&fleet, "copy", "offsite-slow");
    let done = kill_in_the_middle(&mut fleet, "copy", "offsite");
    assert_eq!(done["failed"], Value::Array(Vec::new()), "{done}");
    assert_eq!(done["copied"].as_array().unwrap().len(), 1, "{done}");
    let again = fleet.json(&["copy", "--to", "offsite", "latest", "--retry-partial"]);
    assert_eq!((&again["already"], &again["snapshots"]), (&1.into(), &1.into()), "{again}");
    let other = away.path().join("other");
    let (url, key) = (format!("file://{}", other.display()), away.path().join("other-key"));
    let all = ["--repo", &url, "--key-file", key.to_str().unwrap()];
    let other = Holdfast::new(away.path());
    other.run(&[&["verify"], &all[..]].concat()).ok();
    let out = away.path().join("out");
    other.run(&[&["restore", "latest", out.to_str().unwrap()], &all[..]].concat()).ok();
    assert_same(&fleet.path("v"), &out);
    let audit = fleet.json(&["audit", "--kind", "copied"]);
    let texts: Vec<String> = audit.as_array().unwrap().iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|t| t.contains("1 of 1 snapshots copied")), "{audit}");
    assert!(texts.iter().all(|t| t.contains("a client without token")), "{audit}");

    fleet
        .run(&["copy", "--to", "moon"])
        .failed(1, "known are: offsite, offsite-slow, twin, twin-slow, nowhere");
    fleet.run(&["copy", "--to", "twin"]).failed(2, "is a mirror");
    let lost = fleet.run(&["copy", "--to", "nowhere"]);
    assert!(
        lost.code == Some(5) && lost.stderr.contains("open destination"),
        "{:?}: {}",
        lost.code,
        lost.stderr
    );
    let wrong = fleet.run(&["copy", "--to", "offsite", "nonsense!"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("names no snapshot"), "{}", wrong.stderr);
    let secret = ["copy", "--to", "offsite", "--to-key-file", "k", "--memory", "1GiB"];
    fleet.run(&secret).failed(2, "--memory, --to-key-file: the coordinator's configuration says that");
    let table = fleet.run(&["maintenance"]).ok();
    assert!(table.contains("copy to offsite") && table.contains("mirror to twin"), "{table}");
}

#[test]
fn a_mirror_is_cancelled_killed_and_finished() {
    let (mut fleet, away) = fleet("maintenance: {lock: {enabled: false, days: 30}}\n");
    let packs = away.path().join("twin/default/p");
    cancel_in_the_middle(&fleet, "mirror", "twin-slow");
    let done = kill_in_the_middle(&mut fleet, "mirror", "twin");
    assert!(done["copied"].as_u64().unwrap() > 0, "{done}");
    let twin = format!("file://{}", away.path().join("twin").display());
    let key = fleet.path("key");
    let all = ["--repo", &twin, "--key-file", key.to_str().unwrap()];
    Holdfast::new(away.path()).run(&[&["verify"], &all[..]].concat()).ok();
    // What differs is named, and never replaced.
    let config = away.path().join("twin/repo.json");
    let bytes = std::fs::read(&config).unwrap();
    let pack = first(&packs);
    std::fs::write(&pack, b"other").unwrap();
    let ran = fleet.run(&["mirror", "--to", "twin", "--delete", "--output", "json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&told["different"], &told["problems"]), (&1.into(), &1.into()), "{told}");
    assert!(told["problem_list"].to_string().contains("has 5 bytes in the mirror"), "{told}");
    assert_eq!(std::fs::read(&config).unwrap(), bytes);
    fleet.run(&["mirror", "--to", "offsite"]).failed(2, "keys of its own");
    // A folder has no locks: that is told, not passed over.
    fleet.run(&["lock"]).failed(1, "no locks on objects");
    let task = fleet.json(&["lock", "--days", "3", "--dry-run", "--detach"]);
    let ended = fleet.run(&["maintenance", "watch", task["task"].as_str().unwrap()]);
    assert_eq!(ended.code, Some(1));
    fleet.coordinator.signal(Signal::SIGTERM);
}

/// Some file below.
fn first(folder: &Path) -> std::path::PathBuf {
    let entry = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { first(&entry) } else { entry }
}

#[test]
fn keys_are_listed_added_removed_and_rotated_without_a_secret() {
    let mut fleet = Fleet::configured("maintenance: {gc: {enabled: false}}\n");
    tree(&fleet.path("v"), MIB, 1);
    let agent = fleet.agent("a", &["v"]);
    finished(fleet.backup("v"));
    let key = fleet.holdfast().json(&["key", "generate", "new-key"]);
    let recipient = key["recipient"].as_str().unwrap();
    let added = fleet.json(&[
        "key",
        "add",
        "--recipient",
        recipient,
        "--role",
        "writer",
        "--label",
        "node",
        "--reason",
        "a new node",
    ]);
    let id = added["id"].as_str().unwrap();
    assert_eq!(fleet.json(&["key", "list"])["credentials"].as_array().unwrap().len(), 2);
    let rotated = fleet.json(&["key", "rotate"]);
    assert_eq!((&rotated["what"], &rotated["epoch"]), (&"rotate".into(), &2.into()), "{rotated}");
    // The coordinator and the bare bucket tell the same; what the coordinator uses is its own.
    let (through, bare) = (fleet.json(&["key", "list"]), fleet.on_bucket(&["key", "list"]));
    assert_eq!(through, bare);
    assert_eq!((&through["epoch"], &through["copies"]), (&2.into(), &2.into()));
    // The agent learns the new epoch by itself, and all still restores.
    append(&fleet.path("v/sub/a.txt"), b"more\n");
    finished(fleet.backup("v"));
    let old = fleet.on_bucket(&["gc", "--reencrypt-below", "2", "--dry-run"]);
    assert!(old["packs"].as_u64().unwrap() >= 2, "{old}");
    let out = fleet.path("roots/out");
    fleet.run(&["restore", "latest", out.to_str().unwrap()]).ok();
    assert_same(&fleet.path("v"), &out);
    let gone = fleet.run(&["key", "remove", "node", "--reason", "it was sold"]).ok();
    assert!(gone.contains(&format!("key file {id} opens domain default no more")), "{gone}");
    fleet.run(&["key", "remove", "node"]).failed(1, "no credential has the label or id");
    let own = through["credentials"].as_array().unwrap().iter().find(|c| c["in_use"] == true).unwrap();
    fleet.run(&["key", "remove", own["id"].as_str().unwrap()]).failed(1, "last credential");
    let audit = fleet.json(&["audit", "--kind", "keys"]).to_string();
    for part in ["a client without token (a new node)", "(it was sold)", "began epoch 2"] {
        assert!(audit.contains(part), "{part} in {audit}");
    }
    for words in [&["key", "add"][..], &["key", "add", "--new-key-file", "k"], &["key", "export", "--bare"]] {
        fleet.run(words).failed(2, "with --repo URL");
    }
    fleet.run(&["key", "import", "export"]).failed(2, "with --repo URL");
    drop(agent);
    // Another process opens what the rotated ring has.
    fleet.coordinator.kill();
    fleet.restart_coordinator();
    assert_eq!(fleet.json(&["key", "list"])["version"], fleet.on_bucket(&["key", "list"])["version"]);
}

#[test]
fn a_token_that_only_reads_starts_nothing_and_keys_are_for_admins() {
    let folder = tempfile::tempdir().unwrap();
    let (read, write, admin) =
        (folder.path().join("read"), folder.path().join("write"), folder.path().join("admin"));
    std::fs::write(&admin, "a-token-that-handles-keys").unwrap();
    std::fs::write(&read, "a-token-that-only-reads").unwrap();
    std::fs::write(&write, "a-token-that-also-writes").unwrap();
    let tokens = format!(
        "tokens: [{{file: {}, clients: read}}, {{file: {}, clients: write, name: ops}}, \
         {{file: {}, clients: admin}}]\n\
         destinations: [{{name: twin, url: {}, enabled: false}}]\n",
        read.display(),
        write.display(),
        admin.display(),
        folder.path().join("twin").display()
    );
    let fleet = Fleet::configured(&tokens);
    let reader = ["--token-file", read.to_str().unwrap()];
    let writer = ["--token-file", write.to_str().unwrap()];
    let admin = ["--token-file", admin.to_str().unwrap()];
    let run = |words: &[&str], token: &[&str]| fleet.run(&[words, token].concat());
    run(&["key", "list"], &admin).ok();
    for token in [&reader, &writer] {
        for words in [&["key", "list"][..], &["key", "rotate"], &["key", "remove", "x"]] {
            run(words, token).failed(1, "clients: admin");
        }
    }
    for words in [&["mirror", "--to", "twin"][..], &["copy", "--to", "twin"], &["lock", "--days", "1"]] {
        run(words, &reader).failed(1, "lets clients read only");
    }
    assert!(!folder.path().join("twin").exists());
    run(&["mirror", "--to", "twin"], &writer).ok();
    let audit = run(&["audit", "--kind", "mirrored"], &reader).ok();
    assert!(audit.contains("ops"), "{audit}");
}

#[test]
fn figures_through_the_coordinator_are_those_of_the_bucket() {
    let fleet = Fleet::configured("maintenance: {gc: {enabled: false}}\n");
    tree(&fleet.path("v"), 2 * MIB, 1);
    let _agent = fleet.agent("a", &["v"]);
    let first = finished(fleet.backup("v"))["id"].as_str().unwrap().to_owned();
    append(&fleet.path("v/sub/a.txt"), &vec![b'x'; 5000]);
    let second = finished(fleet.backup("v"))["id"].as_str().unwrap().to_owned();
    for words in [
        &["stats", "--detail"][..],
        &["stats", "--between", &first, &second, "--top", "3"],
        &["stats", "--would-free", &first[..8]],
        &["stats", "--would-free", "--keep-last", "1", "--volume", "v"],
    ] {
        let (through, bare) = (fleet.json(words), fleet.on_bucket(words));
        assert_eq!(through, bare, "{words:?}");
    }
    let between = fleet.json(&["stats", "--between", &first, &second]);
    assert!(between["files"].to_string().contains("sub/a.txt"), "{between}");
    let table = fleet.run(&["stats", "--detail"]).ok();
    assert!(table.contains("ONLY ITS OWN") && table.contains(&first[..8]), "{table}");
    fleet.run(&["stats", "--would-free"]).failed(2, "say what would be forgotten");
    fleet.run(&["stats", "--would-free", "nonsense!"]).failed(2, "names no snapshot");
    fleet.run(&["stats", "--between", &first, &second, "--top", "99999"]).failed(2, "between.top");
}
