//! All decisions of a round, as one plain function: from the cluster and what is known of repositories and nodes to what each node shall
//! do, when what is backed up, and what is protected.
//!
//! 1. A volume goes to the repository of the policy that counts for it; to none if that is not open.
//! 2. What no decision was made for is reported, never passed over.

mod coverage;

use std::collections::{BTreeMap, HashMap, HashSet};

use coordinator::schedule::Rule;
use proto::job::BackupSpec;
use proto::v1::{Access, NodePlan, NodeVolume, Seen, Sighting};
use repository::env::Timestamp;
use repository::manifest::Origin;

use crate::discover::{self, Found};
use crate::limits::PULSE_SECONDS;
use crate::resources::BackupPolicy;
use crate::select::{self, Policy, Verdict};
use crate::world::{Key, World};

pub use coverage::{Coverage, Fold, Why};

/// What is known besides the cluster.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
    /// The cluster's name in identities.
    pub cluster: String,
    /// Repositories by name.
    pub repositories: BTreeMap<String, RepositoryFact>,
    /// Nodes by name.
    pub nodes: HashMap<String, NodeFact>,
    /// Which node read which volume before.
    pub before: HashMap<String, String>,
    /// Volumes that are being restored, and in which domain.
    pub restoring: HashMap<String, String>,
}

/// What is known of a Repository.
#[derive(Clone, Debug)]
pub struct RepositoryFact {
    /// Its domain.
    pub domain: String,
    /// Open, or why not.
    pub open: Result<(), String>,
    /// What opens it, for nodes.
    pub access: Access,
    /// The newest snapshots by volume.
    pub newest: HashMap<String, Newest>,
}

/// The newest snapshots of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The start of the newest complete one.
    pub good: Option<Timestamp>,
    /// Its end.
    pub good_finished: Option<Timestamp>,
    /// The newest of all is not complete.
    pub partial: bool,
}

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeFact {
    /// Its agent attends.
    pub connected: bool,
    /// What it found, by volume.
    pub sightings: HashMap<String, Sighting>,
}

/// A volume that is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The policy that counts: its place in the order.
    pub policy: usize,
    /// The domain that it goes to.
    pub domain: String,
    /// The claim by whose name it goes; none of emptyDirs and folders.
    pub claim: Option<Key>,
    /// What it is called in statuses.
    pub shown: String,
}

/// What was decided.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The policies that make sense, in the order in which they count.
    pub policies: Vec<Policy>,
    /// Those that don't, by name, and why.
    pub wrong: HashMap<String, String>,
    /// Volumes that are backed up.
    pub chosen: BTreeMap<String, Chosen>,
    /// Which node reads which volume.
    pub assigned: HashMap<String, String>,
    /// The plan of each node.
    pub plans: BTreeMap<String, NodePlan>,
    /// Schedules by domain and volume.
    pub schedules: HashMap<String, HashMap<String, (Option<Rule>, BackupSpec)>>,
    /// How each claim stands.
    pub claims: BTreeMap<Key, Coverage>,
    /// How each folder of a node stands, by its volume.
    pub folders: BTreeMap<String, Coverage>,
    /// The volume of each claim.
    pub volumes: HashMap<Key, Vec<String>>,
    /// What was found.
    pub found: Found,
}

/// Decides.
#[must_use]
pub fn decide(world: &World, facts: &Facts) -> Decision {
    let (policies, wrong) = understand(world.policies.values().map(AsRef::as_ref));
    let mut found = discover::discover(world, &facts.cluster, |key, pod, volume| {
        let namespace = world.namespaces.get(&Key::cluster(&key.namespace));
        namespace.is_some_and(|n| policies.iter().any(|p| p.wants_empty_dir(key, pod, volume, n)))
    });
    let mut chosen = BTreeMap::new();
    let folders = choose_folders(world, facts, &policies, (&mut found, &mut chosen));
    let verdicts = choose_claims(world, facts, &policies, (&found, &mut chosen));
    choose_empty_dirs(facts, &policies, world, (&found, &mut chosen));
    let connected: HashSet<String> =
        facts.nodes.iter().filter(|(_, n)| n.connected).map(|(name, _)| name.clone()).collect();
    let wanted = |id: &str| chosen.contains_key(id) || facts.restoring.contains_key(id);
    let assigned = discover::assign(&found, wanted, &facts.before, &connected);
    let mut out = Decision { policies, wrong, chosen, assigned, ..Decision::default() };
    out.plans = plans(world, facts, &found, &out);
    out.schedules = schedules(world, facts, &out);
    let view = coverage::View { world, facts, found: &found };
    out.claims = verdicts.iter().map(|(key, v)| (key.clone(), view.claim(key, v, &out))).collect();
    out.folders = folders.into_iter().map(|id| (id.clone(), view.volume(&id, &out))).collect();
    out.volumes = found.by_claim.clone();
    out.found = found;
    out
}

