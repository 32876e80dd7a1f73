//! The agent of a node as a real process: real mounts in a mount namespace, a coordinator that the tests play.
//!
//! They need root, for the mounts; without it each says loudly that it is skipped.

mod confined;
mod ending;
mod fake;
mod host;
mod hostile;
mod leaving;
mod mover;
mod plain;

use std::path::Path;

use proto::v1;

use crate::process::Running;
use fake::Fake;
use host::Host;

const MIB: usize = 1 << 20;
/// Of all jobs of an agent, of which it does two at once.
const MEMORY_MIB: usize = 256;

/// A node with an agent that attends, and a repository.
struct Node {
    host: Host,
    fake: Fake,
    agent: Running,
    revision: u64,
}

impl Node {
    /// None, loudly, where there can't be one.
    fn find() -> Option<Self> {
        let host = Host::find()?;
        let repo = format!("file://{}", host.path("repo").display());
        host.outside().run(&["init", "--repo", &repo, "--key-file", "key"]).ok();
        let fake = Fake::new();
        let agent = start(&host, &fake, &["node"]);
        Some(Self { host, fake, agent, revision: 0 })
    }

    /// What opens the repository.
    fn access(&self) -> v1::Access {
        v1::Access {
            domain: "default".into(),
            url: format!("file://{}", self.host.path("repo").display()),
            key_file: std::fs::read(self.host.path("key")).unwrap().into(),
            ..v1::Access::default()
        }
    }

    /// Gives a plan with these volumes.
    fn plan(&mut self, volumes: Vec<v1::NodeVolume>) {
        self.revision += 1;
        let plan = v1::NodePlan {
            revision: self.revision,
            pulse_seconds: 1,
            repositories: vec![self.access()],
            volumes,
        };
        self.fake.plan(&plan);
    }

    fn on_bucket(&self, words: &[&str]) -> crate::process::Ran {
        let repo = format!("file://{}", self.host.path("repo").display());
        self.host.outside().run(&[words, &["--repo", &repo, "--key-file", "key"]].concat())
    }

    /// What the agent's own process has open below kubelet's folder.
    fn open_in_volumes(&self) -> Vec<std::path::PathBuf> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.agent.id())).unwrap();
        let targets = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(self.host.path("kubelet"))).collect()
    }

    /// Restores the newest snapshot of a volume and compares it with what is there.
    fn restores(&self, volume: &str, like: &Path) {
        let out = self.host.path(&format!("out-{}", volume.replace([':', '/'], "-")));
        self.on_bucket(&["restore", "latest", out.to_str().unwrap(), "--volume", volume]).ok();
        crate::data::assert_same(like, &out);
    }
}

/// Starts an agent of a node, or a mover, and waits until it has begun.
fn start(host: &Host, fake: &Fake, words: &[&str]) -> Running {
    let (kubelet, state) = (host.path("kubelet"), host.path("state"));
    let own = ["--coordinator", &fake.url, "--node-name", "node1", "--http-listen", "127.0.0.1:0"];
    let folders = ["--kubelet-root", kubelet.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
    let (memory, data) = ((MEMORY_MIB * MIB).to_string(), host.path("data"));
    let more = ["--reconnect-seconds-max", "1", "-v", "--memory-bytes-max", &memory];
    let host_paths = ["--host-path", data.to_str().unwrap()];
    host.holdfast().start(&[words, &own, &folders, &more, &host_paths].concat())
}

/// A claim's volume, through these pods.
fn volume(name: &str, pods: &[(&str, &str)]) -> v1::NodeVolume {
    let places = pods.iter().map(|(pod, pv)| {
        let place = v1::PodPlace { pod_uid: (*pod).into(), name: (*pv).into(), ..v1::PodPlace::default() };
        v1::VolumePlace { place: Some(v1::volume_place::Place::Pod(place)) }
    });
    v1::NodeVolume {
        volume: name.into(),
        domain: "default".into(),
        places: places.collect(),
        ..v1::NodeVolume::default()
    }
}

fn backup(number: u8, volume: &str) -> v1::Job {
    let spec = v1::BackupJob { volume: volume.into(), ..v1::BackupJob::default() };
    v1::Job { id: vec![number; 16].into(), spec: Some(v1::job::Spec::Backup(spec)) }
}
