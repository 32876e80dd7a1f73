//! Writes the files of `manifests/components/monitoring` that are made from this crate.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    monitoring::write(&root.join("manifests/components/monitoring"))
}
