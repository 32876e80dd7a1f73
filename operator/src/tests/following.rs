//! Following the cluster: pages, dropped watches, 410, errors, silence.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::FakeApi;
use super::objects::{claim, cluster, pod};
use crate::world::Key;
use crate::world::watch::Watched;

fn follow(api: &FakeApi) -> (Watched, tokio_util::sync::DropGuard) {
    let (watched, stop) = (Watched::default(), CancellationToken::new());
    watched.start(&api.client(), &TaskTracker::new(), &stop);
    (watched, stop.drop_guard())
}

async fn until(watched: &Watched, what: &str, good: impl Fn(&Watched) -> bool) {
    // Time is the runtime's: back-offs pass at once.
    for _try in 0..5000 {
        if good(watched) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come; missing are {:?}", watched.missing());
}

fn pods(watched: &Watched) -> usize {
    watched.read().pods.len()
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_and_changes_after_them() {
    let api = cluster();
    for i in 0..1203 {
        pod(&api, &format!("p{i}"), "n1");
    }
    let (watched, _stop) = follow(&api);
    until(&watched, "all", |w| w.missing().is_empty()).await;
    assert_eq!(pods(&watched), 1203);
    assert_eq!(api.count(&Method::GET, "/api/v1/pods?&limit=500"), 3);
    api.remove("core/pods", "shop", "p7");
    until(&watched, "one less", |w| pods(w) == 1202).await;
    pod(&api, "p8", "n2");
    let on = |w: &Watched| w.read().pods[&Key::new("shop", "p8")].node.clone();
    until(&watched, "the change", |w| on(w).as_deref() == Some("n2")).await;
    let lists = api.count(&Method::GET, "limit=500");
    assert_eq!(lists, 13, "each kind is listed once: pods in three pages, ten others in one");
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_by_a_dropped_watch_is_made_up_for() {
    for compact in [false, true] {
        let api = cluster();
        pod(&api, "a", "n1");
        pod(&api, "b", "n1");
        let (watched, _stop) = follow(&api);
        until(&watched, "both", |w| pods(w) == 2).await;
        api.drop_watches(compact);
        api.remove("core/pods", "shop", "a");
        pod(&api, "c", "n1");
        let names = |w: &Watched| w.read().pods.keys().map(|k| k.name.clone()).collect::<Vec<_>>();
        until(&watched, "b and c", |w| names(w) == ["b", "c"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_complete_before_each_kind_was_listed() {
    let api = cluster();
    claim(&api, "data");
    api.refuse(3, Method::GET, "/api/v1/persistentvolumes?", 500);
    api.silence(Method::GET, "/storageclasses", true);
    let (watched, _stop) = follow(&api);
    until(&watched, "the volumes, at last", |w| w.read().volumes.len() == 1).await;
    assert_eq!(watched.missing(), ["storageclasses"]);
    assert!(watched.errors() >= 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_no_news() {
    let api = cluster();
    pod(&api, "a", "n1");
    let (watched, _stop) = follow(&api);
    until(&watched, "it", |w| w.missing().is_empty()).await;
    let mut changes = watched.changes();
    changes.mark_unchanged();
    let mut object = api.get("core/pods", "shop", "a").unwrap();
    object["status"]["message"] = json!("who cares");
    api.put("core/pods", object);
    // A second one, which is news, shows that the first was heard.
    pod(&api, "b", "n1");
    until(&watched, "both", |w| pods(w) == 2).await;
    assert_eq!(*changes.borrow_and_update() - 11, 1, "eleven lists, and one pod");
}
