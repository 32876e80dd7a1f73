//! Patterns mean what gitignore means by them.

use super::*;

fn check(patterns: &[&str], path: &[u8], is_directory: bool, picked: bool) {
    let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
    let select = Select::new(&patterns).unwrap();
    assert_eq!(select.picks(path, is_directory), picked, "{patterns:?} on {}", String::from_utf8_lossy(path));
}

#[test]
fn patterns_pick_as_in_gitignore() {
    check(&["*.log"], b"a/b/x.log", false, true);
    check(&["*.log"], b"a/b/x.txt", false, false);
    check(&["/a"], b"a", false, true);
    check(&["/a"], b"b/a", false, false);
    check(&["a/"], b"b/a", false, false);
    check(&["a/"], b"b/a", true, true);
    check(&["a/b"], b"a/b/c/d", false, true);
    check(&["**/c"], b"a/b/c", false, true);
    check(&["a", "!a/b"], b"a/b", false, false);
    check(&["a", "!a/b"], b"a/c", false, true);
    check(&["a"], b"", true, false);
}

#[test]
fn names_that_are_no_text_are_matched() {
    check(&["*.bin"], b"d/\xff\xfe.bin", false, true);
    check(&["d"], b"d/\xff", false, true);
}

#[test]
fn no_patterns_pick_everything_and_bad_ones_are_named() {
    check(&[], b"a", false, true);
    let err = Select::new(&["a[z-a]".to_owned()]).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Input);
    assert!(err.to_string().contains("a[z-a]"));
}
