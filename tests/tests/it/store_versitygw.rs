//! The real S3 client against a real S3 server: conformance and probe.

use repository::env::Env;
use repository::store::{self, StoreOptions};
use tests::versitygw::Versitygw;

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_conforms_and_passes_the_probe() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Versitygw::start(dir.path()).unwrap() else { return };
    let (env, options) =
        (Env::system(), StoreOptions { client: server.options(), ..StoreOptions::default() });
    let store = store::open(&server.url("some/prefix"), &options, &env).await.unwrap();
    store::conformance::check(store.clone()).await.unwrap();
    store::probe(store.as_ref(), env.random.as_ref()).await.unwrap();
}
