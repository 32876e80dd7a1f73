//! URLs of stores: what opens, and how wrong ones are refused.

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

/// Every credential of the environment says `theirs`, everything else `kept`, and the store's own `own`.
fn own_credentials(
    [theirs, kept, own]: [&[&str]; 3],
    values: impl Fn(&StoreOptions, &client::Variables) -> Box<dyn Fn(&str) -> Option<String>>,
) {
    let all = |names: &[&str], value: &str| -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), value.to_owned())).collect()
    };
    let variables = [all(theirs, "theirs"), all(kept, "kept")].concat();
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    let client = all(own, "own").into_iter().map(lower).collect();
    let options = StoreOptions { client, own_credentials: true, ..StoreOptions::default() };
    let value = values(&options, &variables);
    for name in own {
        assert_eq!(value(name).as_deref(), Some("own"), "{name}");
    }
    for name in theirs.iter().filter(|name| !own.contains(name)) {
        assert!(value(name).is_none_or(|v| !v.contains("theirs")), "{name}");
    }
    for name in kept {
        assert_eq!(value(name).as_deref(), Some("kept"), "{name}");
    }
}

#[test]
fn own_credentials_replace_those_of_the_environment_for_s3() {
    let theirs = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_SKIP_SIGNATURE",
        "AWS_SSE_CUSTOMER_KEY_BASE64",
    ];
    let (kept, own) =
        (["AWS_ENDPOINT", "AWS_REGION", "AWS_PROXY_URL"], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    own_credentials([&theirs, &kept, &own], |options, variables| {
        let builder = client::s3(options, variables).unwrap();
        Box::new(move |name| builder.get_config_value(&name.to_ascii_lowercase().parse().unwrap()))
    });
}

#[test]
fn own_credentials_replace_those_of_the_environment_for_gcs() {
    let theirs = [
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_SKIP_SIGNATURE",
    ];
    let (kept, own) = (["GOOGLE_BASE_URL", "GOOGLE_PROXY_URL"], ["GOOGLE_SERVICE_ACCOUNT"]);
    own_credentials([&theirs, &kept, &own], |options, variables| {
        let builder = client::gcs(options, variables).unwrap();
        Box::new(move |name| builder.get_config_value(&name.to_ascii_lowercase().parse().unwrap()))
    });
}

#[test]
fn own_credentials_replace_those_of_the_environment_for_azure() {
    let theirs = [
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_MSI_ENDPOINT",
        "AZURE_OBJECT_ID",
        "AZURE_MSI_RESOURCE_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_FABRIC_SESSION_TOKEN",
        "AZURE_USE_AZURE_CLI",
        "AZURE_SKIP_SIGNATURE",
    ];
    let (kept, own) = (["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_ENDPOINT"], ["AZURE_STORAGE_ACCOUNT_KEY"]);
    own_credentials([&theirs, &kept, &own], |options, variables| {
        let builder = client::azure(options, variables).unwrap();
        Box::new(move |name| builder.get_config_value(&name.to_ascii_lowercase().parse().unwrap()))
    });
}
