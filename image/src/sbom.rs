//! Which crates are in a program: a bill of materials in CycloneDX 1.6, from what cargo says about the workspace.
//!
//! Only what is compiled into the program counts: no tests, no build scripts. No time and no random number is in it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::{Value, json};

/// The list of the package `root`. `metadata`: of `cargo metadata --filter-platform`; `lock`: the text of Cargo.lock.
pub fn sbom(metadata: &Value, lock: &str, root: &str) -> anyhow::Result<Value> {
    let packages: BTreeMap<&str, &Value> =
        metadata["packages"].as_array().into_iter().flatten().map(|p| (text(&p["id"]), p)).collect();
    let nodes: BTreeMap<&str, &Value> =
        metadata["resolve"]["nodes"].as_array().into_iter().flatten().map(|n| (text(&n["id"]), n)).collect();
    let is_root = |p: &&&Value| p["name"] == root && p["source"].is_null();
    let start = packages.values().find(is_root).with_context(|| format!("no package {root}"))?;
    let mut reached = BTreeSet::new();
    let mut next = vec![text(&start["id"])];
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(needs(nodes.get(id).with_context(|| format!("no node for {id}"))?));
        }
    }
    let sums = checksums(lock);
    let package = |id: &&str| packages.get(*id).with_context(|| format!("no package {id}"));
    let mut components = Vec::new();
    for id in reached.iter().filter(|id| **id != text(&start["id"])) {
        components.push(component(package(id)?, &sums, "library"));
    }
    let mut dependencies = Vec::new();
    for id in &reached {
        let mut on = Vec::new();
        for need in needs(nodes[id]) {
            on.push(purl(package(&need)?));
        }
        on.sort();
        dependencies.push(json!({"ref": purl(package(id)?), "dependsOn": on}));
    }
    components.sort_by_key(|c| text(&c["purl"]).to_owned());
    dependencies.sort_by_key(|d| text(&d["ref"]).to_owned());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(start, &sums, "application")},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a node is linked with: normal dependencies, not those of tests and build scripts.
fn needs(node: &Value) -> Vec<&str> {
    let normal =
        |dep: &&Value| dep["dep_kinds"].as_array().into_iter().flatten().any(|k| k["kind"].is_null());
    node["deps"].as_array().into_iter().flatten().filter(normal).map(|dep| text(&dep["pkg"])).collect()
}

fn purl(package: &Value) -> String {
    // A `+` begins build metadata in versions, and stands for a space in URLs.
    format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]).replace('+', "%2B"))
}

fn component(package: &Value, sums: &BTreeMap<(String, String), String>, kind: &str) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let mut out = json!({
        "type": kind,
        "bom-ref": purl(package),
        "purl": purl(package),
        "name": name,
        "version": version,
    });
    if let Some(license) = package["license"].as_str() {
        // An old way to write a choice, which is no expression.
        out["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(sum) = sums.get(&(name.to_owned(), version.to_owned())) {
        out["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    out
}

/// The registry's checksums of Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut out = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(" = \""));
            line.and_then(|l| l.strip_suffix('"')).map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(sum)) = (field("name"), field("version"), field("checksum")) {
            out.insert((name, version), sum);
        }
    }
    out
}

#[cfg(test)]
mod tests;
