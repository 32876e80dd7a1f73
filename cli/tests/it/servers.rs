//! Clients through the coordinator, two agents at once, and `kill -9` of either server during a backup.

use serde_json::Value;

use crate::data::{append, assert_same, noise, tree};
use crate::fleet::{Fleet, REFRESH_SECONDS, finished};

const MIB: usize = 1 << 20;

#[test]
fn clients_work_through_the_coordinator() {
    let fleet = Fleet::new();
    tree(&fleet.path("data"), MIB, 1);
    let _agent = fleet.agent("a", &["data"]);
    let backup = fleet.json(&["backup", "data", "--volume", "data", "--tag", "t"]);
    assert_eq!((&backup[0]["files"], &backup[0]["tags"][0]), (&3.into(), &"t".into()));
    let id = backup[0]["id"].as_str().unwrap();
    assert_eq!(fleet.json(&["snapshots"])[0]["id"], id);
    assert_eq!(fleet.json(&["ls", "latest"]).as_array().unwrap().len(), 3);
    assert_eq!(fleet.json(&["find", id, "*.txt"])[0]["path"], "sub/a.txt");
    assert_eq!(fleet.run(&["cat", "latest:sub/a.txt"]).ok(), "text 1\n");
    assert_eq!(fleet.run(&["cat", "latest:noise"]).stdout, noise(MIB, 1));
    assert_eq!(fleet.json(&["diff", id, "latest"]), Value::Array(Vec::new()));
    assert_eq!(fleet.json(&["verify", "latest"])[0]["ok"], true);
    assert_eq!(fleet.json(&["stats"])["snapshots"], 1);
    let out = fleet.path("roots/out");
    fleet.run(&["restore", "latest", out.to_str().unwrap()]).ok();
    assert_same(&fleet.path("data"), &out);
    let outside = fleet.path("outside");
    fleet.run(&["restore", "latest", outside.to_str().unwrap()]).failed(1, "restore roots");
    assert!(!outside.exists());
    fleet.run(&["restore", "latest", "relative"]).failed(2, "absolute path");
    fleet
        .run(&["restore", "latest", out.to_str().unwrap(), "--memory", "1GiB"])
        .failed(2, "--memory: set in");
    fleet
        .run(&["backup", "data", "--zstd-level", "3", "--threads", "1"])
        .failed(2, "--zstd-level, --threads: set");
    fleet.run(&["backup", "roots", "--volume", "data"]).failed(2, "but volume data is");
    fleet.run(&["snapshots", "--key-file", "key"]).failed(2, "--key-file: `snapshots` has no use");
    fleet.run(&["backup", "data", "--volume", "nobody's"]).failed(1, "no volume");
    fleet.run(&["ls", "latest:nowhere"]).failed(1, "not in the snapshot");
}

#[test]
fn two_agents_back_up_at_once_and_share_what_is_known() {
    let fleet = Fleet::new();
    // Each has a volume of its own and one whose noise the other's has too.
    for (volume, seed) in [("a-own", 1), ("a-shared", 9), ("b-own", 2), ("b-shared", 9)] {
        tree(&fleet.path(volume), 24 * MIB, seed);
    }
    append(&fleet.path("b-shared/more"), &noise(MIB, 77));
    let _a = fleet.agent("a", &["a-own", "a-shared"]);
    let _b = fleet.agent("b", &["b-own", "b-shared"]);
    let first = finished(fleet.backup("a-shared"));
    assert!(first["figures"]["bytes_uploaded"].as_u64().unwrap() > 24 * MIB as u64);
    // The coordinator may answer by an index that is so old; nothing shows from outside when it has read it again.
    std::thread::sleep(std::time::Duration::from_secs(REFRESH_SECONDS.parse::<u64>().unwrap() + 1));
    // Three at once, on two agents, into one domain.
    let clients = ["a-own", "b-own", "b-shared"].map(|volume| (volume, fleet.backup(volume)));
    let done = clients.map(|(volume, client)| (volume, finished(client)));
    for (volume, backup) in &done {
        let uploaded = backup["figures"]["bytes_uploaded"].as_u64().unwrap();
        let new = if *volume == "b-shared" { MIB } else { 24 * MIB } as u64;
        assert!(
            (new..new + MIB as u64).contains(&uploaded),
            "{volume}: {uploaded} bytes uploaded, {new} are new"
        );
    }
    assert_eq!(fleet.json(&["snapshots"]).as_array().unwrap().len(), 4);
    for volume in ["a-own", "a-shared", "b-own", "b-shared"] {
        let out = fleet.path("roots").join(volume);
        let words = ["restore", "latest", out.to_str().unwrap(), "--volume", volume];
        fleet.run(&words).failed(1, "several agents");
        // Any of the two may: the bytes come from the store.
        fleet.run(&[&words[..], &["--agent", "b"]].concat()).ok();
        assert_same(&fleet.path(volume), &out);
    }
    assert_eq!(fleet.on_bucket(&["verify"]).as_array().unwrap().len(), 4);
}

#[test]
fn an_agent_is_killed_beside_another_and_both_backups_are_finished() {
    let fleet = Fleet::new();
    tree(&fleet.path("a"), 96 * MIB, 1);
    tree(&fleet.path("b"), 96 * MIB, 2);
    let mut first = fleet.agent("first", &["a"]);
    let mut second = fleet.agent("second", &["b"]);
    let clients = ["a", "b"].map(|volume| fleet.backup(volume));
    first.says("job begins");
    second.says("job begins");
    first.kill();
    let _first = fleet.agent("first", &["a"]);
    for client in clients {
        assert_eq!(finished(client)["files"], 3);
    }
    let listed = fleet.json(&["snapshots"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let verified = fleet.on_bucket(&["verify"]);
    assert!(verified.as_array().unwrap().iter().all(|v| v["ok"] == true), "{verified}");
}

#[test]
fn a_killed_coordinator_comes_back_and_the_backup_is_finished() {
    let mut fleet = Fleet::new();
    tree(&fleet.path("data"), 96 * MIB, 1);
    let mut agent = fleet.agent("a", &["data"]);
    let client = fleet.backup("data");
    agent.says("job begins");
    fleet.coordinator.kill();
    fleet.restart_coordinator();
    assert_eq!(finished(client)["files"], 3);
    assert_eq!(fleet.json(&["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(fleet.json(&["verify"])[0]["ok"], true);
}

#[test]
fn a_coordinators_state_that_was_deleted_comes_back_from_the_bucket() {
    let mut fleet = Fleet::new();
    tree(&fleet.path("data"), 4 * MIB, 1);
    let mut agent = fleet.agent("a", &["data"]);
    let first = finished(fleet.backup("data"));
    let before = fleet.json(&["snapshots"]);
    fleet.coordinator.kill();
    std::fs::remove_dir_all(fleet.path("coordinator")).unwrap();
    fleet.restart_coordinator();
    assert_eq!(fleet.json(&["snapshots"]), before);
    agent.says("connected");
    let second = finished(fleet.backup("data"));
    assert_eq!((&second["parent"], &second["figures"]["packs"]), (&first["id"], &0.into()), "{second}");
    let out = fleet.path("roots/out");
    fleet.run(&["restore", first["id"].as_str().unwrap(), out.to_str().unwrap()]).ok();
    assert_same(&fleet.path("data"), &out);
    assert_eq!(fleet.json(&["verify"]).as_array().unwrap().len(), 2);
}
