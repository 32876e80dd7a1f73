//! Files in step with their source, alerts that fire when they should, and queries that name only what exists.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use monitoring::alerts::ALERTS;
use monitoring::dashboards;

/// Of kube-state-metrics, used where it is there.
const FOREIGN: &[&str] =
    &["kube_daemonset_status_desired_number_scheduled", "kube_daemonset_status_number_ready"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

#[expect(clippy::panic, reason = "a test's helper: the file's name belongs into the failure")]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn files_are_those_that_are_made() {
    for (name, text) in monitoring::files().unwrap() {
        let path = format!("manifests/components/monitoring/{name}");
        assert!(read(&path) == text, "{path} is behind: cargo run -p monitoring");
    }
}

/// All queries, with a name to find them by.
fn queries() -> Vec<(String, String)> {
    let panels = dashboards::all().iter().flat_map(|d| d.panels.iter().map(move |p| (d, p)));
    let of_panels = panels.map(|(d, p)| (format!("{}: {}", d.title, p.title), p.query_of_all()));
    let of_alerts = ALERTS.iter().map(|a| (a.name.to_owned(), a.query.to_owned()));
    of_panels.chain(of_alerts).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

#[test]
fn queries_name_only_what_exists() {
    let docs = read("docs/metrics.md");
    let documented: BTreeSet<&str> = words(&docs).filter(|w| w.starts_with("holdfast_")).collect();
    for (name, query) in queries() {
        let named = words(&query).filter(|w| w.starts_with("holdfast_") || w.starts_with("kube_"));
        for metric in named {
            assert!(
                documented.contains(metric) || FOREIGN.contains(&metric),
                "{name}: {metric} does not exist"
            );
        }
    }
}

#[test]
fn every_alert_has_a_runbook() {
    let runbooks = read("docs/runbooks.md");
    let sections: BTreeSet<&str> = runbooks.lines().filter_map(|l| l.strip_prefix("## ")).collect();
    let names: BTreeSet<&str> = ALERTS.iter().map(|a| a.name).collect();
    assert_eq!(sections, names);
}

/// Runs promtool; says loudly where there is none.
fn promtool(what: &str, args: &[&str]) -> Option<(bool, String)> {
    match Command::new("promtool").args(args).current_dir(root().join("monitoring/tests")).output() {
        Ok(out) => {
            let said = [out.stdout, out.stderr].concat();
            Some((out.status.success(), String::from_utf8_lossy(&said).into_owned()))
        }
        Err(error) => {
            assert!(std::env::var_os("HOLDFAST_TESTS_COMPLETE").is_none(), "promtool: {error}");
            let why =
                format!("\nSKIPPED: {what} NOT tested: promtool: {error} (Debian's package prometheus)\n");
            drop(std::io::stderr().write_all(why.as_bytes()));
            None
        }
    }
}

#[test]
fn alerts_fire_when_they_should() {
    let Some((good, said)) = promtool("alerts were", &["test", "rules", "alerts.yaml", "alerts-slow.yaml"])
    else {
        return;
    };
    assert!(good, "{said}");
    // Each alert is tried in both directions: nobody adds one without.
    let tests = read("monitoring/tests/alerts.yaml") + &read("monitoring/tests/alerts-slow.yaml");
    for alert in ALERTS {
        let tried = tests.matches(&format!("alertname: {}\n", alert.name)).count();
        assert!(tried >= 2, "{} is tried {tried} times", alert.name);
    }
}

#[test]
fn queries_are_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yaml");
    let rules: Vec<String> = queries()
        .iter()
        .enumerate()
        .map(|(at, (_, query))| format!("  - record: q{at}\n    expr: |\n      {query}\n"))
        .collect();
    std::fs::write(&file, format!("groups:\n- name: all\n  rules:\n{}", rules.concat())).unwrap();
    let Some((good, said)) = promtool("queries were", &["check", "rules", file.to_str().unwrap()]) else {
        return;
    };
    assert!(good, "{said}");
}
