//! What is valid, and that everything wrong is named.

use super::{Config, ConfigLayer, VolumeLayer};
use service::config::Invalid;

fn validate(yaml: &str) -> Result<Config, Invalid> {
    service::config::parse::<ConfigLayer>(yaml).map_err(|e| Invalid(vec![e]))?.validate()
}

const BASE: &str =
    "repo: file:///r\nkey_file: /k\nstate_dir: /s\nhost: h\ncoordinator: http://127.0.0.1:7425\n";

fn refused(more: &str, why: &str) {
    let e = validate(&format!("{BASE}{more}")).expect_err(more).to_string();
    assert!(e.contains(why), "{why:?} is not in {e:?}");
}

#[test]
fn defaults() {
    let config = validate(&format!("{BASE}volumes: [{{path: /data, exclude: ['*.tmp']}}]\n")).unwrap();
    assert_eq!((config.agent_id.as_str(), config.jobs_max, config.memory_bytes_max), ("h", 1, 256 << 20));
    assert_eq!(config.domains[0].volumes[0].name, "h:/data");
    assert_eq!(config.domains[0].volumes[0].rules.exclude, ["*.tmp"]);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let e = validate("host: h\nzstd_level: 99\nmemory_bytes_max: 1\n").unwrap_err().to_string();
    for part in [
        "repo is missing",
        "key_file or",
        "state_dir",
        "coordinator is missing",
        "zstd_level",
        "memory_bytes_max",
    ] {
        assert!(e.contains(part), "{part:?} is not in {e:?}");
    }
}

#[test]
fn volumes_are_checked() {
    refused("volumes: [{path: data}]\n", "volume data must be an absolute path");
    refused("volumes: [{path: /a, name: v}, {path: /b, name: v}]\n", "volume v is configured twice");
    refused("volumes: [{path: /a, excludes: []}]\n", "excludes");
    refused("restore_roots: [/a/../b]\n", "restore root /a/../b");
    refused("volumes: [{path: /a, name: ''}]\n", "volume: empty");
    refused("volumes: [{path: \"/a\\nb\"}]\n", "volume: the control character");
    refused("agent_id: \"a\\0b\"\n", "agent_id: the control character");
    refused("jobs_max: 100000\n", "jobs_max must be 1 to");
    refused("cpu_threads: 100000\n", "cpu_threads must be at most");
}

#[test]
fn plaintext_to_other_machines_is_refused() {
    let away = BASE.replace("127.0.0.1", "10.0.0.1");
    let e = validate(&away).unwrap_err().to_string();
    assert!(e.contains("plaintext to another machine is refused"), "{e}");
    assert!(validate(&format!("{away}allow_plaintext: true\n")).is_ok());
}

#[test]
fn volumes_by_flag() {
    let parse = |t: &str| t.parse::<VolumeLayer>();
    assert_eq!(parse("/data").unwrap().name, None);
    let named = parse("db=/var/lib/db").unwrap();
    assert_eq!((named.name.as_deref(), named.path.to_str()), (Some("db"), Some("/var/lib/db")));
    assert_eq!(parse("/odd=name").unwrap().path.to_str(), Some("/odd=name"));
    assert!(parse("=x").is_err() && parse("x=").is_err() && parse("").is_err());
}

#[test]
fn every_setting_is_in_the_documentation() {
    let document = include_str!("../../../docs/servers.md");
    let part = |from: &str| {
        document.split(&format!("\n{from}\n")).nth(1).unwrap().trim_start().split("\n\n").next().unwrap()
    };
    let tables = format!("{}\n{}", part("Both servers:"), part("Agent:"));
    for field in ConfigLayer::FIELDS {
        assert!(tables.contains(&format!("`{field}`")), "{field}");
    }
    // And none that does not exist: the names are in the first column.
    let first = tables.lines().filter_map(|l| l.strip_prefix("| `")?.split(" |").next());
    for name in first.flat_map(|names| names.split(", ")).map(|n| n.trim_matches('`')) {
        assert!(ConfigLayer::FIELDS.contains(&name), "{name}");
    }
}

