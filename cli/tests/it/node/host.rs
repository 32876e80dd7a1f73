//! A node for tests: a mount namespace with kubelet's folder on a shared mount, as hosts have it; the agent runs in another one that
//! only receives mounts, as a container's with `HostToContainer` does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::Holdfast;

/// A mount namespace that lives as long as this.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    holder: Child,
}

impl Host {
    /// None, loudly, where this may not be done.
    pub(crate) fn find() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let kubelet = folder.path().join("kubelet");
        std::fs::create_dir(&kubelet).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=2g kubelet {0} && mount --make-shared {0} && mkdir {0}/pods && echo up && exec sleep 3600",
            kubelet.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut holder = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().ok()?;
        let mut said = [0; 3];
        let up = std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said);
        if up.is_err() {
            drop(holder.wait());
            let said = b"SKIPPED: no mount namespace can be made here (root is needed)\n";
            std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
            return None;
        }
        Some(Self { folder, holder })
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn kubelet(&self) -> PathBuf {
        self.path("kubelet")
    }

    /// A file of the namespace, as this process can reach it.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Runs a command on the node; whether it worked.
    pub(crate) fn run(&self, words: &[&str]) -> bool {
        let id = self.holder.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &id, "--mount"]).args(words);
        command.stderr(Stdio::null()).status().unwrap().success()
    }

    #[track_caller]
    fn must(&self, words: &[&str]) {
        assert!(self.run(words), "{words:?}");
    }

    /// Kubelet's folder of a pod's volume.
    pub(crate) fn volume(&self, pod: &str, plugin: &str, name: &str) -> PathBuf {
        self.kubelet().join(format!("pods/{pod}/volumes/kubernetes.io~{plugin}/{name}"))
    }

    /// Mounts a volume of its own for a pod, and the token that every pod has. Where the volume is.
    pub(crate) fn mount(&self, pod: &str, name: &str) -> PathBuf {
        let path = self.volume(pod, "csi", name).join("mount");
        self.mount_at(&path, "-t", "tmpfs", "tmpfs");
        let token = self.volume(pod, "projected", "kube-api-access");
        if !self.inside(&token).exists() {
            self.mount_at(&token, "-t", "tmpfs", "tmpfs");
            std::fs::write(self.inside(&token).join("token"), "secret").unwrap();
        }
        path
    }

    /// Shows a folder at another path, too.
    pub(crate) fn bind(&self, from: &Path, to: &Path) {
        self.mount_at(to, "--bind", from.to_str().unwrap(), "");
    }

    fn mount_at(&self, path: &Path, option: &str, value: &str, source: &str) {
        std::fs::create_dir_all(self.inside(path)).unwrap();
        let words = ["mount", option, value, source, path.to_str().unwrap()];
        self.must(&words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>());
    }

    /// As kubelet does it: no force, no waiting.
    pub(crate) fn unmount(&self, path: &Path) -> bool {
        self.run(&["umount", path.to_str().unwrap()])
    }

    /// The program, as it runs in the agent's container.
    pub(crate) fn holdfast(&self) -> Holdfast {
        let id = self.holder.id().to_string();
        let words = ["nsenter", "--target", &id, "--mount", "unshare", "--mount", "--propagation", "slave"];
        Holdfast::new(self.folder.path()).inside(&words)
    }

    /// The program outside of the node.
    pub(crate) fn outside(&self) -> Holdfast {
        Holdfast::new(self.folder.path())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
