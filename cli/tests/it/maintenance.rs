//! The life of a repository through its coordinator, as real processes: by schedule, by hand, over kills and stalls.

use std::collections::HashMap;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::data::{assert_same, bytes_below, tree};
use crate::fleet::{Fleet, finished};
use crate::process::{Ran, Running, eventually};

const MIB: usize = 1 << 20;

/// A version of the volume, backed up by its agent; its id.
fn version(fleet: &Fleet, volume: &str, seed: u64) -> String {
    drop(std::fs::remove_dir_all(fleet.path(volume)));
    tree(&fleet.path(volume), 2 * MIB, seed);
    finished(fleet.backup(volume))["id"].as_str().unwrap().to_owned()
}

fn stored(fleet: &Fleet) -> u64 {
    bytes_below(&fleet.path("repo"))
}

/// The kinds of what the audit says, oldest first.
fn audit(fleet: &Fleet) -> Vec<String> {
    let all = fleet.json(&["audit"]);
    all.as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap().to_owned()).collect()
}

/// Nothing runs by itself.
const QUIET: &str = "maintenance: {forget: {enabled: false}, gc: {enabled: false}, scrub: {enabled: false}, \
                     restore_test: {enabled: false}}\n";

#[test]
fn snapshots_are_forgotten_brought_back_and_collected_through_the_coordinator() {
    let retention = "retention: [{volume: v, keep_last: 2}]\n";
    let fleet = Fleet::configured(&format!("{QUIET}{retention}"));
    std::fs::create_dir(fleet.path("v")).unwrap();
    let _agent = fleet.agent("a", &["v"]);
    let ids: Vec<String> = (0..3).map(|seed| version(&fleet, "v", seed)).collect();
    let both = stored(&fleet);

    let told = fleet.json(&["forget", "--dry-run"]);
    assert_eq!((&told[2]["id"], &told[2]["forgotten"]), (&ids[0].as_str().into(), &true.into()), "{told}");
    assert_eq!(told[0]["kept_because"], Value::from(vec!["last"]));
    fleet.run(&["forget", "--keep-last", "1"]).failed(1, "this would forget 2 of 3 snapshots");
    fleet.run(&["forget", "nonsense!"]).failed(2, "names no snapshot");
    assert_eq!(fleet.json(&["pin", &ids[0], "--reason", "an audit"])["id"], ids[0].as_str());
    fleet.run(&["forget", &ids[0]]).failed(1, "(an audit)");
    assert_eq!(fleet.json(&["forget", "--dry-run"])[2]["kept_because"], Value::from(vec!["pinned"]));
    assert_eq!(fleet.json(&["snapshots"])[0]["health"]["pinned"], true);
    fleet.run(&["unpin", &ids[0]]).ok();
    let said = fleet.run(&["forget"]).ok();
    assert!(said.contains("1 of 3 forgotten") && said.contains("holdfast gc"), "{said}");
    let undone = fleet.json(&["unforget", &ids[0][..8]]);
    assert_eq!(undone["forgotten"], ids[0].as_str());
    assert_eq!(fleet.json(&["snapshots"]).as_array().unwrap().len(), 3);
    let copy = undone["id"].as_str().unwrap();
    fleet.run(&["forget", copy, "--reason", "a test"]).ok();

    let told = fleet.json(&["gc", "--dry-run"]);
    assert!(told["condemned_bytes"].as_u64().unwrap() > MIB as u64, "{told}");
    let done = fleet.json(&["gc"]);
    assert_eq!((&done["kind"], &done["state"], &done["done"]), (&"gc".into(), &"done".into(), &true.into()));
    assert!(done["deleted_bytes"].as_u64().unwrap() > MIB as u64, "{done}");
    assert!(stored(&fleet) < both - MIB as u64);
    fleet.run(&["unforget", &ids[0]]).failed(1, "GC has deleted it");
    assert_eq!(audit(&fleet), ["pinned", "unpinned", "forgot", "unforgot", "forgot", "gc"]);
    let why = fleet.json(&["audit", "--kind", "forgot", "--last", "1"]);
    assert_eq!(why[0]["detail"]["snapshots"][0]["why"], "a test", "{why}");

    let started = fleet.json(&["verify", "--detach"]);
    let task = started["task"].as_str().unwrap();
    let seen = fleet.json(&["maintenance", "watch", &task[..8]]);
    assert_eq!(
        (&seen["snapshots"], &seen["damaged_snapshots"]),
        (&2.into(), &Value::Array(vec![])),
        "{seen}"
    );
    let scrubbed = fleet.json(&["scrub"]);
    assert_eq!((&scrubbed["never_verified"], &scrubbed["problems"]), (&0.into(), &0.into()), "{scrubbed}");
    let tested = fleet.json(&["restore-test"]);
    assert_eq!((&tested["volumes"][0], &tested["problems"]), (&"v".into(), &0.into()), "{tested}");
    fleet.run(&["restore-test", "--scratch", "x"]).failed(2, "--scratch and --against");
    assert_eq!(fleet.json(&["repair", "index"])["state"], "done");
    assert_eq!(fleet.json(&["repair", "snapshots"])["snapshots"], 0);
    let table = fleet.run(&["maintenance"]).ok();
    assert!(table.contains("when asked") && table.contains("verify") && table.contains("done"), "{table}");
    fleet.run(&["maintenance", "show", "0123"]).failed(1, "no task 0123");
    let text = fleet.run(&["gc"]).ok();
    assert!(text.starts_with("gc done (task ") && text.contains("by a client without token"), "{text}");
    let out = fleet.path("roots/out");
    fleet.run(&["restore", "latest", out.to_str().unwrap()]).ok();
    assert_same(&fleet.path("v"), &out);
    fleet.holdfast().run(&["gc", "--detach", "--repo", "/a"]).failed(2, "--coordinator");
    fleet.holdfast().run(&["maintenance", "--repo", "/a"]).failed(2, "--coordinator");
}

