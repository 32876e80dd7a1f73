//! Rounds of the controllers: what they write, and what they tell the coordinator.

use proto::job::{Failure, JobResult};
use repository::ErrorKind;
use serde_json::json;

use super::objects::{backup, claim, pod, policy, repository, secret, snapshot, volume};
use super::stage::{NOW, Stage};

#[tokio::test]
async fn a_repository_is_made_opened_and_served_no_more() {
    let mut stage = Stage::new().await;
    let folder = stage.dir.path().join("repo");
    stage.api.put("holdfast.dev/repositories", repository("main", &folder));
    let ready = |s: &Stage| s.condition("repositories", "", "main", "Ready");
    stage.rounds("a refusal", |s| ready(s) == "False/SecretNotFound").await;
    secret(&stage.api);
    stage.hands.set(NOW + 20);
    stage.port.store("main", vec![snapshot(1, "data", 1)]);
    stage.rounds("it", |s| ready(s) == "True/Open").await;
    assert!(folder.join("repo.json").exists() || std::fs::read_dir(&folder).unwrap().next().is_some());
    assert_eq!(stage.condition("repositories", "", "main", "Reachable"), "True/Answered");
    stage.rounds("figures", |s| s.ours("repositories", "", "main")["status"]["snapshots"] == 1).await;
    let key = stage.dir.path().join("state/repositories/main/key");
    assert!(key.exists());
    stage.port.state().closed.insert("main".into(), "the store went away".into());
    stage.rounds("closed", |s| ready(s) == "False/NotOpen").await;
    stage.api.remove("holdfast.dev/repositories", "", "main");
    stage.rounds("gone", |s| s.port.state().domains.is_empty()).await;
    assert!(!key.exists(), "its key must go with it");
    assert!(std::fs::read_dir(&folder).unwrap().next().is_some(), "its store must not");
}

#[tokio::test]
async fn the_oldest_of_two_repositories_has_the_domain() {
    let mut stage = Stage::new().await;
    secret(&stage.api);
    for name in ["main", "other"] {
        let mut object = repository(name, &stage.dir.path().join(name));
        object["spec"]["domain"] = json!("same");
        stage.api.put("holdfast.dev/repositories", object);
    }
    stage.port.store("same", Vec::new());
    let ready = |s: &Stage, name: &str| s.condition("repositories", "", name, "Ready");
    stage
        .rounds("one", |s| ready(s, "main") == "True/Open" && ready(s, "other") == "False/DomainTaken")
        .await;
}

#[tokio::test]
async fn without_create_nothing_is_made() {
    let mut stage = Stage::new().await;
    secret(&stage.api);
    let mut object = repository("main", &stage.dir.path().join("repo"));
    object["spec"]["create"] = json!(false);
    stage.api.put("holdfast.dev/repositories", object);
    stage.rounds("it", |s| s.condition("repositories", "", "main", "Ready") == "False/NotFound").await;
    assert!(stage.port.state().domains.is_empty());
}

#[tokio::test]
async fn a_policy_becomes_a_plan_a_schedule_and_figures() {
    let mut stage = Stage::ready().await;
    assert_eq!(stage.plan("n1"), [(volume("data"), 1)]);
    assert_eq!(stage.plan("n2"), [], "an empty plan says that nothing may be open");
    stage.rounds("figures", |s| s.ours("backuppolicies", "", "all")["status"]["unprotected"] == 1).await;
    {
        let state = stage.port.state();
        let (rule, spec) = &state.schedules["main"][&volume("data")];
        assert!(rule.is_some());
        let origin = spec.origin.clone().unwrap();
        assert_eq!((origin.claim.as_str(), origin.namespace_uid.as_str()), ("data", "ns-shop"));
        let names: Vec<_> = origin.objects.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["claim", "volume"]);
        assert_eq!(state.plans["n1"].repositories[0].key_file.len(), 64);
        assert!(state.plans["n2"].repositories.is_empty(), "a node without its volumes has no key");
    }
    assert_eq!(stage.condition("backuppolicies", "", "all", "Protected"), "False/Unprotected");
    stage.port.store("main", vec![snapshot(1, "data", NOW - 60)]);
    let protected = |s: &Stage| s.condition("backuppolicies", "", "all", "Protected");
    stage.rounds("protection", |s| protected(s) == "True/AllWithinObjective").await;
    stage.hands.set(NOW + 6000);
    stage.rounds("age", |s| protected(s) == "False/Unprotected").await;
    let mut object = stage.ours("backuppolicies", "", "all");
    object["spec"]["paused"] = json!(true);
    stage.api.put("holdfast.dev/backuppolicies", object);
    stage.rounds("pause", |s| s.port.state().schedules["main"][&volume("data")].0.is_none()).await;
    stage.rounds("it said", |s| s.condition("backuppolicies", "", "all", "Ready") == "True/Paused").await;
}

