//! How each claim stands: protected, excluded with a reason, or unprotected with a reason.

use std::collections::BTreeMap;

use proto::v1::Seen;
use repository::env::Timestamp;

use super::{Chosen, Decision, Facts, Judged, Newest, seen};
use crate::discover::Found;
use crate::world::{Key, World};

/// How a claim, or another volume, stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It has a good snapshot within its objective.
    Protected {
        /// The policy.
        policy: String,
        /// The end of that snapshot.
        finished: Timestamp,
    },
    /// It is left out.
    Excluded {
        /// By whom.
        why: &'static str,
    },
    /// It is not protected.
    Unprotected {
        /// The policy that selects it, if any.
        policy: Option<String>,
        /// In a word, for programs.
        why: Why,
        /// In words, for people.
        what: String,
    },
}

/// Why something is not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// No policy selects it.
    NoPolicy,
    /// The repository of its policy is not open.
    RepositoryNotReady,
    /// Nobody knows how to read such a volume.
    Unsupported,
    /// It is a device.
    Block,
    /// No running pod mounts it.
    NotMounted,
    /// The node that has it has no agent now.
    NoAgent,
    /// The node does not find it, or must not read it.
    NotSeen,
    /// It was never backed up.
    NeverBackedUp,
    /// The newest snapshot is not complete.
    Partial,
    /// The newest good snapshot is older than the objective.
    TooOld,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoPolicy,
        Self::RepositoryNotReady,
        Self::Unsupported,
        Self::Block,
        Self::NotMounted,
        Self::NoAgent,
        Self::NotSeen,
        Self::NeverBackedUp,
        Self::Partial,
        Self::TooOld,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPolicy => "NoPolicy",
            Self::RepositoryNotReady => "RepositoryNotReady",
            Self::Unsupported => "Unsupported",
            Self::Block => "Block",
            Self::NotMounted => "NotMounted",
            Self::NoAgent => "NoAgent",
            Self::NotSeen => "NotSeen",
            Self::NeverBackedUp => "NeverBackedUp",
            Self::Partial => "Partial",
            Self::TooOld => "TooOld",
        }
    }
}

/// What coverage is judged by.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    pub(super) facts: &'a Facts,
    pub(super) found: &'a Found,
}