/// `repair` leaves something: the same code with and without a coordinator.
#[test]
fn what_stays_lost_ends_alike_on_the_bucket_and_through_the_coordinator() {
    let fleet = Fleet::configured(QUIET);
    std::fs::create_dir(fleet.path("v")).unwrap();
    let _agent = fleet.agent("a", &["v"]);
    version(&fleet, "v", 1);
    let mut packs = Vec::new();
    for shard in std::fs::read_dir(fleet.path("repo/default/p")).unwrap() {
        packs.extend(std::fs::read_dir(shard.unwrap().path()).unwrap().map(|e| e.unwrap().path()));
    }
    let largest = packs.into_iter().max_by_key(|p| std::fs::metadata(p).unwrap().len()).unwrap();
    let aside = fleet.path("aside");
    std::fs::rename(&largest, &aside).unwrap();
    // The restore puts it into quarantine.
    let repo = format!("file://{}", fleet.path("repo").display());
    let on_bucket = |words: &[&str]| {
        let whole = fleet.holdfast().with([("HOLDFAST_REPO", repo.as_str()), ("HOLDFAST_KEY_FILE", "key")]);
        whole.run(words)
    };
    assert_eq!(on_bucket(&["restore", "latest", "out"]).code, Some(3));
    for words in [&["repair", "snapshots", "--dry-run"][..], &["repair", "quarantine"]] {
        assert_eq!((on_bucket(words).code, fleet.run(words).code), (Some(3), Some(3)), "{words:?}");
    }
    std::fs::rename(&aside, &largest).unwrap();
    assert_eq!(fleet.json(&["repair", "quarantine"])["lifted"].as_array().unwrap().len(), 1);
    for words in [&["repair", "snapshots"][..], &["repair", "quarantine"]] {
        assert_eq!((on_bucket(words).code, fleet.run(words).code), (Some(0), Some(0)), "{words:?}");
    }
}

#[test]
fn space_comes_back_by_itself() {
    let fleet = Fleet::configured(
        "retention: [{volume: '*', keep_last: 1, share_percent_max: 100}]\n\
         maintenance: {forget: {every_seconds: 1}, gc: {every_seconds: 1}}\n",
    );
    std::fs::create_dir(fleet.path("v")).unwrap();
    let _agent = fleet.agent("a", &["v"]);
    version(&fleet, "v", 1);
    let one = stored(&fleet);
    version(&fleet, "v", 2);
    let last = version(&fleet, "v", 3);
    eventually("one snapshot is left, and its space", || {
        fleet.json(&["snapshots"]).as_array().unwrap().len() == 1 && stored(&fleet) < one + MIB as u64
    });
    assert_eq!(fleet.json(&["snapshots"])[0]["id"], last.as_str());
    assert_eq!(fleet.on_bucket(&["verify"])[0]["ok"], true);
    let told = fleet.json(&["audit", "--kind", "gc", "--last", "1"]);
    assert_eq!(told[0]["by"], "schedule", "{told}");
    let all = fleet.json(&["maintenance"]);
    let gc = all["schedules"].as_array().unwrap().iter().find(|s| s["kind"] == "gc").unwrap();
    assert_eq!((&gc["schedule"], gc["next"].is_string()), (&"every 1 s".into(), true), "{all}");
}

/// An agent that stalls in the middle of a backup, and a snapshot that waits to be collected.
fn stalled(fleet: &Fleet) -> (Running, Running) {
    std::fs::create_dir(fleet.path("v")).unwrap();
    tree(&fleet.path("long"), 64 * MIB, 9);
    let mut agent = fleet.agent("a", &["v", "long"]);
    let first = version(fleet, "v", 1);
    version(fleet, "v", 2);
    fleet.run(&["forget", &first]).ok();
    let client = fleet.backup("long");
    let registered = || std::fs::read_dir(fleet.path("repo/default/s/0000000000")).map_or(0, Iterator::count);
    let before = registered();
    agent.says("job begins");
    eventually("its session is registered", || registered() > before);
    agent.signal(Signal::SIGSTOP);
    (agent, client)
}

