//! Who calls: agents of our own DaemonSet, movers of ours, and all those who only say so.

use std::sync::Arc;

use axum::http::Method;
use coordinator::gate::Identify as _;
use repository::env::{Env, SystemRandom};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::FakeApi;
use super::objects::cluster;
use super::stage::Hands;
use crate::identify::{Domains, Reviewer};
use crate::world::watch::Watched;

/// A token's user, as the API server says it.
fn user(account: &str, pod: &str, uid: &str, node: &str) -> Value {
    json!({"username": format!("system:serviceaccount:holdfast-system:{account}"), "extra": {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [uid],
        "authentication.kubernetes.io/node-name": [node],
    }})
}

fn put_pod(api: &FakeApi, name: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = json!({"metadata": {"name": name, "namespace": "holdfast-system", "uid": format!("uid-{name}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "holdfast-agent", "uid": "d", "controller": true}]},
        "spec": {"nodeName": "n1", "serviceAccountName": "holdfast-agent", "containers": []}, "status": {"phase": "Running"}});
    change(&mut pod);
    api.put("core/pods", pod);
}

struct Door {
    api: FakeApi,
    hands: Hands,
    reviewer: Reviewer,
    _stop: tokio_util::sync::DropGuard,
}

impl Door {
    async fn new(api: FakeApi) -> Self {
        let (watched, stop, hands) = (Watched::default(), CancellationToken::new(), Hands::default());
        watched.start(&api.client(), &TaskTracker::new(), &stop);
        while !watched.missing().is_empty() {
            tokio::task::yield_now().await;
        }
        let domains = Domains::default();
        domains.set([("n1".to_owned(), vec!["main".to_owned()])].into());
        let env = Env { clock: Arc::new(hands.clone()), random: Arc::new(SystemRandom) };
        let reviewer = Reviewer::new(api.client(), watched, "holdfast-system", domains, env);
        Self { api, hands, reviewer, _stop: stop.drop_guard() }
    }

    /// The agents that the token may be, and in which domains.
    async fn ask(&self, token: &str) -> String {
        match self.reviewer.identify(token).await {
            Ok(Some(grant)) => {
                assert!(grant.planned && grant.clients.is_none());
                format!("{} in {}", grant.agents.join(","), grant.domains.unwrap().join(","))
            }
            Ok(None) => "nobody".to_owned(),
            Err(e) => e.chain(),
        }
    }
}

#[tokio::test]
async fn an_agent_is_its_node_and_nobody_else_is() {
    let api = cluster();
    put_pod(&api, "a", |_| {});
    put_pod(&api, "ended", |p| p["status"]["phase"] = json!("Failed"));
    put_pod(&api, "by-hand", |p| p["metadata"]["ownerReferences"] = json!([]));
    put_pod(&api, "of-another", |p| p["metadata"]["ownerReferences"][0]["name"] = json!("mine"));
    put_pod(&api, "of-a-job", |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("Job"));
    put_pod(&api, "other-account", |p| p["spec"]["serviceAccountName"] = json!("default"));
    let door = Door::new(api).await;
    let mut without_pod = user("holdfast-agent", "", "", "n1");
    without_pod["extra"] = json!({"authentication.kubernetes.io/node-name": ["n1"]});
    let mut elsewhere = user("holdfast-agent", "a", "uid-a", "n1");
    elsewhere["username"] = json!("system:serviceaccount:shop:holdfast-agent");
    let mut two = user("holdfast-agent", "a", "uid-a", "n1");
    two["extra"]["authentication.kubernetes.io/pod-uid"] = json!(["uid-a", "uid-b"]);
    for (token, user, expected) in [
        ("good", user("holdfast-agent", "a", "uid-a", "n1"), "n1 in main"),
        ("made for a node, of no pod", without_pod, "nobody"),
        ("of another pod of that name", user("holdfast-agent", "a", "uid-b", "n1"), "nobody"),
        ("of a pod that is not there", user("holdfast-agent", "x", "uid-x", "n1"), "nobody"),
        ("of another node", user("holdfast-agent", "a", "uid-a", "n2"), "nobody"),
        ("of the same account elsewhere", elsewhere, "nobody"),
        ("of another account", user("default", "a", "uid-a", "n1"), "nobody"),
        ("of two pods", two, "nobody"),
        ("of a pod that has ended", user("holdfast-agent", "ended", "uid-ended", "n1"), "nobody"),
        ("of a pod made by hand", user("holdfast-agent", "by-hand", "uid-by-hand", "n1"), "nobody"),
        ("of another DaemonSet", user("holdfast-agent", "of-another", "uid-of-another", "n1"), "nobody"),
        ("of a job", user("holdfast-agent", "of-a-job", "uid-of-a-job", "n1"), "nobody"),
        (
            "of a pod of another account",
            user("holdfast-agent", "other-account", "uid-other-account", "n1"),
            "nobody",
        ),
        ("of a mover that is an agent", user("holdfast-mover", "a", "uid-a", "n1"), "nobody"),
    ] {
        door.api.know_token(token, user);
        assert_eq!(door.ask(token).await, expected, "{token}");
    }
    assert_eq!(door.ask("unknown").await, "nobody");
    assert_eq!(door.ask("").await, "nobody");
    assert_eq!(door.ask(&"x".repeat(17 << 10)).await, "nobody");
}

#[tokio::test]
async fn a_mover_is_its_pod() {
    let api = cluster();
    let mover = |p: &mut Value| {
        p["metadata"]["ownerReferences"] = json!([]);
        p["metadata"]["labels"] = json!({"app.kubernetes.io/component": "mover"});
        p["spec"]["serviceAccountName"] = json!("holdfast-mover");
    };
    put_pod(&api, "m", mover);
    put_pod(&api, "unlabelled", |p| {
        mover(p);
        p["metadata"]["labels"] = json!({});
    });
    let door = Door::new(api).await;
    for (token, pod, expected) in [("good", "m", "uid-m in "), ("bad", "unlabelled", "nobody")] {
        door.api.know_token(token, user("holdfast-mover", pod, &format!("uid-{pod}"), "n1"));
        assert_eq!(door.ask(token).await, expected);
    }
}

#[tokio::test]
async fn an_answer_counts_a_minute_but_a_pod_that_goes_at_once() {
    let api = cluster();
    put_pod(&api, "a", |_| {});
    let door = Door::new(api).await;
    let reviews = || door.api.count(&Method::POST, "tokenreviews");
    door.api.know_token("t", user("holdfast-agent", "a", "uid-a", "n1"));
    for (second, expected) in [(0, 1), (59, 1), (61, 2)] {
        door.hands.set(second);
        assert_eq!(door.ask("t").await, "n1 in main");
        assert_eq!(reviews(), expected, "after {second} s");
    }
    door.api.remove("core/pods", "holdfast-system", "a");
    for _try in 0..1000 {
        if door.ask("t").await == "nobody" {
            assert_eq!(reviews(), 2);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("its token still counts");
}

#[tokio::test]
async fn an_api_server_that_fails_judges_nobody() {
    let api = cluster();
    put_pod(&api, "a", |_| {});
    let door = Door::new(api).await;
    door.api.know_token("t", user("holdfast-agent", "a", "uid-a", "n1"));
    door.api.refuse(1, Method::POST, "tokenreviews", 500);
    assert!(door.ask("t").await.contains("review a token"));
    assert_eq!(door.ask("t").await, "n1 in main", "and the failure is not remembered");
}
