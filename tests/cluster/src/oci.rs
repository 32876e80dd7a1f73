//! Images that the tests make themselves: a shell with small tools for applications, and what a pod's first process is.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use image::layer::Layer;
use image::oci::{Settings, archive};

use crate::shell::run;

/// The image of test applications.
pub const BUSYBOX_IMAGE: &str = "holdfast.test/busybox:1";
const BUSYBOX: &str = "/bin/busybox";
/// About 68 years: nobody waits longer.
const LONG_SECONDS: &str = "2147483647";

/// Writes busybox' image, with a link for each of its tools.
pub fn busybox(out: &Path) -> anyhow::Result<()> {
    let mut layer = Layer::default();
    layer.copy(Path::new(BUSYBOX), BUSYBOX, 0o755)?;
    let tools = run(Command::new(BUSYBOX).arg("--list"), None)?;
    for tool in tools.lines().filter(|tool| *tool != "busybox") {
        layer.link(&format!("/bin/{tool}"), "busybox")?;
    }
    layer.file("/etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n".to_vec())?;
    layer.folder("/tmp", 0o1777)?;
    layer.folder("/data", 0o755)?;
    write(BUSYBOX_IMAGE, vec!["/bin/sh".to_owned()], &layer, out)
}

/// Writes the image of a pod's first process, which does nothing.
pub(crate) fn pause(name: &str, out: &Path) -> anyhow::Result<()> {
    let mut layer = Layer::default();
    layer.copy(Path::new(BUSYBOX), "/sleep", 0o755)?;
    write(name, vec!["/sleep".to_owned(), LONG_SECONDS.to_owned()], &layer, out)
}

fn write(name: &str, entrypoint: Vec<String>, layer: &Layer, out: &Path) -> anyhow::Result<()> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let settings = Settings {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        entrypoint,
        env: vec!["PATH=/bin".to_owned()],
        ..Settings::default()
    };
    std::fs::write(out, archive(&settings, layer)?).with_context(|| format!("write {}", out.display()))
}
