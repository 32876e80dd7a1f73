//! Every byte sequence survives; nothing that commands a terminal comes out.

use super::{escape, unescape};

fn check(bytes: &[u8], text: &str) {
    assert_eq!(escape(bytes), text);
    assert_eq!(unescape(text).as_deref(), Some(bytes));
}

#[test]
fn text_stays_and_the_rest_is_escaped() {
    check(b"", "");
    check("häuser/naïve 日本".as_bytes(), "häuser/naïve 日本");
    check(b"a\\b", "a\\\\b");
    check(b"a\nb\x1b[31m", "a\\x0ab\\x1b[31m");
    check(b"\xff\xfe.txt", "\\xff\\xfe.txt");
    check(b"cut \xe6\x97", "cut \\xe6\\x97");
    check("gpj.\u{202e}exe".as_bytes(), "gpj.\\xe2\\x80\\xaeexe");
    check(b"\\x41", "\\\\x41");
}

#[test]
fn every_pair_of_bytes_survives() {
    for a in 0..=255u8 {
        for b in 0..=255u8 {
            let text = escape(&[a, b]);
            assert_eq!(unescape(&text), Some(vec![a, b]));
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn what_escape_never_writes_is_refused() {
    for text in ["\\", "a\\", "\\q", "\\x", "\\x4", "\\xzz"] {
        assert_eq!(unescape(text), None, "{text}");
    }
}
