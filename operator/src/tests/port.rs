//! A coordinator that notes what it is told, and whose stores and agents are what the test says.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use coordinator::config::Domain;
use coordinator::core::Snapshots;
use coordinator::jobs::{Event, Record};
use coordinator::nodes::NodeState;
use coordinator::schedule::Rule;
use proto::job::{BackupSpec, Job, JobId, JobResult, JobSpec, RestoreSpec};
use proto::v1::{NodePlan, Seen, Sighting};
use repository::env::Timestamp;
use repository::ids::{DomainName, Sid};
use repository::ops::snapshots::Snapshot;
use repository::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::port::Port;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct FakePort(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// What it was told, and what it says.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) domains: BTreeMap<String, Domain>,
    /// Why these are not open.
    pub(crate) closed: HashMap<String, String>,
    pub(crate) schedules: HashMap<String, HashMap<String, (Option<Rule>, BackupSpec)>>,
    pub(crate) plans: BTreeMap<String, NodePlan>,
    pub(crate) nodes: BTreeMap<String, NodeState>,
    pub(crate) snapshots: HashMap<String, Arc<Snapshots>>,
    pub(crate) runs: Vec<Record>,
    pub(crate) forgotten: Vec<Sid>,
    /// What `forget` answers, if not yes.
    pub(crate) breaker: Option<String>,
}

impl Default for FakePort {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changes: watch::channel(0).0 }))
    }
}

impl FakePort {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A node whose agent attends, and finds all of its plan.
    pub(crate) fn attend(&self, node: &str) {
        let mut state = self.state();
        let volumes = state.plans.get(node).map(|p| p.volumes.clone()).unwrap_or_default();
        let seen = |volume: &str| Sighting {
            volume: volume.to_owned(),
            seen: Seen::Ready.into(),
            ..Sighting::default()
        };
        let sightings = volumes.iter().map(|v| (v.volume.clone(), seen(&v.volume))).collect();
        let here = NodeState { name: node.to_owned(), connected: true, sightings, ..NodeState::default() };
        state.nodes.insert(node.to_owned(), here);
    }

    /// The snapshots of a domain, as if they were just read.
    pub(crate) fn store(&self, domain: &str, all: Vec<Snapshot>) {
        let mut snapshots = Snapshots::default();
        snapshots.all = all.into_iter().map(Arc::new).collect();
        snapshots.read = Some(Timestamp::default());
        self.state().snapshots.insert(domain.to_owned(), Arc::new(snapshots));
    }

    /// What happens to a run.
    pub(crate) fn happen(&self, at: usize, events: &[Event]) {
        let mut state = self.state();
        for event in events {
            assert!(state.runs[at].apply(event.clone(), Timestamp(1)), "{event:?}");
        }
    }

    /// A run ends so, by an agent.
    pub(crate) fn end(&self, at: usize, result: JobResult) {
        let agent = || "n1".to_owned();
        let events =
            [Event::Offer(agent()), Event::Accept(agent()), Event::Finish(agent(), Box::new(result))];
        self.happen(at, &events);
    }

    fn queue(&self, spec: JobSpec, agent: Option<String>) -> JobId {
        let mut state = self.state();
        let mut name = [0; 16];
        name[15] = u8::try_from(state.runs.len() + 1).unwrap();
        let job = Job { id: JobId(name), spec };
        state.runs.push(Record::new(job, agent, Timestamp(0)));
        JobId(name)
    }
}

fn unknown(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, what)
}

#[async_trait]
impl Port for FakePort {
    fn put_domain(&self, settings: Domain) {
        self.state().domains.insert(settings.repository.domain.to_string(), settings);
    }

    fn remove_domain(&self, name: &DomainName) {
        self.state().domains.remove(name.as_str());
    }

    fn domains(&self) -> Vec<(DomainName, Result<(), String>)> {
        let state = self.state();
        let of = |name: &String| {
            let open = state.closed.get(name).map_or(Ok(()), |why| Err(why.clone()));
            (name.parse().unwrap(), open)
        };
        state.domains.keys().map(of).collect()
    }

    fn set_schedules(
        &self,
        domain: &DomainName,
        all: HashMap<String, (Option<Rule>, BackupSpec)>,
    ) -> Result<()> {
        self.state().schedules.insert(domain.to_string(), all);
        Ok(())
    }

    fn set_plan(&self, node: &str, plan: NodePlan) {
        self.state().plans.insert(node.to_owned(), plan);
    }

    fn remove_node(&self, node: &str) {
        self.state().plans.remove(node);
    }

    fn nodes(&self) -> Vec<NodeState> {
        self.state().nodes.values().cloned().collect()
    }

    fn snapshots(&self, domain: &DomainName) -> Result<Arc<Snapshots>> {
        self.state().snapshots.get(domain.as_str()).cloned().ok_or_else(|| unknown("no such domain"))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    async fn snapshot(&self, domain: &DomainName, id: Sid) -> Result<Snapshot> {
        let all = self.snapshots(domain)?;
        all.all.iter().find(|s| s.id == id).map(|s| (**s).clone()).ok_or_else(|| unknown("no such snapshot"))
    }

    async fn run_backup(&self, _domain: &DomainName, spec: BackupSpec) -> Result<(JobId, bool)> {
        let same = |r: &&Record| r.job.spec.volume() == Some(&spec.volume) && !r.state.has_ended();
        if let Some(there) = self.state().runs.iter().find(same) {
            return Ok((there.job.id, true));
        }
        Ok((self.queue(JobSpec::Backup(spec), None), false))
    }

    async fn run_restore(
        &self,
        _domain: &DomainName,
        spec: RestoreSpec,
        agent: Option<String>,
    ) -> Result<JobId> {
        Ok(self.queue(JobSpec::Restore(spec), agent))
    }

    async fn cancel(&self, _domain: &DomainName, id: JobId) -> Result<Record> {
        let mut state = self.state();
        let record = state.runs.iter_mut().find(|r| r.job.id == id).ok_or_else(|| unknown("no such run"))?;
        record.apply(Event::Cancel, Timestamp(1));
        Ok(record.clone())
    }

    async fn run(&self, _domain: &DomainName, id: JobId) -> Result<Option<Record>> {
        Ok(self.state().runs.iter().find(|r| r.job.id == id).cloned())
    }

    async fn forget(&self, _domain: &DomainName, snapshots: &[Sid], _because: (&str, &str)) -> Result<()> {
        let mut state = self.state();
        if let Some(why) = state.breaker.clone() {
            return Err(Error::new(ErrorKind::Refused, why));
        }
        state.forgotten.extend(snapshots);
        Ok(())
    }
}
