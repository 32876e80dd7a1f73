//! Which volumes there are, and where they can be read: from pods to claims to volumes to places on nodes. Plain functions over values.
//!
//! 1. Only pods that run and are not being deleted are a place: of others nothing is mounted, or it must be let go of.
//! 2. A volume that several nodes have is one volume; it is given to one node at a time, and stays there while it can.
//! 3. What can't be found is named with the reason: a volume that is passed over in silence is one that nobody knows to be lost.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proto::v1::{PodPlace, VolumePlace, volume_place};

use crate::identity;
use crate::select::is_left_out;
use crate::world::{Claim, Key, Pod, PodPhase, Source, Volume, VolumeOfPod, World};

/// A volume of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// The claims that have it, by name; none of emptyDirs and folders of nodes.
    pub claims: BTreeSet<Key>,
    /// Where it can be read now, by node.
    pub nodes: BTreeMap<String, Vec<Place>>,
    /// Nodes where only pods have it that are being deleted.
    pub leaving: BTreeSet<String>,
    /// It is a device, not a file system.
    pub block: bool,
}

/// A place where a volume may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pod.
    Pod {
        /// The pod's uid.
        uid: String,
        /// The persistent volume; an emptyDir as the pod calls it.
        name: String,
        /// An emptyDir.
        ephemeral: bool,
        /// Of a hostPath volume, which kubelet mounts nowhere.
        host_path: Option<String>,
    },
    /// A folder of the node.
    Node(String),
}

impl Place {
    /// As it goes over the wire.
    #[must_use]
    pub fn to_wire(&self) -> VolumePlace {
        let place = match self {
            Self::Pod { uid, name, ephemeral, host_path } => volume_place::Place::Pod(PodPlace {
                pod_uid: uid.clone(),
                name: name.clone(),
                ephemeral: *ephemeral,
                host_path: host_path.clone().unwrap_or_default().into_bytes().into(),
            }),
            Self::Node(path) => volume_place::Place::HostPath(path.clone().into_bytes().into()),
        };
        VolumePlace { place: Some(place) }
    }
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Volumes by their identity.
    pub sites: BTreeMap<String, Site>,
    /// The identities of each claim's volume: one, but for folders of nodes that several nodes have.
    pub by_claim: HashMap<Key, Vec<String>>,
    /// Claims that a pod's annotation leaves out.
    pub left_out: HashSet<Key>,
    /// Claims whose volume can't be named, and why.
    pub unknown: HashMap<Key, &'static str>,
}

/// Finds all volumes of claims. `wants` says which emptyDirs are looked at.
#[must_use]
pub fn discover(world: &World, cluster: &str, wants: impl Fn(&Key, &Pod, &str) -> bool) -> Found {
    let mut found = Found::default();
    let hosts = hosts(world);
    for (key, pod) in &world.pods {
        if pod.phase == PodPhase::Ended {
            continue;
        }
        for volume in &pod.volumes {
            match &volume.of {
                VolumeOfPod::Claim(name) => {
                    let claim = Key::new(&key.namespace, name);
                    if is_left_out(pod, &volume.name) {
                        found.left_out.insert(claim.clone());
                    }
                    found.add_claim(world, (cluster, pod), claim);
                }
                VolumeOfPod::EmptyDir if wants(key, pod, &volume.name) => {
                    let Some(node) = &pod.node else { continue };
                    let id = identity::of_empty_dir(cluster, node, &pod.uid, &volume.name);
                    let place = (volume.name.clone(), true, None);
                    found.sites.entry(id).or_default().add_pod(pod, node, place);
                }
                VolumeOfPod::EmptyDir => {}
            }
        }
    }
    for (key, claim) in &world.claims {
        if !found.by_claim.contains_key(key) && !found.unknown.contains_key(key) {
            found.add_unmounted(world, cluster, (key, claim), &hosts);
        }
    }
    found
}

/// Nodes by their host name, which is what volumes are bound to.
fn hosts(world: &World) -> HashMap<&str, &str> {
    let label = "kubernetes.io/hostname";
    world
        .nodes
        .iter()
        .filter_map(|(key, n)| Some((n.labels.get(label)?.as_str(), key.name.as_str())))
        .collect()
}

