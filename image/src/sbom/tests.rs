//! The list names what is linked, and no more.

use serde_json::json;

use super::sbom;

const LOCK: &str = "[[package]]\nname = \"lib\"\nversion = \"1.0.0\"\nchecksum = \"abcd\"\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n";

#[test]
fn only_what_is_linked_is_listed() {
    let package = |name: &str, version: &str| json!({"id": name, "name": name, "version": version, "license": "MIT/Apache-2.0", "source": if name == "app" { None } else { Some("registry") }});
    let on = |name: &str, kind: Option<&str>| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
    let metadata = json!({
        "packages": [package("app", "0.1.0"), package("lib", "1.0.0"), package("checks", "2.0.0"), package("gen", "3.0.0+x")],
        "resolve": {"nodes": [
            {"id": "app", "deps": [on("lib", None), on("checks", Some("dev")), on("gen", Some("build"))]},
            {"id": "lib", "deps": []}, {"id": "checks", "deps": []}, {"id": "gen", "deps": []},
        ]},
    });
    let list = sbom(&metadata, LOCK, "app").unwrap();
    let names: Vec<_> = list["components"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["lib"]);
    assert_eq!(list["components"][0]["hashes"][0]["content"], "abcd");
    assert_eq!(list["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(list["metadata"]["component"]["name"], "app");
    assert_eq!(
        list["dependencies"][0],
        json!({"ref": "pkg:cargo/app@0.1.0", "dependsOn": ["pkg:cargo/lib@1.0.0"]})
    );
    assert!(sbom(&metadata, LOCK, "nothing").is_err());
}
