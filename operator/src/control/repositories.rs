//! Repositories: the Secret becomes files, the repository is looked for (and made), and its domain is opened.
//!
//! Each is looked at by a task of its own: a store that hangs holds up nobody else. Nothing is ever deleted in a store from here: a Repository
//! that is deleted is served no more, and that is all.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coordinator::ConfigLayer;
use coordinator::config::{self, DomainLayer, MaintenanceLayer, RetentionLayer, TaskLayer};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use repository::env::{Env, Timestamp};
use repository::ids::DomainName;
use repository::ops::domains;
use repository::ops::init::{InitOptions, init};
use repository::store::StoreOptions;
use repository::{Error, ErrorKind};
use service::repo::{KeyFrom, read_client_settings};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::secrets::{Files, Opens};
use super::{Tools, Writer};
use crate::decide::{Newest, RepositoryFact};
use crate::limits::{OPEN_SECONDS, REQUEST_SECONDS, SECRET_SECONDS};
use crate::resources::{Conditions as _, Repository, RepositoryStatus, Span, Standing, TaskSpec};

/// All repositories.
#[derive(Debug)]
pub(super) struct Repositories {
    known: BTreeMap<String, Known>,
    wake: Arc<Notify>,
}

/// What is known of one.
#[derive(Debug, Default)]
struct Known {
    domain: String,
    /// What it was last opened by.
    opened: Option<(i64, Opens)>,
    /// Why it is not open, as far as we are concerned.
    refused: Option<Refusal>,
    looked: Option<Timestamp>,
    looking: Option<JoinHandle<Result<Opens, Refusal>>>,
}

/// Why a repository is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    reason: &'static str,
    what: String,
    /// The store did not answer.
    unreachable: bool,
}

fn refuse(reason: &'static str, what: impl Into<String>) -> Refusal {
    Refusal { reason, what: what.into(), unreachable: false }
}

/// What a look needs.
struct Look {
    tools: Tools,
    object: Arc<Repository>,
    domain: DomainName,
    folder: PathBuf,
}

impl Repositories {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { known: BTreeMap::new(), wake }
    }

    /// Takes over what the looks found, and begins those that are due.
    pub(super) async fn look(&mut self, tools: &Tools, writer: &mut Writer) {
        let _bounded = writer;
        let all: Vec<Arc<Repository>> = tools.watched.read().repositories.values().cloned().collect();
        let gone: Vec<String> =
            self.known.keys().filter(|n| all.iter().all(|r| r.name_any() != **n)).cloned().collect();
        for name in gone {
            self.forget(tools, &name);
        }
        let domains = domains_of(&all);
        for object in all {
            let name = object.name_any();
            let known = self.known.entry(name.clone()).or_default();
            known.take(tools, &object).await;
            let domain = match domains.get(&name) {
                Some(Ok(domain)) => domain.clone(),
                Some(Err(refusal)) => {
                    known.refused = Some(refusal.clone());
                    continue;
                }
                None => continue,
            };
            known.domain = domain.to_string();
            if known.is_due(&object, tools.env.now()) {
                known.looked = Some(tools.env.now());
                let folder = tools.config.state_dir.join("repositories").join(&name);
                let look = Look { tools: tools.clone(), object, domain, folder };
                let wake = self.wake.clone();
                known.looking = Some(tokio::spawn(async move {
                    let found = look.run().await;
                    wake.notify_one();
                    found
                }));
            }
        }
    }

    fn forget(&mut self, tools: &Tools, name: &str) {
        let Some(known) = self.known.remove(name) else { return };
        if let Some(task) = known.looking {
            task.abort();
        }
        if known.opened.is_some()
            && let Ok(domain) = known.domain.parse()
        {
            tools.port.remove_domain(&domain);
        }
        let folder = tools.config.state_dir.join("repositories").join(name);
        if let Err(e) = std::fs::remove_dir_all(&folder)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(repository = name, error = %e, "its key could not be removed");
        }
        tracing::info!(repository = name, "served no more; nothing in its store changed");
    }

    /// Ends what is under way.
    pub(super) async fn stop(self) {
        for task in self.known.into_values().filter_map(|k| k.looking) {
            task.abort();
            let _aborted = task.await;
        }
    }

    /// How they stand.
    pub(super) fn facts(&self, tools: &Tools) -> BTreeMap<String, RepositoryFact> {
        let open: HashMap<String, Result<(), String>> =
            tools.port.domains().into_iter().map(|(name, open)| (name.to_string(), open)).collect();
        let world = tools.watched.read();
        let mut facts = BTreeMap::new();
        for (key, object) in &world.repositories {
            let Some(known) = self.known.get(&key.name) else { continue };
            let access = known.opened.as_ref().map(|(_, opens)| opens.access(object, &known.domain));
            let state = match (&known.opened, &known.refused) {
                (Some(_), _) => {
                    open.get(&known.domain).cloned().unwrap_or_else(|| Err("it is being opened".to_owned()))
                }
                (None, Some(refusal)) => Err(refusal.what.clone()),
                (None, None) => Err("it is being looked at".to_owned()),
            };
            let newest = match known.domain.parse() {
                Ok(domain) if state.is_ok() => newest(tools, &domain),
                _ => HashMap::new(),
            };
            let fact = RepositoryFact {
                domain: known.domain.clone(),
                open: state,
                access: access.unwrap_or_default(),
                newest,
            };
            facts.insert(key.name.clone(), fact);
        }
        facts
    }

    /// Writes their statuses.
    pub(super) async fn tell(&self, tools: &Tools, writer: &mut Writer) {
        let all: Vec<Arc<Repository>> = tools.watched.read().repositories.values().cloned().collect();
        let open: HashMap<String, Result<(), String>> =
            tools.port.domains().into_iter().map(|(name, open)| (name.to_string(), open)).collect();
        for object in all {
            let Some(known) = self.known.get(&object.name_any()) else { continue };
            let status = known.status(tools, &object, open.get(&known.domain), writer);
            if object.status.as_ref() == Some(&status) {
                continue;
            }
            let new = Repository { status: Some(status), ..(*object).clone() };
            let api: Api<Repository> = Api::all(tools.client.clone());
            writer.put_status(&api, &new).await;
        }
    }
}

