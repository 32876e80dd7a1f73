//! What the operator asks of a coordinator. A trait, so that controllers are tested without stores and agents.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use coordinator::config::Domain;
use coordinator::core::Snapshots;
use coordinator::handle::Handle;
use coordinator::jobs::Record;
use coordinator::nodes::NodeState;
use coordinator::schedule::Rule;
use proto::job::{BackupSpec, JobId, RestoreSpec};
use proto::v1::NodePlan;
use repository::Result;
use repository::ids::{DomainName, Sid};
use repository::ops::snapshots::Snapshot;
use tokio::sync::watch::Receiver;

/// A running coordinator.
#[async_trait]
pub trait Port: Send + Sync + Debug {
    /// Opens a domain, or opens it again by other settings; tried again until it opens.
    fn put_domain(&self, settings: Domain);
    /// Serves a domain no more.
    fn remove_domain(&self, name: &DomainName);
    /// All domains: open, or why not yet.
    fn domains(&self) -> Vec<(DomainName, Result<(), String>)>;
    /// Schedules of single volumes, and what their backups have besides; instead of all that were given before.
    fn set_schedules(
        &self,
        domain: &DomainName,
        all: HashMap<String, (Option<Rule>, BackupSpec)>,
    ) -> Result<()>;
    /// Gives a node its plan.
    fn set_plan(&self, node: &str, plan: NodePlan);
    /// Takes a node's plan away.
    fn remove_node(&self, node: &str);
    /// How the nodes stand.
    fn nodes(&self) -> Vec<NodeState>;
    /// All snapshots as last read, without the objects of their origins.
    fn snapshots(&self, domain: &DomainName) -> Result<Arc<Snapshots>>;
    /// Counts up when a run, a snapshot, a domain or a sighting changed.
    fn changes(&self) -> Receiver<u64>;
    /// One snapshot, read now and whole.
    async fn snapshot(&self, domain: &DomainName, id: Sid) -> Result<Snapshot>;
    /// Queues a backup; or gives the run of one that has not ended, and true.
    async fn run_backup(&self, domain: &DomainName, spec: BackupSpec) -> Result<(JobId, bool)>;
    /// Queues a restore.
    async fn run_restore(
        &self,
        domain: &DomainName,
        spec: RestoreSpec,
        agent: Option<String>,
    ) -> Result<JobId>;
    /// Asks for the end of a run.
    async fn cancel(&self, domain: &DomainName, id: JobId) -> Result<Record>;
    /// What is known of a run.
    async fn run(&self, domain: &DomainName, id: JobId) -> Result<Option<Record>>;
    /// Forgets snapshots, all at once, through the breaker.
    async fn forget(&self, domain: &DomainName, snapshots: &[Sid], because: (&str, &str)) -> Result<()>;
}

#[async_trait]
impl Port for Handle {
    fn put_domain(&self, settings: Domain) {
        Self::put_domain(self, settings);
    }

    fn remove_domain(&self, name: &DomainName) {
        Self::remove_domain(self, name);
    }

    fn domains(&self) -> Vec<(DomainName, Result<(), String>)> {
        Self::domains(self)
    }

    fn set_schedules(
        &self,
        domain: &DomainName,
        all: HashMap<String, (Option<Rule>, BackupSpec)>,
    ) -> Result<()> {
        let (mut rules, mut specs) = (HashMap::new(), HashMap::with_capacity(all.len()));
        for (volume, (rule, spec)) in all {
            if let Some(rule) = rule {
                rules.insert(volume.clone(), rule);
            }
            specs.insert(volume, spec);
        }
        // First what the backups have, then when they are: none begins without.
        self.set_specs(domain, specs)?;
        self.set_rules(domain, rules)
    }

    fn set_plan(&self, node: &str, plan: NodePlan) {
        self.board().set_plan(node, plan);
    }

    fn remove_node(&self, node: &str) {
        self.board().remove(node);
    }

    fn nodes(&self) -> Vec<NodeState> {
        self.board().nodes()
    }

    fn snapshots(&self, domain: &DomainName) -> Result<Arc<Snapshots>> {
        Self::snapshots(self, domain)
    }

    fn changes(&self) -> Receiver<u64> {
        Self::changes(self)
    }

    async fn snapshot(&self, domain: &DomainName, id: Sid) -> Result<Snapshot> {
        Self::snapshot(self, domain, id).await
    }

    async fn run_backup(&self, domain: &DomainName, spec: BackupSpec) -> Result<(JobId, bool)> {
        Self::run_backup(self, domain, spec).await
    }

    async fn run_restore(
        &self,
        domain: &DomainName,
        spec: RestoreSpec,
        agent: Option<String>,
    ) -> Result<JobId> {
        Self::run_restore(self, domain, spec, agent).await
    }

    async fn cancel(&self, domain: &DomainName, id: JobId) -> Result<Record> {
        Self::cancel(self, domain, id).await
    }

    async fn run(&self, domain: &DomainName, id: JobId) -> Result<Option<Record>> {
        Self::run(self, domain, id).await
    }

    async fn forget(&self, domain: &DomainName, snapshots: &[Sid], because: (&str, &str)) -> Result<()> {
        Self::forget(self, domain, snapshots, because).await
    }
}
