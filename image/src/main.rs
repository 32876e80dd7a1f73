//! Writes an image, or the list of what is in a program; `image/build` calls it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use image::layer::Layer;
use image::oci::{Settings, archive};

/// Images and bills of materials, without a registry.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes an image of one static program.
    Write(Write),
    /// Writes the bill of materials of a package.
    Sbom {
        /// What `cargo metadata --format-version 1 --filter-platform TARGET` said.
        #[arg(long)]
        metadata: PathBuf,
        /// The workspace's Cargo.lock.
        #[arg(long)]
        lock: PathBuf,
        /// The package that is listed.
        #[arg(long)]
        package: String,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Write {
    /// Name and tag of the image.
    #[arg(long)]
    name: String,
    /// The program, which must need no shared libraries.
    #[arg(long)]
    program: PathBuf,
    /// Certificates of the authorities that are trusted, PEM.
    #[arg(long)]
    ca_bundle: PathBuf,
    /// The folder of time zones.
    #[arg(long, default_value = "/usr/share/zoneinfo")]
    zoneinfo: PathBuf,
    /// A bill of materials to put into the image.
    #[arg(long)]
    sbom: Option<PathBuf>,
    /// The version that labels say.
    #[arg(long)]
    version: String,
    /// amd64 or arm64.
    #[arg(long, default_value = "amd64")]
    architecture: String,
    /// The archive to write.
    #[arg(long)]
    out: PathBuf,
}

const PASSWD: &str = "root:x:0:0:root:/:/nonexistent\nholdfast:x:65532:65532:holdfast:/:/nonexistent\n";
const GROUP: &str = "root:x:0:\nholdfast:x:65532:\n";

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Write(write) => write_image(&write),
        Command::Sbom { metadata, lock, package, out } => {
            let metadata = serde_json::from_slice(&read(&metadata)?).context("parse cargo's metadata")?;
            let lock = String::from_utf8(read(&lock)?).context("Cargo.lock")?;
            let list = image::sbom::sbom(&metadata, &lock, &package)?;
            put(&out, serde_json::to_string_pretty(&list)?.as_bytes())
        }
    }
}

fn write_image(write: &Write) -> anyhow::Result<()> {
    let mut layer = Layer::default();
    layer.copy(&write.program, "/bin/holdfast", 0o755)?;
    layer.copy(&write.ca_bundle, "/etc/ssl/certs/ca-certificates.crt", 0o644)?;
    layer.file("/etc/passwd", 0o644, PASSWD.into())?;
    layer.file("/etc/group", 0o644, GROUP.into())?;
    // Names are looked up in /etc/hosts first, which is where pods find their own.
    layer.file("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n".to_vec())?;
    // The others are the same again, by other rules about leap seconds.
    let again = ["posix", "right", "localtime"];
    layer
        .copy_folder(&write.zoneinfo, "/usr/share/zoneinfo", &again)
        .context("time zones (package tzdata)")?;
    layer.folder("/tmp", 0o1777)?;
    if let Some(sbom) = &write.sbom {
        layer.copy(sbom, "/usr/share/sbom/holdfast.cdx.json", 0o644)?;
    }
    let label = |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    let settings = Settings {
        name: write.name.clone(),
        architecture: write.architecture.clone(),
        entrypoint: vec!["/bin/holdfast".to_owned()],
        env: vec!["PATH=/bin".to_owned(), "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt".to_owned()],
        user: "65532:65532".to_owned(),
        labels: vec![
            label("title", "holdfast"),
            label("version", &write.version),
            label("licenses", "Apache-2.0"),
        ],
    };
    put(&write.out, &archive(&settings, &layer)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