/// The domain of each; of several that want the same, the oldest has it.
fn domains_of(all: &[Arc<Repository>]) -> HashMap<String, Result<DomainName, Refusal>> {
    let mut ordered: Vec<&Arc<Repository>> = all.iter().collect();
    ordered.sort_by_key(|r| (r.creation_timestamp(), r.name_any()));
    let mut taken: HashMap<DomainName, String> = HashMap::new();
    let mut out = HashMap::new();
    for object in ordered {
        let name = object.name_any();
        let wanted = object.spec.domain.clone().unwrap_or_else(|| name.clone());
        let domain = match wanted.parse::<DomainName>() {
            Err(e) => Err(refuse("InvalidDomain", format!("{e}: set spec.domain"))),
            Ok(domain) => match taken.get(&domain) {
                Some(other) => {
                    Err(refuse("DomainTaken", format!("Repository {other} has the domain {domain}")))
                }
                None => {
                    taken.insert(domain.clone(), name.clone());
                    Ok(domain)
                }
            },
        };
        out.insert(name, domain);
    }
    out
}

/// The newest snapshots of each volume.
fn newest(tools: &Tools, domain: &DomainName) -> HashMap<String, Newest> {
    let mut out: HashMap<String, Newest> = HashMap::new();
    let Ok(snapshots) = tools.port.snapshots(domain) else { return out };
    // They come the oldest first.
    for snapshot in &snapshots.all {
        let m = &snapshot.manifest;
        let newest = out.entry(m.volume.clone()).or_default();
        newest.partial = m.problems > 0;
        if m.problems == 0 {
            (newest.good, newest.good_finished) = (Some(m.started), Some(m.finished));
        }
    }
    out
}

impl Known {
    fn is_due(&self, object: &Repository, now: Timestamp) -> bool {
        let changed = self
            .opened
            .as_ref()
            .is_none_or(|(generation, _)| Some(*generation) != object.metadata.generation);
        // What was refused may be well by now: somebody made the Secret, or the store answers again.
        let wait = if changed { RETRY_SECONDS } else { SECRET_SECONDS };
        self.looking.is_none() && self.looked.is_none_or(|at| at.plus_seconds(wait) <= now)
    }

    /// Takes over what a look found.
    async fn take(&mut self, tools: &Tools, object: &Repository) {
        let Some(task) = self.looking.take_if(|t| t.is_finished()) else { return };
        let found =
            task.await.unwrap_or_else(|e| Err(refuse("Internal", format!("looking at it failed: {e}"))));
        let generation = object.metadata.generation.unwrap_or(0);
        match found {
            Err(refusal) => {
                // What is open stays open: its agents have what they need, and a Secret that is away for a moment ends no backups.
                tracing::warn!(
                    repository = object.name_any(),
                    reason = refusal.reason,
                    what = refusal.what,
                    "refused"
                );
                self.refused = Some(refusal);
            }
            Ok(opens) => {
                self.refused = None;
                let new = (generation, opens);
                if self.opened.as_ref() != Some(&new) {
                    let folder = tools.config.state_dir.join("repositories").join(object.name_any());
                    match settings(tools, object, (&self.domain, &new.1), &folder) {
                        Ok(domain) => {
                            tools.port.put_domain(domain);
                            self.opened = Some(new);
                        }
                        Err(what) => self.refused = Some(refuse("InvalidSpec", what)),
                    }
                }
            }
        }
    }