/// Adds folders of nodes that policies name.
pub fn add_folder(found: &mut Found, cluster: &str, node: &str, path: &str) -> String {
    let id = identity::of_node_path(cluster, node, path);
    let site = found.sites.entry(id.clone()).or_default();
    site.nodes.insert(node.to_owned(), vec![Place::Node(path.to_owned())]);
    id
}

impl Found {
    fn add_claim(&mut self, world: &World, (cluster, pod): (&str, &Pod), key: Key) {
        let (Some(claim), Some(node)) = (world.claims.get(&key), &pod.node) else { return };
        let (Some(name), Some(volume)) = (&claim.volume, world.volume_of(claim)) else { return };
        let Some(id) = identity::of_source(cluster, node, &volume.source) else {
            self.unknown.insert(key, UNKNOWN_KIND);
            return;
        };
        let host_path = match &volume.source {
            Source::HostPath { path } => Some(path.clone()),
            _ => None,
        };
        let site = self.site(id, key, claim);
        site.add_pod(pod, node, (name.clone(), false, host_path));
    }

    fn add_unmounted(
        &mut self,
        world: &World,
        cluster: &str,
        (key, claim): (&Key, &Claim),
        hosts: &HashMap<&str, &str>,
    ) {
        let Some(volume) = world.volume_of(claim) else { return };
        let node = match (is_of_a_node(volume), volume.hosts.as_slice()) {
            (false, _) => "",
            (true, [host]) => hosts.get(host.as_str()).copied().unwrap_or(host),
            (true, _) => {
                self.unknown.insert(key.clone(), "no pod mounts it, and nothing says on which node it is");
                return;
            }
        };
        match identity::of_source(cluster, node, &volume.source) {
            Some(id) => {
                self.site(id, key.clone(), claim);
            }
            None => {
                self.unknown.insert(key.clone(), UNKNOWN_KIND);
            }
        }
    }

    fn site(&mut self, id: String, key: Key, claim: &Claim) -> &mut Site {
        let ids = self.by_claim.entry(key.clone()).or_default();
        if !ids.contains(&id) {
            ids.push(id.clone());
        }
        let site = self.sites.entry(id).or_default();
        site.claims.insert(key);
        site.block |= claim.block;
        site
    }
}

const UNKNOWN_KIND: &str = "its kind of volume is not supported";

fn is_of_a_node(volume: &Volume) -> bool {
    matches!(volume.source, Source::Local { .. } | Source::HostPath { .. })
}

impl Site {
    fn add_pod(
        &mut self,
        pod: &Pod,
        node: &str,
        (name, ephemeral, host_path): (String, bool, Option<String>),
    ) {
        if pod.deleting {
            self.leaving.insert(node.to_owned());
        } else if pod.phase == PodPhase::Running {
            let place = Place::Pod { uid: pod.uid.clone(), name, ephemeral, host_path };
            let places = self.nodes.entry(node.to_owned()).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
}

/// Which node reads which volume: of those that have it, where it was before if it still can, else one that is connected, and of
/// these one with little to do.
#[must_use]
pub fn assign(
    found: &Found,
    wanted: impl Fn(&str) -> bool,
    before: &HashMap<String, String>,
    connected: &HashSet<String>,
) -> HashMap<String, String> {
    let mut load: HashMap<&str, usize> = HashMap::new();
    let mut out = HashMap::new();
    let sites =
        || found.sites.iter().filter(|(id, site)| !site.block && wanted(id) && !site.nodes.is_empty());
    // Those that have no choice first, so that the others can be spread around them.
    let (settled, open): (Vec<_>, Vec<_>) = sites().partition(|(id, site)| {
        let there = before.get(*id).is_some_and(|n| site.nodes.contains_key(n) && connected.contains(n));
        there || site.nodes.len() == 1
    });
    for (id, site) in settled.into_iter().chain(open) {
        let stays = before.get(id).filter(|n| site.nodes.contains_key(*n) && connected.contains(*n));
        let least = || {
            let of = |n: &&String| (!connected.contains(*n), load.get(n.as_str()).copied().unwrap_or(0));
            site.nodes.keys().min_by_key(of)
        };
        if let Some((node, _)) = stays.or_else(least).and_then(|n| site.nodes.get_key_value(n)) {
            *load.entry(node).or_default() += 1;
            out.insert(id.clone(), node.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests;
