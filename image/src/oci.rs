//! An image with one layer in the layout of the Open Container Initiative, as one archive that container engines import.

use serde_json::{Value, json};

use crate::layer::Layer;
use crate::sha256;
use crate::tar::{Archive, Kind};

/// How an image is started, and what it says about itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The name with its tag: `registry/name:tag`.
    pub name: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=VALUE` each.
    pub env: Vec<String>,
    /// The user id and group id that it runs as, unless the pod says otherwise.
    pub user: String,
    /// `org.opencontainers.image.*` and the like.
    pub labels: Vec<(String, String)>,
}

/// The image as an archive. The same content makes the same bytes.
pub fn archive(settings: &Settings, layer: &Layer) -> anyhow::Result<Vec<u8>> {
    let layer = layer.archive()?;
    let labels: serde_json::Map<String, Value> =
        settings.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": settings.architecture,
        "os": "linux",
        "config": {
            "Entrypoint": settings.entrypoint,
            "Env": settings.env,
            "User": settings.user,
            "WorkingDir": "/",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": settings.architecture, "os": "linux"});
    // The first is containerd's, the second everybody's; the latter holds the tag only.
    entry["annotations"] = json!({
        "io.containerd.image.name": settings.name,
        "org.opencontainers.image.ref.name": tag(&settings.name),
    });
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?;
    let mut archive = Archive::default();
    archive.add("oci-layout", 0o644, Kind::File(br#"{"imageLayoutVersion":"1.0.0"}"#))?;
    archive.add("index.json", 0o644, Kind::File(&index))?;
    for content in [&manifest, &config, &layer] {
        archive.add(&format!("blobs/sha256/{}", sha256(content)), 0o644, Kind::File(content))?;
    }
    Ok(archive.finish())
}

/// What refers to a blob.
fn blob(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(content)), "size": content.len()})
}

/// The tag of an image's name; a port of the registry is none.
fn tag(name: &str) -> &str {
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/')).unwrap_or("latest")
}

#[cfg(test)]
mod tests;