    fn status(
        &self,
        tools: &Tools,
        object: &Repository,
        open: Option<&Result<(), String>>,
        writer: &Writer,
    ) -> RepositoryStatus {
        let mut status = object.status.clone().unwrap_or_default();
        let (observed, now) = (object.metadata.generation, writer.now());
        let ready = match (&self.opened, &self.refused, open) {
            (Some(_), _, Some(Ok(()))) => Standing::yes("Ready", "Open", "backups can go there"),
            (Some(_), _, Some(Err(why))) => Standing::no("Ready", "NotOpen", why),
            (None, Some(refusal), _) => Standing::no("Ready", refusal.reason, &refusal.what),
            _ => Standing::unknown("Ready", "Opening", "it is being looked at"),
        };
        let reachable = match (&self.refused, open) {
            (Some(r), _) if r.unreachable => Standing::no("Reachable", r.reason, &r.what),
            (_, Some(Ok(()))) => Standing::yes("Reachable", "Answered", ""),
            (Some(r), _) => Standing::unknown("Reachable", r.reason, "it was not asked"),
            (None, Some(Err(why))) => Standing::unknown("Reachable", "NotOpen", why),
            (None, None) => Standing::unknown("Reachable", "Opening", ""),
        };
        status.conditions.put(ready, observed, now.clone());
        status.conditions.put(reachable, observed, now);
        if let Some(refusal) = self.refused.as_ref().filter(|_| self.opened.is_some()) {
            let standing = Standing::no("Current", refusal.reason, &refusal.what);
            status.conditions.put(standing, observed, writer.now());
        } else {
            status.conditions.retain(|c| c.type_ != "Current");
        }
        status.observed_generation = observed;
        status.domain = Some(self.domain.clone()).filter(|d| !d.is_empty());
        if let (Some(Ok(())), Ok(domain)) = (open, self.domain.parse())
            && let Ok(snapshots) = tools.port.snapshots(&domain)
            && snapshots.read.is_some()
        {
            let count = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
            let volumes: std::collections::HashSet<&str> =
                snapshots.all.iter().map(|s| s.manifest.volume.as_str()).collect();
            status.snapshots = count(snapshots.all.len());
            status.volumes = count(volumes.len());
            status.damaged = count(snapshots.damaged.len());
        }
        status
    }
}

/// What was refused is looked at again after this.
const RETRY_SECONDS: i64 = 10;

impl Look {
    async fn run(&self) -> Result<Opens, Refusal> {
        let opens = self.secret().await?;
        let files =
            opens.write(&self.folder).map_err(|e| refuse("Internal", format!("write its key: {e}")))?;
        let look =
            tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), self.find(&files, &self.tools.env));
        match look.await {
            Ok(Ok(())) => Ok(opens),
            Ok(Err(e)) => Err(refusal(&e)),
            Err(_) => Err(Refusal {
                unreachable: true,
                ..refuse("StoreUnreachable", format!("the store did not answer within {OPEN_SECONDS} s"))
            }),
        }
    }

    async fn secret(&self) -> Result<Opens, Refusal> {
        let config = &self.tools.config;
        let name = &self.object.spec.secret_ref.name;
        let api: Api<Secret> = Api::namespaced(self.tools.client.clone(), &config.namespace);
        let got = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS), api.get_opt(name)).await;
        let shown = format!("Secret {}/{name}", config.namespace);
        match got {
            Ok(Ok(Some(secret))) => {
                let opens = Opens::new(&secret, &self.object.spec.url);
                opens.map_err(|e| refuse("InvalidSecret", format!("{shown}: {e}")))
            }
            Ok(Ok(None)) => Err(refuse("SecretNotFound", format!("there is no {shown}"))),
            Ok(Err(e)) => Err(refuse("SecretNotRead", format!("{shown}: {}", crate::chain(&e)))),
            Err(_) => Err(refuse("SecretNotRead", format!("{shown}: the API server did not answer"))),
        }
    }

    /// Sees that the repository and its domain are there, and makes them if wanted.
    async fn find(&self, files: &Files, env: &Env) -> Result<(), Error> {
        let spec = &self.object.spec;
        let credentials = vec![KeyFrom::KeyFile(files.key.clone()).read()?];
        let client =
            files.credentials.as_deref().map(|path| read_client_settings(path, &spec.url)).transpose()?;
        let options = StoreOptions {
            own_credentials: client.is_some(),
            client: client.unwrap_or_default(),
            create: spec.create,
            ..StoreOptions::default()
        };
        let store = repository::store::open(&spec.url, &options, env).await?;
        let there = domains::list(&*store).await?;
        if there.contains(&self.domain) {
            return Ok(());
        }
        if !spec.create {
            let what = format!("{} has no domain {}, and spec.create is false", spec.url, self.domain);
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        repository::store::probe(&*store, &*env.random)
            .await
            .map_err(|e| Error::new(ErrorKind::Store, format!("store {}: {e}", spec.url)))?;
        let options = InitOptions { domain: self.domain.clone(), credentials };
        match there.is_empty() {
            true => {
                let id = init(store, options, env).await?;
                tracing::info!(url = spec.url, domain = %self.domain, repository = %id, "created a repository");
            }
            false => {
                domains::add(&store, options, env).await?;
                tracing::info!(url = spec.url, domain = %self.domain, "added a domain to a repository");
            }
        }
        Ok(())
    }
}

