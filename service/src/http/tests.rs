//! What the pages say of several domains.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Registries, page, ready_of};

fn registry(domain: Option<&str>, names: &[&str]) -> Registry {
    let label = |d: &str| ("domain".into(), d.to_owned().into());
    let mut registry = Registry::with_labels(domain.map(label).into_iter());
    for name in names {
        registry.register(*name, format!("About {name}"), Counter::<u64>::default());
    }
    registry
}

#[test]
fn a_metric_of_several_domains_is_described_once() {
    let all = [registry(None, &["x"]), registry(Some("a"), &["y", "z"]), registry(Some("b"), &["z", "y"])];
    let expected = "# HELP x About x.\n# TYPE x counter\nx_total 0\n\
                    # HELP y About y.\n# TYPE y counter\ny_total{domain=\"a\"} 0\ny_total{domain=\"b\"} 0\n\
                    # HELP z About z.\n# TYPE z counter\nz_total{domain=\"a\"} 0\nz_total{domain=\"b\"} 0\n# EOF\n";
    assert_eq!(page(&all).unwrap(), expected);
    assert_eq!(page([]).unwrap(), "# EOF\n");
}

#[test]
fn registries_come_and_go() {
    let all = Registries::one(registry(None, &["x"]));
    let names = || {
        let all = all.0.read().unwrap();
        let text = page(all.iter().map(|(_, r)| r)).unwrap();
        text.lines().filter(|l| l.contains("_total")).collect::<Vec<_>>().join(" ")
    };
    all.put("a", registry(Some("a"), &["y"]));
    assert_eq!(names(), "x_total 0 y_total{domain=\"a\"} 0");
    all.put("a", registry(Some("a"), &["z"]));
    assert_eq!(names(), "x_total 0 z_total{domain=\"a\"} 0");
    all.remove("a");
    assert_eq!(names(), "x_total 0");
}

#[test]
fn one_domain_that_is_ready_is_enough_and_the_others_are_named() {
    let of = |all: &[(&str, Result<(), &str>)]| {
        ready_of(all.iter().map(|(name, r)| ((*name).to_owned(), r.map_err(str::to_owned))))
    };
    assert_eq!(of(&[("a", Ok(())), ("b", Ok(()))]), Ok("ok".to_owned()));
    assert_eq!(of(&[("a", Ok(())), ("b", Err("no key"))]), Ok("domain b is not ready: no key".to_owned()));
    let none = of(&[("a", Err("x")), ("b", Err("y"))]).unwrap_err();
    assert_eq!(none, "domain a is not ready: x\ndomain b is not ready: y");
}
