//! Which mount is the volume, and when none is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Folders, Roots, Seen, choose, find};
use crate::node::mountinfo::Table;
use crate::node::plan::{Place, PodKind, PodPlace};

const KUBELET: &str = "/var/lib/kubelet";

/// Folders that are said to be there.
#[derive(Default)]
struct There(HashSet<PathBuf>);

impl Folders for There {
    fn is_folder(&self, base: &Path, path: &Path) -> bool {
        path.starts_with(base) && self.0.contains(path)
    }
}

fn table(points: &[&str]) -> Table {
    let lines = points.iter().enumerate().map(|(n, p)| format!("{} 1 8:1 / {p} rw - ext4 d rw\n", n + 10));
    Table::parse(lines.collect::<String>().as_bytes(), format!("{KUBELET}/pods").as_bytes())
}

fn look(place: &Place, points: &[&str], there: &[&str]) -> Seen {
    let there = There(there.iter().map(PathBuf::from).collect());
    let host = [PathBuf::from(KUBELET), PathBuf::from("/data")];
    find(Roots { kubelet: Path::new(KUBELET), host: &host }, place, &table(points), &there)
}

fn pod(kind: PodKind) -> Place {
    Place::Pod(PodPlace { pod: "u-1".into(), kind })
}

fn mounted(name: &str) -> Place {
    pod(PodKind::Mounted(name.into()))
}

#[track_caller]
fn check(seen: &Seen, expected: &str) {
    let said = match seen {
        Seen::Ready(spot) => format!(
            "ready {} {} {}",
            spot.path.display(),
            spot.mount.map_or("-".to_owned(), |id| id.to_string()),
            spot.pod.as_deref().unwrap_or("-")
        ),
        Seen::Absent(_) => "absent".to_owned(),
        Seen::Ambiguous(_) => "ambiguous".to_owned(),
        Seen::Refused(_) => "refused".to_owned(),
    };
    assert_eq!(said, expected);
}

#[test]
fn each_plugin_mounts_where_it_does() {
    let pods = "/var/lib/kubelet/pods/u-1/volumes";
    for (point, name) in [
        ("kubernetes.io~csi/pv-1/mount", "pv-1"),
        ("kubernetes.io~local-volume/pv-1", "pv-1"),
        ("kubernetes.io~nfs/pv-1", "pv-1"),
        ("kubernetes.io~iscsi/pv-1", "pv-1"),
        ("example.com~flex/pv-1", "pv-1"),
    ] {
        let point = format!("{pods}/{point}");
        check(&look(&mounted(name), &["/", &point], &[]), &format!("ready {point} 11 u-1"));
    }
}

#[test]
fn a_folder_without_its_mount_is_not_the_volume() {
    let folder = "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pv-1/mount";
    check(&look(&mounted("pv-1"), &["/", KUBELET], &[folder]), "absent");
    // Neither is a mount above it, below it, beside it, or of another pod.
    for point in [
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pv-1",
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pv-1/mount/deeper",
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pv-10/mount",
        "/var/lib/kubelet/pods/u-10/volumes/kubernetes.io~csi/pv-1/mount",
        "/var/lib/kubelet/pods/u-1/volume-subpaths/kubernetes.io~csi/pv-1/mount",
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~nfs/pv-1/mount",
    ] {
        check(&look(&mounted("pv-1"), &["/", point], &[folder]), "absent");
    }
}

#[test]
fn secrets_are_never_volumes() {
    for plugin in ["secret", "configmap", "projected", "downward-api", "git-repo", "empty-dir"] {
        let point = format!("/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~{plugin}/token");
        check(&look(&mounted("token"), &[&point], &[&point]), "absent");
    }
}

#[test]
fn two_mounts_of_one_name_are_none() {
    let points = [
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pv-1/mount",
        "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~nfs/pv-1",
    ];
    check(&look(&mounted("pv-1"), &points, &[]), "ambiguous");
    // One over the other is one: the one that opening finds.
    check(&look(&mounted("pv-1"), &[points[0], points[0]], &[]), &format!("ready {} 11 u-1", points[0]));
}

#[test]
fn empty_dirs_are_folders_or_mounts() {
    let path = "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~empty-dir/work";
    let place = pod(PodKind::EmptyDir("work".into()));
    check(&look(&place, &["/"], &[]), "absent");
    check(&look(&place, &["/"], &[path]), &format!("ready {path} - u-1"));
    check(&look(&place, &["/", path], &[path]), &format!("ready {path} 11 u-1"));
}

#[test]
fn host_paths_are_read_below_known_folders_while_their_pod_is_here() {
    let folder = "/var/lib/kubelet/pods/u-1";
    let place = |path: &str| pod(PodKind::HostPath(path.into()));
    check(&look(&place("/data/a"), &["/"], &[folder, "/data/a"]), "ready /data/a - u-1");
    check(&look(&place("/data/a"), &["/"], &["/data/a"]), "absent");
    check(&look(&place("/data/a"), &["/"], &[folder]), "absent");
    // The agent's own root has such a folder, too.
    check(&look(&place("/etc"), &["/"], &[folder, "/etc"]), "refused");
    check(&look(&place("/database"), &["/"], &[folder, "/database"]), "refused");
    check(&look(&Place::HostPath("/data/b".into()), &["/"], &["/data/b"]), "ready /data/b - -");
}

#[test]
fn a_mover_has_its_own() {
    let own = Place::Own("/volume".into());
    check(&look(&own, &["/", "/volume"], &[]), "ready /volume 11 -");
    check(&look(&own, &["/"], &["/volume"]), "absent");
    let device = Place::Device("/dev/volume".into());
    check(&look(&device, &["/"], &["/dev/volume"]), "refused");
}

#[test]
fn the_first_place_that_is_there_counts_and_else_the_worst() {
    let (a, b, c) = (Seen::Absent("a".into()), Seen::Ambiguous("b".into()), Seen::Refused("c".into()));
    let ready = look(&Place::Own("/volume".into()), &["/volume"], &[]);
    check(&choose([a.clone(), b.clone(), c.clone(), ready.clone()]), "ready /volume 10 -");
    check(&choose([ready, c.clone()]), "ready /volume 10 -");
    check(&choose([a.clone(), c, b.clone()]), "refused");
    check(&choose([a.clone(), b]), "ambiguous");
    assert_eq!(choose([a.clone()]), a);
    check(&choose([]), "absent");
}
