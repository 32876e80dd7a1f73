//! The metrics' documentation is in step with the code.

use prometheus_client::registry::Registry;

use super::Metrics;

#[test]
fn the_documentation_lists_exactly_what_there_is() {
    let mut registry = Registry::default();
    Metrics::default().register(&mut registry);
    let document = include_str!("../../../docs/metrics.md");
    service::describe::compare(&registry, document, "Agent").unwrap();
}

#[test]
fn those_of_a_node_as_well() {
    let mut registry = Registry::default();
    Metrics::default().register_node(&mut registry);
    let document = include_str!("../../../docs/metrics.md");
    service::describe::compare(&registry, document, "Node").unwrap();
}
