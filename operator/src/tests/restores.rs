//! Restores: who may, what is made, and what is taken away.

use coordinator::jobs::Event;
use coordinator::nodes::NodeState;
use proto::job::{Failure, JobResult, JobSpec};
use proto::v1::{Seen, Sighting};
use repository::ErrorKind;
use serde_json::{Value, json};

use super::objects::{claim, pod, snapshot, volume};
use super::stage::{NOW, Stage};

const UID: &str = "restore-1";
const MOVER: &str = "holdfast-restore-restore-1";

fn restore(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Restore",
        "metadata": {"name": name, "namespace": "shop", "uid": UID, "creationTimestamp": "2026-09-21T14:13:20Z"}, "spec": spec})
}

fn into(claim: &str) -> Value {
    json!({"snapshot": {"id": "01".repeat(16), "repository": "main"}, "target": {"claim": claim}, "existing": "Overwrite"})
}

/// With a snapshot of `data`, and an empty claim `empty` that no pod mounts.
async fn stage() -> Stage {
    let stage = Stage::ready().await;
    stage.port.store("main", vec![snapshot(1, "data", NOW - 60)]);
    claim(&stage.api, "empty");
    stage
}

fn phase(stage: &Stage) -> String {
    let phase = stage.ours("restores", "shop", "r")["status"]["phase"].clone();
    phase.as_str().unwrap_or_default().to_owned()
}

fn complete(stage: &Stage) -> String {
    stage.condition("restores", "shop", "r", "Complete")
}

/// Its mover runs, and has the volume.
async fn mover(stage: &mut Stage) -> String {
    stage.rounds("a mover", |s| s.api.get("core/pods", "holdfast-system", MOVER).is_some()).await;
    let mut object = stage.api.get("core/pods", "holdfast-system", MOVER).unwrap();
    object["spec"]["nodeName"] = json!("n1");
    object["status"] = json!({"phase": "Running"});
    let uid = stage.api.put("core/pods", object)["metadata"]["uid"].as_str().unwrap().to_owned();
    stage.rounds("its plan", |s| s.port.state().plans.contains_key(&uid)).await;
    let seen = Sighting { volume: volume("empty"), seen: Seen::Ready.into(), ..Sighting::default() };
    let state = NodeState {
        name: uid.clone(),
        mover: true,
        connected: true,
        sightings: [(volume("empty"), seen)].into(),
        ..NodeState::default()
    };
    stage.port.state().nodes.insert(uid.clone(), state);
    uid
}

fn end(stage: &Stage, result: JobResult) {
    let agent = || "m".to_owned();
    let finish = Event::Finish(agent(), Box::new(result));
    stage.port.happen(0, &[Event::Offer(agent()), Event::Accept(agent()), finish]);
}

