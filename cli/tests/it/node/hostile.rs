//! Users of volumes who want to read what is not theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proto::v1::agent_message::Message;
use proto::v1::node_message::Message as FromNode;
use proto::v1::{self, Seen};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::fake::Heard;
use super::{Node, backup, volume};
use crate::data::tree;

fn host_path(path: &std::path::Path) -> v1::NodeVolume {
    let place = v1::PodPlace {
        pod_uid: "u-1".into(),
        host_path: path.as_os_str().as_encoded_bytes().to_vec().into(),
        ..v1::PodPlace::default()
    };
    let places = vec![v1::VolumePlace { place: Some(v1::volume_place::Place::Pod(place)) }];
    v1::NodeVolume { places, ..volume("v", &[]) }
}

#[test]
fn a_folder_swapped_for_a_symlink_betrays_nothing() {
    let Some(mut node) = Node::find() else { return };
    // A pod may write the folder in which another one's volume lies, and puts a link to a secret into its place.
    let (mine, secret) = (node.host.path("data/app/volume"), node.host.path("secret/volume"));
    tree(&mine, 1000, 1);
    tree(&secret, 1000, 2);
    std::fs::write(secret.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(node.host.path("secret"), node.host.path("data/link")).unwrap();
    node.host.mount("u-1", "pv-1");
    node.plan(vec![host_path(&mine)]);
    node.fake.is_offered("default", &["v"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (a, b, stopped) = (node.host.path("data/app"), node.host.path("data/link"), stop.clone());
    let swapping = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
        }
    });
    let (mut done, mut not) = (0, Vec::new());
    let mut number = 0;
    for _ in 0..1000 {
        // Looked for anew with each plan; half of the times the link is there.
        node.plan(vec![host_path(&mine)]);
        let revision = node.revision;
        let seen = node.fake.hears("the new plan", |heard| match heard {
            Heard::Node(FromNode::Sightings(s)) if s.revision == revision => Some(s.volumes[0].seen()),
            _ => None,
        });
        if seen != Seen::Ready {
            continue;
        }
        number += 1;
        node.fake.offer("default", backup(number, "v"));
        let end = node.fake.hears("an end", |heard| match heard {
            Heard::Agent(_, Message::Finished(f)) => Some(f.result.unwrap().failure.map(|f| f.what)),
            Heard::Agent(_, Message::Returned(r)) => Some(Some(r.reason)),
            _ => None,
        });
        match end {
            None => done += 1,
            Some(why) => not.push(why),
        }
        if (done > 1 && not.len() > 8) || number == u8::MAX {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(done > 0 && !not.is_empty(), "{done} done, nothing was swapped at the right moment: {not:#?}");
    let snapshots = node.on_bucket(&["snapshots", "--output", "json"]).ok();
    let snapshots: serde_json::Value = serde_json::from_str(&snapshots).unwrap();
    assert_eq!(snapshots.as_array().unwrap().len(), done);
    for snapshot in snapshots.as_array().unwrap() {
        let id = snapshot["id"].as_str().unwrap();
        assert_eq!(node.on_bucket(&["cat", &format!("{id}:sub/a.txt")]).ok(), "text 1\n");
        node.on_bucket(&["ls", id, "--recursive"])
            .ok()
            .lines()
            .for_each(|l| assert!(!l.contains("secret"), "{l}"));
    }
}

#[test]
fn plans_for_secrets_and_other_folders_find_nothing() {
    let Some(mut node) = Node::find() else { return };
    let path = node.host.mount("u-1", "pv-1");
    tree(&node.host.inside(&path), 1000, 1);
    std::fs::create_dir_all(node.host.path("elsewhere")).unwrap();
    let outside = v1::NodeVolume { volume: "outside".into(), ..host_path(&node.host.path("elsewhere")) };
    let root = v1::NodeVolume { volume: "root".into(), ..host_path(std::path::Path::new("/etc")) };
    let up = volume("up", &[("..", "pv-1")]);
    node.plan(vec![
        volume("token", &[("u-1", "kube-api-access")]),
        outside,
        root,
        up,
        volume("v", &[("u-1", "pv-1")]),
    ]);
    let seen = node.fake.hears("all of them", |heard| match heard {
        Heard::Node(FromNode::Sightings(s)) if s.volumes.len() == 5 => {
            Some(s.volumes.into_iter().map(|v| (v.volume.clone(), v.seen())).collect::<Vec<_>>())
        }
        _ => None,
    });
    let expected = [
        ("token", Seen::Absent),
        ("outside", Seen::Refused),
        ("root", Seen::Refused),
        ("v", Seen::Ready),
        ("up", Seen::Refused),
    ];
    assert_eq!(seen, expected.map(|(name, seen)| (name.to_owned(), seen)));
}
