//! Which URLs are refused.

use super::Target;

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
