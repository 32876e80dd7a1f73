//! What a child can't do, tried from inside: secrets, neighbours, other processes, the kernel. And that the same tries succeed where
//! nothing confines it, so that they prove something.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use proto::frame;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, FromWorker, ToWorker};

use super::{MIB, Node, backup, volume};
use crate::data::tree;

/// A child that has this said, and what it answers.
fn ask(order: Order) -> Message {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("volume-worker").env_clear().env("_RJEM_MALLOC_CONF", "background_thread:false");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let order = frame::encode(&ToWorker { message: Some(order) }).unwrap();
    child.stdin.as_mut().unwrap().write_all(&order).unwrap();
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    frame::decode::<FromWorker>(&answer[frame::HEADER_BYTES..]).unwrap().message.unwrap()
}

fn probe(folder: &Path, confine: bool, write: bool) -> v1::WorkerProbed {
    for name in ["volume", "neighbour", "secret", "scratch"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("file"), name).unwrap();
    }
    std::os::unix::fs::symlink(folder.join("neighbour"), folder.join("volume/link")).unwrap_or(());
    let bytes = |path: &Path| bytes::Bytes::copy_from_slice(path.as_os_str().as_encoded_bytes());
    let outside =
        ["secret/file", "neighbour", "neighbour/file", "", "volume/link/file", "volume/../secret/file"];
    let outside = outside.iter().map(|name| folder.join(name));
    let more = ["/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/"].map(Path::new);
    let root = v1::WorkerRoot {
        base: bytes(folder),
        path: bytes(&folder.join("volume")),
        write,
        ..Default::default()
    };
    let asked = v1::WorkerProbe {
        root: Some(root),
        scratch_dir: bytes(&folder.join("scratch")),
        confine,
        outside: outside.map(|p| bytes(&p)).chain(more.into_iter().map(bytes)).collect(),
    };
    match ask(Order::Probe(asked)) {
        Message::Probed(probed) => probed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_reaches_its_volume_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for write in [false, true] {
        let probed = probe(folder.path(), true, write);
        assert!(probed.tried > 30);
        assert_eq!(probed.allowed, Vec::<String>::new());
        assert_eq!(probed.missing, Vec::<String>::new());
    }
}

#[test]
fn what_is_tried_works_where_nothing_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = probe(folder.path(), false, false).allowed;
    let path = |name: &str| folder.path().join(name).display().to_string();
    for what in [
        format!("read {}", path("secret/file")),
        format!("write {}", path("neighbour")),
        format!("read {}", path("volume/link/file")),
        format!("write into {}", path("volume")),
        format!("change the mode of {}", path("volume")),
        "read /etc/passwd".to_owned(),
        "read /proc/self/environ".to_owned(),
        "make a socket of this machine".to_owned(),
        "unshare".to_owned(),
        "ptrace".to_owned(),
    ] {
        assert!(allowed.contains(&what), "{what} is not in {allowed:?}");
    }
}

#[test]
fn a_working_child_is_confined_gives_way_and_holds_nothing_of_others() {
    let Some(mut node) = Node::find() else { return };
    let path = node.host.mount("u-1", "pv-1");
    tree(&node.host.inside(&path), 640 * MIB, 1);
    node.plan(vec![volume("v", &[("u-1", "pv-1")])]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    node.fake.reads(8 * MIB as u64);
    let child = node.child();
    for task in std::fs::read_dir(format!("/proc/{child}/task")).unwrap() {
        let task = task.unwrap().path();
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        let of = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!((of("Seccomp:").as_str(), of("NoNewPrivs:").as_str()), ("2", "1"), "{status}");
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // nice, and SCHED_BATCH
        assert_eq!((fields[19 - 3], fields[41 - 3]), ("19", "3"), "{stat}");
    }
    let environ = std::fs::read(format!("/proc/{child}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("HOLDFAST_TOKEN"));
    let open = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect();
    let of_volume = open.iter().filter(|p| p.starts_with(&path)).count();
    let of_kubelet = open.iter().filter(|p| p.starts_with(node.host.path("kubelet"))).count();
    // Beside the volume only the folder below which it is, which is no volume.
    assert!(of_volume >= 1 && of_kubelet <= of_volume + 1, "{open:?}");
    assert_eq!(node.open_in_volumes(), Vec::<std::path::PathBuf>::new());
}
