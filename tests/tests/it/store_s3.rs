//! The real S3 client against a server in this process: conformance, probe, and how failures are told.

use bytes::Bytes;
use futures::TryStreamExt as _;
use repository::env::Env;
use repository::store::{self, Key, Op, Put, RetryPolicy, StoreErrorKind, StoreOptions};
use tests::s3::S3Server;

async fn start() -> (tempfile::TempDir, S3Server) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = S3Server::start(dir.path()).await.expect("a free port");
    (dir, server)
}

fn options(server: &S3Server) -> StoreOptions {
    StoreOptions { client: server.options(), ..StoreOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let (_dir, server) = start().await;
    for prefix in ["", "some/prefix"] {
        let store = store::open(&server.url(prefix), &options(&server), &Env::system()).await.unwrap();
        store::conformance::check(store).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_probe_and_stays_clean() {
    let (_dir, server) = start().await;
    let env = Env::system();
    let store = store::open(&server.url("a"), &options(&server), &env).await.unwrap();
    store::probe(store.as_ref(), env.random.as_ref()).await.unwrap();
    assert!(store.list("", None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_is_one_request() {
    let (_dir, server) = start().await;
    let options = options(&server);
    let store = store::open(&server.url("a"), &options, &Env::system()).await.unwrap();
    let key = Key::new("d/p/00/x").unwrap();
    assert_eq!(store.put_new(&key, Bytes::from("x")).await.unwrap(), Put::Created);
    assert_eq!(store.put_new(&key, Bytes::from("y")).await.unwrap(), Put::AlreadyExists);
    assert_eq!(store.get(&key).await.unwrap(), "x");
    assert_eq!(store.get_tail(&key, 10).await.unwrap(), (Bytes::from("x"), 1));
    assert_eq!(Op::ALL.map(|op| options.counts.requests(op)), [2, 2, 0, 0, 0]);
    assert_eq!(options.counts.puts('p'), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_has_every_page() {
    let (dir, server) = start().await;
    let folder = dir.path().join("holdfast/a/l");
    std::fs::create_dir_all(&folder).unwrap();
    for n in 0..2300 {
        std::fs::write(folder.join(format!("{n:05}")), "x").unwrap();
    }
    let store = store::open(&server.url("a"), &options(&server), &Env::system()).await.unwrap();
    let listed: Vec<_> = store.list("l/", None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2300);
    let after = Key::new("l/01999").unwrap();
    let rest: Vec<_> = store.list("l/", Some(&after)).try_collect().await.unwrap();
    assert_eq!((rest.len(), rest[0].key.name()), (300, "02000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let (_dir, server) = start().await;
    let env = Env::system();
    let key = Key::new("a").unwrap();
    let quick = StoreOptions { retry: RetryPolicy::none(), ..options(&server) };

    let mut wrong = quick.clone();
    wrong.client.insert("aws_secret_access_key".to_owned(), "wrong".to_owned());
    let store = store::open(&server.url("a"), &wrong, &env).await.unwrap();
    assert_eq!(store.put_new(&key, Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.get(&key).await.unwrap_err().kind, StoreErrorKind::Denied);
    let error = store.list("", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");

    let store = store::open("s3://no-such-bucket/a", &quick, &env).await.unwrap();
    let error = store.list("", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Fatal);
    assert!(error.to_string().contains("does not exist"), "{error}");

    let store = store::open(&server.url("a"), &quick, &env).await.unwrap();
    store.put_new(&key, Bytes::from("x")).await.unwrap();
    drop(server);
    tokio::task::yield_now().await;
    let error = store.put_new(&Key::new("b").unwrap(), Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_waited_for() {
    let (dir, server) = start().await;
    let options = options(&server);
    let store = store::open(&server.url("a"), &options, &Env::system()).await.unwrap();
    let key = Key::new("a").unwrap();
    store.put_new(&key, Bytes::from("x")).await.unwrap();
    let port = server.port();
    drop(server);
    let getting = tokio::spawn(async move { store.get(&key).await });
    // Failed at least once, so the answer is that of a second try.
    while options.counts.figures().errors(Op::Get) == 0 {
        tokio::task::yield_now().await;
    }
    let _again = S3Server::start_at(dir.path(), port).await.unwrap();
    assert_eq!(getting.await.unwrap().unwrap(), "x");
}
