//! What a cluster's operator does with a coordinator: domains, schedules and nodes come and go, and callers are known by others.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coordinator::gate::{Access, Grant, Identify};
use coordinator::handle::Handle;
use coordinator::jobs::State;
use coordinator::schedule::{Rule, Trigger};
use proto::job::{BackupSpec, JobSpec};
use proto::v1::agent_message::Message;
use proto::v1::coordinator_message::Message as Answer;
use proto::v1::node_message::Message as Said;
use proto::v1::nodes_client::NodesClient;
use proto::{convert, v1};
use repository::env::Env;
use repository::ids::DomainName;
use repository::manifest::Origin;
use repository::{Error, ErrorKind};
use service::client::Target;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::harness::{eventually, get};
use crate::raw::{RawAgent, hello};
use crate::several::{Fakes, client, listed};

/// Knows `node-<x>` as the agent of node x, and `operator` as an administrator.
#[derive(Debug)]
struct Cluster;

#[async_trait]
impl Identify for Cluster {
    async fn identify(&self, token: &str) -> repository::Result<Option<Grant>> {
        if token == "the-api-server-is-away" {
            return Err(Error::new(ErrorKind::Internal, "no answer"));
        }
        let node = token.strip_prefix("token-of-the-agent-of-");
        let node =
            node.map(|n| Grant { name: n.into(), agents: vec![n.into()], planned: true, ..Grant::default() });
        let admin = Grant { name: "admin".into(), clients: Some(Access::Admin), ..Grant::default() };
        Ok(node.or_else(|| (token == "token-of-the-operator").then_some(admin)))
    }
}

struct World {
    dir: tempfile::TempDir,
    fakes: Arc<Fakes>,
    started: coordinator::Started,
    handle: Handle,
    shutdown: CancellationToken,
}

impl World {
    async fn start() -> Self {
        let (dir, fakes) = (tempfile::tempdir().unwrap(), Arc::new(Fakes::default()));
        let (config, shutdown) = (listed(dir.path(), &[]), CancellationToken::new());
        let (started, handle) = coordinator::start_open(
            config,
            fakes.clone(),
            Arc::new(Cluster),
            Env::system(),
            shutdown.clone(),
        )
        .await
        .unwrap();
        Self { dir, fakes, started, handle, shutdown }
    }

    fn domain(&self, name: &str) -> coordinator::config::Domain {
        listed(self.dir.path(), &[name]).domains.remove(0)
    }

    async fn open(&self, name: &str) {
        self.handle.put_domain(self.domain(name));
        self.wait_domains(&[(name, true)]).await;
    }

    async fn wait_domains(&self, expected: &[(&str, bool)]) {
        eventually(&format!("domains are {expected:?}"), async || {
            let all = self.handle.domains();
            let all: Vec<_> = all.iter().map(|(n, r)| (n.as_str(), r.is_ok())).collect();
            (all == expected).then_some(())
        })
        .await;
    }

    fn target(&self, token: &str, domain: Option<&str>) -> Target {
        Target {
            url: format!("http://{}", self.started.grpc),
            token_file: Some(token_file(self.dir.path(), token)),
            domain: domain.map(|d| d.parse().unwrap()),
            ..Target::default()
        }
    }

    async fn attend(&self, token: &str, node: &str) -> Result<Node, Status> {
        let (outbox, outgoing) = channel(16);
        let arrival = v1::Arrival { node: node.into(), version: "1".into(), confined: true, mover: false };
        outbox.send(v1::NodeMessage { message: Some(Said::Arrival(arrival)) }).await.unwrap();
        let mut client = NodesClient::new(self.target(token, None).connect().unwrap());
        let orders = client.attend(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Node { outbox, orders })
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.started.wait().await.unwrap();
    }
}

fn token_file(dir: &Path, token: &str) -> PathBuf {
    let path = dir.join(token);
    std::fs::write(&path, token).unwrap();
    path
}

struct Node {
    outbox: Sender<v1::NodeMessage>,
    orders: Streaming<v1::NodeOrder>,
}

impl Node {
    async fn plan(&mut self) -> v1::NodePlan {
        let next = tokio::time::timeout(Duration::from_secs(30), self.orders.message());
        let v1::node_order::Message::Plan(plan) = next.await.unwrap().unwrap().unwrap().message.unwrap();
        plan
    }
}

