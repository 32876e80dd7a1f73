//! What is where now: the table of mounts and what it means for the plan, told to all who wait for changes.
//!
//! 1. The table is told first: letting go of a volume must not wait for anything else.
//! 2. A pod of which a mount vanished is being taken down: its volumes are let go, and left alone for some time. Kubelet's next try to
//!    unmount them must not find them open.
//! 3. No volume is opened or touched here.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use repository::ids::DomainName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::find::{Folders, Roots, Seen, choose, find};
use super::mountinfo::Table;
use super::open;
use super::plan::{Plan, PlannedVolume};
use crate::limits::{LEAVING_SECONDS, LOOK_SECONDS, MOUNTS_BYTES_MAX, MOUNTS_PAUSE_MILLIS};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One volume of the plan, and what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) volume: Arc<PlannedVolume>,
    pub(crate) seen: Seen,
}

/// What there is of the whole plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights {
    /// Grows with each look.
    pub(crate) number: u64,
    /// Of the plan.
    pub(crate) revision: u64,
    pub(crate) volumes: Vec<Sight>,
    /// Volumes that the plan itself refuses, and why.
    pub(crate) refused: Vec<(String, String)>,
    pub(super) places: HashMap<(DomainName, String), usize>,
}

impl Sights {
    fn new(number: u64, plan: &Plan, volumes: Vec<Sight>) -> Self {
        let keys = volumes.iter().enumerate();
        let places = keys.map(|(n, s)| ((s.volume.domain.clone(), s.volume.name.clone()), n)).collect();
        Self { number, revision: plan.revision, volumes, refused: plan.refused.clone(), places }
    }

    /// Of one volume of a domain.
    pub(crate) fn find(&self, domain: &DomainName, volume: &str) -> Option<&Sight> {
        self.places.get(&(domain.clone(), volume.to_owned())).and_then(|n| self.volumes.get(*n))
    }
}

/// Pods that are being taken down, as far as the table of mounts tells.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Mutex<HashMap<String, Instant>>);

impl Leaving {
    fn add(&self, pods: impl IntoIterator<Item = String>, now: Instant) {
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|_, since| now.duration_since(*since) < Duration::from_secs(LEAVING_SECONDS));
        leaving.extend(pods.into_iter().map(|pod| (pod, now)));
    }

    /// Whether this one is.
    pub(crate) fn has(&self, pod: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(pod)
    }
}

/// Those of the plan's pods that lost a mount between two tables.
fn lost(plan: &Plan, before: &Table, now: &Table) -> Vec<String> {
    let pods = plan.volumes.iter().flat_map(|v| &v.places).filter_map(super::plan::Place::pod);
    let pods: HashSet<&str> = pods.collect();
    let ids = |table: &Table, pod: &str| table.of_pod(pod).map(|m| m.id).collect::<HashSet<_>>();
    let lost = |pod: &&str| !ids(before, pod).is_subset(&ids(now, pod));
    pods.into_iter().filter(lost).map(str::to_owned).collect()
}

/// All of a plan's volumes. Pure but for kubelet's own folders, of which `folders` knows.
pub(crate) fn look(
    plan: &Plan,
    table: &Table,
    roots: Roots<'_>,
    folders: &dyn Folders,
    leaving: &dyn Fn(&str) -> bool,
) -> Vec<Sight> {
    let of = |volume: &Arc<PlannedVolume>| {
        let seen = volume.places.iter().map(|place| match place.pod().filter(|pod| leaving(pod)) {
            Some(pod) => Seen::Absent(format!("pod {pod} is being taken down")),
            None => find(roots, place, table, folders),
        });
        Sight { volume: volume.clone(), seen: choose(seen) }
    };
    plan.volumes.iter().map(of).collect()
}

/// Kubelet's disk.
struct Disk;

impl Folders for Disk {
    fn is_folder(&self, base: &Path, path: &Path) -> bool {
        open::is_folder(base, path)
    }
}

/// Looks again whenever something changed.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) kubelet: PathBuf,
    pub(crate) host: Vec<PathBuf>,
    /// Why nothing may be read, if so.
    pub(crate) refusal: Option<String>,
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    pub(crate) tables: watch::Sender<Arc<Table>>,
    pub(crate) sights: watch::Sender<Arc<Sights>>,
    pub(crate) leaving: Arc<Leaving>,
    pub(crate) again: Arc<Notify>,
}

impl Watcher {
    /// Until `shutdown`. Without a way to hear of mounts it looks every few seconds only.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        // A thread, since it waits by poll(2); it ends with the last receiver.
        let (changed, mut events) = mpsc::channel(1);
        let listening = std::thread::Builder::new().name("mounts".to_owned()).spawn(move || listen(&changed));
        if let Err(error) = listening {
            tracing::error!(%error, "changes of mounts are not told");
        }
        self.look().await;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = events.recv() => {}
                changed = self.plan.changed() => if changed.is_err() { return },
                () = self.again.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
            }
            self.look().await;
            tokio::time::sleep(Duration::from_millis(MOUNTS_PAUSE_MILLIS)).await;
        }
    }

    async fn look(&mut self) {
        let plan = self.plan.borrow_and_update().clone();
        let pods = self.kubelet.join("pods");
        let read = tokio::task::spawn_blocking(move || read_table(&pods)).await;
        let table = match read.map_err(std::io::Error::other).flatten() {
            Ok(table) => Arc::new(table),
            Err(error) => {
                tracing::error!(%error, "the table of mounts can't be read; nothing is taken for mounted");
                Arc::default()
            }
        };
        let before = self.tables.borrow().clone();
        self.leaving.add(lost(&plan, &before, &table), Instant::now());
        self.tables.send_if_modified(|known| {
            let changed = **known != *table;
            *known = table.clone();
            changed
        });
        let (kubelet, host, leaving) = (self.kubelet.clone(), self.host.clone(), self.leaving.clone());
        let about = plan.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let roots = Roots { kubelet: &kubelet, host: &host };
            look(&about, &table, roots, &Disk, &|pod| leaving.has(pod))
        });
        let Ok(mut volumes) = looked.await else { return };
        if let Some(why) = &self.refusal {
            for sight in &mut volumes {
                sight.seen = Seen::Refused(why.clone());
            }
        }
        self.sights.send_modify(|known| {
            let next = Sights::new(known.number + 1, &plan, volumes);
            *known = Arc::new(next);
        });
    }
}

/// Tells of every change of mounts, until nobody listens.
fn listen(changed: &mpsc::Sender<()>) {
    let file = match std::fs::File::open(MOUNTINFO) {
        Ok(file) => file,
        Err(error) => return tracing::error!(%error, "changes of mounts are not told"),
    };
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    while !changed.is_closed() {
        // The kernel marks a table that has changed since the last call as exceptional.
        let mut polled = [PollFd::new(&file, PollFlags::PRI)];
        match poll(&mut polled, Some(&patience)) {
            // One that waits already is as good.
            Ok(n) if n > 0 => drop(changed.try_send(())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return tracing::error!(%error, "changes of mounts are not told"),
        }
    }
}

fn read_table(pods: &Path) -> std::io::Result<Table> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = Vec::new();
    std::fs::File::open(MOUNTINFO)?.take(MOUNTS_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Table::parse(&text, pods.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests;
