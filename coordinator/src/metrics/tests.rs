//! The metrics' documentation is in step with the code.

use prometheus_client::registry::Registry;

use super::Metrics;

#[test]
fn the_documentation_lists_exactly_what_there_is() {
    let mut registry = Registry::default();
    Metrics::default().register(&mut registry);
    let table = service::describe::table(&registry);
    let text = include_str!("../../../docs/metrics.md");
    let section = text.split("\n## ").find(|s| s.starts_with("Coordinator\n")).expect("a section of its own");
    let documented: String =
        section.lines().filter(|l| l.starts_with('|')).map(|l| format!("{l}\n")).collect();
    assert_eq!(documented, table, "docs/metrics.md must hold this table:\n{table}");
}