#[tokio::test]
async fn a_claim_is_filled_by_a_mover_on_a_twin_of_its_volume() {
    let mut stage = stage().await;
    stage.api.put("holdfast.dev/restores", restore("r", &into("empty")));
    let uid = mover(&mut stage).await;
    let twin = stage.api.get("core/persistentvolumes", "", MOVER).unwrap();
    assert_eq!(twin["spec"]["csi"]["volumeHandle"], "empty");
    assert_eq!(twin["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(twin["spec"]["claimRef"], json!({"namespace": "holdfast-system", "name": MOVER}));
    let pod = stage.api.get("core/pods", "holdfast-system", MOVER).unwrap();
    assert_eq!(pod["spec"]["serviceAccountName"], "holdfast-mover");
    assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    {
        let state = stage.port.state();
        let plan = &state.plans[&uid];
        assert!(plan.volumes[0].restore && plan.volumes.len() == 1);
        assert_eq!(plan.repositories[0].domain, "main");
    }
    stage.rounds("a run", |s| s.port.state().runs.len() == 1).await;
    {
        let state = stage.port.state();
        assert_eq!(state.runs[0].wanted_agent.as_deref(), Some(uid.as_str()));
        let JobSpec::Restore(job) = &state.runs[0].job.spec else { panic!("it is no restore") };
        assert_eq!(job.target, b"/volume");
    }
    stage.rounds("it runs", |s| phase(s) == "Running").await;
    end(&stage, JobResult::default());
    stage.rounds("the end", |s| phase(s) == "Done").await;
    for kind in ["core/pods", "core/persistentvolumeclaims", "core/persistentvolumes"] {
        stage.rounds(kind, |s| !s.api.names(kind).iter().any(|n| n.ends_with(MOVER))).await;
    }
    assert!(stage.api.get("core/persistentvolumes", "", "pv-empty").is_some(), "the volume itself stays");
    assert!(!stage.port.state().plans.contains_key(&uid));
    stage.settle().await;
    assert_eq!(stage.port.state().runs.len(), 1);
}

#[tokio::test]
async fn what_may_not_be_restored_is_refused_by_name() {
    let mut stage = stage().await;
    let mut others = snapshot(2, "data", NOW - 60);
    others.manifest.origin.as_mut().unwrap().namespace_uid = "somebody else's".into();
    let mut foreign = snapshot(3, "data", NOW - 60);
    foreign.manifest.origin.as_mut().unwrap().cluster = "another".into();
    let mut nobodys = snapshot(4, "data", NOW - 60);
    nobodys.manifest.origin = None;
    stage.port.store("main", vec![snapshot(1, "data", NOW - 60), others, foreign, nobodys]);
    let of = |id: u8| json!({"snapshot": {"id": format!("{id:02x}").repeat(16), "repository": "main"}, "target": {"claim": "empty"}});
    claim(&stage.api, "raw");
    let mut raw = stage.api.get("core/persistentvolumeclaims", "shop", "raw").unwrap();
    raw["spec"]["volumeMode"] = json!("Block");
    stage.api.put("core/persistentvolumeclaims", raw);
    for (spec, reason) in [
        (of(2), "SnapshotNotFound"),
        (of(3), "SnapshotNotFound"),
        (of(4), "SnapshotNotFound"),
        (of(9), "SnapshotNotFound"),
        (json!({"snapshot": {"name": "nothing"}, "target": {"claim": "empty"}}), "SnapshotNotFound"),
        (
            json!({"snapshot": {"id": "01".repeat(16), "repository": "no"}, "target": {"claim": "empty"}}),
            "SnapshotNotFound",
        ),
        (into("nowhere"), "ClaimNotFound"),
        (into("raw"), "ClaimIsBlock"),
        (into("data"), "ClaimInUse"),
    ] {
        stage.api.put("holdfast.dev/restores", restore("r", &spec));
        let expected = format!("False/{reason}");
        stage.rounds(reason, |s| s.condition("restores", "shop", "r", "Accepted") == expected).await;
        assert_eq!(phase(&stage), "Refused");
        stage.api.remove("holdfast.dev/restores", "shop", "r");
        stage.settle().await;
    }
    assert!(stage.api.get("core/pods", "holdfast-system", MOVER).is_none());
}

#[tokio::test]
async fn a_snapshot_object_that_lies_opens_nothing() {
    let mut stage = stage().await;
    let mut others = snapshot(2, "data", NOW - 60);
    others.manifest.origin.as_mut().unwrap().namespace_uid = "somebody else's".into();
    stage.port.store("main", vec![others]);
    stage.api.put("holdfast.dev/snapshots", json!({"metadata": {"name": "mine", "namespace": "shop"}, "spec": {
        "repository": "main", "id": "02".repeat(16), "volume": volume("data"), "claim": {"name": "data", "uid": "claim-data"},
        "namespace": {"name": "shop", "uid": "ns-shop", "cluster": "ns-kube-system"}, "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:00:00Z", "bytes": 1, "files": 1, "problems": 0, "consistency": "Live"}}));
    let spec = json!({"snapshot": {"name": "mine"}, "target": {"claim": "empty"}});
    stage.settle().await;
    stage.api.put("holdfast.dev/restores", restore("r", &spec));
    stage
        .rounds("no", |s| s.condition("restores", "shop", "r", "Accepted") == "False/SnapshotNotFound")
        .await;
}

#[tokio::test]
async fn a_pod_that_comes_ends_it() {
    let mut stage = stage().await;
    stage.api.put("holdfast.dev/restores", restore("r", &into("empty")));
    mover(&mut stage).await;
    stage.rounds("it runs", |s| phase(s) == "Running").await;
    pod(&stage.api, "empty", "n2");
    stage.rounds("its end", |s| complete(s) == "False/ClaimInUse").await;
    assert_eq!(phase(&stage), "Failed");
    assert!(stage.port.state().runs[0].cancel_requested || stage.port.state().runs[0].state.has_ended());
    stage.rounds("no mover", |s| s.api.get("core/pods", "holdfast-system", MOVER).is_none()).await;
}

#[tokio::test]
async fn what_keeps_a_mover_from_working_is_named() {
    let mut stage = stage().await;
    stage.api.refuse(3, axum::http::Method::POST, "holdfast-system/pods", 403);
    stage.api.put("holdfast.dev/restores", restore("r", &into("empty")));
    stage.rounds("a refusal", |s| complete(s) == "False/MoverRefused").await;
    stage.rounds("a mover, at last", |s| s.api.get("core/pods", "holdfast-system", MOVER).is_some()).await;
    let mut object = stage.api.get("core/pods", "holdfast-system", MOVER).unwrap();
    object["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node has room"}]});
    stage.api.put("core/pods", object.clone());
    let said = |s: &Stage| s.ours("restores", "shop", "r").to_string();
    stage
        .rounds("why", |s| complete(s) == "False/MoverPending" && said(s).contains("no node has room"))
        .await;
    object["spec"]["nodeName"] = json!("n1");
    object["status"] = json!({"phase": "Running"});
    stage.api.put("core/pods", object.clone());
    stage.rounds("not connected", |s| complete(s) == "False/MoverNotConnected").await;
    object["status"] = json!({"phase": "Failed"});
    stage.api.put("core/pods", object);
    stage.rounds("it ended", |s| complete(s) == "False/MoverEnded" && phase(s) == "Failed").await;
}