fn plan(volumes: &[(&str, &str)]) -> v1::NodePlan {
    let volume = |(volume, domain): &(&str, &str)| v1::NodeVolume {
        volume: (*volume).into(),
        domain: (*domain).into(),
        ..v1::NodeVolume::default()
    };
    v1::NodePlan { volumes: volumes.iter().map(volume).collect(), ..v1::NodePlan::default() }
}

fn name(domain: &str) -> DomainName {
    domain.parse().unwrap()
}

#[tokio::test]
async fn domains_come_and_go_and_come_back_by_other_settings() {
    let world = World::start().await;
    let http = world.started.http.unwrap();
    assert!(get(http, "/readyz").await.contains("no domain yet"));
    world.fakes.broken.lock().unwrap().insert("b".into());
    world.open("a").await;
    world.handle.put_domain(world.domain("b"));
    world.wait_domains(&[("a", true), ("b", false)]).await;
    // Who can put it right must be let in: ready, and it says what is not.
    let page = eventually("b's state is told", async || {
        let page = get(http, "/readyz").await;
        page.contains("domain b is not ready: the key does not fit").then_some(page)
    });
    assert!(page.await.starts_with("HTTP/1.1 200"));
    world.fakes.broken.lock().unwrap().clear();
    world.wait_domains(&[("a", true), ("b", true)]).await;
    let admin = client(&world.target("token-of-the-operator", Some("a")));
    assert!(admin.volumes().await.unwrap().is_empty());
    assert!(get(http, "/metrics").await.contains("holdfast_coordinator_domain_open{domain=\"a\"} 1"));
    // The same domain by other settings: the old one ends before the new one begins.
    world.handle.put_domain(world.domain("a"));
    world.wait_domains(&[("a", true), ("b", true)]).await;
    world.handle.remove_domain(&name("a"));
    world.wait_domains(&[("b", true)]).await;
    assert_eq!(admin.volumes().await.unwrap_err().code(), Code::NotFound);
    let page = get(http, "/metrics").await;
    assert!(
        !page.contains("domain=\"a\"") && page.contains("holdfast_coordinator_domain_open{domain=\"b\"} 1")
    );
    assert!(
        world
            .handle
            .run(&name("a"), proto::job::JobId([1; 16]))
            .await
            .unwrap_err()
            .chain()
            .contains("no domain a")
    );
    world.stop().await;
}

#[tokio::test]
async fn callers_are_known_by_others_and_each_node_speaks_for_itself() {
    let world = World::start().await;
    world.open("a").await;
    let code = |r: Result<Node, Status>| r.err().map(|s| s.code());
    assert_eq!(code(world.attend("nobodys-long-enough-token", "n1").await), Some(Code::Unauthenticated));
    assert_eq!(code(world.attend("the-api-server-is-away", "n1").await), Some(Code::Unavailable));
    assert_eq!(code(world.attend("token-of-the-agent-of-n1", "n2").await), Some(Code::PermissionDenied));
    assert_eq!(code(world.attend("token-of-the-operator", "n1").await), Some(Code::PermissionDenied));
    let agent = client(&world.target("token-of-the-agent-of-n1", Some("a")));
    assert_eq!(agent.volumes().await.unwrap_err().code(), Code::PermissionDenied);

    // `v` is in no plan: an agent that says it has it has nothing, and nothing to restore into.
    world.handle.board().set_plan("n1", plan(&[("w", "a")]));
    let target = world.target("token-of-the-agent-of-n1", Some("a"));
    let said = v1::Hello { agent_id: "n1".into(), ..hello("n1") };
    let raw = RawAgent::attach(&target, Message::Hello(said)).await.unwrap();
    let admin = client(&world.target("token-of-the-operator", Some("a")));
    let all = admin.agents().await.unwrap();
    assert_eq!((all[0].volumes.len(), all[0].restore_roots.len()), (0, 0));
    let volume = |name: &str| v1::Volume { name: name.into(), host: "n1".into(), path: "/x".into() };
    let said = v1::Volumes { volumes: vec![volume("v"), volume("w")], restore_roots: vec!["/x".into()] };
    raw.say(Message::Volumes(said)).await;
    eventually("the volume of the plan is there", async || {
        let all = admin.agents().await.unwrap();
        let names: Vec<_> = all[0].volumes.iter().map(|v| v.name.as_str()).collect();
        (names == ["w"] && all[0].restore_roots.is_empty()).then_some(())
    })
    .await;
    let other = RawAgent::attach(&target, Message::Hello(hello("n2"))).await;
    assert_eq!(other.err().unwrap().code(), Code::PermissionDenied);
    world.stop().await;
}

