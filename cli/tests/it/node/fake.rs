//! A coordinator in this process that only does what a test says: gives plans, offers jobs, and notes what it hears.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use proto::v1::agent_message::Message as FromAgent;
use proto::v1::agents_server::{Agents, AgentsServer};
use proto::v1::coordinator_message::Message as ToAgent;
use proto::v1::node_message::Message as FromNode;
use proto::v1::nodes_server::{Nodes, NodesServer};
use proto::{DOMAIN_KEY, convert, v1};
use tokio::sync::mpsc as channel;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::process::PATIENCE;

/// What was heard.
#[expect(clippy::large_enum_variant, reason = "a few of them, in a test")]
#[derive(Debug)]
pub(crate) enum Heard {
    Node(FromNode),
    Agent(String, FromAgent),
}

#[derive(Default)]
struct State {
    plan: v1::NodePlan,
    nodes: Vec<channel::Sender<Result<v1::NodeOrder, Status>>>,
    agents: Vec<(String, channel::Sender<Result<v1::CoordinatorMessage, Status>>)>,
    lookups: usize,
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<State>>,
    heard: mpsc::SyncSender<Heard>,
}

/// The coordinator.
pub(crate) struct Fake {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    heard: mpsc::Receiver<Heard>,
    seen: Vec<String>,
    _runtime: tokio::runtime::Runtime,
}

fn order(plan: v1::NodePlan) -> v1::NodeOrder {
    v1::NodeOrder { message: Some(v1::node_order::Message::Plan(plan)) }
}

