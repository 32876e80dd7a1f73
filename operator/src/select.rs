//! Which policy counts for which claim. Plain functions over values.
//!
//! Of several policies that select a claim, the one with the highest `priority` counts; of equals the oldest, then the first by name. What
//! Velero's users say keeps its meaning: the label `velero.io/exclude-from-backup: "true"` of a claim, its volume or its namespace leaves it
//! out, and so do the annotations `backup.velero.io/backup-volumes-excludes` of the pods that mount it.

use coordinator::config::ScheduleLayer;
use coordinator::glob::matches;
use coordinator::schedule::Trigger;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use crate::quantity;
use crate::resources::{BackupPolicy, Span};
use crate::world::{Claim, ClaimPhase, Key, Labels, Namespace, Node, Pod, World};

/// Leaves a claim, volume or namespace out.
pub const EXCLUDE_LABEL: &str = "velero.io/exclude-from-backup";
/// Volumes of a pod that are left out, by the pod's names for them.
pub const EXCLUDES_ANNOTATION: &str = "backup.velero.io/backup-volumes-excludes";
/// Volumes of a pod that are wanted, by the pod's names for them.
pub const INCLUDES_ANNOTATION: &str = "backup.velero.io/backup-volumes";
/// The objective of a policy with a cron schedule that names none: a day, and what a day's backup may take.
const OBJECTIVE_SECONDS: u64 = 26 * 3600;

/// A policy that makes sense.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The Repository.
    pub repository: String,
    /// When.
    pub trigger: Trigger,
    /// Spreads the starts.
    pub jitter_seconds: u64,
    /// No backups by the schedule.
    pub paused: bool,
    /// How old the newest good snapshot may be.
    pub objective_seconds: u64,
    /// What is left out of volumes.
    pub exclude: Vec<String>,
    /// Caches are left out.
    pub exclude_caches: bool,
    /// Folders of nodes: the path, and which nodes.
    pub host_paths: Vec<(String, Selector)>,
    /// EmptyDirs of these pods, if of any.
    pub empty_dirs: Option<Selector>,
    order: (i32, String, String),
    which: Which,
}

/// Which claims a policy selects.
#[derive(Clone, Debug)]
struct Which {
    namespaces: Vec<String>,
    exclude_namespaces: Vec<String>,
    namespace_labels: Selector,
    claim_labels: Selector,
    classes: Vec<String>,
    bytes_min: u64,
    bytes_max: u64,
    annotations: Labels,
}

