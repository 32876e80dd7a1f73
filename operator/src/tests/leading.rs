//! Who leads, and with which certificate.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use repository::env::{Env, Timestamp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::FakeApi;
use crate::lease::{Candidate, LEASE};
use crate::limits::{CA_DAYS, CERTIFICATE_DAYS, CERTIFICATE_RENEW_DAYS};
use crate::tls::{CONFIG_MAP, Need, Pair, SECRET, ensure};

fn candidate(api: &FakeApi, me: &str) -> Candidate {
    let address = Some(format!("{me}:7425"));
    Candidate::new(&api.client(), "holdfast-system", me.to_owned(), address, Env::system())
}

fn holder(api: &FakeApi) -> String {
    let lease = api.get("coordination.k8s.io/leases", "holdfast-system", LEASE).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_next_one_takes_over() {
    let api = FakeApi::default();
    let (a, b) = (candidate(&api, "a"), candidate(&api, "b"));
    let (stop_a, stop_b, leader) = (CancellationToken::new(), CancellationToken::new(), Arc::default());
    assert!(a.win(&stop_a, |_| {}).await);
    let holding = tokio::spawn({
        let (a, stop) = (a.clone(), stop_a.clone());
        async move { a.hold(&stop).await }
    });
    let seen: Arc<std::sync::Mutex<Option<String>>> = leader;
    let waits = timeout(LONG, b.win(&stop_b, |l| *seen.lock().unwrap() = l));
    assert!(waits.await.is_err(), "as long as the first renews, nobody takes it");
    assert_eq!(seen.lock().unwrap().as_deref(), Some("a:7425"));
    assert_eq!(holder(&api), "a");
    stop_a.cancel();
    holding.await.unwrap().unwrap();
    assert_eq!(holder(&api), "", "given back");
    let soon = timeout(Duration::from_secs(5), b.win(&stop_b, |_| {}));
    assert!(soon.await.unwrap());
    assert_eq!(holder(&api), "b");
    assert!(!candidate(&api, "c").win(&stop_a, |_| {}).await, "who is stopped does not win");
}

#[tokio::test(start_paused = true)]
async fn who_can_not_renew_ends_before_another_leads() {
    let api = FakeApi::default();
    let (a, b) = (candidate(&api, "a"), candidate(&api, "b"));
    let stop = CancellationToken::new();
    assert!(a.win(&stop, |_| {}).await);
    let began = tokio::time::Instant::now();
    // Its side of the network: requests of `a` get no answer. `b` has a server of its own with the same Lease.
    let other = FakeApi::default();
    other.put(
        "coordination.k8s.io/leases",
        api.get("coordination.k8s.io/leases", "holdfast-system", LEASE).unwrap(),
    );
    let b_elsewhere = candidate(&other, "b");
    api.silence(Method::GET, LEASE, true);
    let lost = async {
        let why = a.hold(&stop).await.unwrap_err();
        (began.elapsed(), why)
    };
    let won = async {
        assert!(b_elsewhere.win(&stop, |_| {}).await);
        began.elapsed()
    };
    let ((lost, why), won) = tokio::join!(lost, won);
    assert!(lost < won, "{lost:?} {won:?}");
    assert!(why.contains("could not be renewed"), "{why}");
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_wins() {
    let api = FakeApi::default();
    let stop = CancellationToken::new();
    let (a, b) = (candidate(&api, "a"), candidate(&api, "b"));
    let (a, b) = tokio::join!(
        timeout(Duration::from_secs(10), a.win(&stop, |_| {})),
        timeout(Duration::from_secs(10), b.win(&stop, |_| {}))
    );
    assert!(a.is_ok() != b.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_took_is_lost() {
    let api = FakeApi::default();
    let (a, stop) = (candidate(&api, "a"), CancellationToken::new());
    assert!(a.win(&stop, |_| {}).await);
    let mut lease = api.get("coordination.k8s.io/leases", "holdfast-system", LEASE).unwrap();
    lease["spec"]["holderIdentity"] = "thief".into();
    api.put("coordination.k8s.io/leases", lease);
    let lost = timeout(Duration::from_secs(5), a.hold(&stop)).await.unwrap();
    assert!(lost.unwrap_err().contains("somebody else"));
    assert_eq!(holder(&api), "thief");
}

const NOW: Timestamp = Timestamp(1_790_000_000_000_000_000);

fn days(n: i64) -> Timestamp {
    NOW.plus_seconds(n * 24 * 3600)
}

#[tokio::test]
async fn all_take_the_certificate_that_the_first_made() {
    let (api, dir) = (FakeApi::default(), tempfile::tempdir().unwrap());
    let client = api.client();
    let make = |name: &str| {
        let (client, folder) = (client.clone(), dir.path().join(name));
        async move { ensure(&client, "holdfast-system", &folder, NOW).await.unwrap() }
    };
    let (a, b, c) = tokio::join!(make("a"), make("b"), make("c"));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    for files in [&b, &c] {
        assert_eq!(read(&a.cert_file), read(&files.cert_file));
        assert_eq!(read(&a.key_file), read(&files.key_file));
    }
    let map = api.get("core/configmaps", "holdfast-system", CONFIG_MAP).unwrap();
    assert!(map["data"]["ca.crt"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(api.names("core/secrets"), [format!("holdfast-system/{SECRET}")]);
    // What a listener and an agent make of them.
    let reloads = service::reload::Reloads::default();
    a.watch(&reloads).unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_with_the_same_ca() {
    let (api, dir) = (FakeApi::default(), tempfile::tempdir().unwrap());
    let client = api.client();
    let at = |now| ensure(&client, "holdfast-system", dir.path(), now);
    let ca = || api.get("core/configmaps", "holdfast-system", CONFIG_MAP).unwrap()["data"]["ca.crt"].clone();
    let read = |files: service::tls::ServerFiles| std::fs::read_to_string(files.cert_file).unwrap();
    let first = read(at(NOW).await.unwrap());
    let first_ca = ca();
    let margin = CERTIFICATE_DAYS - CERTIFICATE_RENEW_DAYS;
    assert_eq!(read(at(days(margin - 1)).await.unwrap()), first);
    assert_ne!(read(at(days(margin + 1)).await.unwrap()), first);
    assert_eq!(ca(), first_ca);
    // A new CA is trusted beside the old one.
    read(at(days(CA_DAYS - CERTIFICATE_DAYS + 1)).await.unwrap());
    let both = ca().as_str().unwrap().to_owned();
    assert!(both.ends_with(first_ca.as_str().unwrap()) && both.matches("BEGIN").count() == 2, "{both}");
}

#[test]
fn what_a_certificate_needs() {
    let pair = Pair::make("holdfast-system", None, NOW).unwrap();
    let check = |day: i64, need: Need| assert_eq!(pair.need(days(day)), need, "day {day}");
    check(0, Need::Nothing);
    check(CERTIFICATE_DAYS - CERTIFICATE_RENEW_DAYS + 1, Need::Certificate);
    check(CA_DAYS - CERTIFICATE_DAYS + 1, Need::Ca);
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}
