//! What people type, and what it means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::parse;
use crate::exit::Exit;

fn check(text: &[u8], path: Option<&str>, expected: Option<(&str, &[u8])>) {
    let got = parse(OsStr::from_bytes(text), path.map(OsStr::new));
    match (got, expected) {
        (Ok(place), Some((snapshot, path))) => {
            assert_eq!((place.snapshot.as_str(), place.path.as_slice()), (snapshot, path));
        }
        (Err(e), None) => assert_eq!(Exit::of_error(&e), Exit::Usage),
        (got, _) => panic!("{text:?}: {got:?}"),
    }
}

#[test]
fn places() {
    check(b"latest", None, Some(("latest", b"")));
    check(b"latest:", None, Some(("latest", b"")));
    check(b"latest:/", None, Some(("latest", b"")));
    check(b"latest:/etc//ssh/./key/", None, Some(("latest", b"etc/ssh/key")));
    check(b"ab12:with:colon", None, Some(("ab12", b"with:colon")));
    check(b"ab12:\xff\xfe", None, Some(("ab12", b"\xff\xfe")));
    check(b"ab12", Some("a/b"), Some(("ab12", b"a/b")));
    check(b"ab12:a", Some("b"), None);
    check(b"ab12:a/../b", None, None);
    check(b":a", None, None);
    check(b"\xff:a", None, None);
}
