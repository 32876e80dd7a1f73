//! Who is let in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::v1;
use proto::v1::holdfast_client::HoldfastClient;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use service::client::Target;
use service::tls::{ClientFiles, ServerFiles};
use tonic::Code;

use crate::fakes::FakeEngine;
use crate::harness::{Agent, Coordinator, agent_config, coordinator_config, eventually};

fn token(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("{name}-0123456789abcdef\n")).unwrap();
    path
}

async fn ask(target: &Target) -> Result<v1::ListAgentsResponse, tonic::Status> {
    let mut client = HoldfastClient::new(target.connect().unwrap());
    client.list_agents(v1::ListAgentsRequest {}).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn each_side_needs_its_own_token() {
    let dir = tempfile::tempdir().unwrap();
    let (agent_token, client_token) = (token(dir.path(), "agent-token"), token(dir.path(), "client-token"));
    let config = coordinator::Config {
        agent_token_file: Some(agent_token.clone()),
        client_token_file: Some(client_token.clone()),
        ..coordinator_config(dir.path())
    };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let with = |file: Option<&PathBuf>| Target { token_file: file.cloned(), ..coordinator.target() };
    for wrong in [None, Some(&agent_token)] {
        assert_eq!(ask(&with(wrong)).await.unwrap_err().code(), Code::Unauthenticated);
    }
    ask(&with(Some(&client_token))).await.unwrap();

    let wrong = Agent::start(agent_config(dir.path(), with(Some(&client_token)), &["v"])).await;
    let right = agent_config(dir.path(), with(Some(&agent_token)), &["v"]);
    let state_dir = dir.path().join("agent-2");
    let _right = Agent::start(agent::Config { agent_id: "agent-2".into(), state_dir, ..right }).await;
    let agents = eventually("the right agent connects", async || {
        Some(ask(&with(Some(&client_token))).await.ok()?.agents).filter(|a| !a.is_empty())
    })
    .await;
    assert_eq!(agents.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["agent-2"]);
    wrong.stop().await;
}

struct Pki {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let (cert_file, key_file) =
            (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        std::fs::write(&cert_file, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }
}

#[tokio::test]
async fn mutual_tls_lets_in_who_has_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, foreign) = (Pki::new(dir.path(), "own"), Pki::new(dir.path(), "foreign"));
    let (cert_file, key_file) = pki.issue("server");
    let tls = Some(ServerFiles { cert_file, key_file, client_ca_file: Some(pki.ca()) });
    let config = coordinator::Config { tls, ..coordinator_config(dir.path()) };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let url = format!("https://localhost:{}", coordinator.address.port());
    let target = |ca: PathBuf, own: Option<(PathBuf, PathBuf)>| {
        let (cert_file, key_file) = own.unzip();
        Target {
            url: url.clone(),
            tls: ClientFiles { ca_file: Some(ca), cert_file, key_file },
            ..Target::default()
        }
    };
    ask(&target(pki.ca(), Some(pki.issue("client")))).await.unwrap();
    // No certificate, one of somebody else, a server that is not the expected one, and plaintext.
    ask(&target(pki.ca(), None)).await.unwrap_err();
    ask(&target(pki.ca(), Some(foreign.issue("client")))).await.unwrap_err();
    ask(&target(foreign.ca(), Some(pki.issue("client")))).await.unwrap_err();
    ask(&coordinator.target()).await.unwrap_err();

    let _agent =
        Agent::start(agent_config(dir.path(), target(pki.ca(), Some(pki.issue("agent"))), &["v"])).await;
    let client = target(pki.ca(), Some(pki.issue("client")));
    eventually("the agent connects", async || ask(&client).await.ok()?.agents.first().cloned()).await;
}
