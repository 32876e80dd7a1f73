//! Immutability and policies on a real server: what is locked stays, and who may not delete can't.

use repository::env::{Env, Timestamp};
use repository::store::{self, Extended, Key, LockMode, LockNew, Put, StoreErrorKind, StoreOptions};
use tests::signed::{Signed, send};
use tests::versitygw::Versitygw;

const DAY: u64 = 24 * 3600;

fn in_days(days: i64) -> Timestamp {
    Env::system().now().plus_seconds(days * 24 * 3600)
}

/// The server keeps whole seconds.
fn is_near(found: Option<Timestamp>, expected: Timestamp) -> bool {
    found.is_some_and(|found| found.seconds().abs_diff(expected.seconds()) <= 60)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_outlives_its_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Versitygw::start_shared(dir.path()).unwrap() else { return };
    let bucket = "locked";
    let enabled = vec![("x-amz-bucket-object-lock-enabled", "true")];
    let create = Signed { method: "PUT", headers: enabled, ..Signed::default() };
    assert_eq!(send(&server.options(), bucket, create).await.unwrap().0, 200);
    let lock_new = Some(LockNew { seconds: 3 * DAY, mode: LockMode::Governance });
    let options = StoreOptions { client: server.options(), lock_new, ..StoreOptions::default() };
    let store = store::open(&format!("s3://{bucket}/some"), &options, &Env::system()).await.unwrap();
    let locks = store.locks().unwrap();
    let protection = locks.protection().await.unwrap();
    assert!(
        protection.versioning && protection.lock && protection.default_seconds.is_none(),
        "{protection:?}"
    );

    // A pack is locked by being put; a registration is not.
    let (pack, registration) = (Key::new("d/p/00/x").unwrap(), Key::new("d/s/0000000000/y").unwrap());
    assert_eq!(store.put_new(&pack, "pack".into()).await.unwrap(), Put::Created);
    assert_eq!(store.put_new(&pack, "other".into()).await.unwrap(), Put::AlreadyExists);
    assert_eq!(store.put_new(&registration, "open".into()).await.unwrap(), Put::Created);
    assert!(is_near(locks.find_lock(&pack).await.unwrap(), in_days(3)));
    assert_eq!(locks.find_lock(&registration).await.unwrap(), None);
    assert_eq!(locks.extend_lock(&pack, in_days(9)).await.unwrap(), Extended::Done);
    assert!(is_near(locks.find_lock(&pack).await.unwrap(), in_days(9)));
    let Extended::Longer(longer) = locks.extend_lock(&pack, in_days(2)).await.unwrap() else {
        panic!("a lock was shortened");
    };
    assert!(is_near(Some(longer), in_days(9)));
    let gone = Key::new("d/p/00/gone").unwrap();
    assert_eq!(locks.extend_lock(&gone, in_days(2)).await.unwrap(), Extended::Gone);
    assert_eq!(locks.find_lock(&gone).await.unwrap_err().kind, StoreErrorKind::NotFound);

    // Deleting hides it; the version can't be deleted, and comes back when the delete marker goes.
    store.delete(&pack).await.unwrap();
    assert_eq!(store.find_size(&pack).await.unwrap(), None);
    let list = Signed { method: "GET", query: vec![("versions", "")], ..Signed::default() };
    let (_, versions) = send(&server.options(), bucket, list).await.unwrap();
    let version = |of: &str| {
        let of_pack =
            versions.split(&format!("<{of}>")).skip(1).find(|v| v.contains("<Key>some/d/p/00/x</Key>"));
        let id = of_pack.and_then(|v| v.split("<VersionId>").nth(1)).and_then(|v| v.split('<').next());
        id.unwrap_or_else(|| panic!("no {of} in {versions}")).to_owned()
    };
    let delete = async |id: &str| {
        let query = vec![("versionId", id)];
        let request = Signed { method: "DELETE", key: "some/d/p/00/x", query, ..Signed::default() };
        send(&server.options(), bucket, request).await.unwrap().0
    };
    assert_eq!(delete(&version("Version")).await, 403);
    assert_eq!(delete(&version("DeleteMarker")).await, 204);
    assert_eq!(store.get(&pack).await.unwrap(), "pack");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_says_how_it_is_protected() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Versitygw::start_shared(dir.path()).unwrap() else { return };
    let options = StoreOptions { client: server.options(), ..StoreOptions::default() };
    let open = async |url: &str| store::open(url, &options, &Env::system()).await.unwrap();
    let plain = open(&server.url("x")).await;
    assert_eq!(plain.locks().unwrap().protection().await.unwrap(), store::Protection::default());
    assert!(
        repository::ops::lock::warning(&plain).await.unwrap().contains("neither versioning nor object lock")
    );

    let enabled = vec![("x-amz-bucket-object-lock-enabled", "true")];
    let create = Signed { method: "PUT", headers: enabled, ..Signed::default() };
    send(&server.options(), "seven", create).await.unwrap();
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>GOVERNANCE</Mode><Days>7</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    let query = vec![("object-lock", "")];
    // The server wants a checksum with it.
    let headers = vec![("x-amz-checksum-sha256", "d92thNmqpwPA9iH5FkhMfYgz+7T3f77KLE/BapsHUi8=")];
    let set = Signed { method: "PUT", query, headers, body: rule.to_owned(), ..Signed::default() };
    let (status, answer) = send(&server.options(), "seven", set).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let seven = open("s3://seven").await;
    let protection = seven.locks().unwrap().protection().await.unwrap();
    assert_eq!(protection.default_seconds, Some(7 * DAY));
    assert_eq!(repository::ops::lock::warning(&seven).await, None);
    let missing = open("s3://missing").await;
    assert!(missing.locks().unwrap().protection().await.is_err());
}
