//! Tokens that match, and calls that are let in.

use super::{Bearer, Guard, Token};
use tonic::Request;
use tonic::service::Interceptor as _;

const GOOD: &str = "0123456789abcdef";

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
fn a_guard_opens_for_its_tokens_only() {
    let (a, b) = (Token::new(GOOD).unwrap(), Token::new("another-token-of-length").unwrap());
    let mut guard = Guard::new(vec![a.clone()]);
    let send = |t: Option<&Token>| Bearer::new(t).unwrap().call(Request::new(())).unwrap();
    assert!(guard.call(send(Some(&a))).is_ok());
    assert!(guard.call(send(Some(&b))).is_err());
    assert!(guard.call(send(None)).is_err());
    assert!(Guard::default().call(send(None)).is_ok());
}

#[test]
fn a_file_may_end_in_a_newline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, format!("{GOOD}\n")).unwrap();
    assert!(Token::read(&path).unwrap().matches(GOOD.as_bytes()));
    let e = Token::read(&dir.path().join("none")).unwrap_err();
    assert!(e.chain().contains("none"), "{}", e.chain());
}
