//! Which URLs are refused.

use proto::LEADER_KEY;
use repository::ids::DomainName;
use tonic::{Code, Status};

use super::{Target, leader_of};
use crate::reload::Reloads;

fn check(url: &str, allow_plaintext: bool, good: bool) {
    let target = Target { url: url.into(), allow_plaintext, ..Target::default() };
    assert_eq!(target.check().is_ok(), good, "{url}");
}

#[test]
fn plaintext_stays_on_this_machine() {
    check("http://127.0.0.1:1", false, true);
    check("http://[::1]:1", false, true);
    check("http://localhost:1", false, true);
    check("http://10.0.0.1:1", false, false);
    check("http://10.0.0.1:1", true, true);
    check("http://localhost.example.org:1", false, false);
    check("https://10.0.0.1:1", false, true);
}

#[test]
fn nonsense_is_refused() {
    check("", true, false);
    check("coordinator:1234", true, false);
    check("ftp://127.0.0.1", true, false);
}

#[test]
fn a_leader_is_an_address_and_a_port() {
    let check = |text: &str, expected: Option<(&str, u16)>| {
        assert_eq!(leader_of(text), expected.map(|(h, p)| (h.to_owned(), p)), "{text}");
    };
    check("10.1.2.3:7425", Some(("10.1.2.3", 7425)));
    check("[fd00::1]:7425", Some(("fd00::1", 7425)));
    check("leader.example:1", Some(("leader.example", 1)));
    for bad in
        ["", ":", ":1", "host", "host:", "host:0", "host:70000", "fd00::1:7425", "a b:1", "[]:1", "a/b:1"]
    {
        check(bad, None);
    }
}

#[test]
fn a_standby_says_where_the_leader_is() {
    let dialer = Target { url: "http://127.0.0.1:1".into(), ..Target::default() };
    let dialer = dialer.open(&Reloads::default()).unwrap();
    let refusal = |code, leader: &'static str| {
        let mut status = Status::new(code, "standby");
        status.metadata_mut().insert(LEADER_KEY, leader.parse().unwrap());
        status
    };
    assert!(!dialer.heed(&Status::unavailable("nobody is there")));
    assert!(!dialer.heed(&refusal(Code::PermissionDenied, "10.0.0.1:2")));
    assert!(!dialer.heed(&refusal(Code::Unavailable, "nonsense")));
    assert!(dialer.heed(&refusal(Code::Unavailable, "10.0.0.1:2")));
    // Those that were made from it go there, too; said again, it is no news.
    let about = dialer.about(&DomainName::default_domain()).unwrap();
    assert!(!about.heed(&refusal(Code::Unavailable, "10.0.0.1:2")));
    about.forget_leader();
    assert!(dialer.heed(&refusal(Code::Unavailable, "10.0.0.1:2")));
}
