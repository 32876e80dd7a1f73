//! Does the jobs of one domain by children, where its volumes are now.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use proto::job::{JobResult, JobSpec};
use repository::ids::DomainName;
use repository::ops::Task;
use repository::{Error, ErrorKind};
use tokio::sync::{Notify, watch};

use super::child::{End, Errand, Nursery};
use super::find::{Seen, Spot};
use super::mountinfo::Table;
use super::plan::{Access, Place, Plan, PlannedVolume, PodKind};
use super::sights::{Leaving, Sight, Sights};
use crate::executor::{Executor, Outcome};
use crate::limits::LOOK_SECONDS;
use crate::link::changed;
use crate::lookup::Remote;

/// A job goes on through another place at most so often before it is given back.
const PLACES_TRIED_MAX: u32 = 8;

/// What tells where volumes are.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    pub(crate) tables: watch::Receiver<Arc<Table>>,
    pub(crate) sights: watch::Receiver<Arc<Sights>>,
    pub(crate) leaving: Arc<Leaving>,
    pub(crate) again: Arc<Notify>,
}

/// Does the jobs of one domain.
#[derive(Debug)]
pub(crate) struct ChildExecutor {
    pub(crate) domain: DomainName,
    pub(crate) access: RwLock<Arc<Access>>,
    pub(crate) watches: Watches,
    pub(crate) nursery: Arc<Nursery>,
    pub(crate) lookups: Arc<Remote>,
}

impl ChildExecutor {
    /// Jobs that begin from now on use this.
    pub(crate) fn set_access(&self, access: Arc<Access>) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Where a job works, or why it can't here.
    fn find(&self, spec: &JobSpec) -> Result<(Arc<PlannedVolume>, Spot), String> {
        let sights = self.watches.sights.borrow().clone();
        let sight = match spec {
            JobSpec::Backup(spec) => sights.find(&self.domain, &spec.volume),
            JobSpec::Restore(spec) => sights.volumes.iter().find(|s| self.is_target(s, &spec.target)),
        };
        let Some(Sight { volume, seen }) = sight else { return Err("its volume is not here".to_owned()) };
        match seen {
            Seen::Ready(spot) => Ok((volume.clone(), spot.clone())),
            Seen::Absent(why) | Seen::Ambiguous(why) | Seen::Refused(why) => Err(why.clone()),
        }
    }

    fn is_target(&self, sight: &Sight, target: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        let Seen::Ready(spot) = &sight.seen else { return false };
        let below = service::paths::is_below(target, spot.path.as_os_str().as_bytes());
        sight.volume.restore && sight.volume.domain == self.domain && below
    }

    /// Waits until the volume must be let go, and says why.
    async fn must_let_go(&self, volume: &PlannedVolume, spot: &Spot) -> String {
        let Watches { mut plan, mut tables, mut sights, leaving, again: _ } = self.watches.clone();
        loop {
            if let Some(why) = left(spot, &tables.borrow_and_update(), &leaving) {
                return why;
            }
            if !is_planned(volume, spot, &plan.borrow_and_update()) {
                return "the plan no longer has it there".to_owned();
            }
            if let Some(why) = gone(volume, spot, &sights.borrow_and_update()) {
                return why;
            }
            tokio::select! {
                () = changed(&mut tables) => {}
                () = changed(&mut plan) => {}
                () = changed(&mut sights) => {}
            }
        }
    }

    /// Has all looked at again, once.
    async fn look_again(&self) {
        let mut sights = self.watches.sights.clone();
        sights.mark_unchanged();
        self.watches.again.notify_one();
        // A look may have been under way: it counts, too, since it is told after the table.
        let patience = Duration::from_secs(LOOK_SECONDS);
        let _late = tokio::time::timeout(patience, sights.changed()).await;
    }
}

/// Whether a table, or what was seen of the pod, says that the volume has left, or is about to.
fn left(spot: &Spot, table: &Table, leaving: &Leaving) -> Option<String> {
    use std::os::unix::ffi::OsStrExt as _;
    if let Some(pod) = spot.pod.as_deref().filter(|pod| leaving.has(pod)) {
        return Some(format!("pod {pod} is being taken down"));
    }
    let mount = spot.mount?;
    let now = table.find(spot.path.as_os_str().as_bytes()).map(|m| m.id);
    (now != Some(mount)).then(|| format!("{} was unmounted", spot.path.display()))
}

/// Whether the plan has this place of the volume.
fn is_planned(volume: &PlannedVolume, spot: &Spot, plan: &Plan) -> bool {
    let now = plan.volumes.iter().find(|v| v.domain == volume.domain && v.name == volume.name);
    let is_it = |place: &Place| match place {
        Place::Pod(pod) => {
            let same = !matches!(&pod.kind, PodKind::HostPath(path) if *path != spot.path);
            spot.pod.as_deref() == Some(&pod.pod) && same
        }
        Place::HostPath(path) | Place::Own(path) | Place::Device(path) => {
            spot.pod.is_none() && spot.path == *path
        }
    };
    now.is_some_and(|v| v.places.iter().any(is_it))
}

/// Whether the last look at folders, which no table has, did not find the volume any more.
fn gone(volume: &PlannedVolume, spot: &Spot, sights: &Sights) -> Option<String> {
    if spot.mount.is_some() {
        return None;
    }
    match sights.find(&volume.domain, &volume.name).map(|s| &s.seen) {
        Some(Seen::Absent(why) | Seen::Ambiguous(why) | Seen::Refused(why)) => Some(why.clone()),
        Some(Seen::Ready(_)) | None => None,
    }
}

#[async_trait]
impl Executor for ChildExecutor {
    async fn execute(&self, spec: &JobSpec, task: &Task) -> Outcome {
        let mut let_go = None;
        for _ in 0..PLACES_TRIED_MAX {
            let (volume, spot) = match self.find(spec) {
                Ok(found) => found,
                // Why it was let go says more than that it is gone.
                Err(why) => return Outcome::Returned(let_go.unwrap_or(why)),
            };
            let access = self.access.read().unwrap_or_else(PoisonError::into_inner).clone();
            let errand =
                Errand { access: &access, volume: &volume, spot: &spot, spec, lookups: self.lookups.clone() };
            let must = self.must_let_go(&volume, &spot);
            let end = self.nursery.run(&errand, task, must).await;
            if task.cancel.is_cancelled() {
                return match end {
                    End::Result(result) => Outcome::Ended(result),
                    End::LetGo(_) => {
                        let e = Error::new(ErrorKind::Cancelled, "cancelled");
                        JobResult::failed(&e, task.monitor.figures()).into()
                    }
                };
            }
            match end {
                End::LetGo(why) => let_go = Some(why),
                // What failed because the volume left meanwhile has not failed.
                End::Result(result) if result.failure.is_some() => {
                    self.look_again().await;
                    match left(&spot, &self.watches.tables.borrow(), &self.watches.leaving) {
                        Some(why) => let_go = Some(why),
                        None => return Outcome::Ended(result),
                    }
                }
                End::Result(result) => return Outcome::Ended(result),
            }
            self.look_again().await;
        }
        Outcome::Returned(let_go.unwrap_or_else(|| "its volume keeps moving".to_owned()))
    }
}

#[cfg(test)]
mod tests;