#[test]
fn each_volume_is_of_one_domain() {
    const LISTED: &str =
        "repo: file:///r\nstate_dir: /s\nhost: h\ncoordinator: http://127.0.0.1:7425\nreuse: own\n";
    let domains = "domains:\n- {name: a, key_file: /a, restore_roots: [/out/a]}\n- {name: b, key_file: /b, reuse: verified}\n\
                   - {name: idle, key_file: /c}\n";
    let volumes =
        "volumes: [{path: /1, name: v, domain: a}, {path: /2, name: v, domain: b}, {path: /3, domain: a}]\n";
    let config = validate(&format!("{LISTED}{domains}{volumes}")).unwrap();
    let names = |n: usize| config.domains[n].volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["v", "h:/3"], vec!["v"]));
    assert_ne!(config.domains[0].reuse, config.domains[1].reuse);
    assert_ne!(config.domains[0].repository.key, config.domains[1].repository.key);
    let in_use: Vec<bool> = config.domains.iter().map(super::Domain::is_in_use).collect();
    assert_eq!((config.listed, in_use), (true, vec![true, true, false]));

    let refused = |more: &str, why: &str| {
        let e = validate(&format!("{LISTED}{more}")).expect_err(more).to_string();
        assert!(e.contains(why), "{why:?} is not in {e:?}");
    };
    refused(&format!("{domains}volumes: [{{path: /1}}]\n"), "volume /1: domain is missing");
    refused(&format!("{domains}volumes: [{{path: /1, domain: x}}]\n"), "domain \"x\" is not in domains");
    refused(
        &format!("{domains}volumes: [{{path: /1, name: v, domain: a}}, {{path: /2, name: v, domain: a}}]\n"),
        "volume v is configured twice",
    );
    refused(&format!("{domains}restore_roots: [/out]\n"), "restore_roots and domains exclude each other");
    refused(
        "domains: [{name: a, key_file: /a, restore_roots: [/o]}, {name: b, key_file: /b, restore_roots: [/o/b]}]\n",
        "lie in each other",
    );
    refused("key_file: /k\nvolumes: [{path: /1, domain: a}]\n", "there is no list of domains");

    // Neither in a volume of another domain nor above it; in an own one it may be.
    let roots = |a: &str, b: &str| {
        format!(
            "domains: [{{name: a, key_file: /a, restore_roots: [{a}]}}, {{name: b, key_file: /b, restore_roots: [{b}]}}]\n\
             volumes: [{{path: /v/1, name: v, domain: a}}, {{path: /w, domain: b}}]\n"
        )
    };
    let lies =
        |root: &str| format!("restore root {root} and volume v (/v/1) of another domain lie in each other");
    refused(&roots("/x", "/v/1/in"), &lies("/v/1/in"));
    refused(&roots("/x", "/v"), &lies("/v"));
    assert!(validate(&format!("{LISTED}{}", roots("/v/1/in", "/v/10"))).is_ok());
    // And not at what opens another one, whoever's it is.
    refused(&roots("/b", "/x"), "restore root /b: key_file /b lies in it");
}

#[test]
fn no_restore_reaches_what_the_agent_lives_on() {
    refused("restore_roots: [/s]\n", "restore root /s: state_dir /s lies in it");
    refused("restore_roots: [/]\n", "restore root /: key_file /k lies in it");
    refused("cache_dir: /c/../d/e\nrestore_roots: [/d]\n", "restore root /d: cache_dir /d/e lies in it");
    refused("token_file: /t/token\nrestore_roots: [/t]\n", "token_file /t/token lies in it");
    refused("tls_key_file: relative\nrestore_roots: [/]\n", "tls_key_file /");
    assert!(validate(&format!("{BASE}restore_roots: [/srv]\n")).is_ok());
}
