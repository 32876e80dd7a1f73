//! What is valid, and that everything wrong is named.

use super::{Config, ConfigLayer};
use crate::gate::{Access, Grant};
use service::config::Invalid;

fn validate(yaml: &str) -> Result<Config, Invalid> {
    service::config::parse::<ConfigLayer>(yaml).map_err(|e| Invalid(vec![e]))?.validate()
}

const BASE: &str = "repo: file:///r\nkey_file: /k\nstate_dir: /s\n";

fn refused(more: &str, why: &[&str]) {
    let e = validate(&format!("{BASE}{more}")).expect_err(more).to_string();
    for part in why {
        assert!(e.contains(part), "{part:?} is not in {e:?}");
    }
}

#[test]
fn defaults_are_local() {
    let config = validate(BASE).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7425");
    assert_eq!(config.http_listen.unwrap().to_string(), "127.0.0.1:7426");
    assert_eq!(config.database.to_str(), Some("/s/coordinator.db"));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let e = validate("domain: Not/Good\nlost_seconds: 0\n").unwrap_err().to_string();
    for part in
        ["repo is missing", "key_file or passphrase_file", "state_dir is missing", "domain:", "lost_seconds"]
    {
        assert!(e.contains(part), "{part:?} is not in {e:?}");
    }
}

#[test]
fn a_wrong_key_is_named() {
    refused("listen_on: x\n", &["listen_on"]);
    refused("schedules: [{volume: x, every: 3}]\n", &["every"]);
}

#[test]
fn plaintext_stays_on_this_machine() {
    let tokens = "agent_token_file: /a\nclient_token_file: /c\n";
    refused(&format!("listen: 0.0.0.0:1\n{tokens}"), &["plaintext is refused"]);
    refused("listen: '[::]:1'\nallow_plaintext: true\n", &["anybody could connect"]);
    assert!(validate(&format!("{BASE}listen: 0.0.0.0:1\nallow_plaintext: true\n{tokens}")).is_ok());
    let tls = "listen: 0.0.0.0:1\ntls_cert_file: /c\ntls_key_file: /k\n";
    refused(tls, &["anybody could connect"]);
    assert!(validate(&format!("{BASE}{tls}tls_client_ca_file: /ca\n")).is_ok());
    refused("tls_cert_file: /c\n", &["go together"]);
    refused("tls_client_ca_file: /c\n", &["needs tls_cert_file"]);
}

#[test]
fn tokens_are_checked() {
    let good = "agent_token_file: /a\nclient_token_file: /c\ntokens:\n- {file: /1, agents: [node-1, 'db-*']}\n\
                - {file: /2, clients: read}\n- {file: /3, clients: write, agents: [x]}\n";
    let tokens = validate(&format!("{BASE}{good}")).unwrap().tokens;
    let grant = |agents: &[&str], clients| Grant {
        agents: agents.iter().map(|a| (*a).to_owned()).collect(),
        clients,
    };
    let grants: Vec<_> = tokens.iter().map(|(_, grant)| grant.clone()).collect();
    assert_eq!(
        grants,
        [
            grant(&["*"], None),
            grant(&[], Some(Access::Write)),
            grant(&["node-1", "db-*"], None),
            grant(&[], Some(Access::Read)),
            grant(&["x"], Some(Access::Write)),
        ]
    );
    assert!(
        validate(&format!(
            "{BASE}listen: 0.0.0.0:1\nallow_plaintext: true\ntokens: [{{file: /1, clients: read}}]\n"
        ))
        .is_ok()
    );
    refused("tokens: [{file: /1}]\n", &["token /1: grants nothing"]);
    refused("tokens: [{file: /1, agents: ['']}]\n", &["token /1: an agent's id is empty"]);
    refused("tokens: [{file: /1, clients: admin}]\n", &["admin"]);
    refused("tokens: [{agents: [x]}]\n", &["file"]);
    refused(
        "client_token_file: /1\ntokens: [{file: /1, agents: [x]}]\n",
        &["/1: the file is configured twice"],
    );
}

#[test]
fn schedules_are_checked() {
    let ok = "schedules:\n- {volume: 'db-*', max_age_seconds: 3600, jitter_seconds: 60}\n- {volume: '*', cron: '0 3 * * *'}\n";
    assert_eq!(validate(&format!("{BASE}timezone: Europe/Paris\n{ok}")).unwrap().rules.len(), 2);
    refused("schedules: [{volume: a}]\n", &["schedule of a", "exactly one"]);
    refused("schedules: [{volume: a, cron: 'x y'}]\n", &["schedule of a", "cron"]);
    refused("timezone: Mars/Olympus\n", &["timezone Mars/Olympus"]);
}

#[test]
fn every_setting_is_in_the_documentation() {
    let document = include_str!("../../../docs/servers.md");
    let part = |from: &str| {
        document.split(&format!("\n{from}\n")).nth(1).unwrap().trim_start().split("\n\n").next().unwrap()
    };
    let tables = format!("{}\n{}", part("Both servers:"), part("Coordinator:"));
    for field in ConfigLayer::FIELDS {
        assert!(tables.contains(&format!("`{field}`")), "{field}");
    }
    // And none that does not exist: the names are in the first column.
    let first = tables.lines().filter_map(|l| l.strip_prefix("| `")?.split(" |").next());
    for name in first.flat_map(|names| names.split(", ")).map(|n| n.trim_matches('`')) {
        assert!(ConfigLayer::FIELDS.contains(&name), "{name}");
    }
}