impl View<'_> {
    pub(super) fn claim(&self, key: &Key, judged: &Judged, out: &Decision) -> Coverage {
        let at = match judged {
            Judged::Excluded(why) => return Coverage::Excluded { why },
            Judged::NoPolicy => {
                let what = "no policy selects it".to_owned();
                return Coverage::Unprotected { policy: None, why: Why::NoPolicy, what };
            }
            Judged::Chosen(at) => *at,
        };
        let policy = out.policies.get(at).map(|p| p.name.clone());
        let no =
            |why, what: &str| Coverage::Unprotected { policy: policy.clone(), why, what: what.to_owned() };
        if let Some(what) = self.found.unknown.get(key) {
            return no(Why::Unsupported, what);
        }
        let ids = self.found.by_claim.get(key).map(Vec::as_slice).unwrap_or_default();
        // Of folders of several nodes, the one that stands worst.
        let all = ids.iter().map(|id| self.judge(id, at, out));
        let worst = all.reduce(|a, b| if matches!(a, Coverage::Protected { .. }) { b } else { a });
        worst.unwrap_or_else(|| {
            let lost = self.world.claims.get(key).is_some_and(|c| self.world.volume_of(c).is_none());
            let what = if lost { "its volume is gone" } else { "its volume is not known" };
            no(Why::Unsupported, what)
        })
    }

    /// Of a folder of a node, or an emptyDir.
    pub(super) fn volume(&self, id: &str, out: &Decision) -> Coverage {
        match out.chosen.get(id) {
            Some(chosen) => self.judge(id, chosen.policy, out),
            None => Coverage::Unprotected {
                policy: None,
                why: Why::RepositoryNotReady,
                what: "the repository of its policy is not ready".to_owned(),
            },
        }
    }

    fn judge(&self, id: &str, at: usize, out: &Decision) -> Coverage {
        let Some(policy) = out.policies.get(at) else {
            return Coverage::Unprotected { policy: None, why: Why::NoPolicy, what: String::new() };
        };
        let no = |why, what: String| Coverage::Unprotected { policy: Some(policy.name.clone()), why, what };
        let Some(repository) = self.facts.repositories.get(&policy.repository) else {
            return no(Why::RepositoryNotReady, format!("there is no Repository {}", policy.repository));
        };
        if let Err(why) = &repository.open {
            return no(Why::RepositoryNotReady, format!("Repository {}: {why}", policy.repository));
        }
        let newest = repository.newest.get(id).copied().unwrap_or_default();
        let limit = i64::try_from(policy.objective_seconds).unwrap_or(i64::MAX);
        if let (Some(started), Some(finished)) = (newest.good, newest.good_finished)
            && started.plus_seconds(limit) >= self.facts.now
        {
            return Coverage::Protected { policy: policy.name.clone(), finished };
        }
        let (why, what) = self.hindrance(id, out).unwrap_or_else(|| late(newest, policy.objective_seconds));
        no(why, what)
    }

    /// What keeps it from being backed up now.
    fn hindrance(&self, id: &str, out: &Decision) -> Option<(Why, String)> {
        let site = self.found.sites.get(id)?;
        if site.block {
            return Some((Why::Block, "it is a block device: no running pod shows its files".to_owned()));
        }
        let Some(node) = out.assigned.get(id) else {
            return Some((Why::NotMounted, "no running pod mounts it".to_owned()));
        };
        let Some(fact) = self.facts.nodes.get(node).filter(|n| n.connected) else {
            return Some((Why::NoAgent, format!("the agent of node {node} is not connected")));
        };
        match fact.sightings.get(id) {
            Some(sighting) if seen(sighting) != Seen::Ready => {
                let what = if sighting.what.is_empty() { "it is not there" } else { &sighting.what };
                Some((Why::NotSeen, format!("node {node}: {what}")))
            }
            _ => None,
        }
    }
}

fn late(newest: Newest, objective_seconds: u64) -> (Why, String) {
    match (newest.good, newest.partial) {
        (None, false) => (Why::NeverBackedUp, "it was not backed up yet".to_owned()),
        (_, true) => (Why::Partial, "the newest snapshot is not complete".to_owned()),
        (Some(_), false) => {
            (Why::TooOld, format!("the newest good snapshot is older than {objective_seconds} s"))
        }
    }
}

/// The figures of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// What it backs up.
    pub selected: u64,
    /// Of these, with a good snapshot within the objective.
    pub protected: u64,
    /// The others, named, with the reason.
    pub unprotected: Vec<(String, String, String)>,
    /// The end of the newest good backup.
    pub last_success: Option<Timestamp>,
}

impl Fold {
    /// The figures of each policy, by name.
    #[must_use]
    pub fn all(out: &Decision) -> BTreeMap<String, Self> {
        let mut all: BTreeMap<String, Self> =
            out.policies.iter().map(|p| (p.name.clone(), Self::default())).collect();
        let claims = out.claims.iter().map(|(key, c)| ((key.namespace.as_str(), key.name.as_str()), c));
        let folders = out.folders.iter().filter_map(|(id, c)| Some((shown(out.chosen.get(id)?), c)));
        for ((namespace, name), coverage) in claims.chain(folders) {
            match coverage {
                Coverage::Protected { policy, finished } => {
                    let fold = all.entry(policy.clone()).or_default();
                    fold.selected += 1;
                    fold.protected += 1;
                    fold.last_success = fold.last_success.max(Some(*finished));
                }
                Coverage::Unprotected { policy: Some(policy), what, .. } => {
                    let fold = all.entry(policy.clone()).or_default();
                    fold.selected += 1;
                    fold.unprotected.push((namespace.to_owned(), name.to_owned(), what.clone()));
                }
                Coverage::Unprotected { policy: None, .. } | Coverage::Excluded { .. } => {}
            }
        }
        all
    }
}

fn shown(chosen: &Chosen) -> (&str, &str) {
    chosen.shown.split_once(':').unwrap_or(("", &chosen.shown))
}