fn refusal(e: &Error) -> Refusal {
    let reason = match e.kind() {
        ErrorKind::NotFound => "NotFound",
        ErrorKind::Key => "WrongKey",
        ErrorKind::Store => "StoreUnreachable",
        ErrorKind::Refused => "Refused",
        ErrorKind::Input => "InvalidSpec",
        _ => "Failed",
    };
    Refusal { reason, what: e.chain(), unreachable: e.kind() == ErrorKind::Store }
}

/// The coordinator's settings of a domain.
fn settings(
    tools: &Tools,
    object: &Repository,
    (domain, opens): (&str, &Opens),
    folder: &std::path::Path,
) -> Result<config::Domain, String> {
    let spec = &object.spec;
    let files = opens.write(folder).map_err(|e| format!("write its key: {e}"))?;
    let own = DomainLayer {
        name: domain.to_owned(),
        key_file: Some(files.key),
        credentials_file: files.credentials,
        // Without any, everything is kept: what nobody asked to be forgotten is not.
        retention: Some(spec.retention.as_ref().map(retention).transpose()?.into_iter().collect()),
        maintenance: Some(maintenance(spec)?),
        ..DomainLayer::default()
    };
    let layer = ConfigLayer {
        repo: Some(spec.url.clone()),
        state_dir: Some(tools.config.state_dir.clone()),
        cache_dir: Some(tools.config.state_dir.join("cache")),
        timezone: spec.time_zone.clone(),
        domains: Some(vec![own]),
        ..ConfigLayer::default()
    };
    let config = layer.validate().map_err(|e| e.to_string())?;
    config.domains.into_iter().next().ok_or_else(|| "no domain came of it".to_owned())
}

fn seconds(name: &str, span: Option<&Span>) -> Result<Option<u64>, String> {
    span.map(Span::seconds).transpose().map_err(|e| format!("{name}: {e}"))
}

fn retention(r: &crate::resources::RetentionSpec) -> Result<RetentionLayer, String> {
    Ok(RetentionLayer {
        volume: "*".to_owned(),
        keep_last: r.keep_last,
        keep_hourly: r.keep_hourly,
        keep_daily: r.keep_daily,
        keep_weekly: r.keep_weekly,
        keep_monthly: r.keep_monthly,
        keep_yearly: r.keep_yearly,
        keep_within_seconds: seconds("retention.keepWithin", r.keep_within.as_ref())?,
        keep_tags: r.keep_tags.clone(),
        ..RetentionLayer::default()
    })
}

fn maintenance(spec: &crate::resources::RepositorySpec) -> Result<MaintenanceLayer, String> {
    let Some(m) = &spec.maintenance else { return Ok(MaintenanceLayer::default()) };
    let task = |name: &str, task: &Option<TaskSpec>| -> Result<TaskLayer, String> {
        let Some(task) = task else { return Ok(TaskLayer::default()) };
        Ok(TaskLayer {
            enabled: task.enabled,
            cron: task.cron.clone(),
            every_seconds: seconds(name, task.every.as_ref())?,
            window: task.window.clone(),
            ..TaskLayer::default()
        })
    };
    Ok(MaintenanceLayer {
        forget: task("maintenance.forget.every", &m.forget)?,
        gc: task("maintenance.gc.every", &m.gc)?,
        scrub: task("maintenance.scrub.every", &m.scrub)?,
        restore_test: task("maintenance.restoreTest.every", &m.restore_test)?,
        ..MaintenanceLayer::default()
    })
}
