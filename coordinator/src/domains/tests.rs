//! Which domain a call means, and that one that is not granted does not exist.

use repository::ErrorKind;

use super::{Domain, Domains};
use crate::gate::Grant;
use crate::metrics::Metrics;

fn domains(names: &[&str]) -> Domains {
    Domains::several(names.iter().map(|n| Domain::new(n.parse().unwrap(), Metrics::default(), None)))
}

fn grant(patterns: Option<&[&str]>) -> Grant {
    let domains = patterns.map(|all| all.iter().map(|p| (*p).to_owned()).collect());
    Grant { domains, ..Grant::default() }
}

/// What is chosen, or the kind of the refusal and its words.
fn check(granted: Option<&[&str]>, wanted: Option<&str>, expected: Result<&str, (ErrorKind, &str)>) {
    let all = domains(&["team-a", "team-b", "lab"]);
    let chosen = all.choose(&grant(granted), wanted.map(str::as_bytes));
    let chosen = chosen.map(|d| d.name.to_string()).map_err(|e| (e.kind(), e.chain()));
    let expected = expected.map(str::to_owned);
    assert_eq!(chosen, expected.map_err(|(kind, words)| (kind, words.to_owned())), "{granted:?} {wanted:?}");
}

#[test]
fn a_call_means_the_domain_that_it_names_or_the_only_one() {
    check(None, Some("lab"), Ok("lab"));
    check(Some(&["team-*"]), Some("team-b"), Ok("team-b"));
    check(Some(&["lab"]), None, Ok("lab"));
    let several = "there are several domains: name one (--domain) of team-a, team-b";
    check(Some(&["team-*"]), None, Err((ErrorKind::Input, several)));
    let one = domains(&["only"]);
    assert_eq!(one.choose(&grant(None), None).unwrap().name.as_str(), "only");
    assert!(one.choose(&grant(None), Some(b"other")).is_err());
}

#[test]
fn a_domain_that_is_not_granted_is_one_that_does_not_exist() {
    let unknown = |name: &str, known: &str| format!("no domain {name:?}; known are: {known}");
    for name in ["lab", "nowhere", "team-*", ""] {
        let words = unknown(name, "team-a, team-b");
        check(Some(&["team-*"]), Some(name), Err((ErrorKind::NotFound, &words)));
    }
    for name in ["lab", "nowhere"] {
        check(Some(&["other"]), Some(name), Err((ErrorKind::NotFound, &format!("no domain {name:?}"))));
    }
    check(Some(&["other"]), None, Err((ErrorKind::NotFound, "there is no domain for this token")));
    let all = domains(&["lab"]);
    let long = vec![0xff; 10_000];
    assert!(all.choose(&grant(None), Some(&long)).unwrap_err().chain().len() < 1000);
}

#[test]
fn a_domain_that_is_not_open_says_why() {
    let all = domains(&["a", "b"]);
    let e = all.choose(&grant(None), Some(b"a")).unwrap().core().unwrap_err();
    assert!(e.chain().contains("domain a is not open: it is being opened"), "{}", e.chain());
    all.all()[1].set(Err((ErrorKind::Key, "wrong key".to_owned())));
    let e = all.choose(&grant(None), Some(b"b")).unwrap().core().unwrap_err();
    assert_eq!((e.kind(), e.chain().as_str()), (ErrorKind::Key, "domain b is not open: wrong key"));
    let ready = all.ready().unwrap_err();
    assert!(ready.contains("domain a is not ready: ") && ready.contains("domain b is not ready: wrong key"));
}