fn understand<'a>(all: impl Iterator<Item = &'a BackupPolicy>) -> (Vec<Policy>, HashMap<String, String>) {
    let (mut good, mut wrong) = (Vec::new(), HashMap::new());
    for policy in all {
        match Policy::new(policy) {
            Ok(policy) => good.push(policy),
            Err(why) => {
                wrong.insert(policy.metadata.name.clone().unwrap_or_default(), why);
            }
        }
    }
    (select::in_order(good), wrong)
}

/// A verdict that outlives the policies' list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// By the policy at this place.
    Chosen(usize),
    /// Left out.
    Excluded(&'static str),
    /// Nobody selects it.
    NoPolicy,
}

fn domain_of(facts: &Facts, policy: &Policy) -> Option<String> {
    let repository = facts.repositories.get(&policy.repository)?;
    repository.open.is_ok().then(|| repository.domain.clone())
}

fn choose_claims(
    world: &World,
    facts: &Facts,
    policies: &[Policy],
    (found, chosen): (&Found, &mut BTreeMap<String, Chosen>),
) -> BTreeMap<Key, Judged> {
    let mut verdicts = BTreeMap::new();
    for (key, claim) in &world.claims {
        let verdict = select::verdict(world, (key, claim), policies, found.left_out.contains(key));
        let judged = match verdict {
            Verdict::Excluded(why) => Judged::Excluded(why),
            Verdict::NoPolicy => Judged::NoPolicy,
            Verdict::Chosen(name) => {
                policies.iter().position(|p| p.name == name).map_or(Judged::NoPolicy, Judged::Chosen)
            }
        };
        verdicts.insert(key.clone(), judged);
        let Judged::Chosen(at) = judged else { continue };
        let Some(domain) = policies.get(at).and_then(|p| domain_of(facts, p)) else { continue };
        for id in found.by_claim.get(key).into_iter().flatten() {
            let new = Chosen {
                policy: at,
                domain: domain.clone(),
                claim: Some(key.clone()),
                shown: key.to_string(),
            };
            // Of several claims on the same data the one with the policy that counts more, then the first by name.
            match chosen.get_mut(id) {
                Some(known) if known.policy <= at => {}
                Some(known) => *known = new,
                None => {
                    chosen.insert(id.clone(), new);
                }
            }
        }
    }
    verdicts
}