#[tokio::test]
async fn a_restore_that_fails_is_cancelled_or_goes_leaves_nothing() {
    let mut stage = stage().await;
    stage.api.put("holdfast.dev/restores", restore("r", &into("empty")));
    mover(&mut stage).await;
    stage.rounds("it runs", |s| phase(s) == "Running").await;
    let failure = Some(Failure { kind: ErrorKind::Damaged, what: "a pack is torn".into() });
    end(&stage, JobResult { failure, ..JobResult::default() });
    stage.rounds("its end", |s| phase(s) == "Failed" && complete(s) == "False/Failed").await;
    stage.api.remove("holdfast.dev/restores", "shop", "r");
    stage.settle().await;
    let mut cancelled = restore("r", &into("empty"));
    stage.api.put("holdfast.dev/restores", cancelled.clone());
    stage.rounds("a mover", |s| s.api.get("core/pods", "holdfast-system", MOVER).is_some()).await;
    cancelled["spec"]["cancel"] = json!(true);
    cancelled["status"] = stage.ours("restores", "shop", "r")["status"].clone();
    stage.api.put("holdfast.dev/restores", cancelled);
    stage.rounds("its end", |s| phase(s) == "Cancelled").await;
    stage.api.remove("holdfast.dev/restores", "shop", "r");
    stage.api.put("holdfast.dev/restores", restore("r", &into("empty")));
    stage.rounds("a mover", |s| s.api.get("core/pods", "holdfast-system", MOVER).is_some()).await;
    stage.api.remove("holdfast.dev/restores", "shop", "r");
    for kind in ["core/pods", "core/persistentvolumeclaims", "core/persistentvolumes"] {
        stage.rounds(kind, |s| !s.api.names(kind).iter().any(|n| n.ends_with(MOVER))).await;
    }
}
