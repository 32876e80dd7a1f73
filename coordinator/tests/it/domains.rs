//! Several domains behind one coordinator and one agent: nothing of one shows in another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use coordinator::gate::{Access, Grant};
use proto::v1;
use proto::v1::agent_message::Message;
use proto::v1::agents_client::AgentsClient;
use proto::v1::coordinator_message::Message as Answer;
use proto::v1::maintenance_client::MaintenanceClient;
use proto::{convert, task};
use repository::ErrorKind;
use repository::env::Timestamp;
use repository::ids::BlobId;
use service::client::Target;
use service::tls::{ClientFiles, ServerFiles};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::fakes::{FakeEngine, snapshot};
use crate::harness::{eventually, get};
use crate::pki::Pki;
use crate::raw::{RawAgent, hello};
use crate::several::{Agent, Fakes, Several, client, listed};

#[tokio::test]
async fn a_job_is_done_in_its_own_domain_and_shows_in_no_other() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    let coordinator = Several::open(listed(dir.path(), &["a", "b"]), &fakes).await;
    let agent = Agent::start(dir.path(), &coordinator, &["a", "b"], &fakes).await;
    let (a, b) = (coordinator.client("a"), coordinator.client("b"));
    a.wait_agent(true).await;
    b.wait_agent(true).await;
    for (client, root) in [(&a, "/restore/a"), (&b, "/restore/b")] {
        let agents = client.agents().await.unwrap();
        assert_eq!(agents[0].restore_roots, [root.as_bytes()]);
        assert_eq!(agents[0].volumes.len(), 1);
    }
    let id = a.backup("v").await;
    eventually("the job begins", async || (fakes.executor("a").begun("v") == 1).then_some(())).await;
    assert_eq!(fakes.executor("b").begun("v"), 0);
    assert_eq!(b.runs().await.unwrap().len(), 0);
    let request = v1::CancelRunRequest { run_id: id.0.to_vec().into() };
    assert_eq!(b.0.clone().cancel_run(request).await.unwrap_err().code(), Code::NotFound);
    let done = snapshot(7, "v", Timestamp(1));
    fakes.executor("a").end_with(Some(done), Default::default());
    fakes.executor("a").let_go();
    a.wait_state(id, v1::RunState::Done).await;
    assert_eq!((a.snapshots("").await.unwrap().0.len(), b.snapshots("").await.unwrap().0.len()), (0, 0));
    // What the store has of one domain is that domain's.
    fakes.engine("a").snapshots.lock().unwrap().push(snapshot(8, "v", Timestamp(1)));
    assert_eq!((a.snapshots("").await.unwrap().0.len(), b.snapshots("").await.unwrap().0.len()), (1, 0));

    let page = get(coordinator.http, "/metrics").await;
    for (domain, finished) in [("a", 1), ("b", 0)] {
        assert!(page.contains(&format!("holdfast_coordinator_agents_connected{{domain=\"{domain}\"}} 1\n")));
        let line = "holdfast_coordinator_jobs_finished_total{domain=\"D\",kind=\"backup\",result=\"done\"} ";
        let line = format!("{}{finished}\n", line.replace('D', domain));
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert_eq!(page.matches("# TYPE holdfast_coordinator_snapshots gauge").count(), 1);
    assert!(page.contains("\nholdfast_coordinator_file_reloads_total{result=\"done\"} 0\n"));
    let page = get(agent.started.http.unwrap(), "/metrics").await;
    assert!(page.contains("holdfast_agent_domain_connected{domain=\"b\"} 1"), "{page}");

    // A restart keeps both: the run of one, and no run of the other.
    let config = coordinator.stop().await;
    let coordinator = Several::open(config, &fakes).await;
    let (a, b) = (coordinator.client("a"), coordinator.client("b"));
    assert_eq!(a.find_run(id).await.unwrap().state(), v1::RunState::Done);
    assert_eq!(b.runs().await.unwrap().len(), 0);
    a.wait_agent(true).await;
    b.wait_agent(true).await;
    let other = b.backup("v").await;
    fakes.executor("b").let_go();
    b.wait_state(other, v1::RunState::Done).await;
    assert_eq!((fakes.executor("a").begun("v"), fakes.executor("b").begun("v")), (1, 1));
    agent.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_stream_of_one_domain_gets_and_ends_no_job_of_another() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    fakes.engine("b").snapshots.lock().unwrap().push(snapshot(8, "v", Timestamp(1)));
    let coordinator = Several::open(listed(dir.path(), &["a", "b"]), &fakes).await;
    let (a, b) = (coordinator.client("a"), coordinator.client("b"));
    let about = |domain| coordinator.target(Some(domain), None);
    let mut of_a = RawAgent::attach(&about("a"), Message::Hello(hello("agent-1"))).await.unwrap();
    a.wait_agent(true).await;
    assert_eq!(b.agents().await.unwrap().len(), 0);
    // The other domain knows the volume by its snapshot, and nobody has it.
    let waiting = b.backup("v").await;
    let own = a.backup("v").await;
    let Some(Answer::Offer(offer)) = of_a.hear().await else { panic!("no offer") };
    assert_eq!(offer.job.unwrap().id[..], own.0);
    // It tries to take, and to end, what is the other domain's.
    let job_id: bytes::Bytes = waiting.0.to_vec().into();
    of_a.say(Message::Accept(v1::Accept { job_id: job_id.clone() })).await;
    assert!(matches!(of_a.hear().await, Some(Answer::Cancel(c)) if c.job_id == job_id));
    let result = Some(v1::JobResult::default());
    of_a.say(Message::Finished(v1::Finished { job_id: job_id.clone(), result })).await;
    assert!(matches!(of_a.hear().await, Some(Answer::Acknowledge(_))));
    let job = b.find_run(waiting).await.unwrap().job.unwrap();
    let claims = v1::Hello { jobs: vec![job], ..hello("agent-1") };
    let _again = RawAgent::attach(&about("a"), Message::Hello(claims)).await.unwrap();
    assert_eq!(b.find_run(waiting).await.unwrap().state(), v1::RunState::Queued);
    // The domain's own stream has it at once.
    let mut of_b = RawAgent::attach(&about("b"), Message::Hello(hello("agent-1"))).await.unwrap();
    let Some(Answer::Offer(offer)) = of_b.hear().await else { panic!("no offer") };
    assert_eq!(offer.job.unwrap().id, job_id);
    coordinator.stop().await;
}

