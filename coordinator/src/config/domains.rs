//! The domains that are served: what each has of its own, and what it takes over from the top of the file.
//!
//! Keys are never taken over.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Deserialize;
use service::config::DomainKey;
use service::repo::Settings;

use super::{
    ConfigLayer, DestinationLayer, MaintenanceLayer, RetentionLayer, ScheduleLayer, destinations,
    maintenance, rules,
};
use crate::maintenance::Maintenance;
use crate::schedule::Rule;

/// A domain, as configured. What is absent is that of the top level, except for the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainLayer {
    /// Its name in the repository.
    pub name: String,
    /// File with the passphrase that opens its keys.
    pub passphrase_file: Option<PathBuf>,
    /// Key file that opens its keys.
    pub key_file: Option<PathBuf>,
    /// File with settings of the store's client for this domain, one `NAME=VALUE` a line.
    pub credentials_file: Option<PathBuf>,
    /// Its schedules.
    pub schedules: Option<Vec<ScheduleLayer>>,
    /// What to keep in it.
    pub retention: Option<Vec<RetentionLayer>>,
    /// What runs by itself in it: all of it, nothing is mixed with the top level's.
    pub maintenance: Option<MaintenanceLayer>,
    /// Where its copies go: like keys never taken over. No mirrors, which are of all domains.
    pub destinations: Option<Vec<DestinationLayer>>,
    /// This coordinator runs its maintenance.
    pub leader: Option<bool>,
}

impl DomainLayer {
    /// A task of one domain would write, and delete, what is all domains'.
    fn refuse_mirrors(&self, wrong: &mut Vec<String>) {
        let mirrors = self.destinations.iter().flatten().filter(|to| to.is_mirror());
        wrong.extend(mirrors.map(|to| {
            format!(
                "destination {:?}: a mirror copies every domain: give it a key_file to copy this domain's snapshots, or mirror with \
                 `holdfast mirror --to URL`, or from a coordinator without a list of domains",
                to.name
            )
        }));
    }

    pub(super) fn key(&self) -> DomainKey {
        DomainKey {
            name: self.name.clone(),
            passphrase_file: self.passphrase_file.clone(),
            key_file: self.key_file.clone(),
        }
    }
}

/// A domain that is served.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The repository, this domain of it, and what opens it.
    pub repository: Settings,
    /// Settings of the store's client, instead of the environment's.
    pub credentials_file: Option<PathBuf>,
    /// The database; a lock file lies beside it.
    pub database: PathBuf,
    /// Schedules.
    pub rules: Vec<Rule>,
    /// What runs by itself.
    pub maintenance: Maintenance,
}

/// What a domain has besides its repository.
pub(super) struct Own {
    credentials_file: Option<PathBuf>,
    database: PathBuf,
    rules: Vec<Rule>,
    maintenance: Maintenance,
}

impl Own {
    pub(super) fn of(self, repository: Settings) -> Domain {
        let Self { credentials_file, database, rules, maintenance } = self;
        Domain { repository, credentials_file, database, rules, maintenance }
    }
}

impl ConfigLayer {
    /// What each domain has, in the order of the list; without a list, what the only one has.
    pub(super) fn own(&self, zone: &TimeZone, wrong: &mut Vec<String>) -> Vec<Own> {
        let state_dir = self.state_dir.clone().unwrap_or_default();
        let only = self.own_of(&DomainLayer::default(), (&state_dir, zone), wrong);
        let Some(list) = &self.domains else { return vec![only] };
        if self.destinations.is_some() {
            wrong.push("destinations: with a list of domains, each domain has its own".to_owned());
        }
        let mut all = Vec::with_capacity(list.len());
        for domain in list {
            let mut found = Vec::new();
            let folder = state_dir.join("domains").join(&domain.name);
            let mut own = self.own_of(domain, (&folder, zone), &mut found);
            domain.refuse_mirrors(&mut found);
            // What the top level says was named already.
            found.retain(|what| !wrong.contains(what));
            wrong.extend(found.into_iter().map(|what| format!("domain {}: {what}", domain.name)));
            let scratch = &mut own.maintenance.restore_test.scratch_dir;
            if domain.maintenance.is_none() && !scratch.starts_with(&folder) {
                // A test empties its folder: each domain has its own.
                scratch.push(&domain.name);
            }
            all.push(own);
        }
        let mut folders = HashSet::new();
        for (own, domain) in all.iter().zip(list) {
            if !folders.insert(&own.maintenance.restore_test.scratch_dir) {
                wrong.push(format!("domain {}: its scratch_dir is another domain's, too", domain.name));
            }
        }
        all
    }

    fn own_of(
        &self,
        domain: &DomainLayer,
        (state_dir, zone): (&Path, &TimeZone),
        wrong: &mut Vec<String>,
    ) -> Own {
        let schedules = domain.schedules.as_ref().or(self.schedules.as_ref());
        let mut maintenance = maintenance::maintenance(
            domain.maintenance.clone().or_else(|| self.maintenance.clone()),
            domain.retention.as_deref().or(self.retention.as_deref()),
            domain.leader.or(self.leader),
            (state_dir, zone),
            wrong,
        );
        // Of the only domain they stand at the top.
        let only = || self.destinations.as_ref().filter(|_| self.domains.is_none());
        maintenance.destinations = destinations::destinations(
            domain.destinations.as_ref().or_else(only).map_or(&[], Vec::as_slice),
            zone,
            (self.cache_dir.as_deref(), self.cpu_threads.unwrap_or(0)),
            wrong,
        );
        Own {
            credentials_file: domain.credentials_file.clone(),
            database: state_dir.join("coordinator.db"),
            rules: rules(schedules.map_or(&[], Vec::as_slice), zone, wrong),
            maintenance,
        }
    }
}
