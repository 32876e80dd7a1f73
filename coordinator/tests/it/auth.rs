//! Who is let in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coordinator::gate::{Access, Grant};
use proto::v1;
use proto::v1::agent_message::Message;
use proto::v1::coordinator_message::Message as Answer;
use proto::v1::holdfast_client::HoldfastClient;
use proto::v1::job::Spec;
use repository::env::Timestamp;
use service::client::Target;
use service::tls::{ClientFiles, ServerFiles};
use tonic::Code;

use crate::fakes::FakeEngine;
use crate::harness::{Agent, Client, Coordinator, agent_config, coordinator_config, eventually};
use crate::pki::Pki;
use crate::raw::{RawAgent, hello};

fn token(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("{name}-0123456789abcdef\n")).unwrap();
    path
}

async fn ask(target: &Target) -> Result<Vec<v1::Agent>, tonic::Status> {
    Client(HoldfastClient::new(target.connect().unwrap())).agents().await
}

#[tokio::test]
async fn each_side_needs_its_own_token() {
    let dir = tempfile::tempdir().unwrap();
    let (agent_token, client_token) = (token(dir.path(), "agent-token"), token(dir.path(), "client-token"));
    let config = coordinator::Config {
        tokens: vec![
            (agent_token.clone(), Grant { agents: vec!["agent-2".into()], ..Grant::default() }),
            (client_token.clone(), Grant { clients: Some(Access::Read), ..Grant::default() }),
        ],
        ..coordinator_config(dir.path())
    };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let with = |file: Option<&PathBuf>| Target { token_file: file.cloned(), ..coordinator.target() };
    assert_eq!(ask(&with(None)).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(ask(&with(Some(&agent_token))).await.unwrap_err().code(), Code::PermissionDenied);
    ask(&with(Some(&client_token))).await.unwrap();

    let wrong = Agent::start(agent_config(dir.path(), with(Some(&client_token)), &["v"])).await;
    let right = agent_config(dir.path(), with(Some(&agent_token)), &["v"]);
    let state_dir = dir.path().join("agent-2");
    let _right = Agent::start(agent::Config { agent_id: "agent-2".into(), state_dir, ..right }).await;
    let agents = eventually("the right agent connects", async || {
        ask(&with(Some(&client_token))).await.ok().filter(|a| !a.is_empty())
    })
    .await;
    assert_eq!(agents.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["agent-2"]);
    wrong.stop().await;
}

#[tokio::test]
async fn an_agent_is_who_its_token_says() {
    let dir = tempfile::tempdir().unwrap();
    let tokens: Vec<_> = ["node-1", "node-2"]
        .map(|id| (token(dir.path(), id), Grant { agents: vec![id.into()], ..Grant::default() }))
        .into();
    let ops = token(dir.path(), "ops");
    let all =
        [tokens.clone(), vec![(ops.clone(), Grant { clients: Some(Access::Write), ..Grant::default() })]];
    let config = coordinator::Config { tokens: all.concat(), ..coordinator_config(dir.path()) };
    let coordinator = Coordinator::start(config, Arc::new(FakeEngine::default())).await;
    let with = |file: &PathBuf| Target { token_file: Some(file.clone()), ..coordinator.target() };
    let client = Client(HoldfastClient::new(with(&ops).connect().unwrap()));

    let refused = async |file: &PathBuf, id: &str| {
        let status = RawAgent::attach(&with(file), Message::Hello(hello(id))).await.err().unwrap();
        assert_eq!(status.code(), Code::PermissionDenied, "{id}: {status}");
    };
    refused(&tokens[1].0, "node-1").await;
    refused(&tokens[0].0, "node-11").await;
    refused(&ops, "node-1").await;
    assert_eq!(client.agents().await.unwrap().len(), 0);

    // The first has a job; the second claims to have finished it, to hold it, and to know how far it is.
    let mut one = RawAgent::attach(&with(&tokens[0].0), Message::Hello(hello("node-1"))).await.unwrap();
    let id = client.backup("v").await;
    assert!(matches!(one.hear().await, Some(Answer::Offer(_))));
    let job_id: Bytes = id.0.to_vec().into();
    one.say(Message::Accept(v1::Accept { job_id: job_id.clone() })).await;
    client.wait_state(id, v1::RunState::Running).await;
    let job = client.find_run(id).await.unwrap().job.unwrap();
    let lies = v1::Hello { jobs: vec![job], volumes: Vec::new(), ..hello("node-2") };
    let mut two = RawAgent::attach(&with(&tokens[1].0), Message::Hello(lies)).await.unwrap();
    assert!(matches!(two.hear().await, Some(Answer::Cancel(c)) if c.job_id == job_id));
    let figures = Some(v1::Figures { bytes_read: 7, ..Default::default() });
    two.say(Message::Progress(v1::Progress { job_id: job_id.clone(), figures })).await;
    let result = Some(v1::JobResult::default());
    two.say(Message::Finished(v1::Finished { job_id: job_id.clone(), result })).await;
    // It is told to forget it, and nothing else came of it.
    assert!(matches!(two.hear().await, Some(Answer::Acknowledge(_))));
    let run = client.find_run(id).await.unwrap();
    assert_eq!((run.state(), run.agent_id.as_str()), (v1::RunState::Running, "node-1"));
    one.say(Message::Finished(v1::Finished { job_id, result: Some(v1::JobResult::default()) })).await;
    assert_eq!(client.wait_state(id, v1::RunState::Done).await.agent_id, "node-1");
}

#[tokio::test]
async fn an_agent_can_not_make_jobs_up() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator =
        Coordinator::start(coordinator_config(dir.path()), Arc::new(FakeEngine::default())).await;
    let job = |id: u8, spec| v1::Job { id: vec![id; 16].into(), spec: Some(spec) };
    let backup = |volume: &str| Spec::Backup(v1::BackupJob { volume: volume.into(), ..Default::default() });
    let restore = |target: &'static str| {
        let snapshot = vec![1; 16].into();
        Spec::Restore(v1::RestoreJob { snapshot, target: target.into(), ..Default::default() })
    };
    let jobs = vec![
        job(1, backup("other")),
        job(2, restore("/etc")),
        job(3, backup("v")),
        job(4, restore("/restore/x")),
    ];
    let lies = v1::Hello { jobs, jobs_max: 9, ..hello("node-1") };
    let mut agent = RawAgent::attach(&coordinator.target(), Message::Hello(lies)).await.unwrap();
    for id in [1, 2] {
        assert!(matches!(agent.hear().await, Some(Answer::Cancel(c)) if c.job_id == vec![id; 16]));
    }
    let runs = eventually("its own are taken over", async || {
        coordinator.client().runs().await.ok().filter(|r| r.len() == 2)
    })
    .await;
    assert!(runs.iter().all(|r| [3, 4].contains(&r.job.as_ref().unwrap().id[0])), "{runs:?}");
    // A snapshot of another volume is no result of this run.
    let snapshot = Some(proto::convert::snapshot_to_wire(&crate::fakes::snapshot(9, "other", Timestamp(1))));
    let result = Some(v1::JobResult { snapshot, ..Default::default() });
    agent.say(Message::Finished(v1::Finished { job_id: vec![3; 16].into(), result })).await;
    assert!(agent.hear().await.is_none(), "the connection stays open");
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
    eventually("the agent connects", async || ask(&client).await.ok()?.first().cloned()).await;
}