/// What comes of every kind of call about a domain.
async fn ask_everything(target: &Target) -> Vec<Result<(), Status>> {
    let all = client(target);
    let connection = target.connect().unwrap();
    let spec = Some(v1::SnapshotSpec { spec: "latest".into(), volume: String::new() });
    let restore =
        v1::RestoreRequest { snapshot: spec.clone(), target: "/restore/x".into(), ..Default::default() };
    let ids = convert::ids_to_wire(&[BlobId([2; 32])]);
    let gc = task::TaskSpec::Gc(task::GcSpec::default());
    let spec_of_task = Some(convert::task_spec_to_wire(&gc));
    let start = v1::StartMaintenanceRequest { spec: spec_of_task, reason: String::new() };
    let mut maintenance = MaintenanceClient::new(connection.clone());
    let backup = v1::RunBackupRequest { volume: "v".into(), ..Default::default() };
    vec![
        all.snapshots("").await.map(drop),
        all.runs().await.map(drop),
        all.0.clone().get_snapshot(v1::GetSnapshotRequest { snapshot: spec }).await.map(drop),
        all.0.clone().restore(restore).await.map(drop),
        all.0.clone().run_backup(backup).await.map(drop),
        maintenance.start_maintenance(start).await.map(drop),
        maintenance.list_audit(v1::ListAuditRequest::default()).await.map(drop),
        AgentsClient::new(connection).lookup(ids).await.map(drop),
        RawAgent::attach(target, Message::Hello(hello("agent-9"))).await.map(drop),
    ]
}