fn choose_folders(
    world: &World,
    facts: &Facts,
    policies: &[Policy],
    (found, chosen): (&mut Found, &mut BTreeMap<String, Chosen>),
) -> Vec<String> {
    let mut all = Vec::new();
    for (at, policy) in policies.iter().enumerate() {
        for (key, node) in &world.nodes {
            for path in policy.folders_of(node) {
                let id = discover::add_folder(found, &facts.cluster, &key.name, path);
                all.push(id.clone());
                let Some(domain) = domain_of(facts, policy) else { continue };
                let shown = format!("{}:{path}", key.name);
                chosen.entry(id).or_insert(Chosen { policy: at, domain, claim: None, shown });
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn choose_empty_dirs(
    facts: &Facts,
    policies: &[Policy],
    world: &World,
    (found, chosen): (&Found, &mut BTreeMap<String, Chosen>),
) {
    use crate::world::VolumeOfPod;
    if policies.iter().all(|p| p.empty_dirs.is_none()) {
        return;
    }
    for (key, pod) in &world.pods {
        let Some(namespace) = world.namespaces.get(&Key::cluster(&key.namespace)) else { continue };
        let Some(node) = &pod.node else { continue };
        for volume in pod.volumes.iter().filter(|v| v.of == VolumeOfPod::EmptyDir) {
            let id = crate::identity::of_empty_dir(&facts.cluster, node, &pod.uid, &volume.name);
            if !found.sites.contains_key(&id) {
                continue;
            }
            let wanted = |p: &&Policy| p.wants_empty_dir(key, pod, &volume.name, namespace);
            let Some(policy) = policies.iter().find(wanted) else { continue };
            let Some(at) = policies.iter().position(|p| p.name == policy.name) else { continue };
            let Some(domain) = domain_of(facts, policy) else { continue };
            let shown = format!("{key}:{}", volume.name);
            chosen.entry(id).or_insert(Chosen { policy: at, domain, claim: None, shown });
        }
    }
}

/// The plan of each node of the cluster: also an empty one, so that what is open is closed.
fn plans(world: &World, facts: &Facts, found: &Found, out: &Decision) -> BTreeMap<String, NodePlan> {
    let empty = || NodePlan { pulse_seconds: PULSE_SECONDS, ..NodePlan::default() };
    let mut plans: BTreeMap<String, NodePlan> =
        world.nodes.keys().map(|key| (key.name.clone(), empty())).collect();
    for (id, site) in &found.sites {
        let chosen = out.chosen.get(id);
        let restoring = facts.restoring.get(id);
        let Some(domain) = restoring.or_else(|| chosen.map(|c| &c.domain)) else { continue };
        let policy = chosen.and_then(|c| out.policies.get(c.policy));
        let volume = NodeVolume {
            volume: id.clone(),
            domain: domain.clone(),
            places: Vec::new(),
            exclude: policy.map(|p| p.exclude.clone()).unwrap_or_default(),
            exclude_caches: policy.is_some_and(|p| p.exclude_caches),
            restore: restoring.is_some(),
        };
        let assigned = out.assigned.get(id);
        for node in &site.leaving {
            // Nothing may be read there any more: what is open must be closed, at once.
            if assigned != Some(node)
                && !site.nodes.contains_key(node)
                && let Some(plan) = plans.get_mut(node)
            {
                plan.volumes.push(volume.clone());
            }
        }
        if let Some((plan, places)) =
            assigned.and_then(|node| Some((plans.get_mut(node)?, site.nodes.get(node)?)))
        {
            let places = places.iter().map(discover::Place::to_wire).collect();
            plan.volumes.push(NodeVolume { places, ..volume });
        }
    }
    for plan in plans.values_mut() {
        let domains: HashSet<&str> = plan.volumes.iter().map(|v| v.domain.as_str()).collect();
        let open =
            facts.repositories.values().filter(|r| r.open.is_ok() && domains.contains(r.domain.as_str()));
        plan.repositories = open.map(|r| r.access.clone()).collect();
    }
    plans
}

fn schedules(
    world: &World,
    facts: &Facts,
    out: &Decision,
) -> HashMap<String, HashMap<String, (Option<Rule>, BackupSpec)>> {
    let open = facts.repositories.values().filter(|r| r.open.is_ok());
    let mut all: HashMap<String, HashMap<_, _>> = open.map(|r| (r.domain.clone(), HashMap::new())).collect();
    for (id, chosen) in &out.chosen {
        let Some(policy) = out.policies.get(chosen.policy) else { continue };
        let rule = (!policy.paused).then(|| Rule {
            volume: id.clone(),
            trigger: policy.trigger.clone(),
            jitter_seconds: policy.jitter_seconds,
        });
        let origin = chosen.claim.as_ref().and_then(|key| origin(world, &facts.cluster, key));
        let spec = BackupSpec { volume: id.clone(), origin, ..BackupSpec::default() };
        if let Some(domain) = all.get_mut(&chosen.domain) {
            domain.insert(id.clone(), (rule, spec));
        }
    }
    all
}

/// What a claim is to its cluster, as its snapshots keep it.
#[must_use]
pub fn origin(world: &World, cluster: &str, key: &Key) -> Option<Origin> {
    let claim = world.claims.get(key)?;
    let volume = world.volume_of(claim);
    let class = claim.class.as_ref().and_then(|name| world.classes.get(&Key::cluster(name)));
    let objects = [
        ("claim", Some(&claim.json)),
        ("volume", volume.map(|v| &v.json)),
        ("class", class.map(|c| &c.json)),
    ];
    let objects = objects.into_iter().filter_map(|(name, json)| Some((name.to_owned(), json?.clone())));
    Some(Origin {
        cluster: cluster.to_owned(),
        namespace: key.namespace.clone(),
        namespace_uid: world.namespaces.get(&Key::cluster(&key.namespace))?.uid.clone(),
        claim: key.name.clone(),
        claim_uid: claim.uid.clone(),
        objects: objects.filter(|(_, json)| !json.is_empty()).collect(),
    })
}

/// What a sighting says, in words.
#[must_use]
pub(crate) fn seen(sighting: &Sighting) -> Seen {
    Seen::try_from(sighting.seen).unwrap_or(Seen::Unspecified)
}

#[cfg(test)]
mod tests;