#[test]
fn a_backup_that_is_under_way_is_waited_for_not_fenced() {
    let gc =
        "maintenance: {gc: {enabled: false, fence_after_seconds: 1, wait_seconds: 2}}\nlost_seconds: 600\n";
    let fleet = Fleet::configured(gc);
    let (agent, client) = stalled(&fleet);
    // Longer than the age at which an unknown session is dead.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let waits = fleet.run(&["gc", "--output", "json"]);
    assert_eq!(waits.code, Some(3), "{}", waits.stderr);
    let record: Value = serde_json::from_slice(&waits.stdout).unwrap();
    assert_eq!((&record["done"], record["waiting_for"].as_array().unwrap().len()), (&false.into(), 1));
    assert_eq!(record["fenced"], Value::Array(Vec::new()), "{record}");
    assert!(record["note"].as_str().unwrap().contains("1 sessions are still at work"), "{record}");
    agent.signal(Signal::SIGCONT);
    assert_eq!(finished(client)["files"], 3);
    let done = fleet.json(&["gc"]);
    assert!(done["done"] == true && done["deleted_bytes"].as_u64().unwrap() > MIB as u64, "{done}");
    assert_eq!(fleet.on_bucket(&["verify"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_gc_goes_on_after_its_coordinator_was_killed() {
    let gc = "maintenance: {gc: {enabled: false, fence_after_seconds: 3600}}\nlost_seconds: 600\n";
    let mut fleet = Fleet::configured(gc);
    let (agent, client) = stalled(&fleet);
    let mut watching = fleet.holdfast().start(&["gc", "--output", "json", "--coordinator", &fleet.url]);
    watching.says("waiting for 1 sessions");
    fleet.coordinator.kill();
    fleet.restart_coordinator();
    agent.signal(Signal::SIGCONT);
    assert_eq!(finished(client)["files"], 3);
    let ran: Ran = watching.ends();
    let record: Value = serde_json::from_str(&ran.ok()).unwrap();
    assert_eq!((&record["attempts"], &record["state"]), (&2.into(), &"done".into()), "{record}");
    assert!(record["deleted_bytes"].as_u64().unwrap() > MIB as u64, "{record}");
    assert_eq!(fleet.on_bucket(&["verify"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_signal_ends_the_waiting_and_cancel_ends_the_task() {
    let gc = "maintenance: {gc: {enabled: false, fence_after_seconds: 3600}}\nlost_seconds: 600\n";
    let fleet = Fleet::configured(gc);
    let (_agent, _client) = stalled(&fleet);
    let mut watching = fleet.holdfast().start(&["gc", "--coordinator", &fleet.url]);
    watching.says("waiting for 1 sessions");
    watching.signal(Signal::SIGINT);
    watching.ends().failed(130, "the gc goes on");
    let task = fleet.json(&["maintenance"])["tasks"][0].clone();
    assert_eq!(task["state"], "running", "{task}");
    fleet.run(&["gc", "--dry-run"]).failed(1, "cancel it first");
    let id = task["task"].as_str().unwrap();
    fleet.run(&["maintenance", "cancel", &id[..8]]).ok();
    let ended = fleet.run(&["maintenance", "watch", id]);
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.code == Some(130) && told.starts_with("gc cancelled"), "{:?}: {told}", ended.code);
}

/// The newest GC tasks of this coordinator, with their states.
fn collections(fleet: &Fleet, url: &str) -> HashMap<String, String> {
    let all = fleet.holdfast().json(&["maintenance", "--coordinator", url]);
    let tasks = all["tasks"].as_array().unwrap().iter().filter(|t| t["kind"] == "gc");
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    tasks.map(|t| (text(&t["task"]), text(&t["state"]))).collect()
}

#[test]
fn two_coordinators_on_one_repository_do_no_harm() {
    let yaml = "retention: [{volume: '*', keep_last: 2, share_percent_max: 100}]\n\
                maintenance: {forget: {every_seconds: 1}, gc: {every_seconds: 1}}\n";
    let fleet = Fleet::configured(yaml);
    let (second, url) = fleet.another_coordinator(yaml);
    for volume in ["v", "w"] {
        std::fs::create_dir(fleet.path(volume)).unwrap();
    }
    let _agent = fleet.agent("a", &["v", "w"]);
    for seed in 0..6 {
        version(&fleet, "v", seed);
        version(&fleet, "w", seed + 100);
    }
    eventually("the rules have left four", || fleet.json(&["snapshots"]).as_array().unwrap().len() == 4);
    // Not by the audit: a run that finds all collected by the other one leaves no record there.
    let both = [fleet.url.as_str(), &url];
    let before = both.map(|url| collections(&fleet, url));
    for (url, before) in both.iter().zip(&before) {
        eventually("each has collected since", || {
            collections(&fleet, url).iter().any(|(id, state)| state == "done" && !before.contains_key(id))
        });
    }
    assert!(!fleet.json(&["audit", "--kind", "gc"]).as_array().unwrap().is_empty());
    drop(second);
    let verified = fleet.on_bucket(&["verify"]);
    let all = verified.as_array().unwrap();
    assert!(all.len() == 4 && all.iter().all(|v| v["ok"] == true), "{verified}");
}
