//! Many processes back up into one repository at once, without a coordinator: none is lost, and later ones share.

use crate::data::{append, assert_same, bytes_below, noise, tree};
use crate::process::Holdfast;

const MIB: usize = 1 << 20;
const PROCESSES: u64 = 6;

#[test]
fn backups_at_once_are_all_kept_and_the_next_ones_share() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let repo = format!("file://{}", path("repo").display());
    let holdfast = Holdfast::new(home.path());
    let words = |words: &[&'static str]| -> Vec<String> {
        [words, &["--repo", &repo, "--key-file", "key"]].concat().iter().map(|w| (*w).to_owned()).collect()
    };
    let run = |more: Vec<String>| holdfast.run(&more.iter().map(String::as_str).collect::<Vec<_>>());
    run(words(&["init"])).ok();
    for n in 0..PROCESSES {
        tree(&path(&format!("v{n}")), MIB, n);
        append(&path(&format!("v{n}/shared")), &noise(8 * MIB, 99));
    }
    let all_at_once = |prefix: &str| -> Vec<serde_json::Value> {
        let started: Vec<_> = (0..PROCESSES)
            .map(|n| {
                let mut line = words(&["backup", "--output", "json"]);
                line.extend(["--volume".to_owned(), format!("{prefix}{n}"), format!("v{n}")]);
                holdfast.start(&line.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        started.into_iter().map(|p| serde_json::from_str(&p.ends().ok()).unwrap()).collect()
    };
    let first = all_at_once("first-");
    let uploaded: u64 = first.iter().map(|b| b[0]["figures"]["bytes_uploaded"].as_u64().unwrap()).sum();
    let packs = bytes_below(&path("repo/default/p"));
    assert_eq!(uploaded, packs, "what was uploaded is there, each object once");
    // Other volumes of the same content, at once again: nobody stores a byte of it.
    for backup in all_at_once("second-") {
        assert_eq!(
            (&backup[0]["bytes_new"], &backup[0]["parent"]),
            (&0.into(), &serde_json::Value::Null),
            "{backup}"
        );
    }
    let listed: serde_json::Value =
        serde_json::from_str(&run(words(&["snapshots", "--output", "json"])).ok()).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2 * PROCESSES as usize);
    for snapshot in listed.as_array().unwrap() {
        let (id, volume) = (snapshot["id"].as_str().unwrap(), snapshot["volume"].as_str().unwrap());
        let mut line = words(&["restore"]);
        line.extend([id.to_owned(), format!("out-{volume}")]);
        run(line).ok();
        let source = format!("v{}", volume.rsplit('-').next().unwrap());
        assert_same(&path(&source), &path(&format!("out-{volume}")));
    }
    run(words(&["verify", "--quick"])).ok();
}