#[tokio::test]
async fn a_domain_that_a_token_is_not_for_is_one_that_does_not_exist() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    for domain in ["a", "b"] {
        fakes.engine(domain).snapshots.lock().unwrap().push(snapshot(8, "v", Timestamp(1)));
    }
    let token = |name: &str, domains: Option<&str>| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{name}-0123456789abcdef\n")).unwrap();
        let (agents, clients) = (vec!["*".to_owned()], Some(Access::Write));
        (
            path,
            Grant {
                name: name.into(),
                agents,
                clients,
                domains: domains.map(|d| vec![d.to_owned()]),
                planned: false,
            },
        )
    };
    let tokens = vec![token("tenant", Some("a")), token("all", None), token("none", Some("x-*"))];
    let files: Vec<PathBuf> = tokens.iter().map(|(file, _)| file.clone()).collect();
    let config = coordinator::Config { tokens, ..listed(dir.path(), &["a", "b"]) };
    let coordinator = Several::open(config, &fakes).await;
    let about = |domain, file: usize| coordinator.target(domain, Some(&files[file]));

    // Its own domain, by name and without a word; somebody who may use both is asked which.
    for target in [about(Some("a"), 0), about(None, 0), about(Some("a"), 1), about(Some("b"), 1)] {
        let answers = ask_everything(&target).await;
        let refused: Vec<_> = answers.iter().filter(|a| is_about_domains(a)).collect();
        assert!(refused.is_empty(), "{target:?}: {refused:?}");
    }
    let status = client(&about(None, 1)).runs().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message().contains("of a, b")),
        (Code::InvalidArgument, true),
        "{status}"
    );

    // One that is there and one that is not: the same answer to every call.
    for (who, known) in [(0, "; known are: a"), (2, "")] {
        let there = ask_everything(&about(Some("b"), who)).await;
        let nowhere = ask_everything(&about(Some("c"), who)).await;
        for (one, other) in there.into_iter().zip(nowhere) {
            let (one, other) = (one.unwrap_err(), other.unwrap_err());
            assert_eq!((one.code(), one.message()), (Code::NotFound, &*format!("no domain \"b\"{known}")));
            assert_eq!(one.message().replace('b', "c"), other.message().replace('b', "c"));
            let names = |s: &Status| {
                s.metadata()
                    .clone()
                    .into_headers()
                    .iter()
                    .map(|(k, v)| (k.clone(), v.len()))
                    .collect::<Vec<_>>()
            };
            assert_eq!((one.code(), names(&one)), (other.code(), names(&other)));
        }
    }
    assert_eq!(client(&about(None, 2)).runs().await.unwrap_err().code(), Code::NotFound);
    let once = async || (fakes.engine("b").count("gc") == 1).then_some(());
    eventually("gc runs for who may use both", once).await;
    coordinator.stop().await;
}

fn is_about_domains(answer: &Result<(), Status>) -> bool {
    answer.as_ref().is_err_and(|s| s.message().contains("domain"))
}

#[tokio::test]
async fn a_domain_that_can_not_be_opened_keeps_no_other_one_waiting() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    fakes.broken.lock().unwrap().insert("b".to_owned());
    let coordinator = Several::start(listed(dir.path(), &["a", "b"]), &fakes).await;
    let (a, b) = (coordinator.client("a"), coordinator.client("b"));
    let agent = Agent::start(dir.path(), &coordinator, &["a", "b"], &fakes).await;
    a.wait_agent(true).await;
    let id = a.backup("v").await;
    fakes.executor("a").let_go();
    a.wait_state(id, v1::RunState::Done).await;
    let status = eventually("the reason is told", async || {
        b.runs().await.err().filter(|s| s.message().contains("the key does not fit"))
    })
    .await;
    assert_eq!(convert::error_from_status(&status).kind(), ErrorKind::Key, "{status}");
    coordinator.wait_ready("200 OK", "domain b is not ready: the key does not fit").await;
    let page = get(coordinator.http, "/metrics").await;
    for line in ["domain_open{domain=\"a\"} 1", "domain_open{domain=\"b\"} 0"] {
        assert!(page.contains(&format!("holdfast_coordinator_{line}\n")), "{line}");
    }
    let page = get(agent.started.http.unwrap(), "/readyz").await;
    assert!(
        page.contains("200 OK") && page.contains("domain b is not ready: the key does not fit"),
        "{page}"
    );
    // It heals by itself, at both ends.
    fakes.broken.lock().unwrap().clear();
    b.wait_agent(true).await;
    coordinator.wait_ready("200 OK", "\nok\n").await;
    agent.stop().await;
    coordinator.stop().await;
}

#[tokio::test]
async fn nothing_is_ready_where_no_domain_is() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    fakes.broken.lock().unwrap().extend(["a".to_owned(), "b".to_owned()]);
    let coordinator = Several::start(listed(dir.path(), &["a", "b"]), &fakes).await;
    let page = coordinator.wait_ready("503", "domain b is not ready: the key").await;
    assert!(page.contains("domain a is not ready: the key"), "{page}");
    coordinator.stop().await;
}