#[tonic::async_trait]
impl Nodes for Service {
    type AttendStream = ReceiverStream<Result<v1::NodeOrder, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let (sender, orders) = channel::channel(64);
        let plan = {
            let mut state = self.state.lock().unwrap();
            state.nodes.push(sender.clone());
            state.plan.clone()
        };
        sender.try_send(Ok(order(plan))).unwrap();
        let (mut incoming, heard) = (request.into_inner(), self.heard.clone());
        tokio::spawn(async move {
            while let Some(Ok(v1::NodeMessage { message: Some(message) })) = incoming.next().await {
                if !matches!(message, FromNode::Pulse(_)) {
                    heard.try_send(Heard::Node(message)).unwrap();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(orders)))
    }
}

#[tonic::async_trait]
impl Agents for Service {
    type AttachStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let domain = request.metadata().get(DOMAIN_KEY).unwrap().to_str().unwrap().to_owned();
        let (sender, messages) = channel::channel(64);
        let welcome = ToAgent::Welcome(v1::Welcome { heartbeat_seconds: 1 });
        sender.try_send(Ok(v1::CoordinatorMessage { message: Some(welcome) })).unwrap();
        self.state.lock().unwrap().agents.push((domain.clone(), sender.clone()));
        let (mut incoming, heard) = (request.into_inner(), self.heard.clone());
        tokio::spawn(async move {
            while let Some(Ok(v1::AgentMessage { message: Some(message) })) = incoming.next().await {
                if let FromAgent::Finished(done) = &message {
                    let ack = ToAgent::Acknowledge(v1::Acknowledge { job_id: done.job_id.clone() });
                    drop(sender.send(Ok(v1::CoordinatorMessage { message: Some(ack) })).await);
                }
                if !matches!(message, FromAgent::Heartbeat(_)) {
                    heard.try_send(Heard::Agent(domain.clone(), message)).unwrap();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    /// Has no index: the repository's own is used.
    async fn lookup(&self, _: Request<v1::LookupRequest>) -> Result<Response<v1::LookupResponse>, Status> {
        self.state.lock().unwrap().lookups += 1;
        Err(Status::unavailable("no index"))
    }
}

impl Fake {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, heard) = mpsc::sync_channel(10_000);
        let state = Arc::new(Mutex::new(State::default()));
        let service = Service { state: state.clone(), heard: sender };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(NodesServer::new(service.clone()))
                .add_service(AgentsServer::new(service))
                .serve_with_incoming(incoming),
        );
        Self { url, state, heard, seen: Vec::new(), _runtime: runtime }
    }

    /// The plan of all nodes from now on.
    pub(crate) fn plan(&self, plan: &v1::NodePlan) {
        let mut state = self.state.lock().unwrap();
        state.plan = plan.clone();
        for node in &state.nodes {
            // One that is gone hears nothing.
            drop(node.try_send(Ok(order(plan.clone()))));
        }
    }

    /// Offers a job to the agent that came last in this domain.
    pub(crate) fn offer(&self, domain: &str, job: v1::Job) {
        self.say(domain, ToAgent::Offer(v1::Offer { job: Some(job) }));
    }

    fn say(&self, domain: &str, message: ToAgent) {
        let state = self.state.lock().unwrap();
        let (_, agent) = state.agents.iter().rfind(|(d, _)| d == domain).unwrap();
        agent.try_send(Ok(v1::CoordinatorMessage { message: Some(message) })).unwrap();
    }

    /// How often it was asked where blobs are.
    pub(crate) fn lookups(&self) -> usize {
        self.state.lock().unwrap().lookups
    }

    /// Waits until something is heard that `find` takes.
    #[track_caller]
    pub(crate) fn hears<T>(&mut self, what: &str, mut find: impl FnMut(Heard) -> Option<T>) -> T {
        loop {
            let Ok(heard) = self.heard.recv_timeout(PATIENCE) else {
                panic!("{what} was not heard: {}", self.seen.join("\n"));
            };
            self.seen.push(format!("{heard:?}"));
            if let Some(found) = find(heard) {
                return found;
            }
        }
    }

    /// Waits until this is said of a volume; through which pod it is read.
    #[track_caller]
    pub(crate) fn sees(&mut self, volume: &str, seen: v1::Seen) -> v1::Sighting {
        self.hears(&format!("{volume} {seen:?}"), |heard| match heard {
            Heard::Node(FromNode::Sightings(s)) => {
                s.volumes.into_iter().find(|v| v.volume == volume && v.seen() == seen)
            }
            _ => None,
        })
    }

    /// Waits until a domain's agent offers exactly these volumes.
    #[track_caller]
    pub(crate) fn is_offered(&mut self, domain: &str, volumes: &[&str]) {
        self.hears(&format!("{domain} with {volumes:?}"), |heard| {
            let now = match heard {
                Heard::Agent(d, FromAgent::Hello(hello)) if d == domain => hello.volumes,
                Heard::Agent(d, FromAgent::Volumes(now)) if d == domain => now.volumes,
                _ => return None,
            };
            (now.iter().map(|v| v.name.as_str()).eq(volumes.iter().copied())).then_some(())
        });
    }

    /// Waits until a job has read so much.
    #[track_caller]
    pub(crate) fn reads(&mut self, bytes: u64) {
        self.hears("progress", |heard| match heard {
            Heard::Agent(_, FromAgent::Progress(p)) => {
                let figures = convert::figures_from_wire(p.figures.as_ref());
                (figures.bytes_read >= bytes).then_some(())
            }
            Heard::Agent(_, FromAgent::Finished(_)) => panic!("it ended before it was half way"),
            _ => None,
        });
    }

    /// Waits for a job's result.
    #[track_caller]
    pub(crate) fn finished(&mut self) -> proto::job::JobResult {
        self.hears("finished", |heard| match heard {
            Heard::Agent(_, FromAgent::Finished(done)) => {
                Some(convert::result_from_wire(done.result.unwrap()).unwrap())
            }
            _ => None,
        })
    }

    /// Waits until a job is given back; why.
    #[track_caller]
    pub(crate) fn returned(&mut self) -> String {
        self.hears("returned", |heard| match heard {
            Heard::Agent(_, FromAgent::Returned(back)) => Some(back.reason),
            Heard::Agent(_, FromAgent::Finished(done)) => panic!("it was not given back: {done:?}"),
            _ => None,
        })
    }
}