/// What is decided of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The policy that counts.
    Chosen(&'a str),
    /// Somebody wants it left out, or there is nothing to back up; why.
    Excluded(&'static str),
    /// No policy selects it.
    NoPolicy,
}

impl Policy {
    /// Understands a policy; or says what is wrong with it.
    pub fn new(policy: &BackupPolicy) -> Result<Self, String> {
        let (spec, meta) = (&policy.spec, &policy.metadata);
        let seconds = |name: &str, span: &Option<Span>| {
            let seconds = span.as_ref().map(Span::seconds).transpose();
            seconds.map_err(|e| format!("{name}: {e}"))
        };
        let max_age = seconds("schedule.maxAge", &spec.schedule.max_age)?;
        let schedule = ScheduleLayer {
            max_age_seconds: max_age,
            cron: spec.schedule.cron.clone(),
            ..ScheduleLayer::default()
        };
        let zone = spec.schedule.time_zone.as_deref().unwrap_or("UTC");
        let zone = jiff::tz::TimeZone::get(zone).map_err(|e| format!("schedule.timeZone {zone}: {e}"))?;
        let trigger = schedule.trigger(&zone).map_err(|e| format!("schedule: {e}"))?;
        let objective = seconds("objective", &spec.objective)?;
        let standard = max_age.map_or(OBJECTIVE_SECONDS, |age| age.saturating_add(age / 2));
        let host_paths = spec.host_paths.iter().map(|h| {
            let path = h.path.trim_end_matches('/');
            if !path.starts_with('/') || path.split('/').any(|p| matches!(p, "." | "..")) {
                return Err(format!("hostPaths: {:?} is no absolute path", h.path));
            }
            Ok((path.to_owned(), selector("hostPaths.nodeSelector", h.node_selector.as_ref())?))
        });
        let created = meta.creation_timestamp.as_ref().map(|t| t.0.to_string()).unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        Ok(Self {
            repository: spec.repository.clone(),
            trigger,
            jitter_seconds: seconds("schedule.jitter", &spec.schedule.jitter)?.unwrap_or(0),
            paused: spec.paused,
            objective_seconds: objective.unwrap_or(standard),
            exclude: spec.exclude.clone(),
            exclude_caches: spec.exclude_caches,
            host_paths: host_paths.collect::<Result<_, _>>()?,
            empty_dirs: match &spec.empty_dirs {
                Some(e) => Some(selector("emptyDirs.podSelector", e.pod_selector.as_ref())?),
                None => None,
            },
            order: (spec.priority.saturating_neg(), created, name.clone()),
            which: Which::new(policy)?,
            name,
        })
    }

    /// Whether it is about this namespace.
    fn is_about(&self, name: &str, namespace: &Namespace) -> bool {
        let which = &self.which;
        let any = |all: &[String]| all.iter().any(|pattern| matches(pattern, name));
        (which.namespaces.is_empty() || any(&which.namespaces))
            && !any(&which.exclude_namespaces)
            && which.namespace_labels.matches(&namespace.labels)
    }

    fn selects(&self, key: &Key, claim: &Claim, namespace: &Namespace) -> bool {
        let which = &self.which;
        let class = claim.class.as_deref().unwrap_or_default();
        self.is_about(&key.namespace, namespace)
            && which.claim_labels.matches(&claim.labels)
            && (which.classes.is_empty() || which.classes.iter().any(|c| matches(c, class)))
            && (which.bytes_min..=which.bytes_max).contains(&claim.bytes)
            && which.annotations.iter().all(|(name, value)| claim.annotations.get(name) == Some(value))
    }

    /// Whether it wants this emptyDir of a pod.
    #[must_use]
    pub fn wants_empty_dir(&self, key: &Key, pod: &Pod, volume: &str, namespace: &Namespace) -> bool {
        let Some(pods) = &self.empty_dirs else { return false };
        self.is_about(&key.namespace, namespace)
            && !names(pod, EXCLUDES_ANNOTATION, volume)
            && (pods.matches(&pod.labels) || names(pod, INCLUDES_ANNOTATION, volume))
    }

    /// Folders of this node that it wants.
    pub fn folders_of<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a str> {
        self.host_paths.iter().filter(|(_, nodes)| nodes.matches(&node.labels)).map(|(path, _)| path.as_str())
    }
}

impl Which {
    fn new(policy: &BackupPolicy) -> Result<Self, String> {
        let s = &policy.spec.selector;
        let size = |name: &str, text: &Option<String>| match text {
            Some(text) => {
                quantity::bytes(text).map(Some).ok_or_else(|| format!("{name}: {text:?} is no size"))
            }
            None => Ok(None),
        };
        Ok(Self {
            namespaces: s.namespaces.clone(),
            exclude_namespaces: s.exclude_namespaces.clone(),
            namespace_labels: selector("selector.namespaceSelector", s.namespace_selector.as_ref())?,
            claim_labels: selector("selector.claimSelector", s.claim_selector.as_ref())?,
            classes: s.storage_classes.clone(),
            bytes_min: size("selector.sizeMin", &s.size_min)?.unwrap_or(0),
            bytes_max: size("selector.sizeMax", &s.size_max)?.unwrap_or(u64::MAX),
            annotations: s.annotations.clone(),
        })
    }
}

fn selector(name: &str, of: Option<&LabelSelector>) -> Result<Selector, String> {
    of.cloned().unwrap_or_default().try_into().map_err(|e| format!("{name}: {e}"))
}

/// Policies in the order in which they count.
#[must_use]
pub fn in_order(mut policies: Vec<Policy>) -> Vec<Policy> {
    policies.sort_by(|a, b| a.order.cmp(&b.order));
    policies
}

/// True if the pod's annotation, a list with commas, names its volume.
fn names(pod: &Pod, annotation: &str, volume: &str) -> bool {
    pod.annotations.get(annotation).is_some_and(|list| list.split(',').any(|name| name.trim() == volume))
}

/// True if a pod's annotation leaves out its volume of this name.
#[must_use]
pub fn is_left_out(pod: &Pod, volume: &str) -> bool {
    names(pod, EXCLUDES_ANNOTATION, volume)
}

/// Decides of one claim. `policies` are in order; `left_out` says that a pod that mounts it leaves it out.
#[must_use]
pub fn verdict<'a>(
    world: &World,
    (key, claim): (&Key, &Claim),
    policies: &'a [Policy],
    left_out: bool,
) -> Verdict<'a> {
    let Some(namespace) = world.namespaces.get(&Key::cluster(&key.namespace)) else {
        return Verdict::NoPolicy;
    };
    let says = |labels: &Labels| labels.get(EXCLUDE_LABEL).is_some_and(|v| v == "true");
    if says(&claim.labels) {
        return Verdict::Excluded("its label velero.io/exclude-from-backup");
    }
    if says(&namespace.labels) {
        return Verdict::Excluded("its namespace's label velero.io/exclude-from-backup");
    }
    if world.volume_of(claim).is_some_and(|v| says(&v.labels)) {
        return Verdict::Excluded("its volume's label velero.io/exclude-from-backup");
    }
    if left_out {
        return Verdict::Excluded("a pod's annotation backup.velero.io/backup-volumes-excludes");
    }
    if claim.deleting || namespace.deleting {
        return Verdict::Excluded("it is being deleted");
    }
    if claim.phase == ClaimPhase::Pending {
        return Verdict::Excluded("it has no volume yet");
    }
    match policies.iter().find(|p| p.selects(key, claim, namespace)) {
        Some(policy) => Verdict::Chosen(&policy.name),
        None => Verdict::NoPolicy,
    }
}

#[cfg(test)]
mod tests;