#[tokio::test]
async fn maintenance_runs_in_each_domain_and_takes_turns() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    let gate = Arc::new(Semaphore::new(0));
    let names = ["a", "b", "c"];
    for name in names {
        fakes.put_engine(name, FakeEngine { collecting: Some(gate.clone()), ..FakeEngine::default() });
    }
    let coordinator = Several::open(listed(dir.path(), &names), &fakes).await;
    let maintenance =
        |name: &str| MaintenanceClient::new(coordinator.target(Some(name), None).connect().unwrap());
    let begun = || names.iter().map(|name| fakes.engine(name).count("gc")).sum::<usize>();
    let mut ids = HashMap::new();
    for name in names {
        let spec = Some(convert::task_spec_to_wire(&task::TaskSpec::Gc(task::GcSpec::default())));
        let request = v1::StartMaintenanceRequest { spec, reason: String::new() };
        let started = maintenance(name).start_maintenance(request).await.unwrap().into_inner();
        ids.insert(name, started.task_id);
    }
    let find = async |name: &str| {
        let request = v1::GetMaintenanceRequest { task_id: ids[name].clone() };
        maintenance(name).get_maintenance(request).await.unwrap().into_inner()
    };
    // Two of the three at once; the third says what it waits for.
    let waiting = eventually("one waits for its turn", async || {
        for name in names {
            if find(name).await.note == "waiting for tasks of other domains" {
                return Some(name);
            }
        }
        None
    })
    .await;
    eventually("two begin", async || (begun() == 2).then_some(())).await;
    assert_eq!(fakes.engine(waiting).count("gc"), 0);
    // No domain knows the others' tasks.
    let other = names.into_iter().find(|name| *name != waiting).unwrap();
    let request = v1::GetMaintenanceRequest { task_id: ids[waiting].clone() };
    let unknown = maintenance(other).get_maintenance(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    gate.add_permits(1);
    eventually("the third begins", async || (fakes.engine(waiting).count("gc") == 1).then_some(())).await;
    gate.add_permits(2);
    for name in names {
        eventually("all end well", async || (find(name).await.state() == v1::RunState::Done).then_some(()))
            .await;
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn the_name_in_a_certificate_grants_as_a_token_does() {
    let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
    let pki = Pki::new(dir.path(), "pki");
    let (cert_file, key_file) = pki.issue("server");
    let tls = Some(ServerFiles { cert_file, key_file, client_ca_file: Some(pki.ca()) });
    let for_domain = |domain: &str| Some(vec![domain.to_owned()]);
    let tenant = Grant { clients: Some(Access::Read), domains: for_domain("a"), ..Grant::default() };
    let node = Grant { agents: vec!["*".to_owned()], domains: for_domain("b"), ..Grant::default() };
    let certificates = vec![("tenant.test".to_owned(), tenant), ("node-*".to_owned(), node)];
    let config = coordinator::Config { tls, certificates, ..listed(dir.path(), &["a", "b"]) };
    let coordinator = Several::open(config, &fakes).await;
    let of = |name: &str, domain: Option<&str>| {
        let (cert_file, key_file) = pki.issue(name);
        let tls =
            ClientFiles { ca_file: Some(pki.ca()), cert_file: Some(cert_file), key_file: Some(key_file) };
        let url = format!("https://localhost:{}", coordinator.address.port());
        Target { url, tls, ..coordinator.target(domain, None) }
    };
    client(&of("tenant", None)).runs().await.unwrap();
    client(&of("tenant", Some("a"))).runs().await.unwrap();
    let refused =
        async |name: &str, domain: Option<&str>| client(&of(name, domain)).runs().await.unwrap_err();
    for domain in ["b", "x"] {
        let status = refused("tenant", Some(domain)).await;
        let words = format!("no domain {domain:?}; known are: a");
        assert_eq!((status.code(), status.message()), (Code::NotFound, &*words));
    }
    let backup = v1::RunBackupRequest { volume: "v".into(), ..Default::default() };
    let status = client(&of("tenant", None)).0.run_backup(backup).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "it may read only: {status}");
    // Whose name nobody configured gets nothing, though the CA knows it; nor does a wrong token beside a good certificate.
    assert_eq!(refused("stranger", None).await.code(), Code::Unauthenticated);
    let token = dir.path().join("token");
    std::fs::write(&token, "a-token-that-nobody-knows").unwrap();
    let wrong = Target { token_file: Some(token), ..of("tenant", None) };
    assert_eq!(client(&wrong).runs().await.unwrap_err().code(), Code::Unauthenticated);
    let attach = async |name: &str, domain: Option<&str>| {
        let attached = RawAgent::attach(&of(name, domain), Message::Hello(hello("agent-1"))).await;
        attached.map(drop).map_err(|s| s.code())
    };
    assert_eq!(attach("node-1", None).await, Ok(()));
    assert_eq!(attach("node-1", Some("a")).await, Err(Code::NotFound));
    assert_eq!(attach("tenant", None).await, Err(Code::PermissionDenied));
    coordinator.stop().await;
}
