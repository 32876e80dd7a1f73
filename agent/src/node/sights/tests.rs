//! Which pods are leaving, and what that means for their volumes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Leaving, look, lost};
use crate::limits::LEAVING_SECONDS;
use crate::node::find::{NoFolders, Roots, Seen};
use crate::node::mountinfo::Table;
use crate::node::plan::{Place, Plan, PlannedVolume, PodKind, PodPlace};

fn plan(pods: &[&str]) -> Plan {
    let place =
        |pod: &&str| Place::Pod(PodPlace { pod: (*pod).to_owned(), kind: PodKind::Mounted("a".into()) });
    let volume = PlannedVolume {
        name: "v".into(),
        domain: "d".parse().unwrap(),
        places: pods.iter().map(place).collect(),
        rules: Default::default(),
        restore: false,
    };
    Plan { volumes: vec![Arc::new(volume)], ..Plan::default() }
}

fn table(mounts: &[(u64, &str)]) -> Table {
    let line = |(id, point): &(u64, &str)| format!("{id} 1 8:1 / /k/pods/{point} rw - ext4 d rw\n");
    Table::parse(mounts.iter().map(line).collect::<String>().as_bytes(), b"/k/pods")
}

const VOLUME: &str = "u-1/volumes/kubernetes.io~nfs/a";
const TOKEN: &str = "u-1/volumes/kubernetes.io~projected/token";

#[test]
fn a_pod_that_lost_any_mount_is_leaving() {
    let full = table(&[(10, VOLUME), (11, TOKEN), (12, "u-2/volumes/kubernetes.io~nfs/a")]);
    let check = |mounts: &[(u64, &str)], expected: &[&str]| {
        assert_eq!(lost(&plan(&["u-1"]), &full, &table(mounts)), expected, "{mounts:?}");
    };
    check(&[(10, VOLUME), (11, TOKEN)], &[]);
    // More mounts, or another pod's: no sign of anything.
    check(&[(10, VOLUME), (11, TOKEN), (13, "u-1/volumes/kubernetes.io~nfs/b")], &[]);
    check(&[(10, VOLUME)], &["u-1"]);
    check(&[(11, TOKEN)], &["u-1"]);
    // Mounted anew is another mount.
    check(&[(20, VOLUME), (11, TOKEN)], &["u-1"]);
    check(&[], &["u-1"]);
}

#[tokio::test]
async fn it_is_left_alone_for_some_time() {
    let leaving = Leaving::default();
    let now = tokio::time::Instant::now();
    leaving.add(["u-1".to_owned()], now);
    assert!(leaving.has("u-1") && !leaving.has("u-2"));
    let soon = now + std::time::Duration::from_secs(LEAVING_SECONDS - 1);
    leaving.add([], soon);
    assert!(leaving.has("u-1"));
    leaving.add([], soon + std::time::Duration::from_secs(2));
    assert!(!leaving.has("u-1"));
}

#[test]
fn its_volumes_are_read_through_the_next_pod() {
    let table = table(&[(10, VOLUME), (12, "u-2/volumes/kubernetes.io~nfs/a")]);
    let pod = |leaving: &dyn Fn(&str) -> bool| {
        let host = [PathBuf::from("/k")];
        let roots = Roots { kubelet: Path::new("/k"), host: &host };
        match look(&plan(&["u-1", "u-2"]), &table, roots, &NoFolders, leaving).remove(0).seen {
            Seen::Ready(spot) => spot.pod,
            _ => None,
        }
    };
    assert_eq!(pod(&|_| false).as_deref(), Some("u-1"));
    assert_eq!(pod(&|p| p == "u-1").as_deref(), Some("u-2"));
    assert_eq!(pod(&|_| true), None);
}
