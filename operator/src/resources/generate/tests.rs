//! The committed files are those that the types make.

use std::path::{Path, PathBuf};

use super::{definitions, reference, yaml};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// With `HOLDFAST_UPDATE=1` the file is written instead.
fn check(path: &str, made: &str) {
    let path = root().join(path);
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "{} is behind the types: run the test with HOLDFAST_UPDATE=1", path.display());
}

#[test]
fn the_definitions_are_committed() {
    check("manifests/base/crds.yaml", &yaml().unwrap());
}

#[test]
fn the_reference_is_committed() {
    check("docs/resources.md", &reference());
}

#[test]
fn each_has_what_users_rely_on() {
    for crd in definitions() {
        let names = crd.spec.names;
        let version = &crd.spec.versions[0];
        assert_eq!(names.categories, Some(vec!["holdfast".to_owned()]));
        let short = &names.short_names.unwrap()[0];
        assert!(short.starts_with("hf"), "{short} may shadow somebody else's");
        assert!(version.subresources.as_ref().unwrap().status.is_some(), "{}", names.kind);
        assert!(version.additional_printer_columns.as_ref().is_some_and(|c| c.len() >= 4), "{}", names.kind);
        let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let status = &schema.properties.as_ref().unwrap()["status"];
        let conditions = &status.properties.as_ref().unwrap()["conditions"];
        assert_eq!(conditions.x_kubernetes_list_type.as_deref(), Some("map"));
        assert_eq!(conditions.x_kubernetes_list_map_keys, Some(vec!["type".to_owned()]));
    }
}

#[test]
fn every_field_of_a_spec_is_described() {
    for crd in definitions() {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        for part in ["spec", "status"] {
            for (name, field) in schema.properties.as_ref().unwrap()[part].properties.iter().flatten() {
                assert!(field.description.is_some(), "{}: {part}.{name}", crd.spec.names.kind);
            }
        }
    }
}
