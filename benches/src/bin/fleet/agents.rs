//! The agents: streams that say what real ones say, without doing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use proto::v1::agent_message::Message as Said;
use proto::v1::agents_client::AgentsClient;
use proto::v1::coordinator_message::Message as Heard;
use proto::v1::{self, AgentMessage};
use service::client::{Connection, Target};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::Arguments;

/// Messages that an agent may be ahead of its stream.
const QUEUE: usize = 64;

/// Attaches all agents, and does their jobs until the process is ended.
pub(crate) async fn be(arguments: &Arguments, at: SocketAddr) -> Result<()> {
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "a-token-of-some-agent")?;
    let target = Target {
        url: format!("http://{at}"),
        token_file: Some(token.path().to_owned()),
        ..Target::default()
    };
    let arguments = Arc::new(arguments.clone());
    let mut going = Vec::with_capacity(arguments.agents);
    for number in 0..arguments.agents {
        let (connection, arguments) = (target.connect()?, arguments.clone());
        going.push(tokio::spawn(async move { attach(connection, &arguments, number).await }));
    }
    for one in going {
        one.await??;
    }
    Ok(())
}

async fn attach(connection: Connection, arguments: &Arguments, number: usize) -> Result<()> {
    let host = format!("node-{number:05}");
    let volume = |v: usize| v1::Volume {
        name: Arguments::volume(number, v),
        host: host.clone(),
        path: format!("/var/lib/kubelet/pods/{number}/volumes/{v}").into_bytes().into(),
    };
    let hello = v1::Hello {
        agent_id: host.clone(),
        host: host.clone(),
        version: "0".to_owned(),
        volumes: (0..arguments.volumes).map(volume).collect(),
        jobs_max: 1,
        ..v1::Hello::default()
    };
    let (outbox, outgoing) = channel(QUEUE);
    outbox.send(said(Said::Hello(hello))).await?;
    let mut incoming =
        AgentsClient::new(connection).attach(ReceiverStream::new(outgoing)).await?.into_inner();
    let beating = tokio::spawn(beat(outbox.clone()));
    while let Some(heard) = incoming.message().await? {
        if let Some(Heard::Offer(v1::Offer { job: Some(job) })) = heard.message {
            outbox.send(said(Said::Accept(v1::Accept { job_id: job.id.clone() }))).await?;
            outbox.send(said(Said::Finished(finished(&host, job)))).await?;
        }
    }
    beating.abort();
    Ok(())
}

async fn beat(outbox: Sender<AgentMessage>) {
    while outbox.send(said(Said::Heartbeat(v1::Heartbeat {}))).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}

fn said(message: Said) -> AgentMessage {
    AgentMessage { message: Some(message) }
}

/// A backup that committed, so they say; the job's id is the snapshot's.
fn finished(host: &str, job: v1::Job) -> v1::Finished {
    let volume = match &job.spec {
        Some(v1::job::Spec::Backup(backup)) => backup.volume.clone(),
        _ => String::new(),
    };
    let now = repository::env::Env::system().now().0;
    let blob = || {
        Some(v1::BlobRef {
            id: vec![1; 32].into(),
            place: Some(v1::Place { pack: vec![1; 24].into(), ordinal: 0 }),
        })
    };
    let snapshot = v1::Snapshot {
        id: job.id.clone(),
        volume,
        host: host.to_owned(),
        path: b"/var/lib/kubelet/pods/x/volumes/y".to_vec().into(),
        started_unix_nanos: now,
        finished_unix_nanos: now,
        entries: 1000,
        root: blob(),
        root_usage: blob(),
        ..v1::Snapshot::default()
    };
    let result = v1::JobResult { snapshot: Some(snapshot), ..v1::JobResult::default() };
    v1::Finished { job_id: job.id, result: Some(result) }
}
