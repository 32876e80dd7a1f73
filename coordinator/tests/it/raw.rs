//! An agent by hand: says what a real one would never say.

use std::time::Duration;

use proto::v1::agent_message::Message;
use proto::v1::agents_client::AgentsClient;
use proto::v1::coordinator_message::Message as Answer;
use proto::v1::{self, AgentMessage, Hello};
use service::client::Target;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub(crate) fn hello(agent_id: &str) -> Hello {
    let volume = v1::Volume { name: "v".into(), host: "h".into(), path: "/data".into() };
    Hello {
        agent_id: agent_id.into(),
        host: "h".into(),
        version: "1".into(),
        volumes: vec![volume],
        restore_roots: vec!["/restore".into()],
        jobs_max: 1,
        jobs: Vec::new(),
    }
}

/// A stream that said hello.
pub(crate) struct RawAgent {
    outbox: Sender<AgentMessage>,
    incoming: Streaming<v1::CoordinatorMessage>,
}

impl RawAgent {
    pub(crate) async fn attach(target: &Target, first: Message) -> Result<Self, Status> {
        let (outbox, outgoing) = channel(16);
        outbox.send(AgentMessage { message: Some(first) }).await.unwrap();
        let mut client = AgentsClient::new(target.connect().unwrap());
        let incoming = client.attach(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { outbox, incoming })
    }

    pub(crate) async fn say(&self, message: Message) {
        self.outbox.send(AgentMessage { message: Some(message) }).await.unwrap();
    }

    /// Waits for the end of the connection, and says why it ended.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.incoming.message()).await;
            match next.expect("the coordinator is silent") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended without a word"),
                Err(status) => return status,
            }
        }
    }

    /// The next word, without welcomes.
    pub(crate) async fn hear(&mut self) -> Option<Answer> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.incoming.message()).await;
            match next.expect("the coordinator is silent").ok()??.message? {
                Answer::Welcome(_) => {}
                other => return Some(other),
            }
        }
    }
}
