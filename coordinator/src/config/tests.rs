//! What is valid, and that everything wrong is named.

use super::{Config, ConfigLayer};
use crate::gate::{Access, Grant};
use proto::task::TaskKind;
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
    assert_eq!(config.domains[0].database.to_str(), Some("/s/coordinator.db"));
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
                - {file: /2, clients: read, name: ward}\n- {file: /3, clients: write, agents: [x]}\n";
    let tokens = validate(&format!("{BASE}{good}")).unwrap().tokens;
    let grant = |name: &str, agents: &[&str], clients| Grant {
        name: name.to_owned(),
        agents: agents.iter().map(|a| (*a).to_owned()).collect(),
        clients,
        ..Grant::default()
    };
    let grants: Vec<_> = tokens.iter().map(|(_, grant)| grant.clone()).collect();
    assert_eq!(
        grants,
        [
            grant("a", &["*"], None),
            grant("c", &[], Some(Access::Admin)),
            grant("1", &["node-1", "db-*"], None),
            grant("ward", &[], Some(Access::Read)),
            grant("3", &["x"], Some(Access::Write)),
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
    refused("tokens: [{file: /1, clients: all}]\n", &["`all`"]);
    refused("tokens: [{agents: [x]}]\n", &["file"]);
    refused("tokens: [{file: /1, clients: read, name: ''}]\n", &["token /1: ", "name: empty"]);
    refused(
        "client_token_file: /1\ntokens: [{file: /1, agents: [x]}]\n",
        &["/1: the file is configured twice"],
    );
}

#[test]
fn schedules_are_checked() {
    let ok = "schedules:\n- {volume: 'db-*', max_age_seconds: 3600, jitter_seconds: 60}\n- {volume: '*', cron: '0 3 * * *'}\n";
    assert_eq!(validate(&format!("{BASE}timezone: Europe/Paris\n{ok}")).unwrap().domains[0].rules.len(), 2);
    refused("schedules: [{volume: a}]\n", &["schedule of a", "exactly one"]);
    refused("schedules: [{volume: a, cron: 'x y'}]\n", &["schedule of a", "cron"]);
    refused("timezone: Mars/Olympus\n", &["timezone Mars/Olympus"]);
}

#[test]
fn maintenance_runs_without_being_configured() {
    let all = validate(BASE).unwrap().domains[0].maintenance.clone();
    assert!(all.leader && !all.retention.is_empty());
    for kind in [TaskKind::Forget, TaskKind::Gc, TaskKind::Scrub, TaskKind::RestoreTest] {
        assert_ne!(all.timing(kind).describe(), "", "{kind:?}");
    }
    assert_eq!(all.restore_test.scratch_dir.to_str(), Some("/s/restore-tests"));
}

#[test]
fn maintenance_is_configured() {
    let yaml = "leader: false\ntimezone: Europe/Paris\nretention:\n\
                - {volume: 'db-*', keep_last: 2, keep_daily: 7, keep_tags: [pin], share_percent_max: 10}\n\
                - {volume: '*', keep_within_seconds: 86400, age_seconds_min: 3600}\nmaintenance:\n\
                \x20 forget: {every_seconds: 60}\n\
                \x20 gc: {cron: '0 1 * * *', window: '22:00-06:00', fence_after_seconds: 9, wait_seconds: 0, bytes_max: 7}\n\
                \x20 scrub: {enabled: false}\n\
                \x20 restore_test: {volumes_max: 3, bytes_max: 5, scratch_dir: /x}\n";
    let all = validate(&format!("{BASE}{yaml}")).unwrap().domains[0].maintenance.clone();
    assert!(!all.leader);
    assert_eq!(all.retention.len(), 2);
    let rule = &all.retention[0];
    assert_eq!((rule.rules.last, rule.rules.daily, rule.share_percent_max), (2, 7, 10));
    assert_eq!((&*rule.rules.tags[0], all.retention[1].rules.within_seconds), ("pin", Some(86_400)));
    assert_eq!(all.forget.describe(), "every 60 s");
    assert_eq!(all.gc.timing.describe(), "cron 0 1 * * * (Europe/Paris)");
    assert_eq!(all.gc.timing.window.unwrap().to_string(), "22:00-06:00");
    assert_eq!((all.gc.fence_after_seconds, all.gc.wait_seconds, all.gc.bytes_max), (9, 0, 7));
    assert_eq!(all.scrub.timing.describe(), "");
    let test = all.restore_test;
    assert_eq!((test.volumes_max, test.bytes_max, test.scratch_dir.to_str()), (3, 5, Some("/x")));
    assert!(validate(&format!("{BASE}retention: []\n")).unwrap().domains[0].maintenance.retention.is_empty());
}

#[test]
fn wrong_maintenance_is_refused_by_name() {
    let task = |task: &str, why: &[&str]| refused(&format!("maintenance: {{{task}}}\n"), why);
    task("gc: {cron: x}", &["maintenance.gc.cron", "x"]);
    task("gc: {cron: '0 1 * * *', every_seconds: 5}", &["maintenance.gc.cron and every_seconds"]);
    task("scrub: {every_seconds: 0}", &["maintenance.scrub.every_seconds 0"]);
    task("forget: {window: 'at night'}", &["maintenance.forget.window", "22:00-06:00"]);
    task("scrub: {enabled: false, every_seconds: 5}", &["maintenance.scrub.enabled"]);
    task("forget: {bytes_max: 5}", &["maintenance.forget.bytes_max: there is no such budget"]);
    task("scrub: {volumes_max: 5}", &["maintenance.scrub.volumes_max"]);
    task("gc: {bytes_max: 0}", &["maintenance.gc.bytes_max is out of range"]);
    task("gc: {fence_after_seconds: 0}", &["maintenance.gc.fence_after_seconds"]);
    task("restore_test: {scratch_dir: here}", &["maintenance.restore_test.scratch_dir must be absolute"]);
    task("restore_test: {volumes_max: 0}", &["maintenance.restore_test.volumes_max"]);
    task("purge: {}", &["purge"]);
    let keep = |rule: &str, why: &[&str]| refused(&format!("retention: [{{{rule}}}]\n"), why);
    keep("keep_last: 1", &["retention of \"\"", "volume is missing"]);
    keep("volume: v, share_percent_max: 101", &["retention of \"v\"", "share_percent_max"]);
    keep("volume: v, age_seconds_min: 5", &["age_seconds_min alone"]);
    keep("volume: v, keep_within_seconds: 99999999999999", &["keep_within_seconds"]);
    keep("volume: v, keep_tags: ['']", &["keep_tags"]);
    keep("volume: v, keep_fortnightly: 1", &["keep_fortnightly"]);
}

#[test]
fn destinations_are_copies_with_a_key_and_mirrors_without() {
    let yaml = "destinations:\n\
        - {name: offsite, url: 's3://b/p', key_file: /k2, domain: d2, credentials_file: /c, newest: 3, window: '01:00-05:00'}\n\
        - {name: twin, url: /twin, delete: true, share_percent_max: 5, enabled: false}\nmaintenance: {lock: {days: 30}}\n";
    let all = validate(&format!("{BASE}{yaml}")).unwrap().domains.remove(0).maintenance;
    let [offsite, twin] = &all.destinations[..] else { panic!("{all:?}") };
    let copies = offsite.copies().unwrap();
    assert_eq!((copies.repository.domain.as_str(), copies.newest, copies.zstd_level), ("d2", Some(3), 2));
    assert_eq!(offsite.timing.describe(), "every 86400 s");
    assert!(offsite.timing.window.is_some() && offsite.mirror().is_err());
    let mirror = twin.mirror().unwrap();
    assert_eq!((mirror.delete, mirror.share_percent_max, mirror.compare_bytes), (true, 5, false));
    assert_eq!(
        (twin.timing.describe().as_str(), all.timing(TaskKind::Lock).describe()),
        ("", "every 86400 s".into())
    );
    assert_eq!(all.timing(twin.slot()).describe(), "");
    assert_eq!(all.lock.days, Some(30));
    let one = |more: &str, why: &[&str]| refused(&format!("destinations: [{{{more}}}]\n"), why);
    one("url: /x", &["destination \"\"", "name"]);
    one("name: a", &["destination \"a\": url is missing"]);
    one("name: a, url: /x, newest: 3", &["newest is for copies", "key_file"]);
    one("name: a, url: /x, key_file: /k, delete: true", &["delete is for mirrors"]);
    one("name: a, url: /x, key_file: /k, passphrase_file: /p", &["exclude each other"]);
    one("name: a, url: /x, key_file: /k, domain: Not/Good", &["domain"]);
    one("name: a, url: /x, key_file: /k, zstd_level: 20", &["zstd_level"]);
    one("name: a, url: /x, cron: x", &["destination \"a\": cron"]);
    one("name: a, url: /x, memory_bytes_max: 1", &["memory_bytes_max"]);
    one("name: a, url: /x, secret: 1", &["secret"]);
    one("name: a, url: /x}, {name: a, url: /y", &["configured twice"]);
    refused("maintenance: {lock: {every_seconds: 5}}\n", &["maintenance.lock.days is missing"]);
    refused("maintenance: {lock: {days: 0}}\n", &["maintenance.lock.days is out of range"]);
    let two = "domains: [{name: default, key_file: /k}]\ndestinations: [{name: a, url: /x}]\n";
    let e = validate(&format!("repo: file:///r\nstate_dir: /s\n{two}")).unwrap_err().to_string();
    assert!(e.contains("each domain has its own"), "{e}");
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

const LISTED: &str = "repo: file:///r\nstate_dir: /s\n";

#[test]
fn a_domain_takes_over_what_it_does_not_say_but_never_a_key() {
    let yaml = "schedules: [{volume: '*', max_age_seconds: 60}]\nretention: [{volume: '*', keep_last: 9}]\nleader: false\n\
                maintenance: {gc: {every_seconds: 7}, restore_test: {scratch_dir: /scratch}}\ndomains:\n\
                - {name: a, key_file: /a, credentials_file: /s3-a}\n\
                - {name: b, passphrase_file: /b, schedules: [], retention: [], leader: true, maintenance: {}}\n";
    let config = validate(&format!("{LISTED}{yaml}")).unwrap();
    assert!(config.listed);
    let [a, b] = &config.domains[..] else { unreachable!("{:?}", config.domains) };
    assert_eq!((a.repository.domain.as_str(), b.repository.domain.as_str()), ("a", "b"));
    assert_ne!(a.repository.key, b.repository.key);
    let credentials = [a, b].map(|d| d.credentials_file.as_deref().and_then(std::path::Path::to_str));
    assert_eq!(credentials, [Some("/s3-a"), None]);
    assert_eq!((a.rules.len(), b.rules.len()), (1, 0));
    assert_eq!((a.maintenance.retention.len(), b.maintenance.retention.len()), (1, 0));
    assert_eq!((a.maintenance.leader, b.maintenance.leader), (false, true));
    assert_eq!(a.maintenance.gc.timing.describe(), "every 7 s");
    assert_ne!(b.maintenance.gc.timing.describe(), "every 7 s");
    assert_eq!(a.database.to_str(), Some("/s/domains/a/coordinator.db"));
    // Restore tests empty their folders.
    assert_eq!(a.maintenance.restore_test.scratch_dir.to_str(), Some("/scratch/a"));
    assert_eq!(b.maintenance.restore_test.scratch_dir.to_str(), Some("/s/domains/b/restore-tests"));
    assert!(!validate(BASE).unwrap().listed);
}

#[test]
fn domains_are_checked() {
    let refused = |more: &str, why: &[&str]| {
        let e = validate(&format!("{LISTED}{more}")).expect_err(more).to_string();
        for part in why {
            assert!(e.contains(part), "{part:?} is not in {e:?}");
        }
    };
    refused("domains: []\n", &["domains: 0 of them"]);
    refused("domains: [{name: a}]\n", &["domain a: key_file or passphrase_file is missing"]);
    refused("domains: [{name: a/b, key_file: /a}]\n", &["domain \"a/b\""]);
    refused(
        "domains: [{name: a, key_file: /a}, {name: a, key_file: /b}]\n",
        &["domain a is configured twice"],
    );
    refused(
        "domains: [{name: a, key_file: /a}, {name: b, key_file: /a}]\n",
        &["domain b: its key file is another domain's, too"],
    );
    refused(
        "key_file: /k\ndomains: [{name: a, key_file: /a}]\n",
        &["key_file and domains exclude each other"],
    );
    refused("domain: a\ndomains: [{name: a, key_file: /a}]\n", &["domain and domains exclude each other"]);
    refused("domains: [{name: a, key_file: /a, repo: x}]\n", &["repo"]);
    refused(
        "domains: [{name: a, key_file: /a, schedules: [{volume: x}]}]\n",
        &["domain a: schedule of x: exactly one"],
    );
    let with = |to: &str| {
        format!("domains: [{{name: a, key_file: /a, destinations: [{{name: twin, url: /t{to}}}]}}]\n")
    };
    for mirror in ["", ", delete: true", ", enabled: false"] {
        refused(
            &with(mirror),
            &["domain a: destination \"twin\": a mirror copies every domain", "holdfast mirror"],
        );
    }
    validate(&format!("{LISTED}{}", with(", key_file: /k2"))).unwrap();
    let two = "domains: [{name: a, key_file: /a}, {name: b, key_file: /b}]\n";
    let open = "listen: 0.0.0.0:1\ntls_cert_file: /c\ntls_key_file: /k\ntls_client_ca_file: /ca\n";
    refused(&format!("{open}{two}"), &["every caller may use all of them"]);
    let token = "tokens: [{file: /1, clients: read, domains: [a]}]\n";
    let tokens = validate(&format!("{LISTED}{open}{two}{token}")).unwrap().tokens;
    assert_eq!(tokens[0].1.domains.as_deref(), Some(&["a".to_owned()][..]));
    refused("tokens: [{file: /1, clients: read, domains: []}]\n", &["token /1: domains must name some"]);
    // The name of a certificate does as well, where one is asked for.
    let named = "tokens: [{certificate: Node-1.example, agents: [x], domains: [b]}]\n";
    let config = validate(&format!("{LISTED}{open}{two}{named}")).unwrap();
    assert!(config.tokens.is_empty());
    assert_eq!(
        (&*config.certificates[0].0, &*config.certificates[0].1.name),
        ("node-1.example", "node-1.example")
    );
    // Paths of URIs that differ in case only are two names.
    let uris = "tokens: [{certificate: SPIFFE://Here/A, agents: [x]}, {certificate: spiffe://here/a, agents: [y]}]\n";
    let config = validate(&format!("{LISTED}{open}{two}{uris}")).unwrap();
    let names: Vec<&str> = config.certificates.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["spiffe://here/A", "spiffe://here/a"]);
    refused(
        &format!("{two}{named}"),
        &["certificate node-1.example: without tls_client_ca_file nobody shows one"],
    );
    refused("tokens: [{certificate: x, file: /1, clients: read}]\n", &["file or certificate, and not both"]);
    refused("tokens: [{certificate: x}]\n", &["certificate x: grants nothing"]);
}
