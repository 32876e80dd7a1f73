//! What watches Holdfast: alerts and dashboards, written down once and made into the files that Prometheus and Grafana read.
//!
//! Names no metric that does not exist: a test compares every query with docs/metrics.md, and the end-to-end tests ask a Prometheus
//! that watches a live system.

pub mod alerts;
pub mod dashboards;

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

/// The label by which a namespace's metrics are told from those of another installation's.
const LABEL: &str = "holdfast";

/// All files by their path below the component's folder.
///
/// # Errors
/// If something can't be written as YAML or JSON, which none of it is.
pub fn files() -> anyhow::Result<Vec<(String, String)>> {
    let groups = json!({"groups": alerts::groups()});
    let rule = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": LABEL, "namespace": "holdfast-system",
            "labels": {"app.kubernetes.io/name": LABEL},
        },
        "spec": groups,
    });
    let mut out =
        vec![("rules.yaml".to_owned(), yaml(&groups)?), ("prometheus-rule.yaml".to_owned(), yaml(&rule)?)];
    for dashboard in dashboards::all() {
        let name = format!("dashboards/{}.json", dashboard.uid);
        out.push((name, serde_json::to_string_pretty(&dashboard.json())? + "\n"));
    }
    Ok(out)
}

/// Writes all files.
///
/// # Errors
/// If the folder can't be written to.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    for (name, text) in files()? {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value).context("write YAML")?;
    Ok(format!("# Made by `cargo run -p monitoring`. Not to be edited.\n{}\n", text.trim_end()))
}
