//! Which text names which store, and what is refused.

use super::*;
use crate::store::Op;
use bytes::Bytes;

fn check(url: &str, expected: &str) {
    let got = match parse(url) {
        Ok(Place::Folder(path)) => format!("folder {}", path.display()),
        Ok(Place::Bucket { cloud, bucket, prefix }) => format!("{cloud:?} {bucket} {prefix}"),
        Ok(Place::Memory(name)) => format!("memory {name}"),
        Err(e) => e.to_string(),
    };
    assert!(got.contains(expected), "{url}: {got}");
}

#[test]
fn urls_name_places() {
    check("/srv/backup", "folder /srv/backup");
    check("file:///srv/my%20backup", "folder /srv/my backup");
    check("s3://bucket", "S3 bucket ");
    check("s3://bucket/a/b/", "S3 bucket a/b");
    check("gs://bucket/x", "Gcs bucket x");
    check("az://container/x", "Azure container x");
    check("memory:Name", "memory Name");
    check("memory://Name", "memory Name");
}

#[test]
fn wrong_urls_say_what_is_wrong() {
    check("backup", "no absolute path; use file:///path, s3://");
    check("ftp://host/x", "unknown kind \"ftp\"");
    check("file://host/path", "no absolute path");
    check("s3:///prefix", "names no bucket");
    check("s3://host:9000/bucket", "endpoint is set in the environment");
    check("s3://bucket/a//b", "single '/'");
    check("s3://bucket/a?x=1", "no '?'");
    check("s3://key:secret@bucket/a", "credentials do not belong in the URL");
}

#[test]
fn secrets_in_a_url_are_not_repeated() {
    let error = parse("s3://key:secret@bucket/a").unwrap_err();
    assert!(!error.chain().contains("secret"), "{}", error.chain());
}

#[tokio::test]
async fn memory_is_shared_by_name_and_requests_are_counted() {
    let options = StoreOptions::default();
    let env = Env::system();
    let key = Key::new("a").unwrap();
    let store = open("memory:url-tests", &options, &env).await.unwrap();
    store.put_new(&key, Bytes::from("x")).await.unwrap();
    assert_eq!(open("memory:url-tests", &options, &env).await.unwrap().get(&key).await.unwrap(), "x");
    let other = open("memory:url-tests-2", &options, &env).await.unwrap();
    assert_eq!(other.find_size(&key).await.unwrap(), None);
    assert_eq!(Op::ALL.map(|op| options.counts.requests(op)), [1, 1, 1, 0, 0]);
}

#[tokio::test]
async fn a_folder_is_made_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a/b", dir.path().display());
    let env = Env::system();
    let error = open(&url, &StoreOptions::default(), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.chain().contains("does not exist"), "{}", error.chain());
    assert!(!dir.path().join("a").exists());
    let create = StoreOptions { create: true, ..StoreOptions::default() };
    open(&url, &create, &env).await.unwrap();
    open(&url, &StoreOptions::default(), &env).await.unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let url = format!("{}/file", dir.path().display());
    let error = open(&url, &create, &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
}

#[tokio::test]
async fn unknown_settings_are_refused_by_name() {
    let client = BTreeMap::from([("no_such_setting".to_owned(), "1".to_owned())]);
    let options = StoreOptions { client, ..StoreOptions::default() };
    let error = open("s3://bucket/x", &options, &Env::system()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("no_such_setting"), "{}", error.chain());
}

#[tokio::test]
async fn a_store_that_is_gone_is_transient_and_says_so() {
    let client = [
        ("endpoint", "http://127.0.0.1:1"),
        ("allow_http", "true"),
        ("access_key_id", "x"),
        ("secret_access_key", "x"),
    ];
    let client = client.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let options = StoreOptions { client, retry: RetryPolicy::none(), ..StoreOptions::default() };
    let store = open("s3://bucket/x", &options, &Env::system()).await.unwrap();
    let error = store.get(&Key::new("a").unwrap()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient);
    assert!(error.to_string().contains("can't reach the store"), "{error}");
}
