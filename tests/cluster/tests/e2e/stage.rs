//! The cluster that the scenarios play in, with Holdfast's image in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use cluster::{Access, Own, Places, machine, run};
use image::layer::Layer;
use image::oci::{Settings, archive};

use crate::{say, skipped};

/// The image that the manifests name.
pub(crate) const IMAGE: &str = "holdfast.dev/holdfast:0.1.0";
/// The S3 server that the overlay `dev` names.
const STORE_IMAGE: &str = "docker.io/versity/versitygw:v1.8.0";
/// Holdfast's own namespace.
pub(crate) const SYSTEM: &str = "holdfast-system";

/// Where the scenarios play.
pub(crate) struct Stage {
    /// The administrator's way in.
    pub(crate) access: Access,
    /// The cluster, where it is one of ours.
    pub(crate) own: Option<Own>,
    /// It was made for this run, and is taken away with it.
    pub(crate) made: bool,
    /// The project's folder.
    pub(crate) root: PathBuf,
}

impl Stage {
    /// Makes a cluster, or takes the one that is named or runs already. None where none can be had, which is said.
    pub(crate) fn open(places: &Places) -> anyhow::Result<Option<Self>> {
        let root = places.here.parent().and_then(Path::parent).context("the project's folder")?.to_owned();
        if let Some(kubeconfig) = std::env::var_os("HOLDFAST_TESTS_KUBECONFIG") {
            let access = Access {
                before: Vec::new(),
                kubectl: "kubectl".into(),
                kubeconfig: PathBuf::from(kubeconfig),
            };
            access.raw("/readyz").context("the cluster of HOLDFAST_TESTS_KUBECONFIG does not answer")?;
            say(&format!("its nodes must have the image {IMAGE} (image/build), and may pull {STORE_IMAGE}"));
            return Ok(Some(Self { access, own: None, made: false, root }));
        }
        if let Some(own) = Own::find(places) {
            say("taking the cluster that runs already; it stays");
            let stage = Self { access: own.access.clone(), own: Some(own), made: false, root };
            stage.load_images()?;
            return Ok(Some(stage));
        }
        let missing = machine::missing(places);
        if !missing.is_empty() {
            let why = format!("no cluster can be made on this machine: {}", missing.join("; "));
            skipped("Holdfast in a cluster (manifests, backups and restores of pods' volumes)", &why);
            return Ok(None);
        }
        let own = Own::up(places, 2, &say)?;
        let stage = Self { access: own.access.clone(), own: Some(own), made: true, root };
        if let Err(error) = stage.load_images() {
            Own::down(places);
            return Err(error);
        }
        Ok(Some(stage))
    }

    /// The cluster, for scenarios that said that they need its nodes.
    pub(crate) fn own(&self) -> anyhow::Result<&Own> {
        self.own.as_ref().context("a cluster of our own")
    }

    /// A folder of `manifests`.
    pub(crate) fn manifests(&self, folder: &str) -> PathBuf {
        self.root.join("manifests").join(folder)
    }

    fn load_images(&self) -> anyhow::Result<()> {
        let own = self.own()?;
        let folder = own.places.state.join("images");
        let holdfast = match std::env::var_os("HOLDFAST_TESTS_IMAGE") {
            Some(archive) => PathBuf::from(archive),
            None => self.build(&folder.join("holdfast.tar"))?,
        };
        own.load(&holdfast)?;
        match self.static_store() {
            Some(program) => own.load(&store_image(&program, &folder.join("store.tar"))?),
            None => anyhow::bail!("there is no versitygw without shared libraries: .ci/versitygw makes one"),
        }
    }

    /// A versitygw that runs in an image without libraries: where `.ci/versitygw` puts one, or on the PATH.
    fn static_store(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.root.join("target/tools")).chain(std::env::split_paths(&path));
        folders.map(|folder| folder.join("versitygw")).filter(|program| program.is_file()).find(|program| {
            let said = Command::new("ldd").arg(program).output();
            said.is_ok_and(|out| !String::from_utf8_lossy(&out.stdout).contains("=>"))
        })
    }

    fn build(&self, out: &Path) -> anyhow::Result<PathBuf> {
        say("building the image");
        run(Command::new(self.root.join("image/build")).arg("--dev").arg(out).arg(IMAGE), None)?;
        Ok(out.to_owned())
    }

    /// Shows what may say why something failed.
    pub(crate) fn tell(&self) {
        let questions: &[&[&str]] = &[
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "holdfast", "-A"],
            &["get", "events", "-A", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"],
            &["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=holdfast", "--prefix", "--tail=40"],
        ];
        for words in questions {
            let said = self.access.kubectl(words).unwrap_or_else(|error| format!("{error:#}"));
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            println!("    --- kubectl {}\n    {}", words.join(" "), last.join("\n    "));
        }
    }
}

fn store_image(program: &Path, out: &Path) -> anyhow::Result<PathBuf> {
    let mut layer = Layer::default();
    layer.copy(program, "/bin/versitygw", 0o755)?;
    layer.folder("/tmp", 0o1777)?;
    let settings = Settings {
        name: STORE_IMAGE.to_owned(),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        entrypoint: vec!["/bin/versitygw".to_owned()],
        ..Settings::default()
    };
    std::fs::write(out, archive(&settings, &layer)?)?;
    Ok(out.to_owned())
}
