//! Which flags are refused where.

use super::{goes_to_cluster, refuse};

fn check(command: &str, through_coordinator: Option<bool>, flags: &[&str], refused: Option<&str>) {
    let said = refuse(command, through_coordinator, |id| flags.contains(&id)).err().map(|e| e.0);
    assert_eq!(said.as_deref().map(|s| s.split(':').next().unwrap()), refused, "{command} {flags:?}");
}

#[test]
fn flags_without_use_are_named() {
    check("backup", Some(true), &["coordinator", "token_file", "tls_ca_file"], None);
    check("backup", Some(true), &["coordinator", "domain"], None);
    check("backup", Some(true), &["key_file", "cache_dir", "domain"], Some("--key-file, --cache-dir"));
    check("ls", Some(false), &["repo", "key_file", "domain"], None);
    check("ls", Some(false), &["repo", "tls_ca_file"], Some("--tls-ca-file"));
    check("ls", Some(false), &["allow_plaintext"], Some("--allow-plaintext"));
    check("agent", None, &["repo", "coordinator", "tls_ca_file", "key_file"], None);
    check("coordinator", None, &["repo", "tls_cert_file", "allow_plaintext"], None);
    check("coordinator", None, &["coordinator", "token_file"], Some("--coordinator, --token-file"));
    check("standalone", Some(true), &["coordinator"], Some("--coordinator"));
    check("completions", None, &["repo"], Some("--repo"));
    check("snapshots", None, &["key_file"], None);
    check("snapshots", Some(true), &["context", "as_account"], None);
    check("snapshots", Some(false), &["repo", "context", "as_account"], Some("--context, --as-account"));
}

#[test]
fn kubectl_or_a_flag_leads_to_the_cluster_unless_another_place_is_named() {
    for (command, plugin, flags, expected) in [
        ("snapshots", true, &[][..], true),
        ("snapshots", false, &[], false),
        ("snapshots", false, &["context"], true),
        ("snapshots", true, &["repo"], false),
        ("snapshots", true, &["coordinator"], false),
        ("agent", true, &[], false),
        ("completions", true, &[], false),
    ] {
        assert_eq!(
            goes_to_cluster(command, plugin, |id| flags.contains(&id)),
            expected,
            "{command} {flags:?}"
        );
    }
}
