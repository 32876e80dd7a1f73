//! Tokens that match, and what they grant.

use std::path::{Path, PathBuf};

use super::{Bearer, Token, Tokens};
use crate::reload::{Follow as _, Reloads};
use tonic::Request;
use tonic::service::Interceptor as _;

const GOOD: &str = "0123456789abcdef";

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn header(bearer: &mut Bearer) -> Option<String> {
    let request = bearer.call(Request::new(())).unwrap();
    request.metadata().get("authorization").map(|v| v.to_str().unwrap().to_owned())
}

#[test]
fn only_the_whole_token_matches() {
    let token = Token::new(GOOD).unwrap();
    assert!(token.matches(GOOD.as_bytes()));
    for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "x123456789abcdef"] {
        assert!(!token.matches(wrong.as_bytes()), "{wrong}");
    }
    assert!(Token::new("short").is_err());
    assert_eq!(format!("{token:?}"), "Token(..)");
}

#[test]
fn each_token_grants_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", &format!("{GOOD}\n"));
    let b = file(dir.path(), "b", "another-token-of-length");
    let reloads = Reloads::default();
    let watched = Tokens::watch(vec![(a.clone(), 'a'), (b, 'b')], &reloads).unwrap();
    let find = |h: &str| watched.get().find(h.as_bytes()).copied();
    assert_eq!(find(&format!("Bearer {GOOD}")), Some('a'));
    assert_eq!(find("Bearer another-token-of-length"), Some('b'));
    for wrong in ["", "Bearer ", GOOD, "bearer another-token-of-length", "Bearer another-token-of-lengthx"] {
        assert_eq!(find(wrong), None, "{wrong}");
    }
    // Both tokens the same: refused, the old ones stay.
    file(dir.path(), "b", GOOD);
    watched.look();
    assert_eq!((find("Bearer another-token-of-length"), reloads.counts()), (Some('b'), (0, 1)));
    file(dir.path(), "b", "a-new-token-of-length");
    watched.look();
    assert_eq!(find("Bearer another-token-of-length"), None);
    assert_eq!((find("Bearer a-new-token-of-length"), reloads.counts()), (Some('b'), (1, 1)));
    let e = Tokens::watch(vec![(a.clone(), 1), (a, 2)], &reloads).unwrap_err();
    assert!(e.chain().contains("same token"), "{}", e.chain());
    let e = Tokens::watch(vec![(dir.path().join("none"), 1)], &reloads).unwrap_err();
    assert!(e.chain().contains("none"), "{}", e.chain());
}

#[test]
fn calls_carry_the_newest_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "t", &format!(" {GOOD}\n"));
    let mut bearer = Bearer::watch(Some(&path), &Reloads::default()).unwrap();
    assert_eq!(header(&mut bearer).unwrap(), format!("Bearer {GOOD}"));
    file(dir.path(), "t", "another-token-of-length");
    bearer.follow().unwrap().look();
    assert_eq!(header(&mut bearer).unwrap(), "Bearer another-token-of-length");
    assert_eq!(header(&mut Bearer::default()), None);
    assert!(Bearer::watch(Some(&dir.path().join("none")), &Reloads::default()).is_err());
}
