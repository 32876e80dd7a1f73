//! What the process around a running coordinator can do with it: a cluster's operator gives it domains, schedules and nodes, and sees
//! what becomes of them. All of it could also be done through gRPC; this is the way without tokens.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use proto::job::{BackupSpec, JobId, RestoreSpec};
use repository::ids::{DomainName, Sid};
use repository::ops::forget::Because;
use repository::ops::snapshots::Snapshot;
use repository::{Error, ErrorKind, Result};
use service::http::Registries;
use tokio::sync::watch;

use crate::config;
use crate::core::{Core, Snapshots};
use crate::domains::{Domain, Domains};
use crate::jobs::Record;
use crate::metrics::Metrics;
use crate::nodes::Board;
use crate::pulse::Pulse;
use crate::schedule::{Rule, Volume};
use crate::service::maintenance::forget::forget_named;

/// Steers a running coordinator. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) domains: Arc<Domains>,
    pub(crate) board: Arc<Board>,
    pub(crate) registries: Registries,
    pub(crate) pulse: Pulse,
    /// How many domains share what there is a bounded number of.
    pub(crate) expected: usize,
}

impl Handle {
    /// The nodes, their plans and what they found.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The metrics that are served.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Counts up when a run, a snapshot, a domain or what a node found changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pulse.watch()
    }

    /// Opens a domain, or opens it again by other settings; tried again until it opens.
    pub fn put_domain(&self, settings: config::Domain) {
        let name = settings.repository.domain.to_string();
        let metrics = Metrics::one_of(self.expected);
        let mut registry = Registry::with_labels([("domain".into(), name.clone().into())].into_iter());
        metrics.register_domain(&mut registry);
        self.registries.put(&name, registry);
        self.domains.put(Domain::closed(settings, metrics));
        self.pulse.beat();
    }

    /// Serves a domain no more. Nothing in its repository changes.
    pub fn remove_domain(&self, name: &DomainName) {
        if self.domains.remove(name) {
            self.registries.remove(name.as_str());
            self.pulse.beat();
        }
    }

    /// All domains: open and read, or why not yet.
    #[must_use]
    pub fn domains(&self) -> Vec<(DomainName, Result<(), String>)> {
        self.domains.all().iter().map(|d| (d.name.clone(), d.ready())).collect()
    }

    fn core(&self, domain: &DomainName) -> Result<Arc<Core>> {
        let found = self.domains.find(domain);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no domain {domain}")))?.core()
    }

    /// Gives single volumes schedules, instead of all that were given so before.
    pub fn set_rules(&self, domain: &DomainName, rules: HashMap<String, Rule>) -> Result<()> {
        self.core(domain)?.set_named_rules(rules);
        Ok(())
    }

    /// What is added to scheduled backups of single volumes, instead of all that was given so before.
    pub fn set_specs(&self, domain: &DomainName, specs: HashMap<String, BackupSpec>) -> Result<()> {
        self.core(domain)?.set_specs(specs);
        Ok(())
    }

    /// Queues a backup; the run of one that has not ended yet is given instead, and true.
    pub async fn run_backup(&self, domain: &DomainName, spec: BackupSpec) -> Result<(JobId, bool)> {
        self.core(domain)?.run_backup(spec).await
    }

    /// Queues a restore on `agent`, or on the only one that allows its target.
    pub async fn run_restore(
        &self,
        domain: &DomainName,
        spec: RestoreSpec,
        agent: Option<String>,
    ) -> Result<JobId> {
        self.core(domain)?.run_restore(spec, agent).await
    }

    /// Asks for the end of a run.
    pub async fn cancel(&self, domain: &DomainName, id: JobId) -> Result<Record> {
        self.core(domain)?.cancel(id).await
    }

    /// What is known of a run; the newest figures of one that goes on are in its result.
    pub async fn run(&self, domain: &DomainName, id: JobId) -> Result<Option<Record>> {
        self.core(domain)?.db.job(id).await
    }

    /// The newest runs of a volume.
    pub async fn runs(&self, domain: &DomainName, volume: &str, limit: u32) -> Result<Vec<Record>> {
        self.core(domain)?.db.runs(Some(volume.to_owned()), limit).await
    }

    /// All volumes that are known, and how they stand.
    pub async fn volumes(&self, domain: &DomainName) -> Result<Vec<Volume>> {
        self.core(domain)?.volumes().await
    }

    /// All snapshots as last read, without the objects of their origins.
    pub fn snapshots(&self, domain: &DomainName) -> Result<Arc<Snapshots>> {
        Ok(self.core(domain)?.snapshots())
    }

    /// One snapshot, read now and whole.
    pub async fn snapshot(&self, domain: &DomainName, id: Sid) -> Result<Snapshot> {
        self.core(domain)?.engine.snapshot(&id.to_string(), None).await
    }

    /// Forgets snapshots by name, unless they are a larger share of the domain's than the breaker allows (of one at a time it sees
    /// nothing: name all at once). Nothing is deleted before the next GC.
    pub async fn forget(
        &self,
        domain: &DomainName,
        snapshots: &[Sid],
        (by, reason): (&str, &str),
    ) -> Result<()> {
        let core = self.core(domain)?;
        let because = Because { by: by.to_owned(), why: reason.to_owned() };
        forget_named(&core, snapshots, &because).await
    }
}
