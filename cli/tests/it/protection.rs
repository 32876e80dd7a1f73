//! An agent's credentials on a real S3 server: it backs up and restores, and can neither delete nor forget.

use tests::signed::{Signed, send};
use tests::versitygw::Versitygw;

use crate::data::{append, assert_same, noise, tree};
use crate::process::Holdfast;

/// A user of the server: key and secret.
fn user(home: &std::path::Path, server: &Versitygw, name: &str) -> Holdfast {
    server.create_user(name, "its secret").unwrap();
    let own = [("AWS_ACCESS_KEY_ID", name), ("AWS_SECRET_ACCESS_KEY", "its secret")];
    Holdfast::new(home).with(server.environment()).with(own)
}

async fn set_policy(server: &Versitygw, policies: &[serde_json::Value]) {
    let mut all = policies[0].clone();
    for policy in &policies[1..] {
        let more = policy["Statement"].as_array().unwrap().clone();
        all["Statement"].as_array_mut().unwrap().extend(more);
    }
    // Statements of several policies in one: each needs a name of its own.
    for (n, statement) in all["Statement"].as_array_mut().unwrap().iter_mut().enumerate() {
        statement["Sid"] = format!("S{n}").into();
    }
    let query = vec![("policy", "")];
    let put = Signed { method: "PUT", query, body: all.to_string(), ..Signed::default() };
    let (status, answer) = send(&server.options(), tests::versitygw::BUCKET, put).await.unwrap();
    assert!(status < 300, "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_bound_what_stolen_credentials_can_do() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let Some(server) = Versitygw::start_shared(&path("server")).unwrap() else { return };
    tree(&path("data"), 2 << 20, 1);
    let url = server.url("some/where");
    let admin = Holdfast::new(home.path()).with(server.environment());
    let all = ["--repo", url.as_str(), "--key-file", "key"];
    admin.run(&[&["init"], &all[..]].concat()).ok();
    let policy = |role: &str, who: &str| {
        admin.json(&["policy", role, "--repo", &url, "--principal", who, "--no-conditions"])
    };
    let [agent, coordinator, reader] =
        ["agent", "coordinator", "reader"].map(|name| user(home.path(), &server, name));
    let policies = ["agent", "coordinator", "reader"].map(|name| policy(name, name));
    set_policy(&server, &policies).await;

    let run = |who: &Holdfast, words: &[&str]| who.run(&[words, &all[..]].concat());
    run(&agent, &["backup", "data", "--volume", "v"]).ok();
    append(&path("data/sub/a.txt"), b"more\n");
    run(&agent, &["backup", "data", "--volume", "v"]).ok();
    run(&agent, &["restore", "latest", "out"]).ok();
    assert_same(&path("data"), &path("out"));
    let listed = agent.json(&[&["snapshots"], &all[..]].concat());
    let first = listed[0]["id"].as_str().unwrap();
    // It can't mark a snapshot as forgotten, nor steer or run GC, nor add a key.
    run(&agent, &["forget", first]).failed(5, "do not allow");
    run(&agent, &["gc", "--fence-after", "0s"]);
    assert_eq!(agent.json(&[&["snapshots"], &all[..]].concat()).as_array().unwrap().len(), 2);
    let (key, secret) = ("agent".to_owned(), "its secret".to_owned());
    let mut own = server.options();
    own.insert("aws_access_key_id".to_owned(), key);
    own.insert("aws_secret_access_key".to_owned(), secret);
    for (method, key, allowed) in [
        ("PUT", "some/where/default/p/00/x", true),
        ("DELETE", "some/where/default/p/00/x", false),
        ("PUT", "some/where/default/g/0000000001/open", false),
        ("PUT", "some/where/default/f/0000000000/00", false),
        ("PUT", "some/where/default/k/00", false),
        ("PUT", "some/where/default/a/00", false),
        ("PUT", "some/where/other/p/00/x", false),
        ("GET", "some/where/other/p/00/x", false),
        ("DELETE", "some/where/repo.json", false),
    ] {
        let request = Signed { method, key, body: "x".to_owned(), ..Signed::default() };
        let (status, answer) = send(&own, tests::versitygw::BUCKET, request).await.unwrap();
        assert_eq!(status < 300, allowed, "{method} {key}: {status} {answer}");
        assert!(allowed || status == 403, "{method} {key}: {status} {answer}");
    }

    run(&reader, &["verify"]).ok();
    run(&reader, &["restore", "latest", "read"]).ok();
    run(&reader, &["backup", "data", "--volume", "v"]).failed(5, "do not allow");
    run(&coordinator, &["forget", first]).ok();
    run(&coordinator, &["gc", "--fence-after", "0s"]).ok();
    run(&agent, &["backup", "data", "--volume", "v"]).ok();
    run(&reader, &["verify"]).ok();
}

/// Copying a locked pack forward would keep both until the lock ends.
#[tokio::test(flavor = "multi_thread")]
async fn gc_leaves_what_the_server_has_locked_uncopied() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let Some(server) = Versitygw::start_shared(&path("server")).unwrap() else { return };
    let enabled = vec![("x-amz-bucket-object-lock-enabled", "true")];
    let create = Signed { method: "PUT", headers: enabled, ..Signed::default() };
    assert_eq!(send(&server.options(), "locked", create).await.unwrap().0, 200);
    let admin = Holdfast::new(home.path()).with(server.environment());
    for (url, days) in [(server.url("some/where"), None), ("s3://locked/x".to_owned(), Some("3"))] {
        let admin = admin.clone().with(days.map(|days| ("HOLDFAST_LOCK_DAYS", days)));
        let run = |words: &[&str]| {
            let all = ["--repo", url.as_str(), "--key-file", "key", "--output", "json"];
            let ran = admin.run(&[words, &all[..]].concat());
            assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.stderr);
            serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap_or_default()
        };
        run(&["init"]);
        std::fs::create_dir(path("data")).unwrap();
        for n in 0..20 {
            append(&path(&format!("data/f{n:02}")), &noise(100_000, n));
        }
        let first = run(&["backup", "data", "--volume", "v"])[0]["id"].as_str().unwrap().to_owned();
        (5..20).for_each(|n| std::fs::remove_file(path(&format!("data/f{n:02}"))).unwrap());
        run(&["backup", "data", "--volume", "v"]);
        run(&["forget", &first]);
        let done = run(&["gc", "--fence-after", "0s"]);
        let (copied, locked) =
            (done["compacted"].as_u64().unwrap(), done["compaction_locked"].as_u64().unwrap());
        let bytes = done["compaction_locked_bytes"].as_u64().unwrap();
        match days {
            None => assert!(copied >= 1 && locked == 0 && bytes == 0, "{done}"),
            Some(_) => assert!(copied == 0 && locked >= 1 && bytes > 2_000_000, "{done}"),
        }
        run(&["verify"]);
        run(&["restore", "latest", &format!("out{}", days.unwrap_or_default())]);
        assert_same(&path("data"), &path(&format!("out{}", days.unwrap_or_default())));
        std::fs::remove_dir_all(path("data")).unwrap();
    }
}
