//! Statuses of policies: how much each protects, and what it does not.

use std::sync::Arc;

use kube::{Api, ResourceExt as _};

use super::{Tools, Writer, write};
use crate::decide::{Decision, Facts, Fold};
use crate::limits::UNCOVERED_SHOWN_MAX;
use crate::resources::{BackupPolicy, BackupPolicyStatus, Conditions as _, Standing, Uncovered};
use crate::world::Key;

/// Writes them where they differ.
pub(super) async fn tell(tools: &Tools, (decision, facts): (&Decision, &Facts), writer: &mut Writer) {
    let all: Vec<Arc<BackupPolicy>> = tools.watched.read().policies.values().cloned().collect();
    let folds = Fold::all(decision);
    let none = Fold::default();
    for object in all {
        let name = object.name_any();
        let fold = folds.get(&name).unwrap_or(&none);
        let status = status(&object, (decision, facts), fold, writer);
        let old = object.status.as_ref();
        if old == Some(&status) {
            continue;
        }
        // Figures change all the time; what somebody waits for is written at once.
        let same = old.is_some_and(|o| {
            o.observed_generation == status.observed_generation && o.conditions == status.conditions
        });
        if same && !writer.paces("BackupPolicy", &Key::cluster(&name)) {
            continue;
        }
        let new = BackupPolicy { status: Some(status), ..(*object).clone() };
        let api: Api<BackupPolicy> = Api::all(tools.client.clone());
        writer.put_status(&api, &new).await;
    }
}

fn status(
    object: &BackupPolicy,
    (decision, facts): (&Decision, &Facts),
    fold: &Fold,
    writer: &Writer,
) -> BackupPolicyStatus {
    let mut status = object.status.clone().unwrap_or_default();
    let (observed, now) = (object.metadata.generation, writer.now());
    let repository = &object.spec.repository;
    let ready = match (decision.wrong.get(&object.name_any()), facts.repositories.get(repository)) {
        (Some(why), _) => Standing::no("Ready", "InvalidSpec", why),
        (None, None) => {
            Standing::no("Ready", "RepositoryNotFound", format!("there is no Repository {repository}"))
        }
        (None, Some(fact)) => match &fact.open {
            Err(why) => {
                Standing::no("Ready", "RepositoryNotReady", format!("Repository {repository}: {why}"))
            }
            Ok(()) if object.spec.paused => Standing::yes("Ready", "Paused", "no backups by the schedule"),
            Ok(()) => Standing::yes("Ready", "Scheduled", ""),
        },
    };
    let open = fold.unprotected.len();
    let protected = match (open, fold.selected) {
        (0, 0) => Standing::yes("Protected", "NothingSelected", "it selects nothing"),
        (0, _) => Standing::yes("Protected", "AllWithinObjective", ""),
        _ => {
            let first = fold.unprotected.first().map(|(ns, name, why)| format!("{ns}/{name}: {why}"));
            let what = format!("{open} of {} are not: {}", fold.selected, first.unwrap_or_default());
            Standing::no("Protected", "Unprotected", what)
        }
    };
    status.conditions.put(ready, observed, now.clone());
    status.conditions.put(protected, observed, now);
    let count = |n: u64| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let uncovered =
        fold.unprotected.iter().take(UNCOVERED_SHOWN_MAX).map(|(namespace, name, reason)| Uncovered {
            namespace: namespace.clone(),
            name: name.clone(),
            reason: reason.chars().take(200).collect(),
        });
    BackupPolicyStatus {
        conditions: status.conditions,
        observed_generation: observed,
        selected: count(fold.selected),
        protected: count(fold.protected),
        unprotected: count(open as u64),
        last_success: fold.last_success.map(write::text).or(status.last_success),
        unprotected_claims: uncovered.collect(),
    }
}
