//! Where a volume is: from the plan's places and the table of mounts to exactly one folder.
//!
//! 1. A volume that kubelet mounts is where a mount is, exactly: a folder on which nothing is mounted is not the volume, whatever is
//!    in it. (That a folder's device differs from its parent's proves nothing: local volumes are bind mounts of their own disk.)
//! 2. Where two mounts could be it, none is.
//! 3. What kubelet mounts nowhere (emptyDir on the disk, hostPath) is there as long as its pod's folder is.
//!
//! All of it is decided from values, without touching any volume: a dead network file system can't hold the decision up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::mountinfo::{Table, below};
use super::plan::{Place, PodKind, PodPlace};

/// A volume that can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Where, absolute.
    pub(crate) path: PathBuf,
    /// The folder below which no symlink may stand in the way; the path is in it.
    pub(crate) base: PathBuf,
    /// The mount that must be there.
    pub(crate) mount: Option<u64>,
    /// Through which pod.
    pub(crate) pod: Option<String>,
}

/// What there is of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It can be read.
    Ready(Spot),
    /// It is not here.
    Absent(String),
    /// Several mounts could be it.
    Ambiguous(String),
    /// It is there, and must not be read.
    Refused(String),
}

/// What can't be told from the table of mounts, asked of kubelet's own disk only.
pub(crate) trait Folders {
    /// Whether a folder is there, without a symlink on the way to it.
    fn is_folder(&self, base: &Path, path: &Path) -> bool;
}

/// There is nothing but the table of mounts.
pub(crate) struct NoFolders;

impl Folders for NoFolders {
    fn is_folder(&self, _: &Path, _: &Path) -> bool {
        false
    }
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roots<'r> {
    /// Kubelet's folder.
    pub(crate) kubelet: &'r Path,
    /// Folders of the host that are seen at their own paths.
    pub(crate) host: &'r [PathBuf],
}

/// Plugins that are no volumes of anybody's: secrets, and what the pod's specification makes. emptyDir has its own rule.
const NEVER: [&[u8]; 6] = [
    b"kubernetes.io~secret",
    b"kubernetes.io~configmap",
    b"kubernetes.io~projected",
    b"kubernetes.io~downward-api",
    b"kubernetes.io~git-repo",
    EMPTY_DIR,
];
const EMPTY_DIR: &[u8] = b"kubernetes.io~empty-dir";
/// The plugin that mounts one folder further down.
const CSI: &[u8] = b"kubernetes.io~csi";

/// One place of a volume.
pub(crate) fn find(roots: Roots<'_>, place: &Place, table: &Table, folders: &dyn Folders) -> Seen {
    match place {
        Place::Pod(pod) => find_of_pod(roots, pod, table, folders),
        Place::HostPath(path) => find_host_path(roots, path, None, folders),
        Place::Own(path) => match table.find(path.as_os_str().as_bytes()) {
            Some(mount) => ready(path.clone(), PathBuf::from("/"), Some(mount.id), None),
            None => Seen::Absent(format!("nothing is mounted at {}", path.display())),
        },
        Place::Device(path) => {
            Seen::Refused(format!("{}: this version does not back block devices up", path.display()))
        }
    }
}

fn ready(path: PathBuf, base: PathBuf, mount: Option<u64>, pod: Option<&str>) -> Seen {
    Seen::Ready(Spot { path, base, mount, pod: pod.map(str::to_owned) })
}

/// The folder of a pod.
pub(crate) fn pod_folder(kubelet: &Path, uid: &str) -> PathBuf {
    kubelet.join("pods").join(uid)
}

fn find_of_pod(roots: Roots<'_>, place: &PodPlace, table: &Table, folders: &dyn Folders) -> Seen {
    let folder = pod_folder(roots.kubelet, &place.pod);
    let volumes = folder.join("volumes");
    match &place.kind {
        PodKind::Mounted(name) => find_mounted(roots, place, name, &volumes, table),
        PodKind::EmptyDir(name) => {
            let path = volumes.join(OsStr::from_bytes(EMPTY_DIR)).join(name);
            let mount = table.find(path.as_os_str().as_bytes()).map(|m| m.id);
            match mount.is_some() || folders.is_folder(roots.kubelet, &path) {
                true => ready(path, roots.kubelet.to_owned(), mount, Some(&place.pod)),
                false => Seen::Absent(format!("there is no emptyDir {name} of pod {}", place.pod)),
            }
        }
        PodKind::HostPath(path) => match folders.is_folder(roots.kubelet, &folder) {
            true => find_host_path(roots, path, Some(&place.pod), folders),
            false => Seen::Absent(format!("pod {} is not here", place.pod)),
        },
    }
}

fn find_mounted(roots: Roots<'_>, place: &PodPlace, name: &str, volumes: &Path, table: &Table) -> Seen {
    let mut found: Vec<(&[u8], u64)> = Vec::new();
    for mount in table.of_pod(&place.pod).filter(|m| table.is_top(m)) {
        let Some(rest) = below(&mount.point, volumes.as_os_str().as_bytes()) else { continue };
        if is_mount_of(rest, name.as_bytes()) {
            found.push((&mount.point, mount.id));
        }
    }
    match found.as_slice() {
        [] => Seen::Absent(format!("nothing is mounted for {name} of pod {}", place.pod)),
        [(point, id)] => ready(
            PathBuf::from(OsStr::from_bytes(point)),
            roots.kubelet.to_owned(),
            Some(*id),
            Some(&place.pod),
        ),
        several => {
            Seen::Ambiguous(format!("{} mounts are called {name} in pod {}", several.len(), place.pod))
        }
    }
}

/// `<plugin>/<name>`, or `<plugin>/<name>/mount` of the plugin that does so.
fn is_mount_of(rest: &[u8], name: &[u8]) -> bool {
    let mut parts = rest.split(|b| *b == b'/');
    let (plugin, named) = (parts.next().unwrap_or_default(), parts.next());
    let good = match (plugin == CSI, parts.next()) {
        (true, last) => last == Some(b"mount"),
        (false, last) => last.is_none(),
    };
    good && named == Some(name) && parts.next().is_none() && !NEVER.contains(&plugin)
}

fn find_host_path(roots: Roots<'_>, path: &Path, pod: Option<&str>, folders: &dyn Folders) -> Seen {
    let base = roots.host.iter().filter(|base| path.starts_with(base)).max_by_key(|b| b.as_os_str().len());
    let Some(base) = base else {
        return Seen::Refused(format!(
            "{} is not below a folder of the host that the agent has (host_paths)",
            path.display()
        ));
    };
    match folders.is_folder(base, path) {
        true => ready(path.to_owned(), base.clone(), None, pod),
        false => Seen::Absent(format!("there is no folder {}, or a symlink leads there", path.display())),
    }
}

/// Of all that was seen of one volume at its places, what counts: the first that can be read; else the worst.
pub(crate) fn choose(seen: impl IntoIterator<Item = Seen>) -> Seen {
    let rank = |seen: &Seen| match seen {
        Seen::Absent(_) => 0,
        Seen::Ambiguous(_) => 1,
        Seen::Refused(_) => 2,
        Seen::Ready(_) => 3,
    };
    let mut best = Seen::Absent("no place of it is on this node".to_owned());
    for (n, next) in seen.into_iter().enumerate() {
        if n == 0 || rank(&next) > rank(&best) {
            best = next;
        }
        if matches!(best, Seen::Ready(_)) {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests;
