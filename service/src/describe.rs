//! Describes a registry as a Markdown table: tests compare it with `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::registry::Registry;

#[derive(Default)]
struct Row {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// One row for each metric, in order of names. Labels are taken from the samples, so a server creates all samples of
/// its (closed) label sets at start.
#[must_use]
pub fn table(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a string does not fail");
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            rows.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            current = name.to_owned();
            rows.entry(current.clone()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let row = rows.entry(current.clone()).or_default();
            for (label, value) in labels(line) {
                row.labels.entry(label).or_default().insert(value);
            }
        }
    }
    let mut out = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, row) in rows {
        let suffix = if row.kind == "counter" { "_total" } else { "" };
        let label = |(label, values): (&String, &BTreeSet<String>)| {
            format!("`{label}`: {}", values.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        let labels: Vec<_> = row.labels.iter().filter(|(l, _)| *l != "le").map(label).collect();
        out += &format!("| `{name}{suffix}` | {} | {} | {} |\n", row.kind, labels.join("; "), row.help);
    }
    out
}

/// Compares the table with the section of a document that begins with `heading`; says what it should be. For tests.
pub fn compare(registry: &Registry, document: &str, heading: &str) -> Result<(), String> {
    let table = table(registry);
    let section = document.split("\n## ").find(|s| s.lines().next() == Some(heading));
    let section = section.ok_or_else(|| format!("no section {heading}"))?;
    let documented: String =
        section.lines().filter(|l| l.starts_with('|')).map(|l| format!("{l}\n")).collect();
    if documented == table { Ok(()) } else { Err(format!("the section {heading} must hold:\n{table}")) }
}

fn labels(sample: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let Some((inner, _)) = rest.rsplit_once('}') else { return Vec::new() };
    let pair = |p: &str| p.split_once('=').map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned()));
    inner.split(',').filter_map(pair).collect()
}
