//! Certificates and tokens that are renewed while everything runs.

use std::path::PathBuf;
use std::sync::Arc;

use coordinator::gate::{Access, Grant};
use proto::v1::holdfast_client::HoldfastClient;
use service::client::Target;
use service::tls::{ClientFiles, ServerFiles};

use crate::fakes::FakeEngine;
use crate::harness::{Agent, Client, Coordinator, agent_config, coordinator_config, eventually};
use crate::pki::Pki;

fn copy(from: &(PathBuf, PathBuf), to: &(PathBuf, PathBuf)) {
    std::fs::copy(&from.1, &to.1).unwrap();
    std::fs::copy(&from.0, &to.0).unwrap();
}

async fn agents(target: &Target) -> Result<usize, tonic::Status> {
    Client(HoldfastClient::new(target.connect().unwrap())).agents().await.map(|a| a.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_used_by_both_ends_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Pki::new(dir.path(), "old"), Pki::new(dir.path(), "new"));
    // The files in use; their content changes.
    let server = old.issue("server-used");
    let own = old.issue("agent-used");
    let (server_ca, agent_ca) = (dir.path().join("server-ca.pem"), dir.path().join("agent-ca.pem"));
    std::fs::copy(old.ca(), &server_ca).unwrap();
    std::fs::copy(old.ca(), &agent_ca).unwrap();
    let tls = ServerFiles {
        cert_file: server.0.clone(),
        key_file: server.1.clone(),
        client_ca_file: Some(server_ca.clone()),
    };
    let config = coordinator::Config { tls: Some(tls), ..coordinator_config(dir.path()) };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let url = format!("https://localhost:{}", coordinator.address.port());
    let target = |ca: PathBuf, own: (PathBuf, PathBuf)| {
        let tls = ClientFiles { ca_file: Some(ca), cert_file: Some(own.0), key_file: Some(own.1) };
        Target { url: url.clone(), tls, ..Target::default() }
    };
    let (old_client, new_client) =
        (target(old.ca(), old.issue("client")), target(new.ca(), new.issue("client")));
    let agent_target = target(agent_ca.clone(), own.clone());
    let agent = Agent::start(agent_config(dir.path(), agent_target, &["v"])).await;
    let held = Client(HoldfastClient::new(old_client.connect().unwrap()));
    held.wait_agent(true).await;
    agents(&new_client).await.unwrap_err();

    // Half a renewal: the key does not belong to the certificate. The old one stays in use.
    std::fs::copy(new.issue("half").0, &server.0).unwrap();
    let counted = |text: &'static str| {
        let coordinator = &coordinator;
        async move {
            eventually(text, async || coordinator.metrics().await.contains(text).then_some(())).await;
        }
    };
    counted("holdfast_coordinator_file_reloads_total{result=\"failed\"} 1").await;
    agents(&old_client).await.unwrap();

    std::fs::copy(new.ca(), &server_ca).unwrap();
    copy(&new.issue("server"), &server);
    eventually("the new certificate is used", async || agents(&new_client).await.ok()).await;
    agents(&old_client).await.unwrap_err();
    // What was connected stays connected.
    assert!(held.agents().await.unwrap()[0].connected);
    assert_eq!(agent.metrics.connection_failures.get(), 0);

    // The agent's own files follow too: after a lost connection it comes back with the new ones.
    std::fs::copy(new.ca(), &agent_ca).unwrap();
    copy(&new.issue("agent"), &own);
    eventually("the agent takes its files over", async || {
        (agent.metrics.reloads.counts().0 >= 1).then_some(())
    })
    .await;
    let (config, engine) = coordinator.stop().await;
    let coordinator = Coordinator::start(config, engine).await;
    eventually("the agent is back", async || {
        let client = Client(HoldfastClient::new(new_client.connect().unwrap()));
        client.agents().await.ok()?.first().filter(|a| a.connected).map(drop)
    })
    .await;
    agent.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_new_token_replaces_the_old_one_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (server, own) = (dir.path().join("server-token"), dir.path().join("own-token"));
    for path in [&server, &own] {
        std::fs::write(path, "old-0123456789abcdef").unwrap();
    }
    let grant = Grant { clients: Some(Access::Read), ..Grant::default() };
    let config =
        coordinator::Config { tokens: vec![(server.clone(), grant)], ..coordinator_config(dir.path()) };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let target = Target { token_file: Some(own.clone()), ..coordinator.target() };
    let dialer = target.open(&service::reload::Reloads::default()).unwrap();
    let client = Client(HoldfastClient::new(dialer.connect().unwrap()));
    client.agents().await.unwrap();
    std::fs::write(&server, "new-0123456789abcdef").unwrap();
    eventually("the old token is refused", async || client.agents().await.err()).await;
    std::fs::write(&own, "new-0123456789abcdef").unwrap();
    dialer.follow().iter().for_each(|f| f.look());
    // The same connection carries the new token.
    client.agents().await.unwrap();
    // Too short to be a token: the good one stays.
    std::fs::write(&server, "short").unwrap();
    let failed = "holdfast_coordinator_file_reloads_total{result=\"failed\"} 1";
    eventually("it is counted", async || coordinator.metrics().await.contains(failed).then_some(())).await;
    client.agents().await.unwrap();
}