#[tokio::test]
async fn a_round_that_finds_nothing_new_writes_nothing() {
    let mut stage = Stage::ready().await;
    stage.port.store("main", vec![snapshot(1, "data", NOW - 60)]);
    stage.settle().await;
    stage.settle().await;
    let writes = |s: &Stage| {
        [
            axum::http::Method::PUT,
            axum::http::Method::POST,
            axum::http::Method::PATCH,
            axum::http::Method::DELETE,
        ]
        .iter()
        .map(|m| s.api.count(m, ""))
        .sum::<usize>()
    };
    let before = writes(&stage);
    stage.settle().await;
    assert_eq!(writes(&stage), before);
}

#[tokio::test]
async fn a_pod_that_goes_is_let_go_of() {
    let mut stage = Stage::ready().await;
    let mut object = stage.api.get("core/pods", "shop", "data").unwrap();
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    stage.api.put("core/pods", object);
    stage.rounds("no place", |s| s.plan("n1") == [(volume("data"), 0)]).await;
    stage.api.remove("core/pods", "shop", "data");
    pod(&stage.api, "data", "n2");
    stage
        .rounds("the other node", |s| s.plan("n2") == [(volume("data"), 1)] && s.plan("n1").is_empty())
        .await;
}

#[tokio::test]
async fn a_backup_runs_its_volume_and_ends() {
    let mut stage = Stage::ready().await;
    stage
        .api
        .put("holdfast.dev/backups", backup("now", &json!({"claim": "data", "tags": ["x"], "ttl": "1h"})));
    stage.rounds("a run", |s| s.port.state().runs.len() == 1).await;
    stage.settle().await;
    assert_eq!(stage.port.state().runs.len(), 1, "one run for one volume");
    assert_eq!(stage.phase("now"), "Running");
    let result = JobResult { snapshot: Some(snapshot(1, "data", NOW)), ..JobResult::default() };
    stage.port.end(0, result);
    stage.rounds("its end", |s| s.phase("now") == "Done").await;
    let status = stage.ours("backups", "shop", "now")["status"].clone();
    assert_eq!(status["volumes"][0]["snapshot"], "01".repeat(16));
    assert_eq!((&status["done"], &status["total"]), (&json!(1), &json!(1)));
    assert_eq!(stage.condition("backups", "shop", "now", "Complete"), "True/Done");
    stage.rounds("an event", |s| !s.api.names("events.k8s.io/events").is_empty()).await;
    stage.hands.set(NOW + 3599);
    stage.settle().await;
    assert_eq!(stage.phase("now"), "Done", "it is kept as long as it says");
    stage.hands.set(NOW + 3601);
    stage.rounds("its removal", |s| s.phase("now").is_empty()).await;
}

#[tokio::test]
async fn a_backup_waits_for_a_run_that_began_before_it() {
    let mut stage = Stage::ready().await;
    let spec = proto::job::BackupSpec { volume: volume("data"), ..Default::default() };
    crate::port::Port::run_backup(&stage.port, &"main".parse().unwrap(), spec).await.unwrap();
    stage.api.put("holdfast.dev/backups", backup("now", &json!({"policy": "all"})));
    stage.rounds("it", |s| s.phase("now") == "Running").await;
    stage.settle().await;
    assert_eq!(stage.port.state().runs.len(), 1);
    stage.port.end(0, JobResult::default());
    stage.rounds("its own run", |s| s.port.state().runs.len() == 2).await;
}