#[tokio::test]
async fn a_volumes_own_schedule_and_origin_come_with_its_jobs_and_a_returned_job_goes_elsewhere() {
    let world = World::start().await;
    world.open("a").await;
    let rule = Rule { volume: "v".into(), trigger: Trigger::MaxAge { seconds: 3600 }, jitter_seconds: 0 };
    let origin =
        Origin { cluster: "c".into(), namespace: "shop".into(), claim: "data".into(), ..Origin::default() };
    let spec = BackupSpec { volume: "v".into(), origin: Some(origin.clone()), ..BackupSpec::default() };
    world.handle.set_specs(&name("a"), HashMap::from([("v".into(), spec)])).unwrap();
    world.handle.set_rules(&name("a"), HashMap::from([("v".into(), rule)])).unwrap();
    let mut first = None;
    for node in ["n1", "n2"] {
        world.handle.board().set_plan(node, plan(&[("v", "a")]));
        let target = world.target(&format!("token-of-the-agent-of-{node}"), Some("a"));
        let mut raw = RawAgent::attach(&target, Message::Hello(hello(node))).await.unwrap();
        let Some(Answer::Offer(offer)) = raw.hear().await else { panic!("{node}: no offer") };
        let job = convert::job_from_wire(offer.job.unwrap()).unwrap();
        let JobSpec::Backup(spec) = &job.spec else { panic!("{:?}", job.spec) };
        assert_eq!(spec.origin.as_ref(), Some(&origin));
        let id = *first.get_or_insert(job.id);
        assert_eq!(job.id, id, "the same run goes on");
        raw.say(Message::Accept(v1::Accept { job_id: id.0.to_vec().into() })).await;
        let state = async || world.handle.run(&name("a"), id).await.unwrap().unwrap();
        eventually("the job runs", async || (state().await.state == State::Running).then_some(())).await;
        let said = v1::Returned { job_id: id.0.to_vec().into(), reason: "its pod left".into() };
        raw.say(Message::Volumes(v1::Volumes::default())).await;
        raw.say(Message::Returned(said)).await;
        let Some(Answer::Acknowledge(_)) = raw.hear().await else { panic!("no acknowledgement") };
        let record = state().await;
        assert_eq!((record.state, record.attempts), (State::Queued, 0));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_node_hears_each_new_plan_and_tells_what_it_sees() {
    let world = World::start().await;
    let mut node = world.attend("token-of-the-agent-of-n1", "n1").await.unwrap();
    let mut changes = world.handle.changes();
    world.handle.board().set_plan("n1", plan(&[("v", "a")]));
    let first = node.plan().await;
    assert_eq!((first.revision, first.volumes.len()), (1, 1));
    assert!(first.pulse_seconds > 0);
    changes.mark_unchanged();
    let sighting =
        v1::Sighting { volume: "v".into(), seen: v1::Seen::Absent.into(), ..v1::Sighting::default() };
    let said = v1::Sightings { revision: 1, volumes: vec![sighting] };
    node.outbox.send(v1::NodeMessage { message: Some(Said::Sightings(said)) }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.unwrap().unwrap();
    let state = world.handle.board().node("n1").unwrap();
    assert_eq!(state.sightings["v"].seen(), v1::Seen::Absent);
    // A second stream of the same node takes the first one's place.
    let mut again = world.attend("token-of-the-agent-of-n1", "n1").await.unwrap();
    assert_eq!(again.plan().await.revision, 1);
    node.outbox.send(v1::NodeMessage { message: Some(Said::Pulse(v1::NodePulse {})) }).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(30), node.orders.message()).await.unwrap();
    assert!(end.unwrap().is_none());
    assert!(world.handle.board().node("n1").unwrap().connected);
    drop(again);
    eventually("the node leaves", async || {
        (!world.handle.board().node("n1").unwrap().connected).then_some(())
    })
    .await;
    world.stop().await;
}