#[tokio::test]
async fn a_backup_that_fails_or_is_cancelled_says_so() {
    let mut stage = Stage::ready().await;
    stage.api.put("holdfast.dev/backups", backup("bad", &json!({"claim": "data"})));
    stage.rounds("a run", |s| s.port.state().runs.len() == 1).await;
    let failure = Some(Failure { kind: ErrorKind::Store, what: "the bucket is on fire".into() });
    stage.port.end(0, JobResult { failure, ..JobResult::default() });
    stage.rounds("its end", |s| s.phase("bad") == "Failed").await;
    assert!(stage.ours("backups", "shop", "bad").to_string().contains("on fire"));
    let mut object = backup("gone", &json!({"claim": "data"}));
    stage.api.put("holdfast.dev/backups", object.clone());
    stage.rounds("a run", |s| s.port.state().runs.len() == 2).await;
    object["spec"]["cancel"] = json!(true);
    object["status"] = stage.ours("backups", "shop", "gone")["status"].clone();
    stage.api.put("holdfast.dev/backups", object);
    stage.rounds("its end", |s| s.phase("gone") == "Cancelled").await;
}

#[tokio::test]
async fn what_a_backup_may_not_is_refused_by_name() {
    let mut stage = Stage::ready().await;
    claim(&stage.api, "alone");
    let mut elsewhere = policy("elsewhere");
    elsewhere["spec"]["selector"] = json!({"namespaces": ["other"]});
    stage.api.put("holdfast.dev/backuppolicies", elsewhere);
    for (name, spec, reason) in [
        ("a", json!({"claim": "nowhere"}), "False/ClaimNotFound"),
        ("b", json!({"policy": "nobody"}), "False/PolicyNotFound"),
        ("c", json!({"policy": "elsewhere"}), "False/NothingSelected"),
    ] {
        stage.api.put("holdfast.dev/backups", backup(name, &spec));
        stage.rounds(reason, |s| s.condition("backups", "shop", name, "Accepted") == reason).await;
        assert_eq!(stage.phase(name), "Refused");
    }
    stage.api.put("holdfast.dev/backups", backup("d", &json!({"claim": "alone"})));
    stage.rounds("a failure", |s| s.phase("d") == "Failed").await;
    assert!(stage.ours("backups", "shop", "d").to_string().contains("no running pod mounts it"));
    stage.api.remove("holdfast.dev/backuppolicies", "", "all");
    stage.api.put("holdfast.dev/backups", backup("e", &json!({"claim": "data"})));
    stage.rounds("e", |s| s.condition("backups", "shop", "e", "Accepted") == "False/NotSelected").await;
    assert!(stage.port.state().runs.is_empty(), "nothing of it ran");
}

#[tokio::test]
async fn a_status_that_was_refused_is_written_again() {
    let mut stage = Stage::ready().await;
    for code in [409, 500] {
        stage.api.refuse(3, axum::http::Method::PUT, "/backups/now/status", code);
    }
    stage.api.put("holdfast.dev/backups", backup("now", &json!({"claim": "data"})));
    stage.rounds("a run", |s| s.port.state().runs.len() == 1).await;
    let said = |s: &Stage| s.ours("backups", "shop", "now").to_string();
    stage.rounds("its status", |s| said(s).contains("\"queued\"")).await;
    assert_eq!((stage.phase("now").as_str(), stage.port.state().runs.len()), ("Running", 1));
}

#[tokio::test]
async fn the_newest_snapshots_are_shown_and_come_back() {
    let mut stage = Stage::ready().await;
    let all = |n: u8| (1..=n).map(|i| snapshot(i, "data", NOW - 1000 + i64::from(i))).collect::<Vec<_>>();
    let shown = |s: &Stage| s.api.names("holdfast.dev/snapshots");
    stage.port.store("main", all(5));
    stage.rounds("three", |s| shown(s).len() == 3).await;
    assert!(shown(&stage).iter().all(|n| n.starts_with("shop/data-2026")), "{:?}", shown(&stage));
    let newest = shown(&stage).pop().unwrap();
    let name = newest.strip_prefix("shop/").unwrap().to_owned();
    assert_eq!(stage.ours("snapshots", "shop", &name)["spec"]["id"], "05".repeat(16));
    stage.api.remove("holdfast.dev/snapshots", "shop", &name);
    stage.rounds("it comes back", |s| shown(s).contains(&newest)).await;
    assert!(stage.port.state().forgotten.is_empty());
    stage.port.store("main", all(4));
    stage.rounds("gone from the bucket", |s| !shown(s).contains(&newest) && shown(s).len() == 3).await;
    stage.port.state().closed.insert("main".into(), "no store".into());
    stage.port.store("main", Vec::new());
    stage.settle().await;
    assert_eq!(shown(&stage).len(), 3, "a store that does not answer has not lost them");
}

#[tokio::test]
async fn snapshots_of_others_are_administrators() {
    let mut stage = Stage::ready().await;
    let (mut other, mut folder) = (snapshot(1, "data", NOW), snapshot(2, "data", NOW));
    other.manifest.origin.as_mut().unwrap().namespace_uid = "of a namespace that was deleted".into();
    (folder.manifest.origin, folder.manifest.volume) = (None, "node:c/n1/etc".into());
    stage.port.store("main", vec![other, folder]);
    let shown = |s: &Stage| s.api.names("holdfast.dev/snapshots");
    stage.rounds("both", |s| shown(s).len() == 2).await;
    assert!(shown(&stage).iter().all(|n| n.starts_with("holdfast-system/")), "{:?}", shown(&stage));
    stage.api.put(
        "core/namespaces",
        json!({"metadata": {"name": "shop", "uid": "ns-shop",
        "annotations": {"holdfast.dev/adopts": "ns-kube-system/of a namespace that was deleted"}}}),
    );
    stage.rounds("one at home", |s| shown(s).iter().filter(|n| n.starts_with("shop/")).count() == 1).await;
}

#[tokio::test]
async fn only_who_says_it_twice_has_a_snapshot_forgotten() {
    let mut stage = Stage::ready().await;
    stage.port.store("main", vec![snapshot(1, "data", NOW)]);
    let shown = |s: &Stage| s.api.names("holdfast.dev/snapshots");
    let of = |policy: &str| json!(policy);
    for (of_repository, of_snapshot, forgotten) in
        [("Retain", "Forget", 0), ("Forget", "Retain", 0), ("Forget", "Forget", 1)]
    {
        let mut object = stage.ours("repositories", "", "main");
        object["spec"]["deletionPolicy"] = of(of_repository);
        stage.api.put("holdfast.dev/repositories", object);
        stage.rounds("it is shown", |s| shown(s).len() == 1).await;
        let name = shown(&stage)[0].strip_prefix("shop/").unwrap().to_owned();
        let mut object = stage.ours("snapshots", "shop", &name);
        object["spec"]["deletionPolicy"] = of(of_snapshot);
        stage.api.put("holdfast.dev/snapshots", object);
        stage.settle().await;
        stage.api.remove("holdfast.dev/snapshots", "shop", &name);
        stage.settle().await;
        assert_eq!(stage.port.state().forgotten.len(), forgotten, "{of_repository} {of_snapshot}");
    }
}

#[tokio::test]
async fn a_namespace_that_goes_takes_no_snapshot_along() {
    let mut stage = Stage::ready().await;
    let mut object = stage.ours("repositories", "", "main");
    object["spec"]["deletionPolicy"] = json!("Forget");
    stage.api.put("holdfast.dev/repositories", object);
    stage.port.store("main", vec![snapshot(1, "data", NOW)]);
    let shown = |s: &Stage| s.api.names("holdfast.dev/snapshots");
    stage.rounds("it is shown", |s| shown(s).len() == 1).await;
    let name = shown(&stage)[0].strip_prefix("shop/").unwrap().to_owned();
    let mut object = stage.ours("snapshots", "shop", &name);
    object["spec"]["deletionPolicy"] = json!("Forget");
    stage.api.put("holdfast.dev/snapshots", object);
    stage.settle().await;
    stage.api.put(
        "core/namespaces",
        json!({"metadata": {"name": "shop", "uid": "ns-shop",
        "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    stage.settle().await;
    stage.api.remove("holdfast.dev/snapshots", "shop", &name);
    stage.settle().await;
    assert!(stage.port.state().forgotten.is_empty());
}
